//! Messages as filters see them: ordered pairs of bytes, pseudo-headers first.
//!
//! On the way in one allocation holds all names and values of a message, and every pair is
//! a slice of it: a filter chain that reads twelve headers does not pay for twenty-four
//! small buffers. On the way back values are shared again rather than copied. A caller that
//! knows its filters changed nothing keeps its `HeaderMap` and converts nothing.
//!
//! What comes back was written by a guest and is not trusted: a name or value that cannot
//! be sent, or that would make two peers disagree about where a message ends, never
//! reaches the wire.

mod head;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, header};

pub use head::{
    BadHeaders, Dropped, Invalid, RequestHead, ResponseHead, request_from_pairs,
    response_from_pairs, trailers_from_pairs,
};

/// Header fields in order, names in lower case.
pub type Pairs = Vec<(Bytes, Bytes)>;

/// A request head: `:authority`, `:path`, `:method`, `:scheme`, then the fields. `host` is
/// never among them, since it is shown as `:authority`; an empty authority or path (HTTP/1.0
/// without a host, plain CONNECT) is left out.
pub fn request_to_pairs(
    method: &Method,
    scheme: &str,
    authority: &str,
    path_and_query: &str,
    headers: &HeaderMap,
) -> Pairs {
    let pseudo = [
        (AUTHORITY, authority),
        (PATH, path_and_query),
        (METHOD, method.as_str()),
        (SCHEME, scheme),
    ];
    gather(&pseudo, headers)
}

/// A response head: `:status`, then the fields.
pub fn response_to_pairs(status: StatusCode, headers: &HeaderMap) -> Pairs {
    gather(&[(STATUS, status.as_str())], headers)
}

/// Trailers: the fields alone.
pub fn trailers_to_pairs(trailers: &HeaderMap) -> Pairs {
    gather(&[], trailers)
}

/// `pseudo` (the empty ones left out) and `headers` (without `host`, which has no meaning
/// but in a request) as slices of one buffer.
fn gather(pseudo: &[(&'static str, &str)], headers: &HeaderMap) -> Pairs {
    let pseudo = || pseudo.iter().filter(|(_, value)| !value.is_empty());
    let fields = || headers.iter().filter(|(name, _)| *name != header::HOST);

    let size = pseudo().map(|(_, value)| value.len()).sum::<usize>()
        + fields()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum::<usize>();
    let mut buffer = BytesMut::with_capacity(size);
    for (_, value) in pseudo() {
        buffer.extend_from_slice(value.as_bytes());
    }
    for (name, value) in fields() {
        buffer.extend_from_slice(name.as_str().as_bytes());
        buffer.extend_from_slice(value.as_bytes());
    }

    let mut buffer = buffer.freeze();
    let mut pairs = Pairs::with_capacity(4 + headers.len());
    for (name, value) in pseudo() {
        let name = Bytes::from_static(name.as_bytes());
        pairs.push((name, buffer.split_to(value.len())));
    }
    for (name, value) in fields() {
        let name = buffer.split_to(name.as_str().len());
        pairs.push((name, buffer.split_to(value.len())));
    }
    pairs
}

const AUTHORITY: &str = ":authority";
const METHOD: &str = ":method";
const PATH: &str = ":path";
const SCHEME: &str = ":scheme";
const STATUS: &str = ":status";
