//! A rule, read and made ready.

use std::rc::Rc;

use cofferdam_sdk::config::Schema;
use cofferdam_sdk::config::schema::Piece;
use filters_common::Match;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::patterns::{Custom, Known, Patterns};

/// A rule, which bodies that stream by keep too.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Rc<Rule>);

/// What is done to the bodies of some requests.
pub(crate) struct Rule {
    pub(crate) settings: Settings,
    pub(crate) patterns: Patterns,
}

#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// For its metric; its place in the list if it has none.
    pub(crate) name: Option<String>,
    /// The requests it is for; all, if it is left out.
    #[serde(default, rename = "match")]
    pub(crate) matches: Match,
    /// Whether bodies of requests are masked.
    #[serde(default = "yes")]
    pub(crate) request: bool,
    /// Whether bodies of responses are masked.
    #[serde(default = "yes")]
    pub(crate) response: bool,
    /// What is looked for, of what is known by name.
    #[serde(default)]
    patterns: Vec<Known>,
    /// What else is looked for.
    #[serde(default)]
    custom: Vec<Custom>,
    /// What stands in its place.
    #[serde(default)]
    pub(crate) replace: Replace,
    /// So many letters and digits at its end stay, where it is replaced by stars.
    #[serde(default)]
    pub(crate) keep_last: u8,
    /// What the content type of a body begins with that is looked at.
    #[serde(default = "content_types")]
    content_types: Vec<String>,
    /// What becomes of bodies that are compressed.
    #[serde(default)]
    pub(crate) encoded: Encoded,
}

/// What stands in the place of what was found.
#[derive(Deserialize, Schema, Clone, Copy, Default)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Replace {
    /// A star for each letter and digit.
    #[default]
    Star,
    /// What it was, in brackets: `[card]`.
    Label,
}

/// What becomes of a body that cannot be read.
#[derive(Deserialize, Schema, Clone, Copy, Default)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Encoded {
    /// 415 for a request, 502 for a response.
    #[default]
    Refuse,
    /// It goes on as it is.
    Pass,
}

const fn yes() -> bool {
    true
}

fn content_types() -> Vec<String> {
    let types = [
        "text/",
        "application/json",
        "application/problem+json",
        "application/x-ndjson",
        "application/xml",
        "application/x-www-form-urlencoded",
    ];
    types.map(str::to_owned).to_vec()
}

// === impl Shared ===

impl<'de> Deserialize<'de> for Shared {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut settings = Settings::deserialize(from)?;
        let custom = std::mem::take(&mut settings.custom);
        let patterns = Patterns::new(&settings.patterns, custom).map_err(D::Error::custom)?;
        Ok(Self(Rc::new(Rule { settings, patterns })))
    }
}

impl Schema for Shared {
    const SCHEMA: &'static Piece = Settings::SCHEMA;
}

// === impl Settings ===

impl Settings {
    /// Whether a body of that content type is looked at.
    pub(crate) fn reads(&self, kind: &[u8]) -> bool {
        self.content_types.iter().any(|wanted| {
            let start = kind.get(..wanted.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(wanted.as_bytes()))
        })
    }
}
