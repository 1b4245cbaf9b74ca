//! What can be smuggled: requests in HTTP/2 that would be others, or more than one, once they
//! are written in HTTP/1.

use super::case::Allowed::{Alive, Status, Stream};
use super::case::Code::Protocol;
use super::case::{Case, case};
use super::frame::{END_HEADERS, END_STREAM, WHOLE, block, data, headers, request};
use super::http::{MALFORMED, malformed};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = framing();
    cases.extend(values());
    cases.extend(lines());
    cases.extend(hosts());
    cases
}

/// A POST with these fields and this body.
fn post(fields: &[(&str, &str)], body: &[u8]) -> [Vec<u8>; 2] {
    let head = headers(END_HEADERS, 1, &request("POST", "/", fields));
    [head, data(END_STREAM, 1, body)]
}

const HIDDEN: &[u8] = b"0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: hidden.test\r\n\r\n";

#[rustfmt::skip]
fn framing() -> Vec<Case> {
    let bad = |id, sent, fields: &[(&str, &str)], body| case(id, sent, MALFORMED, &post(fields, body)).may_pass(0);
    let ok = |id, sent, fields: &[(&str, &str)], body| case(id, sent, &[Status(2)], &post(fields, body)).may_pass(1);
    vec![
        bad("down/te", "transfer-encoding: chunked over a body that hides a request", &[("transfer-encoding", "chunked")], HIDDEN),
        bad("down/te-cl", "the same with content-length", &[("transfer-encoding", "chunked"), ("content-length", "50")], HIDDEN),
        bad("down/te-identity", "transfer-encoding: identity", &[("transfer-encoding", "identity")], b"test"),
        ok("down/cl", "content-length that is right", &[("content-length", "4")], b"test"),
        ok("down/body", "a body that looks like chunks and a request", &[], HIDDEN),
        bad("down/cl-0-hidden", "content-length 0 over a request", &[("content-length", "0")], b"GET /hidden HTTP/1.1\r\nhost: hidden.test\r\n\r\n"),
        bad("down/cl-differing", "content-length 4, then 5", &[("content-length", "4"), ("content-length", "5")], b"test"),
        case("down/cl-equal", "content-length 4 twice", &[Stream(Protocol), Status(2), Status(4)], &post(&[("content-length", "4"), ("content-length", "4")], b"test")).may_pass(1),
        case("down/cl-list", "content-length `4, 4`", &[Stream(Protocol), Status(2), Status(4)], &post(&[("content-length", "4, 4")], b"test")).may_pass(1),
        bad("down/cl-plus", "content-length `+4`", &[("content-length", "+4")], b"test"),
        bad("down/cl-minus", "content-length `-4`", &[("content-length", "-4")], b"test"),
        bad("down/cl-hex", "content-length `0x4`", &[("content-length", "0x4")], b"test"),
        bad("down/cl-empty", "content-length without value", &[("content-length", "")], b"test"),
        bad("down/cl-overflow", "content-length 2^64 + 4", &[("content-length", "18446744073709551620")], b"test"),
        bad("down/upgrade", "upgrade: h2c with connection", &[("connection", "upgrade"), ("upgrade", "h2c")], b"test"),
        bad("down/keep-alive", "keep-alive", &[("keep-alive", "timeout=5")], b"test"),
        bad("down/proxy-connection", "proxy-connection", &[("proxy-connection", "keep-alive")], b"test"),
        bad("down/connection-names", "connection: content-length", &[("connection", "content-length"), ("content-length", "4")], b"test"),
        case("down/trailer-cl", "content-length in trailers", &[Stream(Protocol), Status(2), Status(4)], &[headers(END_HEADERS, 1, &request("POST", "/", &[])), data(0, 1, b"test"), headers(WHOLE, 1, &block(&[("content-length", "0")]))]).may_pass(1),
        case("down/trailer-te", "transfer-encoding in trailers", &[Stream(Protocol), Status(2), Status(4)], &[headers(END_HEADERS, 1, &request("POST", "/", &[])), data(0, 1, b"test"), headers(WHOLE, 1, &block(&[("transfer-encoding", "chunked")]))]).may_pass(1),
        case("down/get-body", "GET with a body that is a request", &[Stream(Protocol), Status(2), Status(4)], &[headers(END_HEADERS, 1, &request("GET", "/", &[])), data(END_STREAM, 1, b"GET /hidden HTTP/1.1\r\nhost: hidden.test\r\n\r\n")]).may_pass(1),
        case("down/cut", "a body that is broken off", &[Alive], &[headers(END_HEADERS, 1, &request("POST", "/", &[("content-length", "9")])), data(0, 1, b"test"), super::frame::reset(1, 8)]).may_pass(0),
    ]
}

#[rustfmt::skip]
fn values() -> Vec<Case> {
    let field = |id, sent, name, value| {
        let head = headers(WHOLE, 1, &request("GET", "/", &[(name, value)]));
        case(id, sent, MALFORMED, &[head]).may_pass(0)
    };
    vec![
        field("down/value-crlf", "CR LF and a field in a value", "x-test", "a\r\ntransfer-encoding: chunked"),
        field("down/value-request", "CR LF CR LF and a request in a value", "x-test", "a\r\n\r\nGET /hidden HTTP/1.1\r\nhost: hidden.test\r\n\r\n"),
        field("down/value-lf", "LF in a value", "x-test", "a\ntransfer-encoding: chunked"),
        field("down/value-cr", "CR in a value", "x-test", "a\rtransfer-encoding: chunked"),
        field("down/value-nul", "NUL in a value", "x-test", "a\0b"),
        field("down/name-crlf", "CR LF in a name", "x-test\r\ntransfer-encoding", "chunked"),
        field("down/name-colon", "a field with its value in a name", "transfer-encoding: chunked", "x"),
        field("down/name-space", "a space behind a name", "transfer-encoding ", "chunked"),
        field("down/name-empty", "a field without name", "", "x"),
        field("down/name-control", "0x01 in a name", "x\u{1}", "x"),
        case("down/value-spaces", "spaces around a value", &[Stream(Protocol), Status(2), Status(4)], &[headers(WHOLE, 1, &request("GET", "/", &[("x-test", " a ")]))]).may_pass(1),
        case("down/cookie", "a cookie in crumbs", &[Status(2)], &[headers(WHOLE, 1, &request("GET", "/", &[("cookie", "a=1"), ("cookie", "b=2")]))]).may_pass(1),
    ]
}

#[rustfmt::skip]
fn lines() -> Vec<Case> {
    let line = |id, sent, method, path| {
        case(id, sent, MALFORMED, &[headers(WHOLE, 1, &request(method, path, &[]))]).may_pass(0)
    };
    let lenient = |id, sent, path| {
        let either = &[Stream(Protocol), Status(2), Status(4)];
        case(id, sent, either, &[headers(WHOLE, 1, &request("GET", path, &[]))]).may_pass(1)
    };
    vec![
        line("down/path-space", "a space in :path", "GET", "/a b"),
        line("down/path-request", "a whole request in :path", "GET", "/ HTTP/1.1\r\nhost: hidden.test\r\n\r\nGET /hidden"),
        line("down/path-tab", "a tab in :path", "GET", "/a\tb"),
        line("down/path-nul", "NUL in :path", "GET", "/a\0b"),
        line("down/path-relative", ":path without slash", "GET", "a"),
        line("down/method-space", "a request line in :method", "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\nGET", "/"),
        line("down/method-blank", "a space in :method", "GET ", "/"),
        line("down/method-empty", ":method without value", "", "/"),
        lenient("down/path-fragment", "a fragment in :path", "/a#b"),
        lenient("down/path-absolute", ":path in absolute form", "http://hidden.test/"),
        lenient("down/path-star", ":path `*` in a GET", "*"),
        malformed("down/scheme", "a request line in :scheme", &[(":method", "GET"), (":scheme", "http://hidden.test/ HTTP/1.1\r\nx: "), (":authority", "example.test"), (":path", "/")]),
    ]
}

#[rustfmt::skip]
fn hosts() -> Vec<Case> {
    let of = |id, sent, allowed, lawful, fields: &[(&str, &str)]| {
        let known = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
        let fields = [&known[..], fields].concat();
        case(id, sent, allowed, &[headers(WHOLE, 1, &block(&fields))]).may_pass(lawful)
    };
    let either = &[Stream(Protocol), Status(2), Status(4)];
    vec![
        of("down/host-none", "neither :authority nor host", MALFORMED, 0, &[]),
        of("down/host-alone", "host without :authority", either, 1, &[("host", "example.test")]),
        of("down/host-equal", "host and :authority alike", &[Status(2)], 1, &[(":authority", "example.test"), ("host", "example.test")]),
        of("down/host-other", "host and :authority differ", either, 1, &[(":authority", "example.test"), ("host", "hidden.test")]),
        of("down/host-two", "two hosts", MALFORMED, 0, &[("host", "example.test"), ("host", "hidden.test")]),
        of("down/authority-empty", ":authority without value", MALFORMED, 0, &[(":authority", "")]),
        of("down/authority-crlf", "CR LF in :authority", MALFORMED, 0, &[(":authority", "example.test\r\nx: y")]),
        of("down/authority-user", "user information in :authority", MALFORMED, 0, &[(":authority", "user@example.test")]),
        of("down/authority-path", "a path in :authority", MALFORMED, 0, &[(":authority", "example.test/a")]),
        of("down/authority-space", "a space in :authority", MALFORMED, 0, &[(":authority", "example.test hidden.test")]),
    ]
}
