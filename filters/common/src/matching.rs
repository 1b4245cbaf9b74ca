//! Whom a rule is for: hosts, paths and methods.

use std::cell::OnceCell;

use cofferdam_sdk::config::Schema;
use cofferdam_sdk::{HeaderValue, Headers, MapType};
use serde::Deserialize;

use crate::text::parsed_text;

/// The requests a rule is for: of one of the hosts, and one of the paths, and one of the
/// methods. A list that is empty says nothing.
#[derive(Debug, Clone, Default, Deserialize, Schema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// Hosts without a port, `example.com`, or `*.example.com` for every host below it.
    hosts: Vec<Host>,
    /// Paths without a query, `/a`, or `/a/*` for `/a` and every path below it.
    paths: Vec<Path>,
    /// Methods, such as `GET`.
    methods: Vec<Method>,
}

#[derive(Debug, Clone)]
struct Host {
    name: String,
    below: bool,
}

#[derive(Debug, Clone)]
struct Path {
    path: String,
    below: bool,
}

#[derive(Debug, Clone)]
struct Method(String);

/// What rules are compared with: a request's host, path and method, each read when first
/// asked for.
#[derive(Debug, Default)]
pub struct Target {
    host: OnceCell<HeaderValue>,
    path: OnceCell<HeaderValue>,
    method: OnceCell<HeaderValue>,
}

// === impl Match ===

impl Match {
    /// Whether the request is one of those.
    #[must_use]
    pub fn covers(&self, target: &Target) -> bool {
        (self.hosts.is_empty() || self.hosts.iter().any(|host| host.is(target.host())))
            && (self.paths.is_empty() || self.paths.iter().any(|path| path.is(target.path())))
            && (self.methods.is_empty()
                || self
                    .methods
                    .iter()
                    .any(|method| method.0.as_bytes() == target.method()))
    }
}

// === impl Target ===

impl Target {
    fn host(&self) -> &[u8] {
        let host = read(&self.host, ":authority");
        // Behind the last colon, but not one of an address in brackets.
        let port = host.iter().rposition(|byte| matches!(byte, b':' | b']'));
        match port.and_then(|at| host.split_at_checked(at)) {
            Some((name, [b':', ..])) => name,
            _ => host,
        }
    }

    fn path(&self) -> &[u8] {
        let path = read(&self.path, ":path");
        let mut parts = path.split(|byte| matches!(byte, b'?' | b'#'));
        parts.next().unwrap_or_default()
    }

    fn method(&self) -> &[u8] {
        read(&self.method, ":method")
    }
}

fn read<'a>(cell: &'a OnceCell<HeaderValue>, name: &str) -> &'a [u8] {
    let headers = Headers::of(MapType::RequestHeaders);
    cell.get_or_init(|| headers.get(name).unwrap_or_default())
        .as_bytes()
}

// === impl Host ===

parsed_text!(Host, r#""type":"string","minLength":1"#);

impl Host {
    fn parse(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        if name.is_empty() || name.contains(['*', '/', ' ', ',']) {
            return Err(format!(
                "`{text}` is no host: `example.com` or `*.example.com`"
            ));
        }
        Ok(Self {
            name: name.to_ascii_lowercase(),
            below: name.len() < text.len(),
        })
    }

    fn is(&self, host: &[u8]) -> bool {
        if !self.below {
            return host.eq_ignore_ascii_case(self.name.as_bytes());
        }
        let Some(at) = host.len().checked_sub(self.name.len() + 1) else {
            return false;
        };
        let (below, name) = host.split_at(at);
        !below.is_empty()
            && name
                .strip_prefix(b".")
                .is_some_and(|name| name.eq_ignore_ascii_case(self.name.as_bytes()))
    }
}

// === impl Path ===

parsed_text!(Path, r#""type":"string","pattern":"^/""#);

impl Path {
    fn parse(text: &str) -> Result<Self, String> {
        let path = text.strip_suffix("/*").unwrap_or(text);
        let below = path.len() < text.len();
        if !text.starts_with('/') || path.contains(['*', '?', '#']) {
            return Err(format!("`{text}` is no path: `/a` or `/a/*`"));
        }
        Ok(Self {
            path: path.to_owned(),
            below,
        })
    }

    fn is(&self, path: &[u8]) -> bool {
        match path.strip_prefix(self.path.as_bytes()) {
            Some([]) => true,
            Some([b'/', ..]) => self.below,
            _ => false,
        }
    }
}

// === impl Method ===

parsed_text!(Method, r#""type":"string","pattern":"^[A-Z]+$""#);

impl Method {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(format!("`{text}` is no method, such as `GET`"));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_or_those_below_it() {
        let host = Host::parse("Example.com").unwrap();
        assert!(host.is(b"example.COM") && !host.is(b"a.example.com"));
        let below = Host::parse("*.example.com").unwrap();
        assert!(below.is(b"a.example.com") && below.is(b"b.a.Example.com"));
        for other in [
            &b"example.com"[..],
            b".example.com",
            b"aexample.com",
            b"com",
            b"",
        ] {
            assert!(!below.is(other), "{other:?}");
        }
    }

    #[test]
    fn a_path_is_one_or_those_below_it() {
        let path = Path::parse("/a").unwrap();
        assert!(path.is(b"/a") && !path.is(b"/a/") && !path.is(b"/ab"));
        let below = Path::parse("/a/*").unwrap();
        assert!(below.is(b"/a") && below.is(b"/a/b") && !below.is(b"/ab"));
        assert!(Path::parse("/*").unwrap().is(b"/x"));
    }

    #[test]
    fn a_port_and_a_query_are_not_compared() {
        let target = Target::default();
        target.host.set("[::1]:80".into()).unwrap();
        target.path.set("/a?b#c".into()).unwrap();
        assert_eq!((target.host(), target.path()), (&b"[::1]"[..], &b"/a"[..]));
        let target = Target::default();
        target.host.set("[::1]".into()).unwrap();
        assert_eq!(target.host(), b"[::1]");
    }
}
