//! Exactly one host per request.
//!
//! The host decides the route here and the site at the upstream. If two parties can read
//! two different hosts out of one request, a request can be routed as one and served as
//! another; so a request from which more than one could be read is refused, and afterwards
//! there is one place to look ([`authority`]).

use std::fmt;

use http::request::Parts;
use http::{HeaderMap, Method, Uri, Version, header};

/// Why a request is answered 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHost {
    /// Not a host with an optional port.
    Malformed,
    /// HTTP/1.1 without `Host`, or HTTP/2 without either.
    Missing,
    /// A host in the place of a path, which only CONNECT may have.
    NoPath,
    /// More than one `Host` line.
    Repeated,
}

/// Sees to it that the request has one host: afterwards the URI has an authority and there
/// is no `host` field, or the URI has none and there is one field.
///
/// An authority in the URI (HTTP/2, or absolute form) wins over the field, as RFC 9112
/// (3.2.2) says. Only HTTP/1.0 may come without either.
///
/// # Errors
/// [`BadHost`]; the request must not be passed on.
pub fn normalise_host(request: &mut Parts) -> Result<(), BadHost> {
    let mut lines = request.headers.get_all(header::HOST).iter();
    let field = lines.next();
    if lines.next().is_some() {
        return Err(BadHost::Repeated);
    }
    if let Some(authority) = request.uri.authority() {
        if !is_authority(authority.as_str().as_bytes()) {
            return Err(BadHost::Malformed);
        }
        if request.uri.scheme().is_none() && request.method != Method::CONNECT {
            return Err(BadHost::NoPath);
        }
        request.headers.remove(header::HOST);
        return Ok(());
    }
    match field {
        Some(host) if is_authority(host.as_bytes()) => Ok(()),
        Some(_) => Err(BadHost::Malformed),
        None if request.version <= Version::HTTP_10 => Ok(()),
        None => Err(BadHost::Missing),
    }
}

/// The authority of a request that [`normalise_host`] has seen, with its port as sent;
/// empty where an HTTP/1.0 client sent none.
pub fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    match uri.authority() {
        Some(authority) => authority.as_str(),
        None => (headers.get(header::HOST))
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default(),
    }
}

/// A host with an optional port. No user information (it has no place in a request and
/// serves to disguise hosts), and nothing that ends a host in somebody else's parser.
pub(super) fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text.strip_prefix(b"[") {
        Some(rest) => match rest.iter().position(|&byte| byte == b']') {
            Some(end) => {
                let inner = &rest[..end];
                let bracketed = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
                if !inner.iter().all(bracketed) {
                    return false;
                }
                (inner, &rest[end + 1..])
            }
            None => return false,
        },
        None => {
            let end = text.iter().position(|&byte| byte == b':');
            let (host, port) = text.split_at(end.unwrap_or(text.len()));
            if !host.iter().all(is_name_byte) {
                return false;
            }
            (host, port)
        }
    };
    let port_is_digits = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !host.is_empty() && port_is_digits
}

/// What RFC 3986 allows in a registered name.
fn is_name_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte)
}

// === impl BadHost ===

impl fmt::Display for BadHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the host is malformed",
            Self::Missing => "the request has no host",
            Self::NoPath => "the request has a host where its path should be",
            Self::Repeated => "the request has several host fields",
        })
    }
}

impl std::error::Error for BadHost {}
