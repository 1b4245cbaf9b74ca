//! Where tokens are in a request, and how they are taken out of it.

use cofferdam_sdk::config::Schema;
use cofferdam_sdk::query::Query;
use cofferdam_sdk::{Headers, Status, cookie};
use filters_common::HeaderName;
use serde::Deserialize;

use crate::refusal::Refusal;

/// A header with a token in it.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FromHeader {
    /// The header's name.
    name: HeaderName,
    /// What its value begins with, in any case, such as `Bearer `; without it, it is not
    /// looked at.
    #[serde(default)]
    value_prefix: String,
}

/// All places that are looked at.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) headers: &'a [FromHeader],
    pub(crate) cookies: &'a [String],
    pub(crate) params: &'a [String],
}

// === impl Sources ===

impl Sources<'_> {
    /// The one token there is.
    ///
    /// # Errors
    /// When there is none, or several: who looks at another of them would be deceived.
    pub(crate) fn find(self, request: &Headers) -> Result<Vec<u8>, Refusal> {
        let mut found = Vec::new();
        if self.headers.is_empty() && self.cookies.is_empty() && self.params.is_empty() {
            found.extend(in_header(request, "authorization", "bearer "));
        }
        for header in self.headers {
            found.extend(in_header(
                request,
                header.name.as_str(),
                &header.value_prefix,
            ));
        }
        if !self.cookies.is_empty() {
            for cookies in request.get_all("cookie") {
                for pair in cookies.as_bytes().split(|byte| *byte == b';') {
                    let find = |name: &String| cookie::find_in(pair, name);
                    let value = self.cookies.iter().find_map(find);
                    found.extend(value.map(cofferdam_sdk::HeaderValue::into_bytes));
                }
            }
        }
        if !self.params.is_empty() {
            let query = Query::of_path(request.get(":path").unwrap_or_default().as_bytes());
            let named = query
                .iter()
                .filter(|(name, _)| self.params.iter().any(|wanted| wanted == name));
            found.extend(named.map(|(_, value)| value.as_bytes().to_vec()));
        }
        match found.len() {
            0 | 1 => found.pop().ok_or(Refusal::Missing),
            _ => Err(Refusal::Several),
        }
    }

    /// Takes it out, wherever it is.
    pub(crate) fn remove(self, request: &mut Headers) -> Result<(), Status> {
        if self.headers.is_empty() && self.cookies.is_empty() && self.params.is_empty() {
            remove_header(request, "authorization", "bearer ")?;
        }
        for header in self.headers {
            remove_header(request, header.name.as_str(), &header.value_prefix)?;
        }
        if !self.cookies.is_empty() {
            self.remove_cookies(request)?;
        }
        if !self.params.is_empty() {
            self.remove_params(request)?;
        }
        Ok(())
    }

    fn remove_cookies(self, request: &mut Headers) -> Result<(), Status> {
        let before = request.get_all("cookie");
        let is_token = |pair: &&[u8]| {
            let mut names = self.cookies.iter();
            names.any(|name| cookie::find_in(pair, name).is_some())
        };
        let has_token = |cookies: &[u8]| {
            cookies
                .split(|byte| *byte == b';')
                .any(|pair| is_token(&pair))
        };
        if !before.iter().any(|cookies| has_token(cookies.as_bytes())) {
            return Ok(());
        }
        request.remove("cookie")?;
        for cookies in before {
            let pairs = cookies.as_bytes().split(|byte| *byte == b';');
            let kept: Vec<_> = pairs
                .filter(|pair| !is_token(pair))
                .map(<[u8]>::trim_ascii)
                .collect();
            if !kept.is_empty() {
                request.add("cookie", kept.join(&b"; "[..]))?;
            }
        }
        Ok(())
    }

    fn remove_params(self, request: &mut Headers) -> Result<(), Status> {
        let path = request.get(":path").unwrap_or_default();
        let mut halves = path.as_bytes().splitn(2, |byte| *byte == b'?');
        let (Some(before), Some(query)) = (halves.next(), halves.next()) else {
            return Ok(());
        };
        // Names are compared as they are read, decoded; what stays is as it was written.
        let is_token = |part: &&[u8]| {
            let part = Query::of_path(&[b"?", *part].concat());
            let name = part.iter().next().map(|(name, _)| name.to_owned());
            name.is_some_and(|name| self.params.contains(&name))
        };
        let parts: Vec<_> = query.split(|byte| *byte == b'&').collect();
        let kept: Vec<_> = parts
            .iter()
            .copied()
            .filter(|part| !is_token(part))
            .collect();
        if kept.len() == parts.len() {
            return Ok(());
        }
        let mut path = before.to_vec();
        if !kept.is_empty() {
            path.push(b'?');
            path.extend(kept.join(&b'&'));
        }
        request.set(":path", path)
    }
}

fn in_header(request: &Headers, name: &str, prefix: &str) -> Vec<Vec<u8>> {
    // Mostly there is none, and one call to the host says so.
    if !request.contains(name) {
        return Vec::new();
    }
    let values = request.get_all(name).into_iter();
    let tokens = values.filter_map(|value| Some(behind(prefix, value.as_bytes())?.to_vec()));
    tokens.collect()
}

fn remove_header(request: &mut Headers, name: &str, prefix: &str) -> Result<(), Status> {
    let values = request.get_all(name);
    let (tokens, others): (Vec<_>, Vec<_>) = values
        .into_iter()
        .partition(|value| behind(prefix, value.as_bytes()).is_some());
    if tokens.is_empty() {
        return Ok(());
    }
    request.remove(name)?;
    others.iter().try_for_each(|value| request.add(name, value))
}

/// The token behind a prefix.
fn behind<'a>(prefix: &str, value: &'a [u8]) -> Option<&'a [u8]> {
    let (start, token) = value.split_at_checked(prefix.len())?;
    start
        .eq_ignore_ascii_case(prefix.as_bytes())
        .then(|| token.trim_ascii())
}
