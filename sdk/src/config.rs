//! Typed configuration: JSON into a type of the author's, by serde, and where it is wrong.
//!
//! ```
//! use serde::Deserialize;
//!
//! #[derive(Deserialize, Debug)]
//! #[serde(deny_unknown_fields)]
//! struct Rule { path: String, limit: u32 }
//! #[derive(Deserialize, Debug)]
//! struct Config { rules: Vec<Rule> }
//!
//! let config: Config = cofferdam_sdk::config::parse(
//!     br#"{"rules": [{"path": "/a", "limit": 7}]}"#)?;
//! assert_eq!(config.rules[0].limit, 7);
//!
//! let wrong = cofferdam_sdk::config::parse::<Config>(
//!     br#"{"rules": [{"path": "/a", "limit": "7"}]}"#).unwrap_err();
//! assert_eq!(wrong.to_string(),
//!     "rules[0].limit: invalid type: a string, expected u32 (line 1, column 36)");
//! # Ok::<(), cofferdam_sdk::config::ConfigError>(())
//! ```
//! The reader is this crate's own because it is small (a module carries it), and knows the
//! path to what is wrong.

mod access;
mod period;
mod read;
pub mod schema;

use std::fmt;

use serde::de::DeserializeOwned;

/// Fields become properties, comments descriptions; of serde's attributes those are known that say
/// what the JSON is called and whether it may be left out.
///
/// ```
/// use cofferdam_sdk::config::{Schema, schema};
/// use serde::Deserialize;
///
/// #[derive(Deserialize, Schema)]
/// #[serde(rename_all = "kebab-case")]
/// enum Mode { FailOpen, Reply(u16) }
/// # let _ = |mode: Mode| matches!(mode, Mode::FailOpen | Mode::Reply(0));
///
/// let text = schema::text::<Mode>();
/// assert!(text.starts_with(r#"{"oneOf":[{"enum":["fail-open"]},"#), "{text}");
/// ```
pub use cofferdam_sdk_macros::Schema;
pub use period::Period;
use read::Reader;
pub use schema::Schema;

/// What is wrong with a configuration, and where.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigError {
    path: String,
    problem: String,
    line: usize,
    column: usize,
}

/// A value of type `T`, from JSON. Nothing at all is `{}`, and so is `null` where the type does
/// not take that.
///
/// # Errors
/// What is wrong first, and where.
///
/// ```
/// let ports: Vec<u16> = cofferdam_sdk::config::parse(b"[80, 443]")?;
/// assert_eq!(ports, [80, 443]);
/// # Ok::<(), cofferdam_sdk::config::ConfigError>(())
/// ```
pub fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, ConfigError> {
    match json.trim_ascii() {
        b"" => read(b"{}"),
        b"null" => read(json).or_else(|_| read(b"{}")),
        _ => read(json),
    }
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, ConfigError> {
    let mut reader = Reader::new(json);
    let parsed = T::deserialize(&mut reader).and_then(|value| {
        reader.end()?;
        Ok(value)
    });
    parsed.map_err(|problem| {
        let (line, column) = reader.place();
        ConfigError {
            path: reader.path(),
            problem: problem.0,
            line,
            column,
        }
    })
}

/// The configuration of a filter that has none: empty, `null` or `{}`.
///
/// ```
/// use cofferdam_sdk::config::{None, parse};
///
/// assert!(parse::<None>(b"{}").is_ok());
/// assert!(parse::<None>(br#"{"a": 1}"#).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct None;

// === impl ConfigError ===

impl ConfigError {
    /// The way to what is wrong, such as `rules[2].limit`; empty for the whole.
    ///
    /// ```
    /// let wrong = cofferdam_sdk::config::parse::<Vec<u8>>(b"[1, 256]").unwrap_err();
    /// assert_eq!(wrong.path(), "[1]");
    /// ```
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong there.
    ///
    /// ```
    /// let wrong = cofferdam_sdk::config::parse::<Vec<u8>>(b"[1, true]").unwrap_err();
    /// assert_eq!(wrong.problem(), "invalid type: a boolean, expected u8");
    /// ```
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        let Self {
            problem,
            line,
            column,
            ..
        } = self;
        write!(f, "{problem} (line {line}, column {column})")
    }
}

crate::result::debug_is_display!(ConfigError);

impl core::error::Error for ConfigError {}

// === impl None ===

impl<'de> serde::Deserialize<'de> for None {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Empty;
        impl<'de> serde::de::Visitor<'de> for Empty {
            type Value = None;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("no configuration")
            }

            fn visit_unit<E>(self) -> Result<None, E> {
                Ok(None)
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<None, A::Error> {
                match map.next_key::<String>()? {
                    Option::None => Ok(None),
                    Some(name) => Err(serde::de::Error::unknown_field(&name, &[])),
                }
            }
        }
        from.deserialize_struct("None", &[], Empty)
    }
}

#[cfg(test)]
mod tests;
