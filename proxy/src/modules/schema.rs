//! A plugin's configuration against the JSON schema that its module carries, before the guest
//! runs.
//!
//! Our own, and small: the crate `jsonschema` brings two dozen others, a second engine for
//! regular expressions that backtracks, and no bound on its work. What is known here is what
//! the guest library writes and what costs nothing to check; any other keyword is passed over,
//! as is a schema that cannot be read or that asks for too much work. So the schema may let
//! through what the guest then refuses, and never refuses what the guest would take.

#[cfg(test)]
mod tests;
mod walk;
mod words;

use serde_json::Value;

use walk::Walk;

/// A schema, from the custom section [`cofferdam_abi::module::SCHEMA`].
#[derive(Debug)]
pub(super) struct Schema(Value);

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    /// The way to it, such as `rules[2].limit`; empty for the whole.
    pub(super) path: String,
    /// What is wrong.
    pub(super) what: String,
    /// What to do.
    pub(super) help: String,
    fit: Fit,
}

/// How far the value fits. Of several alternatives the one that fits furthest is most likely
/// the one that was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    /// How deep the value is that does not.
    depth: usize,
    how: How,
}

/// What is wrong with it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    /// Its type.
    Type,
    /// It is a word, and none of those that are known.
    Word,
    /// Likewise, but it looks like one of them.
    Near,
    /// Something in it, or how much it is.
    Content,
}

/// Why a schema is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unusable(pub(super) String);

/// The largest schema, in bytes. Ready-made filters have 2 KiB.
const LARGEST: usize = 256 << 10;
/// The most mistakes that are told at once.
const MOST_TOLD: usize = 10;

// === impl Schema ===

impl Schema {
    /// Reads it.
    ///
    /// # Errors
    /// It is too large, or no JSON. (Nesting is bounded by the reader.)
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Unusable> {
        if bytes.len() > LARGEST {
            let what = format!("it has {} bytes, of at most {LARGEST}", bytes.len());
            return Err(Unusable(what));
        }
        match serde_json::from_slice(bytes) {
            Ok(schema) => Ok(Self(schema)),
            Err(error) => Err(Unusable(format!("it is not JSON: {error}"))),
        }
    }

    /// What of a configuration does not fit; nothing, or as much as is worth reading. A
    /// configuration that is empty is `{}`, as guests read it, and so is `null` where that does
    /// not fit.
    ///
    /// # Errors
    /// The schema asks for more work than a configuration is worth.
    pub(super) fn check(&self, configuration: &[u8]) -> Result<Vec<Mistake>, Unusable> {
        let empty = Value::Object(serde_json::Map::new());
        let value = match configuration.trim_ascii() {
            b"" => empty.clone(),
            json => match serde_json::from_slice(json) {
                Ok(value) => value,
                Err(error) => {
                    return Ok(vec![Mistake {
                        path: String::new(),
                        what: format!("this is not JSON: {error}"),
                        help: "write it as YAML, or as a text with JSON in it".to_owned(),
                        fit: Fit {
                            depth: 0,
                            how: How::Type,
                        },
                    }]);
                }
            },
        };
        let mistakes = Walk::new(&self.0).run(&value)?;
        match value {
            // Nothing is nothing, in either way to write it.
            Value::Null if !mistakes.is_empty() => Walk::new(&self.0).run(&empty),
            _ => Ok(mistakes),
        }
    }
}
