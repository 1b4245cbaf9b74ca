//! A span, before anybody has encoded it.

use std::time::SystemTime;

/// One span, complete.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    pub(super) trace: u128,
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) begun: SystemTime,
    pub(super) ended: SystemTime,
    /// By OpenTelemetry's names for HTTP, and ours with `cofferdam.` before them.
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) error: bool,
}

/// Whose side of something it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Internal,
    Server,
    Client,
}

/// What an attribute says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
}

// === impl Value ===

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(short(text).to_owned())
    }
}

/// Names and values come from clients and guests, and wait in the queue: 1 KiB of each, up to
/// the end of a character.
pub(super) fn short(text: &str) -> &str {
    const MOST: usize = 1_024;
    text.get(..text.floor_char_boundary(MOST)).unwrap_or(text)
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_between_characters() {
        let long = format!("{}ä", "x".repeat(1_023));
        assert_eq!(short(&long).len(), 1_023);
        assert_eq!(short("ä"), "ä");
        assert_eq!(Value::from(&long[..]), Value::Text("x".repeat(1_023)));
    }
}
