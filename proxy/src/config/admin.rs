//! Where the operator looks and acts, and what proves that it is the operator.

use std::fmt;
use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};

/// `admin`.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where it listens.
    pub address: SocketAddr,
    /// What changes of state need. There is one wherever the address is no loopback one.
    pub token: Option<Token>,
    /// Where labels are in the names of guests' metrics.
    pub tags: Vec<Tag>,
}

/// A label of guests' metrics.
#[derive(Debug, Clone)]
pub struct Tag {
    /// The label.
    pub name: String,
    /// Its first group is taken out of the name; its second, if there is one, or else its
    /// first is the value.
    pub regex: regex::Regex,
}

/// A word that only the operator knows: its digest, so that it is nowhere in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

// === impl Token ===

impl Token {
    /// Of the word itself.
    #[must_use]
    pub fn new(word: &[u8]) -> Self {
        Self(Sha256::digest(word).into())
    }

    /// Whether `word` is it. How long that takes says nothing about how near it was.
    #[must_use]
    pub fn is(&self, word: &[u8]) -> bool {
        let other: [u8; 32] = Sha256::digest(word).into();
        let differ = self
            .0
            .iter()
            .zip(other)
            .fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(differ) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_and_nothing_else() {
        let token = Token::new(b"secret");
        assert!(token.is(b"secret"));
        for other in [&b""[..], b"secre", b"secret ", b"Secret"] {
            assert!(!token.is(other), "{other:?}");
        }
        assert_eq!(format!("{token:?}"), "Token");
    }
}
