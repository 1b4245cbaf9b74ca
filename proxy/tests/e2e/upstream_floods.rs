//! HTTP/2 upstreams that send what costs them nothing: their connections end, what was on them
//! is told why, and other endpoints go on serving.

use std::net::SocketAddr;

use crate::support::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame,
};
use crate::support::upstream::Conn;
use crate::support::{Proxy, Upstream};

/// In so many rounds of a hundred frames every connection has used its credit up, however slow
/// the machine.
const ROUNDS: u32 = 100_000;
const PREFACE: usize = 24;
/// `:status: 200` and `:status: 103`.
const OK: &[u8] = b"\x88";
const EARLY_HINTS: &[u8] = b"\x08\x03103";

/// Says hello, and then with each request, by its stream, does `answer` as long as that is true.
pub(crate) fn speaking(
    settings: &'static [u8],
    answer: impl Fn(&mut Conn, u32) -> bool + Send + Sync + 'static,
) -> Upstream {
    Upstream::new(move |conn| {
        if conn.bytes(PREFACE).is_err() || !conn.send(frame(SETTINGS, 0, 0, settings)) {
            return;
        }
        while let Ok(head) = conn.bytes(9) {
            let length = usize::from(head[1]) << 8 | usize::from(head[2]);
            if conn.bytes(length).is_err() {
                return;
            }
            let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
            let goes_on = match (head[3], head[4] & ACK) {
                (SETTINGS, 0) => conn.send(frame(SETTINGS, ACK, 0, &[])),
                (HEADERS, _) => answer(conn, stream),
                _ => true,
            };
            if !goes_on {
                return;
            }
        }
    })
}

fn good() -> Upstream {
    speaking(&[], |conn, stream| {
        conn.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, OK))
    })
}

/// Sends `begin`, and then these frames again and again.
fn flooding(begin: Vec<u8>, one: Vec<u8>) -> Upstream {
    // Whoever is asked first has this stream.
    speaking(&[], move |conn, stream| {
        assert_eq!(stream, 1);
        let many = one.repeat(100);
        if !conn.send(&begin) {
            return false;
        }
        let sent = (0..ROUNDS).take_while(|_| conn.send(&many)).count();
        assert!(sent < ROUNDS as usize, "all was taken");
        false
    })
}

fn proxy(endpoints: &[SocketAddr], more: &str) -> Proxy {
    let endpoints: Vec<String> = endpoints.iter().map(|it| format!("'{it}'")).collect();
    Proxy::start(&format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c }}] }}]\n\
         clusters: [{{ name: c, protocol: http2, endpoints: [{}]{more} }}]\n\
         workers: 1\naccess_log: {{ format: '%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%' }}\n",
        endpoints.join(", ")
    ))
}

#[test]
fn frames_that_answer_nothing_end_the_connection() {
    let head = |block| frame(HEADERS, END_HEADERS, 1, block);
    let floods = [
        ("ping", frame(PING, 0, 0, &[1; 8])),
        ("answers to pings", frame(PING, ACK, 0, &[1; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("window update", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ("unknown", frame(0xbe, 0, 0, &[])),
        ("early hints", head(EARLY_HINTS)),
    ];
    for (name, one) in floods {
        let upstream = flooding(Vec::new(), one);
        let proxy = proxy(&[upstream.address], "");
        assert_eq!(proxy.get("/").status(), 502, "{name}");
        let line = proxy.stdout.wait_for("502 ");
        assert_eq!(line, "502 UPE upstream_protocol_error", "{name}");
        upstream.wait_for_ended(1);
    }
}

#[test]
fn a_response_without_an_end_ends_the_connection() {
    let head = frame(HEADERS, END_HEADERS, 1, OK);
    let upstream = flooding(head, frame(DATA, 0, 1, &[]));
    let flooded = proxy(&[upstream.address], "");
    let mut client = flooded.client();
    client.send("GET / HTTP/1.1\r\nhost: t\r\n\r\n");
    // The end may come before the head has left.
    client.rest();
    flooded.stdout.wait_for("200 UPE ");
    upstream.wait_for_ended(1);

    let begin = frame(HEADERS, 0, 1, OK);
    let upstream = flooding(begin, frame(CONTINUATION, 0, 1, &[]));
    let flooded = proxy(&[upstream.address], "");
    assert_eq!(flooded.get("/").status(), 502);
    flooded.stdout.wait_for("502 UPE upstream_protocol_error");
    upstream.wait_for_ended(1);
}

#[test]
fn another_endpoint_goes_on_serving() {
    let (bad, good) = (flooding(Vec::new(), frame(PING, 0, 0, &[1; 8])), good());
    let proxy = proxy(
        &[bad.address, good.address],
        ", outlier_detection: { consecutive_5xx: 1, max_ejection_percent: 50, base_ejection_time: 1h, max_ejection_time: 1h }",
    );
    while bad.connections() == 0 {
        proxy.get("/");
    }
    bad.wait_for_ended(1);
    // It counts as failed, and is left out.
    proxy.log.wait_for("endpoint is ejected");
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status(), 200);
    }
    assert_eq!(bad.connections(), 1);
}

#[test]
fn an_upstream_that_answers_may_send_many_of_these_frames() {
    let upstream = speaking(&[], |conn, stream| {
        // More than the credit in all: 3,000 resets, 9,000 others.
        let more = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
        let hints = frame(HEADERS, END_HEADERS, stream, EARLY_HINTS);
        let answer = match stream % 4 {
            1 => frame(HEADERS, END_HEADERS | END_STREAM, stream, OK),
            _ => frame(RST_STREAM, 0, stream, &[0, 0, 0, 2]),
        };
        conn.send([&more[..], &hints, &answer].concat())
    });
    let proxy = proxy(&[upstream.address], "");
    let mut client = proxy.client();
    for number in 0..6_000 {
        let wanted = if number % 2 == 0 { 200 } else { 503 };
        assert_eq!(client.get("/").status(), wanted, "request {number}");
    }
    assert_eq!(upstream.connections(), 1);
}
