//! Where keys are published.

use cofferdam_sdk::config::Schema;
use cofferdam_sdk::config::schema::Piece;
use serde::{Deserialize, Deserializer};

/// `https://host/path`.
#[derive(Debug)]
pub(crate) struct Uri {
    scheme: &'static str,
    host: String,
    path: String,
}

// === impl Uri ===

impl Uri {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no URI: `https://idp.example.com/jwks.json`");
        let (scheme, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => ("https", rest),
            (_, Some(rest)) => ("http", rest),
            _ => return Err(wrong()),
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(at);
        let is_odd = |byte: u8| !byte.is_ascii_graphic() || byte == b'#';
        if host.is_empty() || host.contains('@') || rest.bytes().any(is_odd) {
            return Err(wrong());
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            scheme,
            host: host.to_owned(),
            path: [slash, path].concat(),
        })
    }

    pub(crate) const fn scheme(&self) -> &'static str {
        self.scheme
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

impl<'de> Deserialize<'de> for Uri {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl Schema for Uri {
    const SCHEMA: &'static Piece = &Piece::Text(r#""type":"string","pattern":"^https?://""#);
}

#[cfg(test)]
mod tests {
    use super::Uri;

    #[test]
    fn it_has_a_scheme_a_host_and_a_path() {
        for (text, host, path) in [
            ("https://a.test/keys?x=1", "a.test", "/keys?x=1"),
            ("http://a.test:8080", "a.test:8080", "/"),
            ("http://[::1]?a", "[::1]", "/?a"),
        ] {
            let uri = Uri::parse(text).unwrap();
            assert_eq!((uri.host(), uri.path()), (host, path));
            assert!(text.starts_with(uri.scheme()));
        }
        for wrong in [
            "",
            "a.test/",
            "ftp://a",
            "https://",
            "http:///a",
            "http://u@a/",
            "http://a/ b",
            "http://a/#b",
        ] {
            assert!(Uri::parse(wrong).is_err(), "{wrong}");
        }
    }
}
