//! Section 8: requests in HTTP/2.

use super::case::Allowed::{Status, Stream};
use super::case::Code::Protocol;
use super::case::{Case, case};
use super::frame::{END_HEADERS, END_STREAM, WHOLE, block, data, get, headers, post, request};

/// What may come of a request that is malformed (RFC 9113, section 8.1.1).
pub(super) const MALFORMED: &[super::case::Allowed] = &[Stream(Protocol), Status(4)];

/// A request of one frame that is malformed.
pub(super) fn malformed(id: &'static str, sent: &'static str, fields: &[(&str, &str)]) -> Case {
    case(id, sent, MALFORMED, &[headers(WHOLE, 1, &block(fields))]).may_pass(0)
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const HOST: (&str, &str) = (":authority", "example.test");
const PATH: (&str, &str) = (":path", "/");

pub(super) fn cases() -> Vec<Case> {
    let mut cases = good();
    cases.extend(messages());
    cases.extend(pseudo_headers());
    cases
}

#[rustfmt::skip]
fn good() -> Vec<Case> {
    let ok = &[Status(2)];
    let one = |id, sent, method| {
        case(id, sent, ok, &[headers(WHOLE, 1, &request(method, "/", &[]))]).may_pass(1)
    };
    vec![
        one("8/1", "GET", "GET"),
        one("8/2", "HEAD", "HEAD"),
        one("8/3", "OPTIONS", "OPTIONS"),
        case("8/4", "POST in two pieces", ok, &[headers(END_HEADERS, 1, &post()), data(0, 1, b"te"), data(END_STREAM, 1, b"st")]).may_pass(1),
        case("8/5", "POST with trailers", ok, &[headers(END_HEADERS, 1, &post()), data(0, 1, b"test"), headers(WHOLE, 1, &block(&[("x-test", "ok")]))]).may_pass(1),
        case("8/6", "two requests at once", ok, &[headers(WHOLE, 1, &get()), headers(WHOLE, 3, &get())]).may_pass(2),
    ]
}

#[rustfmt::skip]
fn messages() -> Vec<Case> {
    let with = |fields: &[(&str, &str)]| headers(END_HEADERS, 1, &request("POST", "/", fields));
    vec![
        case("8.1/1", "trailers without END_STREAM", &[Stream(Protocol)], &[headers(END_HEADERS, 1, &post()), data(0, 1, b"test"), headers(END_HEADERS, 1, &block(&[("x-test", "ok")]))]).may_pass(0),
        malformed("8.1.2/1", "a name in upper case", &[METHOD, SCHEME, HOST, PATH, ("X-TEST", "ok")]),
        malformed("8.1.2.2/1", "connection: keep-alive", &[METHOD, SCHEME, HOST, PATH, ("connection", "keep-alive")]),
        malformed("8.1.2.2/2", "te: trailers, deflate", &[METHOD, SCHEME, HOST, PATH, ("te", "trailers, deflate")]),
        case("8.1.2.2/3", "te: trailers", &[Status(2)], &[headers(WHOLE, 1, &request("GET", "/", &[("te", "trailers")]))]).may_pass(1),
        case("8.1.2.6/1", "content-length 1, and 4 bytes", MALFORMED, &[with(&[("content-length", "1")]), data(END_STREAM, 1, b"test")]).may_pass(0),
        case("8.1.2.6/2", "content-length 1, and 4 bytes in two pieces", MALFORMED, &[with(&[("content-length", "1")]), data(0, 1, b"te"), data(END_STREAM, 1, b"st")]).may_pass(0),
        case("8.1.2.6/3", "content-length 9, and 4 bytes", MALFORMED, &[with(&[("content-length", "9")]), data(END_STREAM, 1, b"test")]).may_pass(0),
        case("8.1.2.6/4", "content-length 4, and none", MALFORMED, &[headers(WHOLE, 1, &request("POST", "/", &[("content-length", "4")]))]).may_pass(0),
    ]
}

#[rustfmt::skip]
fn pseudo_headers() -> Vec<Case> {
    vec![
        malformed("8.1.2.1/1", "a pseudo-header nobody knows", &[METHOD, SCHEME, HOST, PATH, (":test", "ok")]),
        malformed("8.1.2.1/2", ":status in a request", &[METHOD, SCHEME, HOST, PATH, (":status", "200")]),
        case("8.1.2.1/3", "a pseudo-header in trailers", MALFORMED, &[headers(END_HEADERS, 1, &post()), data(0, 1, b"test"), headers(WHOLE, 1, &block(&[(":method", "POST")]))]).may_pass(1),
        malformed("8.1.2.1/4", "a pseudo-header behind a field", &[SCHEME, HOST, PATH, ("x-test", "ok"), METHOD]),
        malformed("8.1.2.3/1", ":path without value", &[METHOD, SCHEME, HOST, (":path", "")]),
        malformed("8.1.2.3/2", "no :method", &[SCHEME, HOST, PATH]),
        malformed("8.1.2.3/3", "no :scheme", &[METHOD, HOST, PATH]),
        malformed("8.1.2.3/4", "no :path", &[METHOD, SCHEME, HOST]),
        malformed("8.1.2.3/5", ":method twice", &[METHOD, METHOD, SCHEME, HOST, PATH]),
        malformed("8.1.2.3/6", ":scheme twice", &[METHOD, SCHEME, SCHEME, HOST, PATH]),
        malformed("8.1.2.3/7", ":path twice", &[METHOD, SCHEME, HOST, PATH, PATH]),
        malformed("8.1.2.3/8", ":authority twice", &[METHOD, SCHEME, HOST, HOST, PATH]),
        malformed("8.3/1", "CONNECT with :path", &[(":method", "CONNECT"), SCHEME, HOST, PATH]),
        malformed("8.3/2", "CONNECT without :authority", &[(":method", "CONNECT")]),
    ]
}
