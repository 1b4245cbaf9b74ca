//! The cases, and how one is written down.

use super::{framing, syntax, tricks};

/// One thing a client may send.
#[derive(Debug, Clone)]
pub struct Case {
    /// A short name, also the path of the request.
    pub name: &'static str,
    /// What is sent, in words.
    pub sent: &'static str,
    /// How many whole requests an upstream may see of it at most: 0 where RFC 9112 demands
    /// a refusal, and never the one hidden in the body of another.
    pub lawful: usize,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Every case, in the order of the table.
pub fn all() -> Vec<Case> {
    let mut cases = framing::cases();
    cases.extend(syntax::cases());
    cases.extend(tricks::cases());
    cases
}

/// The request hidden in the body of others, complete in itself.
pub(super) const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: hidden.test\r\n\r\n";

/// A POST with these field lines (each with its CRLF) after its host, and this body.
pub(super) fn post(
    name: &'static str,
    sent: &'static str,
    lawful: usize,
    fields: &str,
    body: &str,
) -> Case {
    let text = format!("POST /{name} HTTP/1.1\r\nHost: example.test\r\n{fields}\r\n{body}");
    Case {
        name,
        sent,
        lawful,
        bytes: text.into_bytes(),
    }
}

/// Bytes as they are.
pub(super) fn raw(
    name: &'static str,
    sent: &'static str,
    lawful: usize,
    bytes: impl Into<Vec<u8>>,
) -> Case {
    Case {
        name,
        sent,
        lawful,
        bytes: bytes.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_fit_a_table() {
        let cases = all();
        let names: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), cases.len());
        for case in cases {
            assert!(!case.sent.contains(['|', '\n']), "{}", case.name);
            assert!(!case.bytes.is_empty());
        }
    }
}
