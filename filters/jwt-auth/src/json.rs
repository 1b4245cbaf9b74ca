//! Any JSON, for what others have written: headers and claims of tokens, sets of keys.
//!
//! Read by the configuration's reader, which every module carries anyway, and which bounds
//! how deep values are nested.

use std::fmt;

use cofferdam_sdk::config;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Self>),
    /// In the order of the document; no name twice.
    Map(Vec<(String, Self)>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Natural(u64),
    Negative(i64),
    Fraction(f64),
}

// === impl Json ===

impl Json {
    /// From a document; `None` where it is none.
    pub(crate) fn read(document: &[u8]) -> Option<Self> {
        // Nothing at all is an empty configuration, but no JSON.
        if document.trim_ascii().is_empty() {
            return None;
        }
        config::parse(document).ok()
    }

    /// The member of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Map(members) = self else {
            return None;
        };
        let member = members.iter().find(|(known, _)| known == name)?;
        Some(&member.1)
    }

    /// What that way leads to: `a.b` is the member `a.b`, or else the member `b` of `a`.
    pub(crate) fn follow(&self, way: &str) -> Option<&Self> {
        if let Some(found) = self.get(way) {
            return Some(found);
        }
        way.match_indices('.').find_map(|(at, _)| {
            let (name, rest) = (way.get(..at)?, way.get(at + 1..)?);
            self.get(name)?.follow(rest)
        })
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A text, a number or a boolean, as text.
    pub(crate) fn scalar(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Bool(value) => Some(value.to_string()),
            Self::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A time, in seconds since the epoch; may have a fraction (RFC 7519, section 2).
    pub(crate) fn seconds(&self) -> Option<f64> {
        let Self::Number(number) = self else {
            return None;
        };
        let seconds = match *number {
            Number::Natural(number) => number as f64,
            Number::Negative(number) => number as f64,
            Number::Fraction(number) => number,
        };
        seconds.is_finite().then_some(seconds)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Natural(number) => number.fmt(f),
            Self::Negative(number) => number.fmt(f),
            Self::Fraction(number) => number.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(Number::Natural(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(Number::Negative(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(Number::Fraction(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Json>()? {
            // Of two readers one would see the first, the other the last.
            if members.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom(format!("`{name}` stands there twice")));
            }
            members.push((name, value));
        }
        Ok(Json::Map(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_leads_through_names_with_and_without_dots() {
        let json = br#"{"a": {"b": 1, "b.c": 2}, "a.b": 3, "https://x.test/r": {"s": "t"}}"#;
        let json = Json::read(json).unwrap();
        for (way, value) in [
            ("a.b", Some("3")),
            ("a.b.c", Some("2")),
            ("https://x.test/r.s", Some("t")),
            ("a.c", None),
            ("", None),
            (".", None),
            ("a.b.", None),
        ] {
            let found = json.follow(way).and_then(Json::scalar);
            assert_eq!(found.as_deref(), value, "{way}");
        }
    }

    #[test]
    fn numbers_are_written_as_they_were() {
        for (text, written) in [("7", "7"), ("-7", "-7"), ("1.5", "1.5"), ("1e3", "1000")] {
            let number = Json::read(text.as_bytes()).unwrap();
            assert_eq!(number.scalar().unwrap(), written);
        }
        assert_eq!(Json::read(b"1e999").unwrap().seconds(), None);
    }

    #[test]
    fn what_is_ambiguous_or_no_json_is_none() {
        for text in [r#"{"a": 1, "a": 2}"#, "", " ", "{", "nul", "{} {}", "'a'"] {
            assert_eq!(Json::read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Json::read("[".repeat(100_000).as_bytes()), None);
    }
}
