//! Fields that belong to one connection, and must not be passed on.
//!
//! RFC 9110 lists some and lets `Connection` name more. The second half is a known trap: a
//! client that sends `Connection: x-forwarded-for` (or `authorization`, or
//! `content-length`) asks each proxy to remove a field that the next hop relies on, which
//! hides where a request comes from or breaks its framing. nginx ignores such names
//! altogether; Envoy removes the named fields, but refuses a request that names
//! `x-forwarded-*`. Here the named fields go, except those that a connection cannot own:
//! these stay, and the request passes. RFC 9110 (7.6.1) forbids naming them, so no honest
//! sender notices, and refusing would turn a harmless oddity into an outage.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Removes what belongs to the connection a message came in on.
///
/// `te: trailers` stays, because it says what the client can read, through every hop. With
/// `keep_upgrade`, an upgrade that is asked for (or granted) as it should be stays too, as
/// `connection: upgrade` and `upgrade`; everything else that `connection` said goes.
pub fn strip_hop_by_hop(headers: &mut HeaderMap, keep_upgrade: bool) {
    // Looking at each name once is cheaper than looking each of these up: most messages have
    // none of them, or `connection: keep-alive` alone.
    let here = headers.keys().map(bit).fold(0, |bits, bit| bits | bit);
    if here == 0 {
        return;
    }
    let mut upgrade = false;
    if here & CONNECTION != 0 {
        upgrade = remove_named(headers);
        headers.remove(header::CONNECTION);
    }
    if here & RARE == 0 {
        return;
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    // Part of a wish for `h2c`, which goes no further.
    headers.remove(HTTP2_SETTINGS);
    headers.remove(header::TRANSFER_ENCODING);
    strip_te(headers);
    if keep_upgrade && upgrade && headers.contains_key(header::UPGRADE) {
        headers.insert(header::CONNECTION, UPGRADE);
    } else {
        headers.remove(header::UPGRADE);
    }
}

/// Which of the fields a name is.
fn bit(name: &HeaderName) -> u8 {
    if *name == header::CONNECTION {
        CONNECTION
    } else if *name == header::TRANSFER_ENCODING
        || *name == header::TE
        || *name == header::UPGRADE
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
        || *name == HTTP2_SETTINGS
    {
        RARE
    } else {
        0
    }
}

const CONNECTION: u8 = 1;
const RARE: u8 = 2;

/// Removes the fields that `connection` names; says whether `upgrade` is among the names.
fn remove_named(headers: &mut HeaderMap) -> bool {
    let mut upgrade = false;
    let mut line = 0;
    // A clone of a value shares its bytes; nearly always there is one line.
    while let Some(value) = headers
        .get_all(header::CONNECTION)
        .iter()
        .nth(line)
        .cloned()
    {
        line += 1;
        for name in tokens(&value) {
            if name.eq_ignore_ascii_case("upgrade") {
                upgrade = true;
            } else if !name.eq_ignore_ascii_case("close") && !is_end_to_end(name) {
                headers.remove(name);
            }
        }
    }
    upgrade
}

/// Leaves `te: trailers` or nothing: every other word is about this connection's coding.
fn strip_te(headers: &mut HeaderMap) {
    let Some(first) = headers.get(header::TE) else {
        return;
    };
    let trailers = (headers.get_all(header::TE).iter())
        .any(|value| tokens(value).any(|token| token.eq_ignore_ascii_case("trailers")));
    if !trailers {
        headers.remove(header::TE);
    } else if first != TRAILERS || headers.get_all(header::TE).iter().nth(1).is_some() {
        headers.insert(header::TE, TRAILERS);
    }
}

/// The words of a comma-separated value, without parameters.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    (value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|token| std::str::from_utf8(token).ok())
        .map(|token| token.split(';').next().unwrap_or(token).trim())
        .filter(|token| !token.is_empty())
}

/// Whether a field is meant for the far end or for those on the way to it, so that a
/// connection cannot claim it.
fn is_end_to_end(name: &str) -> bool {
    let forwarded =
        (name.get(..PREFIX.len())).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
    // `te` and `connection` are dealt with by themselves.
    forwarded || (END_TO_END.iter()).any(|known| name.eq_ignore_ascii_case(known))
}

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");

/// Who asked, and how.
const PREFIX: &str = "x-forwarded-";
/// Framing, routing, identity, and what a cache or the far end goes by.
const END_TO_END: [&str; 24] = [
    "accept",
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expires",
    "forwarded",
    "host",
    "location",
    "origin",
    "range",
    "set-cookie",
    "te",
    "trailer",
    "vary",
    "via",
    "x-real-ip",
    "x-request-id",
];
