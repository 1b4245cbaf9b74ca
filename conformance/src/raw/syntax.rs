//! Cases about the head itself: line ends, names, values, the request line, sizes.

use super::case::{Case, HIDDEN, post, raw};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = lines();
    cases.extend(values());
    cases.extend(hosts());
    cases.extend(request_lines());
    cases.extend(sizes());
    cases
}

fn lines() -> Vec<Case> {
    let with = get;
    vec![
        raw(
            "lf-everywhere",
            "bare LF as every line end",
            1,
            "GET /lf-everywhere HTTP/1.1\nHost: example.test\n\n",
        ),
        raw(
            "lf-one",
            "bare LF after one field",
            1,
            "GET /lf-one HTTP/1.1\r\nX-A: b\nHost: example.test\r\n\r\n",
        ),
        with(
            "fold",
            "obs-fold: a value goes on in the next line",
            1,
            "X-A: b\r\n c\r\n",
        ),
        with("fold-tab", "obs-fold with a tab", 1, "X-A: b\r\n\tc\r\n"),
        raw(
            "fold-first",
            "blank before the first field",
            1,
            "GET /fold-first HTTP/1.1\r\n X-A: b\r\nHost: example.test\r\n\r\n",
        ),
        with("colon-space", "space before a colon", 0, "X-A : b\r\n"),
        with("colon-missing", "field line without colon", 0, "X-A\r\n"),
        with("name-empty", "field without name", 0, ": b\r\n"),
        with("name-control", "0x01 in a field name", 0, "X\u{1}A: b\r\n"),
        raw(
            "leading-crlf",
            "empty line before the request",
            1,
            "\r\nGET /leading-crlf HTTP/1.1\r\nHost: example.test\r\n\r\n",
        ),
    ]
}

fn values() -> Vec<Case> {
    let with = get;
    vec![
        with("value-nul", "NUL in a value", 1, "X-A: b\0c\r\n"),
        with("value-cr", "bare CR in a value", 1, "X-A: b\rc\r\n"),
        with(
            "value-cr-te",
            "bare CR before a hidden TE",
            1,
            "X-A: b\rTransfer-Encoding: chunked\r\n",
        ),
        with("value-control", "0x01 in a value", 1, "X-A: b\u{1}c\r\n"),
        with("value-del", "0x7f in a value", 1, "X-A: b\u{7f}c\r\n"),
        raw(
            "value-obs-text",
            "0xff in a value",
            1,
            b"GET /value-obs-text HTTP/1.1\r\nHost: example.test\r\nX-A: \xff\r\n\r\n".as_slice(),
        ),
    ]
}

fn hosts() -> Vec<Case> {
    vec![
        raw(
            "host-missing",
            "no Host in HTTP/1.1",
            0,
            "GET /host-missing HTTP/1.1\r\n\r\n",
        ),
        get("host-two", "two Hosts", 0, "Host: other.test\r\n"),
        get(
            "host-two-equal",
            "the same Host twice",
            0,
            "Host: example.test\r\n",
        ),
        raw(
            "host-empty",
            "Host without value",
            1,
            "GET /host-empty HTTP/1.1\r\nHost:\r\n\r\n",
        ),
        raw(
            "host-bad",
            "Host `a b/c`",
            0,
            "GET /host-bad HTTP/1.1\r\nHost: a b/c\r\n\r\n",
        ),
        raw(
            "host-10",
            "no Host in HTTP/1.0",
            1,
            "GET /host-10 HTTP/1.0\r\n\r\n",
        ),
        raw(
            "host-absolute",
            "absolute form, other Host",
            1,
            "GET http://other.test/host-absolute HTTP/1.1\r\nHost: example.test\r\n\r\n",
        ),
    ]
}

fn request_lines() -> Vec<Case> {
    let host = "Host: example.test\r\n\r\n";
    let line =
        |name, sent, lawful, line: &str| raw(name, sent, lawful, format!("{line}\r\n{host}"));
    vec![
        raw(
            "garbage",
            "garbage",
            0,
            b"\x01\x02\xfe\xffgarbage\r\n\r\n".as_slice(),
        ),
        raw(
            "tls",
            "a TLS client hello",
            0,
            b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\r\n\r\n".as_slice(),
        ),
        line(
            "line-short",
            "request line without version",
            0,
            "GET /line-short",
        ),
        line(
            "line-space",
            "space in the path",
            0,
            "GET /line space HTTP/1.1",
        ),
        line(
            "line-two-spaces",
            "two spaces after the method",
            0,
            "GET  /line-two-spaces HTTP/1.1",
        ),
        line(
            "line-control",
            "0x01 in the path",
            0,
            "GET /line\u{1}control HTTP/1.1",
        ),
        // Dropped as it is parsed, it reaches nobody: refusing it is only politer.
        line(
            "line-fragment",
            "fragment in the path",
            1,
            "GET /line#fragment HTTP/1.1",
        ),
        line("line-version", "HTTP/9.9", 0, "GET /line-version HTTP/9.9"),
        line(
            "line-version-text",
            "HTTP/1.1x",
            0,
            "GET /line-version-text HTTP/1.1x",
        ),
        line(
            "line-method",
            "method `G(T`",
            0,
            "G(T /line-method HTTP/1.1",
        ),
        post(
            "cl-invalid-hidden",
            "CL `x`, then CL over a body that is a request",
            0,
            &format!("Content-Length: x\r\nContent-Length: {}\r\n", HIDDEN.len()),
            HIDDEN,
        ),
        raw(
            "pipelined-refused",
            "a request after one that must be refused",
            0,
            format!("GET /pipelined-refused HTTP/1.1\r\nHost : a\r\n\r\n{HIDDEN}"),
        ),
        get(
            "upgrade-h2c",
            "Upgrade: h2c",
            1,
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        ),
    ]
}

fn sizes() -> Vec<Case> {
    let long = format!("X-Long: {}\r\n", "a".repeat(128 * 1024));
    let many: String = (0..1000)
        .map(|number| format!("X-{number}: a\r\n"))
        .collect();
    let path = format!(
        "GET /{} HTTP/1.1\r\nHost: example.test\r\n\r\n",
        "a".repeat(128 * 1024)
    );
    vec![
        get("size-field", "a field of 128 KiB", 1, &long),
        get("size-count", "1000 fields", 1, &many),
        raw("size-path", "a path of 128 KiB", 1, path),
        raw(
            "cut",
            "half a head, nothing after it",
            0,
            "GET /cut HTTP/1.1\r\nHost: exam",
        ),
    ]
}

fn get(name: &'static str, sent: &'static str, lawful: usize, fields: &str) -> Case {
    let text = format!("GET /{name} HTTP/1.1\r\nHost: example.test\r\n{fields}\r\n");
    raw(name, sent, lawful, text)
}
