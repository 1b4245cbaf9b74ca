//! Cases about where a message ends: content-length, transfer-encoding, chunks.

use super::case::{Case, HIDDEN, post, raw};

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const HELLO: &str = "5\r\nhello\r\n0\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = controls();
    cases.extend(both());
    cases.extend(lengths());
    cases.extend(codings());
    cases.extend(chunks());
    cases
}

/// What must work: without these a proxy that refuses everything would look safe.
fn controls() -> Vec<Case> {
    let get = |path: &str| format!("GET /{path} HTTP/1.1\r\nHost: example.test\r\n\r\n");
    vec![
        raw("plain", "GET, nothing special", 1, get("plain")),
        raw(
            "pipelined",
            "two GETs in one packet",
            2,
            get("pipelined") + &get("second"),
        ),
        post(
            "cl",
            "POST with content-length 5",
            1,
            "Content-Length: 5\r\n",
            "hello",
        ),
        post("te", "POST, chunked", 1, CHUNKED, HELLO),
        post(
            "te-extension",
            "chunk extension",
            1,
            CHUNKED,
            "5;a=b\r\nhello\r\n0\r\n\r\n",
        ),
        post(
            "te-trailers",
            "chunked with a trailer field",
            1,
            CHUNKED,
            "0\r\nX-T: 1\r\n\r\n",
        ),
    ]
}

fn both() -> Vec<Case> {
    let after = format!("0\r\n\r\n{HIDDEN}");
    let inside = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    let length = format!("Content-Length: {}\r\n", after.len());
    let five = "Content-Length: 5\r\n";
    let agreeing = format!("Content-Length: {}\r\n", HELLO.len());
    let pipelined = format!("{HELLO}{HIDDEN}");
    vec![
        post(
            "cl-te",
            "CL, then TE",
            1,
            &format!("{five}{CHUNKED}"),
            HELLO,
        ),
        post(
            "te-cl",
            "TE, then CL",
            1,
            &format!("{CHUNKED}{five}"),
            HELLO,
        ),
        post(
            "cl-te-hidden",
            "CL spans a request after the last chunk, then TE",
            1,
            &format!("{length}{CHUNKED}"),
            &after,
        ),
        post(
            "te-cl-hidden",
            "TE with a request as chunk, CL ends at its size line",
            1,
            &format!("{CHUNKED}Content-Length: 4\r\n"),
            &inside,
        ),
        // RFC 9112 6.1: the connection must be closed after answering such a request.
        post(
            "cl-te-pipelined",
            "CL and TE that agree, then another request",
            1,
            &format!("{agreeing}{CHUNKED}"),
            &pipelined,
        ),
        post(
            "cl-names-connection",
            "Connection: content-length over a body that is a request",
            1,
            &format!(
                "Connection: content-length\r\nContent-Length: {}\r\n",
                HIDDEN.len()
            ),
            HIDDEN,
        ),
        post(
            "te-names-connection",
            "Connection: transfer-encoding",
            1,
            &format!("Connection: transfer-encoding\r\n{CHUNKED}"),
            HELLO,
        ),
        post(
            "cl-tab-te",
            "CL, and TE with a tab before its value",
            1,
            &format!("{five}Transfer-Encoding:\tchunked\r\n"),
            HELLO,
        ),
        post(
            "cl-te-folded",
            "CL, and TE folded onto the next line",
            1,
            &format!("{five}Transfer-Encoding:\r\n chunked\r\n"),
            HELLO,
        ),
        post(
            "cl-te-bare-lf",
            "CL, and TE behind a bare LF in a value",
            1,
            &format!("{five}X-A: b\nTransfer-Encoding: chunked\r\n"),
            HELLO,
        ),
        post(
            "cl-te-space",
            "CL, and TE with a space before its colon",
            0,
            &format!("{five}Transfer-Encoding : chunked\r\n"),
            HELLO,
        ),
    ]
}

fn lengths() -> Vec<Case> {
    let one = |name, sent, lawful, value: &str| {
        post(
            name,
            sent,
            lawful,
            &format!("Content-Length: {value}\r\n"),
            "hello",
        )
    };
    let two = |name, sent, lawful, second: &str| {
        let fields = format!("Content-Length: 5\r\nContent-Length: {second}\r\n");
        post(name, sent, lawful, &fields, "hello")
    };
    vec![
        two("cl-equal", "CL 5 twice", 1, "5"),
        two("cl-differing", "CL 5, then CL 0", 0, "0"),
        one("cl-list-equal", "CL `5, 5`", 1, "5, 5"),
        one("cl-list-differing", "CL `5, 6`", 0, "5, 6"),
        one("cl-plus", "CL `+5`", 0, "+5"),
        one("cl-minus", "CL `-5`", 0, "-5"),
        one("cl-hex", "CL `0x5`", 0, "0x5"),
        one("cl-empty", "CL without value", 0, ""),
        one("cl-overflow", "CL 2^64 + 5", 0, "18446744073709551621"),
        post(
            "cl-space",
            "space before the colon of CL",
            0,
            "Content-Length : 5\r\n",
            "hello",
        ),
    ]
}

fn codings() -> Vec<Case> {
    let te = |name, sent, lawful, value: &str| {
        post(
            name,
            sent,
            lawful,
            &format!("Transfer-Encoding: {value}\r\n"),
            HELLO,
        )
    };
    vec![
        te("te-case", "TE `Chunked`", 1, "Chunked"),
        te("te-gzip-chunked", "TE `gzip, chunked`", 1, "gzip, chunked"),
        te("te-chunked-gzip", "TE `chunked, gzip`", 0, "chunked, gzip"),
        te(
            "te-twice-list",
            "TE `chunked, chunked`",
            1,
            "chunked, chunked",
        ),
        te(
            "te-twice",
            "TE chunked on two lines",
            1,
            "chunked\r\nTransfer-Encoding: chunked",
        ),
        te(
            "te-identity",
            "TE chunked and TE identity",
            0,
            "chunked\r\nTransfer-Encoding: identity",
        ),
        te("te-unknown", "TE `xchunked`", 0, "xchunked"),
        te("te-vertical-tab", "TE VT chunked", 0, "\u{b}chunked"),
        raw(
            "te-10",
            "TE in HTTP/1.0",
            1,
            format!("POST /te-10 HTTP/1.0\r\nHost: example.test\r\n{CHUNKED}\r\n{HELLO}"),
        ),
        raw(
            "te-10-cl",
            "TE and CL in HTTP/1.0",
            1,
            format!(
                "POST /te-10-cl HTTP/1.0\r\nHost: example.test\r\nContent-Length: 5\r\n{CHUNKED}\r\n{HELLO}"
            ),
        ),
    ]
}

fn chunks() -> Vec<Case> {
    let chunked = |name, sent, lawful, body: &str| post(name, sent, lawful, CHUNKED, body);
    vec![
        chunked(
            "chunk-hex",
            "chunk size `0x5`",
            0,
            "0x5\r\nhello\r\n0\r\n\r\n",
        ),
        chunked(
            "chunk-plus",
            "chunk size `+5`",
            0,
            "+5\r\nhello\r\n0\r\n\r\n",
        ),
        chunked(
            "chunk-minus",
            "chunk size `-1`",
            0,
            "-1\r\nhello\r\n0\r\n\r\n",
        ),
        chunked(
            "chunk-empty",
            "chunk size missing",
            0,
            "\r\nhello\r\n0\r\n\r\n",
        ),
        chunked(
            "chunk-overflow",
            "chunk size 2^64 + 5",
            0,
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        chunked(
            "chunk-space",
            "blank after the chunk size",
            1,
            "5 \r\nhello\r\n0\r\n\r\n",
        ),
        chunked(
            "chunk-bare-lf",
            "bare LF after the chunk size",
            0,
            "5\nhello\r\n0\r\n\r\n",
        ),
        chunked(
            "chunk-data-bare-lf",
            "bare LF after the chunk data",
            0,
            "5\r\nhello\n0\r\n\r\n",
        ),
        chunked(
            "chunk-extension-lf",
            "bare LF in a chunk extension",
            0,
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
        ),
        chunked(
            "chunk-longer",
            "data longer than the chunk size",
            0,
            "5\r\nhello, world\r\n0\r\n\r\n",
        ),
        chunked(
            "chunk-hidden",
            "data longer than the size by a whole request",
            0,
            &format!("5\r\nhello{HIDDEN}\r\n0\r\n\r\n"),
        ),
        chunked(
            "chunk-trailer-cl",
            "trailer named content-length",
            1,
            "0\r\nContent-Length: 5\r\n\r\n",
        ),
    ]
}
