//! Requests that two servers could read differently, sent as raw bytes: what exactly is
//! answered, and what exactly reaches the upstream. What the real Envoy does with each is
//! in `conformance/HTTP1.md`.

use crate::support::{Client, Proxy, Upstream};

/// What becomes of a case.
struct Case {
    name: &'static str,
    /// After the request line `POST /NAME` and `host`; or, with `@`, everything.
    sent: &'static str,
    /// Statuses, in order.
    answers: &'static [u16],
    /// What becomes of the client's connection.
    connection: Connection,
    /// Framing of each request that reached the upstream whole.
    upstream: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Connection {
    Kept,
    Closed,
}

use Connection::{Closed, Kept};

const fn case(
    name: &'static str,
    sent: &'static str,
    answers: &'static [u16],
    connection: Connection,
    upstream: &'static [&'static str],
) -> Case {
    Case {
        name,
        sent,
        answers,
        connection,
        upstream,
    }
}

const CHUNKED: &str = "chunked";
const NONE: &str = "none";

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Framing twice: chunked wins, content-length goes, and so does the connection (RFC 9112, 6.1).
    case("cl-te", "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", &[200], Closed, &[CHUNKED]),
    case("te-cl", "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", &[200], Closed, &[CHUNKED]),
    case("cl-te-hidden", "content-length: 47\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: hidden.test\r\n\r\n", &[200], Closed, &[CHUNKED]),
    case("te-cl-hidden", "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n2b\r\nGET /hidden HTTP/1.1\r\nhost: hidden.test\r\n\r\n\r\n0\r\n\r\n", &[200], Closed, &[CHUNKED]),
    // Lengths.
    case("cl-equal", "content-length: 5\r\ncontent-length: 5\r\n\r\nhello", &[200], Kept, &["5"]),
    case("cl-differing", "content-length: 5\r\ncontent-length: 0\r\n\r\nhello", &[400], Closed, &[]),
    case("cl-list", "content-length: 5, 5\r\n\r\nhello", &[400], Closed, &[]),
    case("cl-plus", "content-length: +5\r\n\r\nhello", &[400], Closed, &[]),
    case("cl-minus", "content-length: -5\r\n\r\nhello", &[400], Closed, &[]),
    case("cl-hex", "content-length: 0x5\r\n\r\nhello", &[400], Closed, &[]),
    case("cl-empty", "content-length:\r\n\r\n", &[400], Closed, &[]),
    case("cl-overflow", "content-length: 18446744073709551621\r\n\r\nhello", &[400], Closed, &[]),
    case("cl-space", "content-length : 5\r\n\r\nhello", &[400], Closed, &[]),
    case("cl-named", "connection: content-length\r\ncontent-length: 5\r\n\r\nhello", &[200], Kept, &["5"]),
    // Codings.
    case("te-case", "transfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", &[200], Kept, &[CHUNKED]),
    case("te-twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", &[200], Kept, &[CHUNKED]),
    case("te-gzip", "transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", &[200], Kept, &[CHUNKED]),
    case("te-last", "transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n", &[400], Closed, &[]),
    case("te-unknown", "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", &[400], Closed, &[]),
    case("te-vt", "transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n", &[400], Closed, &[]),
    case("te-named", "connection: transfer-encoding\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", &[200], Kept, &[CHUNKED]),
    case("te-10", "@POST /te-10 HTTP/1.0\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", &[400], Closed, &[]),
    // Chunks. Their head is good, so the request has begun to be passed on.
    case("chunk-hex", "transfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", &[400], Closed, &[]),
    case("chunk-minus", "transfer-encoding: chunked\r\n\r\n-1\r\nhello\r\n0\r\n\r\n", &[400], Closed, &[]),
    case("chunk-empty", "transfer-encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n", &[400], Closed, &[]),
    case("chunk-overflow", "transfer-encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", &[400], Closed, &[]),
    case("chunk-lf", "transfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", &[400], Closed, &[]),
    case("chunk-data-lf", "transfer-encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n", &[400], Closed, &[]),
    case("chunk-extension-lf", "transfer-encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\n", &[400], Closed, &[]),
    case("chunk-longer", "transfer-encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n", &[400], Closed, &[]),
    case("chunk-extension", "transfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n", &[200], Kept, &[CHUNKED]),
    case("chunk-space", "transfer-encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n", &[200], Kept, &[CHUNKED]),
    // Lines. A bare LF ends a line (RFC 9112, 2.2) and is CRLF from here on.
    case("lf-everywhere", "@GET /lf HTTP/1.1\nhost: t\n\n", &[200], Kept, &[NONE]),
    case("lf-te", "content-length: 5\r\nx: y\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", &[200], Closed, &[CHUNKED]),
    case("fold", "x: a\r\n b\r\ncontent-length: 0\r\n\r\n", &[400], Closed, &[]),
    case("fold-te", "content-length: 5\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n", &[400], Closed, &[]),
    case("fold-first", "@GET /fold HTTP/1.1\r\n host: t\r\n\r\n", &[400], Closed, &[]),
    case("colon-space", "x : y\r\ncontent-length: 0\r\n\r\n", &[400], Closed, &[]),
    case("colon-missing", "xy\r\ncontent-length: 0\r\n\r\n", &[400], Closed, &[]),
    case("name-empty", ": y\r\ncontent-length: 0\r\n\r\n", &[400], Closed, &[]),
    case("name-control", "x\x01: y\r\ncontent-length: 0\r\n\r\n", &[400], Closed, &[]),
    case("value-nul", "x: a\0b\r\ncontent-length: 0\r\n\r\n", &[400], Closed, &[]),
    case("value-cr", "x: a\rb\r\ncontent-length: 0\r\n\r\n", &[400], Closed, &[]),
    case("value-control", "x: a\x01b\r\ncontent-length: 0\r\n\r\n", &[400], Closed, &[]),
    case("value-del", "x: a\x7fb\r\ncontent-length: 0\r\n\r\n", &[400], Closed, &[]),
    case("leading-crlf", "@\r\nGET /crlf HTTP/1.1\r\nhost: t\r\n\r\n", &[200], Kept, &[NONE]),
    // Request lines.
    case("line-control", "@GET /a\x01b HTTP/1.1\r\nhost: t\r\n\r\n", &[400], Closed, &[]),
    case("line-space", "@GET /a b HTTP/1.1\r\nhost: t\r\n\r\n", &[400], Closed, &[]),
    case("line-short", "@GET /a\r\nhost: t\r\n\r\n", &[400], Closed, &[]),
    case("line-version", "@GET /a HTTP/9.9\r\nhost: t\r\n\r\n", &[400], Closed, &[]),
    case("line-authority", "@GET admin HTTP/1.1\r\nhost: t\r\n\r\n", &[400], Kept, &[]),
    case("line-authority-port", "@GET admin:80 HTTP/1.1\r\nhost: admin:80\r\n\r\n", &[400], Kept, &[]),
    case("line-method", "@G(T /a HTTP/1.1\r\nhost: t\r\n\r\n", &[400], Closed, &[]),
    case("garbage", "@\x16\x03\x01\x02\x00\x01\x00\x01~\r\n\r\n", &[400], Closed, &[]),
    // A good request before a bad one is served, one after it is not.
    case("good-bad", "@GET /1 HTTP/1.1\r\nhost: t\r\n\r\nGET /2 HTTP/1.1\r\nhost : t\r\n\r\nGET /3 HTTP/1.1\r\nhost: t\r\n\r\n", &[200, 400], Closed, &[NONE]),
];

#[test]
fn what_can_be_read_in_two_ways_is_refused_or_made_unambiguous() {
    let mut wrong = String::new();
    for case in CASES {
        let found = observe(case);
        let expected = (
            case.answers.to_vec(),
            case.connection,
            case.upstream
                .iter()
                .map(|text| (*text).to_owned())
                .collect(),
        );
        if found != expected {
            wrong += &format!("{}: expected {expected:?}, found {found:?}\n", case.name);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn observe(case: &Case) -> (Vec<u16>, Connection, Vec<String>) {
    let upstream = Upstream::named("ok");
    let proxy = Proxy::in_front_of(upstream.address);
    let sent = match case.sent.strip_prefix('@') {
        Some(whole) => whole.to_owned(),
        None => format!("POST /{} HTTP/1.1\r\nhost: t\r\n{}", case.name, case.sent),
    };
    let mut client = proxy.client();
    client.send(sent.bytes().collect::<Vec<_>>());
    let answers = read(&mut client, case.answers.len());
    let connection = match client
        .try_send("GET /probe HTTP/1.1\r\nhost: t\r\n\r\n")
        .and_then(|()| client.try_response("GET"))
    {
        Ok(answer) if answer.status() == 200 => Kept,
        Ok(answer) => panic!("{}: after its answers came {answer:?}", case.name),
        Err(_) => Closed,
    };
    let reached = upstream
        .requests()
        .iter()
        .filter(|request| !request.line.contains("/probe"))
        .map(|request| {
            assert!(
                !request.line.contains(" /hidden "),
                "{}: a request that was hidden in another's body",
                case.name
            );
            match (
                request.field("content-length"),
                request.field("transfer-encoding"),
            ) {
                (None, None) => NONE.to_owned(),
                (Some(length), None) => length.to_owned(),
                (None, Some(coding)) => coding.to_owned(),
                (Some(_), Some(_)) => panic!("{}: both framings reached the upstream", case.name),
            }
        })
        .collect();
    (answers, connection, reached)
}

fn read(client: &mut Client, count: usize) -> Vec<u16> {
    (0..count)
        .map_while(|_| client.try_response("GET").ok())
        .map(|answer| answer.status())
        .collect()
}

#[test]
fn a_malformed_request_has_a_line_in_the_access_log() {
    let proxy = Proxy::in_front_of(Upstream::nobody());
    assert_eq!(
        proxy
            .client()
            .request("GET /x HTTP/1.1\r\nhost : t\r\n\r\n")
            .status(),
        400
    );
    proxy.stdout.wait_for("400 DPE ");
}
