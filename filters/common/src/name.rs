//! Names of headers.

use crate::text::parsed_text;

/// Headers that say where a message ends: the host's alone.
const FRAMING: [&str; 4] = ["content-length", "transfer-encoding", "connection", "host"];

/// The name of a header that a filter may change, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderName(String);

parsed_text!(HeaderName, r#""type":"string","minLength":1"#);

// === impl HeaderName ===

impl HeaderName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A token (RFC 9110), and none that is the host's.
    fn parse(text: &str) -> Result<Self, String> {
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.is_empty() || !text.bytes().all(is_token) {
            return Err(format!("`{text}` is no name of a header"));
        }
        let name = text.to_ascii_lowercase();
        if FRAMING.contains(&name.as_str()) {
            return Err(format!("`{name}` is for the proxy to set"));
        }
        Ok(Self(name))
    }
}

#[cfg(test)]
mod tests {
    use super::HeaderName;

    #[test]
    fn only_names_of_headers_that_are_free_to_change() {
        assert_eq!(HeaderName::parse("X-A").unwrap().as_str(), "x-a");
        for wrong in ["", ":path", "a b", "a\r\n", "Content-Length", "h\u{e4}"] {
            assert!(HeaderName::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
