//! What has fooled pairs of servers: codings in disguise, lengths that are almost numbers,
//! chunks that end where nobody else sees an end, bodies where none is expected.

use super::case::{Case, HIDDEN, post, raw};

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const HELLO: &str = "5\r\nhello\r\n0\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = codings();
    cases.extend(lengths());
    cases.extend(chunks());
    cases.extend(bodies());
    cases
}

/// A coding, over a body which is a request for whoever does not know it.
#[rustfmt::skip]
fn codings() -> Vec<Case> {
    let hidden = format!("0\r\n\r\n{HIDDEN}");
    let length = format!("Content-Length: {}\r\n", hidden.len());
    let of = |name, sent, lawful, coding: &str| {
        post(name, sent, lawful, &format!("{length}{coding}"), &hidden)
    };
    vec![
        of("te-comma", "CL, and TE `chunked,`", 1, "Transfer-Encoding: chunked,\r\n"),
        of("te-comma-first", "CL, and TE `, chunked`", 1, "Transfer-Encoding: , chunked\r\n"),
        of("te-quoted", "CL, and TE in quotes", 0, "Transfer-Encoding: \"chunked\"\r\n"),
        of("te-parameter", "CL, and TE `chunked; q=1`", 0, "Transfer-Encoding: chunked; q=1\r\n"),
        of("te-trailing-space", "CL, and TE with blanks behind", 1, "Transfer-Encoding: chunked \t\r\n"),
        of("te-two-words", "CL, and TE `chunked chunked`", 0, "Transfer-Encoding: chunked chunked\r\n"),
        of("te-nul", "CL, and TE with NUL behind", 0, "Transfer-Encoding: chunked\0\r\n"),
        of("te-control", "CL, and TE with 0x01 before", 0, "Transfer-Encoding: \u{1}chunked\r\n"),
        of("te-cr", "CL, and TE with a bare CR behind", 0, "Transfer-Encoding: chunked\r \r\n"),
        of("te-empty", "CL, and TE without value", 0, "Transfer-Encoding:\r\n"),
        of("te-identity-cl", "CL, and TE identity", 0, "Transfer-Encoding: identity\r\n"),
        of("te-underscore", "CL, and Transfer_Encoding", 1, "Transfer_Encoding: chunked\r\n"),
        of("te-name-control", "CL, and TE with 0x0b behind its name", 0, "Transfer-Encoding\u{b}: chunked\r\n"),
        of("te-name-nbsp", "CL, and TE with a no-break space before its name", 0, "\u{a0}Transfer-Encoding: chunked\r\n"),
        of("te-folded-name", "CL, and TE as the fold of another field", 0, "X: y\r\n Transfer-Encoding: chunked\r\n"),
    ]
}

#[rustfmt::skip]
fn lengths() -> Vec<Case> {
    let of = |name, sent, lawful, value: &str| {
        post(name, sent, lawful, &format!("Content-Length:{value}\r\n"), "hello")
    };
    vec![
        of("cl-zeros", "CL `005`", 1, " 005"),
        of("cl-blanks", "CL with blanks and tabs around", 1, " \t5 \t"),
        of("cl-two-numbers", "CL `5 5`", 0, " 5 5"),
        of("cl-vertical-tab", "CL with VT behind", 0, " 5\u{b}"),
        of("cl-fraction", "CL `5.0`", 0, " 5.0"),
        of("cl-exponent", "CL `5e0`", 0, " 5e0"),
        of("cl-underscore-digits", "CL `1_0`", 0, " 1_0"),
        of("cl-quoted", "CL in quotes", 0, " \"5\""),
        of("cl-wide-digit", "CL with a digit beyond ASCII", 0, " \u{ff15}"),
        of("cl-nul", "CL with NUL behind", 0, " 5\0"),
        post("cl-underscore", "Content_Length over a request", 1, &format!("Content_Length: {}\r\n", HIDDEN.len()), ""),
    ]
}

#[rustfmt::skip]
fn chunks() -> Vec<Case> {
    let of = |name, sent, lawful, body: &str| post(name, sent, lawful, CHUNKED, body);
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(64 << 10));
    let many: String = "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n".repeat(2_000);
    vec![
        of("chunk-zeros", "chunk size `0005`", 1, "0005\r\nhello\r\n0\r\n\r\n"),
        of("chunk-upper", "chunk size `A`", 1, "A\r\nhellohello\r\n0\r\n\r\n"),
        of("chunk-space-first", "blank before the chunk size", 0, " 5\r\nhello\r\n0\r\n\r\n"),
        of("chunk-underscore", "chunk size `1_0`", 0, "1_0\r\nhellohellohello!\r\n0\r\n\r\n"),
        of("chunk-letters", "chunk size `5g`", 0, "5g\r\nhello\r\n0\r\n\r\n"),
        of("chunk-cr", "bare CR after the chunk size", 0, "5\rhello\r\n0\r\n\r\n"),
        of("chunk-cr-extension", "bare CR in a chunk extension", 0, "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        of("chunk-extension-quoted", "chunk extension whose quotes hold CR LF", 1, "5;a=\"\r\nhello\r\n0\r\n\r\n\"\r\nhello\r\n0\r\n\r\n"),
        of("chunk-extension-long", "chunk extension of 64 KiB", 1, &long),
        of("chunk-extension-many", "2,000 chunk extensions, 96 KiB", 1, &format!("{many}0\r\n\r\n")),
        of("chunk-last-lf", "bare LF after the last chunk", 0, "5\r\nhello\r\n0\n\r\n"),
        of("chunk-end-lf", "bare LF as the last line", 1, "5\r\nhello\r\n0\r\n\n"),
        of("chunk-last-hidden", "a last chunk of `00`, and a request behind it", 2, &format!("5\r\nhello\r\n00\r\n\r\n{HIDDEN}")),
        of("chunk-trailer-te", "trailer named transfer-encoding, and a request behind", 2, &format!("0\r\nTransfer-Encoding: chunked\r\n\r\n{HIDDEN}")),
        of("chunk-trailer-fold", "a folded trailer", 1, "0\r\nX-T: a\r\n b\r\n\r\n"),
        of("chunk-trailer-colon", "a trailer line without colon", 0, "0\r\nX-T\r\n\r\n"),
        of("chunk-short", "data shorter than the chunk size, then a request", 0, &format!("{:x}\r\nhello\r\n0\r\n\r\n{HIDDEN}", HIDDEN.len() + 200)),
    ]
}

#[rustfmt::skip]
fn bodies() -> Vec<Case> {
    let get = |name: &str, fields: &str, body: &str| {
        format!("GET /{name} HTTP/1.1\r\nHost: example.test\r\n{fields}\r\n{body}")
    };
    let length = format!("Content-Length: {}\r\n", HIDDEN.len());
    vec![
        raw("get-body", "GET with a body that is a request", 1, get("get-body", &length, HIDDEN)),
        raw("get-chunked", "GET, chunked", 1, get("get-chunked", CHUNKED, HELLO)),
        raw("head-body", "HEAD with a body that is a request", 1, get("head-body", &length, HIDDEN).replacen("GET", "HEAD", 1)),
        raw("trace-body", "TRACE with a body that is a request", 1, get("trace-body", &length, HIDDEN).replacen("GET", "TRACE", 1)),
        raw("upgrade-body", "an upgrade with a body that is a request", 1, get("upgrade-body", &format!("Connection: upgrade\r\nUpgrade: websocket\r\n{length}"), HIDDEN)),
        raw("expect-body", "Expect: 100-continue with a body that is a request", 1, get("expect-body", &format!("Expect: 100-continue\r\n{length}"), HIDDEN)),
        raw("expect-other", "an expectation nobody knows", 1, get("expect-other", &format!("Expect: y 100-continue\r\n{length}"), HIDDEN)),
        raw("connect", "CONNECT to another host, and a request behind", 0, format!("CONNECT hidden.test:80 HTTP/1.1\r\nHost: hidden.test:80\r\n\r\n{HIDDEN}")),
        raw("no-length", "POST without length, and a request behind", 2, format!("POST /no-length HTTP/1.1\r\nHost: example.test\r\n\r\n{HIDDEN}")),
        raw("connection-names-host", "Connection: host", 1, get("connection-names-host", "Connection: host\r\n", "")),
        raw("line-tab", "a tab between method and path", 0, "GET\t/line-tab HTTP/1.1\r\nHost: example.test\r\n\r\n"),
        raw("line-absolute-user", "absolute form with user information", 0, "GET http://a@hidden.test/line HTTP/1.1\r\nHost: example.test\r\n\r\n"),
        raw("line-double-slash", "a path that looks like a host", 1, "GET //hidden.test/line HTTP/1.1\r\nHost: example.test\r\n\r\n"),
        raw("line-obs-text", "0xff in the path", 1, b"GET /line\xff HTTP/1.1\r\nHost: example.test\r\n\r\n".to_vec()),
    ]
}
