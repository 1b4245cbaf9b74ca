//! A provider: somebody who issues tokens, and what is done with them.

use cofferdam_sdk::config::Schema;
use cofferdam_sdk::filter::Clock;
use cofferdam_sdk::{Headers, Status, debug, property};
use filters_common::HeaderName;
use serde::Deserialize;

use crate::algorithm::Algorithm;
use crate::claims;
use crate::json::Json;
use crate::key::{Inline, Keys};
use crate::refusal::Refusal;
use crate::remote::Remote;
use crate::source::{FromHeader, Sources};
use crate::token::Token;

/// Somebody who issues tokens.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provider {
    /// What rules and metrics call it.
    pub(crate) name: String,
    /// What the claim `iss` has to be.
    issuer: Option<String>,
    /// One of these has to be in the claim `aud`, if there are any.
    #[serde(default)]
    audiences: Vec<String>,
    /// The algorithms that are allowed; if it is left out, all that fit a key.
    algorithms: Option<Vec<Algorithm>>,
    /// Its keys.
    #[serde(rename = "jwks")]
    inline: Option<Inline>,
    /// Where its keys are published; instead of `jwks`.
    #[serde(rename = "remote_jwks")]
    pub(crate) remote: Option<Remote>,
    /// Clocks may differ by so much.
    #[serde(default = "skew")]
    clock_skew_seconds: u32,
    /// Headers that may have the token. With no place at all, it is `authorization` with
    /// `Bearer `.
    #[serde(default)]
    from_headers: Vec<FromHeader>,
    /// Cookies that may have it.
    #[serde(default)]
    from_cookies: Vec<String>,
    /// Parameters of the query that may have it.
    #[serde(default)]
    from_params: Vec<String>,
    /// Whether the token goes on to the upstream.
    #[serde(default)]
    pub(crate) forward: bool,
    /// A header that gets the claims as they are in the token, in base64url.
    forward_payload_header: Option<HeaderName>,
    /// Headers that get a claim each.
    #[serde(default)]
    claims_to_headers: Vec<ToHeader>,
    /// The claim that says who it is, for the variable `consumer` of other filters.
    consumer_claim: Option<String>,
    #[serde(skip)]
    keys: Keys,
}

/// A claim for a header.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct ToHeader {
    /// Its name, or the way to it: `realm_access.roles`.
    claim: String,
    /// The header. What a client has put there is removed in any case.
    header: HeaderName,
}

const fn skew() -> u32 {
    60
}

// === impl Provider ===

impl Provider {
    /// Makes it ready.
    ///
    /// # Errors
    /// What is wrong with it as a whole: the field, and why.
    pub(crate) fn prepare(&mut self) -> Result<(), (&'static str, &'static str)> {
        match (self.inline.take(), &self.remote) {
            (Some(inline), None) => self.keys = inline.into(),
            (None, Some(_)) => return Ok(()),
            _ => return Err(("jwks", "either this or `remote_jwks` is needed")),
        }
        match self.keys.is_empty() {
            true => Err(("jwks.keys", "there is no key that verifies")),
            false => Ok(()),
        }
    }

    pub(crate) fn sources(&self) -> Sources<'_> {
        Sources {
            headers: &self.from_headers,
            cookies: &self.from_cookies,
            params: &self.from_params,
        }
    }

    /// The token of a request, verified.
    ///
    /// # Errors
    /// Why it does not do.
    pub(crate) async fn accept(&self, request: &Headers, clock: &Clock) -> Result<Token, Refusal> {
        let token = Token::read(self.sources().find(request)?)?;
        self.check(&token, clock.now().as_secs_f64())?;
        match &self.remote {
            Some(remote) => remote.verify(&token, clock).await?,
            None => self.keys.verify(&token)?,
        }
        Ok(token)
    }

    /// What needs no key, first: nobody fetches keys for a token that will not do.
    fn check(&self, token: &Token, now: f64) -> Result<(), Refusal> {
        let claims = &token.claims;
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Json::text) != Some(issuer)
        {
            return Err(Refusal::Issuer);
        }
        let allowed = self.algorithms.as_ref();
        let is_allowed = allowed.is_none_or(|allowed| allowed.contains(&token.algorithm));
        // Nobody publishes secrets.
        if !is_allowed || (self.remote.is_some() && token.algorithm.of_hmac().is_some()) {
            return Err(Refusal::Algorithm);
        }
        if !self.audiences.is_empty() && !claims::is_for(claims, &self.audiences) {
            return Err(Refusal::Audience);
        }
        let skew = f64::from(self.clock_skew_seconds);
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(time) => time.seconds().map(Some).ok_or(Refusal::Malformed),
        };
        if time("exp")?.is_some_and(|expires| now >= expires + skew) {
            return Err(Refusal::Expired);
        }
        if time("nbf")?.is_some_and(|begins| now + skew < begins) {
            return Err(Refusal::NotYet);
        }
        Ok(())
    }

    /// Removes the headers that are this filter's to set.
    pub(crate) fn clear(&self, request: &mut Headers) -> Result<(), Status> {
        let claims = self.claims_to_headers.iter().map(|to| &to.header);
        let mut all = claims.chain(&self.forward_payload_header);
        all.try_for_each(|name| request.remove(name.as_str()))
    }

    /// Tells the upstream, and other filters, what is in the token.
    pub(crate) fn tell(&self, token: &Token, request: &mut Headers) -> Result<(), Status> {
        if let Some(name) = &self.forward_payload_header {
            request.set(name.as_str(), token.payload())?;
        }
        for to in &self.claims_to_headers {
            let claim = token.claims.follow(&to.claim);
            if let Some(value) = claim.and_then(claims::header_value) {
                request.set(to.header.as_str(), value)?;
            }
        }
        if let Some(way) = &self.consumer_claim
            && let Some(consumer) = token.claims.follow(way).and_then(claims::header_value)
            && let Err(status) = property::set("consumer", consumer.as_bytes())
        {
            debug!("nobody is told the consumer: {status}");
        }
        Ok(())
    }
}
