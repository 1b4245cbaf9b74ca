//! What a proxy owes to the headers of the messages it passes on.
//!
//! The codec hands messages over as they came and sends them as they are, so everything
//! that RFC 9110 asks of an intermediary, and everything the next hop relies on, is here:
//! fields that belong to one connection go ([`hop`]), a request has exactly one host
//! ([`host`]), and who asked, how and under which name is written down. [`pairs`] turns
//! header maps into the ordered pairs that filters see, and back.
//!
//! All of it works in place. Nothing allocates unless it creates a value that was not
//! there.

pub mod hop;
pub mod host;
pub mod pairs;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::HeaderEdits;

pub use hop::strip_hop_by_hop;
pub use host::{BadHost, authority, normalise_host};
pub use pairs::{
    BadHeaders, Dropped, Invalid, RequestHead, ResponseHead, request_from_pairs, request_map,
    response_from_pairs, response_map, trailers_from_pairs, trailers_map,
};

/// Most fields of a request: what the codec of HTTP/1 takes, and Envoy of both.
const MOST_FIELDS: usize = 100;

/// Names one request through all the systems it passes.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The addresses a request came through, oldest first.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme the client used.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Whether a request has more fields than any should have. A cookie may come in crumbs.
#[must_use]
pub fn are_too_many(headers: &HeaderMap) -> bool {
    headers.len() > MOST_FIELDS
        && headers.len() - headers.get_all(http::header::COOKIE).iter().count() >= MOST_FIELDS
}

/// Leaves one `content-length` of several that say the same; the codec has refused others.
pub fn one_length(headers: &mut HeaderMap) {
    let mut lengths = headers.get_all(http::header::CONTENT_LENGTH).iter();
    if let (Some(first), Some(_)) = (lengths.next(), lengths.next()) {
        let first = first.clone();
        headers.insert(http::header::CONTENT_LENGTH, first);
    }
}

/// Puts a cookie that came in crumbs, as HTTP/2 allows, together again (RFC 9113, section
/// 8.2.3): whoever gets it next need not know of that.
pub fn join_cookie(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(http::header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return;
    };
    let mut whole = BytesMut::from(first.as_bytes());
    for crumb in std::iter::once(second).chain(crumbs) {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb.as_bytes());
    }
    // Of good values comes a good one.
    if let Ok(whole) = HeaderValue::from_maybe_shared(whole.freeze()) {
        headers.insert(http::header::COOKIE, whole);
    }
}

/// Keeps the `x-request-id` of a request that has one, and gives it a random UUID (version
/// 4) otherwise.
///
/// The id finds a request in the logs of several systems. It is not a secret: it comes from
/// a fast generator and can be guessed, so nothing may be protected by it.
pub fn request_id(headers: &mut HeaderMap, rng: &mut fastrand::Rng) {
    if headers.get(X_REQUEST_ID).is_some_and(|id| !id.is_empty()) {
        return;
    }
    if let Ok(id) = HeaderValue::from_bytes(&uuid(rng.u128(..))) {
        headers.insert(X_REQUEST_ID, id);
    }
}

/// Adds the peer to the addresses the request came through: at the end of the last line,
/// so that several lines stay in order.
pub fn append_forwarded_for(headers: &mut HeaderMap, peer: IpAddr) {
    append_forwarded(headers, &forwarded_for(peer));
}

/// A peer's address as `x-forwarded-for` names it: the same for all requests of its
/// connection.
pub fn forwarded_for(peer: IpAddr) -> HeaderValue {
    let mut buffer = [0; TEXT];
    // An IPv4 client of a dual-stack socket is written as the IPv4 client it is.
    let address = text(&mut buffer, peer.to_canonical());
    HeaderValue::from_bytes(address).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// [`append_forwarded_for`] with an address written before.
pub fn append_forwarded(headers: &mut HeaderMap, address: &HeaderValue) {
    match headers.entry(X_FORWARDED_FOR) {
        Entry::Vacant(vacant) => {
            vacant.insert(address.clone());
        }
        Entry::Occupied(mut lines) => {
            let Some(last) = lines.iter_mut().last() else {
                return;
            };
            let (so_far, address) = (last.as_bytes(), address.as_bytes());
            let mut joined = Vec::with_capacity(so_far.len() + 2 + address.len());
            joined.extend_from_slice(so_far);
            if !so_far.is_empty() {
                joined.extend_from_slice(b", ");
            }
            joined.extend_from_slice(address);
            if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(joined)) {
                *last = value;
            }
        }
    }
}

/// Writes down the scheme the client used. What a client claims here is overwritten: only
/// this proxy has seen the connection.
pub fn set_forwarded_proto(headers: &mut HeaderMap, tls: bool) {
    let scheme = HeaderValue::from_static(if tls { "https" } else { "http" });
    headers.insert(X_FORWARDED_PROTO, scheme);
}

/// Carries out a route's header changes: removals, then sets, then additions.
pub fn apply_edits(headers: &mut HeaderMap, edits: &HeaderEdits) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for (name, value) in &edits.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &edits.add {
        headers.append(name, value.clone());
    }
}

/// The `date` of responses. Formatting one costs more than the rest of a small response's
/// headers, and it is the same for a whole second: one of these per worker.
#[derive(Debug, Clone, Default)]
pub struct DateCache {
    second: u64,
    value: Option<HeaderValue>,
}

// === impl DateCache ===

impl DateCache {
    /// The date of `now` in the form HTTP wants. Times before 1970 read as 1970.
    pub fn value(&mut self, now: SystemTime) -> HeaderValue {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        // The format has room for years up to 9999.
        let second = since.as_secs().min(LAST_SECOND);
        match &self.value {
            Some(value) if self.second == second => value.clone(),
            _ => {
                let mut buffer = [0; TEXT];
                let time = UNIX_EPOCH + Duration::from_secs(second);
                let date = text(&mut buffer, httpdate::HttpDate::from(time));
                let value = HeaderValue::from_bytes(date).unwrap_or(EPOCH);
                self.second = second;
                self.value.insert(value).clone()
            }
        }
    }
}

/// `random` as a UUID of version 4, variant 1.
pub(crate) fn uuid(random: u128) -> [u8; 36] {
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0b11 << 62;
    let bits = (random & !VERSION & !VARIANT) | (4 << 76) | (0b10 << 62);
    let mut out = [b'-'; 36];
    let mut digit = 128;
    for (at, byte) in out.iter_mut().enumerate() {
        if !matches!(at, 8 | 13 | 18 | 23) {
            digit -= 4;
            *byte = b"0123456789abcdef"[(bits >> digit) as usize & 0xf];
        }
    }
    out
}

/// The text of something short, written where it needs no allocation.
fn text(buffer: &mut [u8; TEXT], value: impl Display) -> &[u8] {
    let mut rest = &mut buffer[..];
    // What does not fit is cut off; nothing that is written here is that long.
    let _ = write!(rest, "{value}");
    let free = rest.len();
    &buffer[..TEXT - free]
}

/// Room for an address or a date.
const TEXT: usize = 64;
/// 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;
const EPOCH: HeaderValue = HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT");
