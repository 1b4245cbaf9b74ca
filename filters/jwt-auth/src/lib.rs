//! Lets through requests with a JSON Web Token that is signed by whom one trusts: `README.md`
//! has the fields.
//!
//! `token.rs` takes a token apart, `key.rs` verifies it, `remote.rs` fetches keys. What needs
//! no key is checked first. Nothing a client can send makes a fetch more often than
//! `refetch_seconds` says.

mod algorithm;
mod claims;
mod json;
mod key;
mod provider;
mod refusal;
mod remote;
mod source;
#[cfg(test)]
mod tests;
mod token;
mod uri;

use cofferdam_sdk::Headers;
use cofferdam_sdk::config::schema::Piece;
use cofferdam_sdk::prelude::*;
use filters_common::{Match, Outcome, Target, rule_name};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use claims::Required;
use provider::Provider;
use refusal::Refusal;
use token::Token;

/// [`Settings`], made ready.
struct Config(Settings);

#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Refuses nobody and changes nothing; counts and logs who would be refused.
    #[serde(default)]
    dry_run: bool,
    /// What the challenge of a refusal calls what is protected.
    realm: Option<String>,
    /// Who issues tokens.
    providers: Vec<Provider>,
    /// The first that fits counts; where none fits, no token is needed. If there are none,
    /// every request needs a token of any provider.
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize, Schema, Default)]
#[serde(deny_unknown_fields, default)]
struct Rule {
    /// For its metric; its place in the list if it has none.
    name: Option<String>,
    /// The requests it is for; all, if it is left out.
    #[serde(rename = "match")]
    matches: Match,
    /// No token is needed, and none is looked at.
    skip: bool,
    /// Whose tokens do; any provider's, if it is left out.
    providers: Vec<String>,
    /// Requests without a token pass too.
    allow_missing: bool,
    /// Requests pass in any case; only a token that is right is told of.
    allow_missing_or_failed: bool,
    /// Claims that a token must have.
    required_claims: Vec<Required>,
    /// Places of its providers.
    #[serde(skip)]
    chosen: Vec<usize>,
}

#[filter(background = keep_keys)]
async fn jwt_auth(config: &Config, mut request: Request, clock: Clock) -> Result<Response> {
    let settings = &config.0;
    let target = Target::default();
    let mut rules = settings.rules.iter().enumerate();
    let rule = rules.find(|(_, rule)| rule.matches.covers(&target));
    let mut accepted = None;
    if let Some((index, rule)) = rule.filter(|(_, rule)| !rule.skip) {
        let name = rule_name(rule.name.as_deref(), index);
        let outcome = Outcome {
            counter: "jwt_auth",
            dry_run: settings.dry_run,
        };
        match settings.judge(rule, request.headers(), &clock).await {
            Ok(token) => {
                outcome.count(&name, "allowed");
                accepted = Some(token);
            }
            Err(refusal) if rule.lets_pass(refusal) => {
                let missing = refusal == Refusal::Missing;
                outcome.count(
                    &name,
                    ["failed_allowed", "missing_allowed"][usize::from(missing)],
                );
            }
            Err(refusal) => {
                outcome.count(&name, refusal.code());
                if !settings.dry_run {
                    return Ok(refusal.reply(settings.realm.as_deref()).into());
                }
                info!("dry run: rule {name} would refuse: {}", refusal.code());
            }
        }
    }
    if !settings.dry_run {
        let headers = request.headers_mut();
        if let Some((_, rule)) = rule.filter(|(_, rule)| !rule.skip) {
            for provider in settings.of(rule).filter(|provider| !provider.forward) {
                provider.sources().remove(headers)?;
            }
        }
        // Of all providers, in every request: nobody but this filter writes these.
        for provider in &settings.providers {
            provider.clear(headers)?;
        }
        if let Some((provider, token)) = accepted {
            provider.tell(&token, headers)?;
        }
    }
    request.forward().await
}

/// Runs beside all exchanges.
async fn keep_keys(config: &Config, http: Http, clock: Clock) -> Result<()> {
    let providers = config.0.providers.iter();
    let remotes =
        providers.filter_map(|provider| Some((&*provider.name, provider.remote.as_ref()?)));
    remote::keep_all(remotes, &http, &clock).await;
    Ok(())
}

// === impl Config ===

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut settings = Settings::deserialize(from)?;
        settings.prepare().map_err(D::Error::custom)?;
        Ok(Self(settings))
    }
}

impl Schema for Config {
    const SCHEMA: &'static Piece = Settings::SCHEMA;
}

// === impl Settings ===

impl Settings {
    /// What concerns several fields, with the way to one of them.
    fn prepare(&mut self) -> Result<(), String> {
        if self.providers.is_empty() {
            return Err("providers: there are none".to_owned());
        }
        for (index, provider) in self.providers.iter_mut().enumerate() {
            let wrong = provider.prepare();
            wrong.map_err(|(field, why)| format!("providers[{index}].{field}: {why}"))?;
        }
        let names: Vec<_> = self.providers.iter().map(|one| one.name.clone()).collect();
        for (index, name) in names.iter().enumerate() {
            if names.iter().take(index).any(|other| other == name) {
                return Err(format!("providers[{index}].name: another has it already"));
            }
        }
        if self.rules.is_empty() {
            self.rules.push(Rule::default());
        }
        for (at, rule) in self.rules.iter_mut().enumerate() {
            for (index, wanted) in rule.providers.iter().enumerate() {
                let found = names.iter().position(|name| name == wanted);
                rule.chosen.push(found.ok_or_else(|| {
                    format!("rules[{at}].providers[{index}]: no provider is called `{wanted}`")
                })?);
            }
            if rule.chosen.is_empty() {
                rule.chosen.extend(0..names.len());
            }
        }
        Ok(())
    }

    /// The providers of a rule.
    fn of<'a>(&'a self, rule: &'a Rule) -> impl Iterator<Item = &'a Provider> {
        rule.chosen
            .iter()
            .filter_map(|place| self.providers.get(*place))
    }

    /// The first token of a rule's providers that does, and whose it is.
    async fn judge<'a>(
        &'a self,
        rule: &'a Rule,
        request: &Headers,
        clock: &Clock,
    ) -> Result<(&'a Provider, Token), Refusal> {
        let mut worst = Refusal::Missing;
        for provider in self.of(rule) {
            match provider.accept(request, clock).await {
                Ok(token)
                    if rule
                        .required_claims
                        .iter()
                        .all(|claim| claim.is_met(&token.claims)) =>
                {
                    return Ok((provider, token));
                }
                Ok(_) => worst = worst.max(Refusal::Claim),
                Err(refusal) => worst = worst.max(refusal),
            }
        }
        Err(worst)
    }
}

// === impl Rule ===

impl Rule {
    fn lets_pass(&self, refusal: Refusal) -> bool {
        self.allow_missing_or_failed || (self.allow_missing && refusal == Refusal::Missing)
    }
}
