//! What is looked for: all of it in one expression, so that a body is read once, and each by
//! itself where something was found.

use cofferdam_sdk::config::Schema;
use regex_automata::meta::{Config, Regex};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use regex_syntax::ParserBuilder;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::check;

/// No match is longer, in bytes. So much of a line is held back while more may come.
pub(crate) const LONGEST: usize = 384;

/// For the expression's tables; where they do not suffice it takes longer.
const TABLES: usize = 512 << 10;

/// What is known by name.
#[derive(Deserialize, Schema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Known {
    /// Numbers of payment cards, 13 to 19 digits with a right check digit.
    Card,
    /// Addresses of electronic mail.
    Email,
    /// Phone numbers in their international form, `+49 30 1234567`.
    Phone,
    /// Account numbers with a right checksum (ISO 13616).
    Iban,
    /// Social security numbers of the USA, `123-45-6789`.
    Ssn,
    /// Addresses of IP version 4.
    Ipv4,
}

/// Something else to look for.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Custom {
    /// For its metric, and its label.
    name: String,
    /// The expression.
    regex: Expression,
}

/// An expression that matches at most [`LONGEST`] bytes.
struct Expression(String);

pub(crate) struct Patterns {
    all: Regex,
    kinds: Vec<Kind>,
}

struct Kind {
    name: String,
    known: Option<Known>,
    regex: Regex,
}

/// Something that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Which of [`Patterns::names`].
    pub(crate) kind: usize,
}

// === impl Patterns ===

impl Patterns {
    pub(crate) fn new(known: &[Known], custom: Vec<Custom>) -> Result<Self, String> {
        let known = known.iter().map(|known| {
            let name = known.name().to_owned();
            (name, Some(*known), known.regex().to_owned())
        });
        let custom = custom
            .into_iter()
            .map(|custom| (custom.name, None, custom.regex.0));
        let (mut kinds, mut all) = (Vec::new(), Vec::new());
        for (name, known, text) in known.chain(custom) {
            let regex = build(&text)?;
            kinds.push(Kind { name, known, regex });
            all.push(format!("(?:{text})"));
        }
        if kinds.is_empty() {
            return Err("nothing to look for: neither `patterns` nor `custom`".to_owned());
        }
        let all = build(&all.join("|"))?;
        Ok(Self { all, kinds })
    }

    /// The first in `text` that begins at `at` or behind it.
    pub(crate) fn candidate(&self, text: &[u8], at: usize) -> Option<usize> {
        let found = self.all.search(&Input::new(text).range(at..));
        found.map(|found| found.start())
    }

    /// What begins there, if it is what it looks like: the first kind that it is.
    pub(crate) fn confirm(&self, text: &[u8], start: usize) -> Option<Found> {
        let here = Input::new(text).range(start..).anchored(Anchored::Yes);
        self.kinds.iter().enumerate().find_map(|(kind, of)| {
            let found = text.get(of.regex.search(&here)?.range())?;
            let length = match of.known {
                Some(Known::Card) => check::card(found)?,
                Some(Known::Iban) => check::iban(found)?,
                Some(Known::Ipv4) => check::ipv4(found)?,
                _ => found.len(),
            };
            let end = start + length;
            Some(Found { start, end, kind })
        })
    }

    /// What that kind is called.
    pub(crate) fn name(&self, kind: usize) -> &str {
        self.kinds.get(kind).map_or("", |kind| &kind.name)
    }

    pub(crate) const fn len(&self) -> usize {
        self.kinds.len()
    }
}

fn build(text: &str) -> Result<Regex, String> {
    let mut builder = Regex::builder();
    builder
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .configure(
            Config::new()
                .utf8_empty(false)
                .hybrid_cache_capacity(TABLES),
        );
    builder.build(text).map_err(|error| error.to_string())
}

// === impl Known ===

impl Known {
    const fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Iban => "iban",
            Self::Ssn => "ssn",
            Self::Ipv4 => "ipv4",
        }
    }

    const fn regex(self) -> &'static str {
        match self {
            Self::Card => r"\b[0-9](?:[ -]?[0-9]){12,18}\b",
            Self::Email => {
                r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,3}\b"
            }
            Self::Phone => r"\+[0-9](?:[ ().-]{0,2}[0-9]){7,14}\b",
            Self::Iban => r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}\b",
            Self::Ssn => r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b",
            Self::Ipv4 => r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b",
        }
    }
}

// === impl Expression ===

impl Expression {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parser = ParserBuilder::new().unicode(false).utf8(false).build();
        let parsed = parser.parse(text).map_err(|error| error.to_string())?;
        let properties = parsed.properties();
        let looks = properties.look_set();
        if looks.contains_anchor() {
            return Err("`^` and `$` mean nothing in a body that comes in pieces".to_owned());
        }
        match (properties.minimum_len(), properties.maximum_len()) {
            (Some(1..), Some(..LONGEST)) => Ok(Self(text.to_owned())),
            (Some(0), _) => Err("it matches nothing at all, everywhere".to_owned()),
            _ => Err(format!("it may match more than {} bytes", LONGEST - 1)),
        }
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

impl Schema for Expression {
    const SCHEMA: &'static cofferdam_sdk::config::schema::Piece = String::SCHEMA;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_pattern_is_one_that_could_be_written() {
        for known in [
            Known::Card,
            Known::Email,
            Known::Phone,
            Known::Iban,
            Known::Ssn,
            Known::Ipv4,
        ] {
            assert!(Expression::parse(known.regex()).is_ok(), "{known:?}");
        }
    }

    #[test]
    fn expressions_have_an_end_and_no_anchors() {
        for wrong in ["a+", "a*", "a{0,2}", "^a", "[", "a{400}", "(?i"] {
            assert!(Expression::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Expression::parse(r"(?i)emp-[0-9]{4,8}\b").is_ok());
    }
}
