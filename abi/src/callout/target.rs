//! Whom a callout is for.

use std::fmt;

use bytes::Bytes;

/// Whom a callout is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A cluster, by the name the configuration gives it.
    Cluster(Bytes),
    /// A host of no cluster. Only what capabilities list gets this far.
    Url {
        /// `https`.
        tls: bool,
        /// A name in lower case, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// Never 0.
        port: u16,
    },
}

// === impl Target ===

impl Target {
    /// The target that `host:port`, `http://host[:port]` or `https://host[:port]` names;
    /// `None` for anything else, paths and user names included.
    #[must_use]
    pub fn parse_url(text: &str) -> Option<Self> {
        let (tls, rest, default) = if let Some(rest) = text.strip_prefix("https://") {
            (true, rest, Some(443))
        } else if let Some(rest) = text.strip_prefix("http://") {
            (false, rest, Some(80))
        } else {
            (false, text, None)
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, port)
            }
            None => {
                let end = rest.find(':').unwrap_or(rest.len());
                let (host, port) = rest.split_at(end);
                (is_name(host).then_some(host)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
            Some(_) => None,
            None if port.is_empty() => default,
            None => None,
        };
        Some(Self::Url {
            tls,
            host: host.to_ascii_lowercase(),
            port: port.filter(|port| *port != 0)?,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(name) => write!(f, "cluster:{}", String::from_utf8_lossy(name)),
            Self::Url { tls, host, port } => {
                let scheme = if *tls { "https" } else { "http" };
                if host.contains(':') {
                    write!(f, "{scheme}://[{host}]:{port}")
                } else {
                    write!(f, "{scheme}://{host}:{port}")
                }
            }
        }
    }
}

/// Letters, digits, `-`, `_` and dots between: what names and IPv4 addresses are made of.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    host.len() <= 253 && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        for (text, shown) in [
            ("api.Example.com:8080", "http://api.example.com:8080"),
            ("http://api", "http://api:80"),
            ("https://api", "https://api:443"),
            ("https://10.0.0.1:9443", "https://10.0.0.1:9443"),
            ("http://[::1]", "http://[::1]:80"),
            ("[2001:DB8::1]:53", "http://[2001:db8::1]:53"),
        ] {
            let target = Target::parse_url(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(target.to_string(), shown);
        }
    }

    #[test]
    fn nothing_else_is_a_host() {
        for text in [
            "",
            "api",
            ":80",
            "api:",
            "api:0",
            "api:65536",
            "api:+80",
            "api:80:80",
            "http://",
            "https://api/path",
            "https://user@api",
            "https://api?q",
            "ftp://api:21",
            "HTTP://api",
            "[::1]",
            "[::1:80",
            "[api]:80",
            "a..b:80",
            "a b:80",
            "a\r\nb:80",
            "a%2eb:80",
        ] {
            assert_eq!(Target::parse_url(text), None, "{text}");
        }
    }
}
