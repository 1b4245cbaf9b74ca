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
mod names;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};
use cofferdam_abi::Headers;
use http::{HeaderMap, Method, StatusCode, header};

pub use head::{
    BadHeaders, Dropped, Invalid, RequestHead, ResponseHead, request_from_pairs,
    response_from_pairs, trailers_from_pairs,
};

/// A request head: `:authority`, `:path`, `:method`, `:scheme`, then the fields. `host` is
/// never among them, since it is shown as `:authority`; an empty authority or path (HTTP/1.0
/// without a host, plain CONNECT) is left out.
pub fn request_map(
    method: &Method,
    scheme: &str,
    authority: &str,
    path_and_query: &str,
    headers: &HeaderMap,
) -> Headers {
    let pseudo = [
        (AUTHORITY, authority),
        (PATH, path_and_query),
        (METHOD, method.as_str()),
        (SCHEME, scheme),
    ];
    gather(&pseudo, headers)
}

/// A response head: `:status`, then the fields.
pub fn response_map(status: StatusCode, headers: &HeaderMap) -> Headers {
    gather(&[(STATUS, status.as_str())], headers)
}

/// Trailers: the fields alone.
pub fn trailers_map(trailers: &HeaderMap) -> Headers {
    gather(&[], trailers)
}

/// `pseudo` (the empty ones left out) and `headers` (without `host`, which has no meaning
/// but in a request) as slices of one buffer. What is left of it is for what guests add.
fn gather(pseudo: &[(&'static str, &str)], headers: &HeaderMap) -> Headers {
    let pseudo = || pseudo.iter().filter(|(_, value)| !value.is_empty());
    let fields = || headers.iter().filter(|(name, _)| *name != header::HOST);

    // Guessed: to walk through a header map costs more than to copy a long one once more.
    let size = pseudo().map(|(_, value)| value.len()).sum::<usize>() + headers.len() * FIELD_BYTES;
    let mut room = BytesMut::with_capacity(size + SPARE_BYTES);
    for (_, value) in pseudo() {
        room.extend_from_slice(value.as_bytes());
    }
    for (name, value) in fields() {
        room.extend_from_slice(name.as_str().as_bytes());
        room.extend_from_slice(value.as_bytes());
    }

    let mut buffer = room.split().freeze();
    let mut pairs = Vec::with_capacity(4 + headers.len() + SPARE_ENTRIES);
    for (name, value) in pseudo() {
        let name = Bytes::from_static(name.as_bytes());
        pairs.push((name, buffer.split_to(value.len())));
    }
    for (name, value) in fields() {
        let name = buffer.split_to(name.as_str().len());
        pairs.push((name, buffer.split_to(value.len())));
    }
    Headers::with_room(pairs, room)
}

/// Room for what filters commonly add to a message, in bytes and in entries.
const SPARE_BYTES: usize = 256;
const SPARE_ENTRIES: usize = 8;
/// What a name and a value have together, as far as one can tell before.
const FIELD_BYTES: usize = 40;

const AUTHORITY: &str = ":authority";
const METHOD: &str = ":method";
const PATH: &str = ":path";
const SCHEME: &str = ":scheme";
const STATUS: &str = ":status";
