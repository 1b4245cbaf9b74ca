//! HTTP/1 that goes on without anything for anybody: heads that announce others, sizes of chunks
//! in endless digits. It ends, and whoever else asks the same worker is served meanwhile.

use std::time::Duration;

use crate::support::{Proxy, Upstream, proxy};

const EARLY: &str = "HTTP/1.1 103 Early Hints\r\n\r\n";
/// Who takes so many blocks of 64 KiB takes any number.
const BLOCKS: usize = 1 << 20;

/// What a test says again and again.
fn block(of: &str) -> Vec<u8> {
    of.repeat((64 << 10) / of.len()).into_bytes()
}

/// With these keys more of its listener and of its first route; `/other` is answered here.
fn start(upstream: &Upstream, listener: &str, route: &str) -> Proxy {
    let yaml = proxy::plain(upstream.address)
        .replace(
            "routes: [{ match: { prefix: / }, cluster: backend }]",
            &format!(
                "routes: [{{ match: {{ path: /other }}, respond: {{ body: other }} }}, {{ cluster: backend{route} }}]"
            ),
        )
        .replace(
            "  address: 127.0.0.1:0\n",
            &format!("  address: 127.0.0.1:0\n{listener}"),
        );
    Proxy::start(&yaml)
}

/// Sends `begin` once there is a request, and then this for as long as anybody takes it.
fn saying(begin: &'static str, more: &'static str) -> Upstream {
    Upstream::new(move |conn| {
        if conn.request().is_none() || !conn.send(begin) {
            return;
        }
        let more = block(more);
        let sent = (0..BLOCKS).take_while(|_| conn.send(&more)).count();
        assert!(sent < BLOCKS, "all was taken");
    })
}

/// Asks for something else until `done`, and is answered each time.
fn others_are_served(proxy: &Proxy, done: impl Fn() -> bool) {
    let mut client = proxy.client();
    let mut served = 0_u32;
    while served < 10 || !done() {
        assert_eq!(client.get("/other").text(), "other");
        served += 1;
    }
}

#[test]
fn interim_heads_without_end_are_502() {
    let upstream = saying("", EARLY);
    let proxy = start(&upstream, "", ", timeout: none");
    std::thread::scope(|scope| {
        let flooded = scope.spawn(|| proxy.get("/flood"));
        others_are_served(&proxy, || flooded.is_finished());
        let answer = flooded.join().unwrap();
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.text(), "upstream sent no valid response\n");
    });
    proxy
        .stdout
        .wait_for("502 UPE upstream_protocol_error GET /flood");
    upstream.wait_for_ended(1);
}

#[test]
fn interim_heads_that_trickle_are_ended_by_the_routes_timeout() {
    let upstream = Upstream::new(|conn| {
        if conn.request().is_some() {
            for _ in 0..2_000 {
                if !conn.send(EARLY) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            panic!("all was taken");
        }
    });
    let proxy = start(&upstream, "", ", timeout: 300ms");
    assert_eq!(proxy.get("/slow").status(), 504);
    proxy.stdout.wait_for("504 UT response_timeout GET /slow");
    upstream.wait_for_ended(1);
}

#[test]
fn many_interim_heads_before_each_response_are_no_flood() {
    const EACH: usize = 1_000;
    const LENGTH: usize = 300 << 10;
    let upstream = Upstream::new(|conn| {
        let body = "x".repeat(LENGTH);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
        let answer = [EARLY.repeat(EACH), head, body].concat();
        while conn.request().is_some() && conn.send(&answer) {}
    });
    let proxy = start(&upstream, "", "");
    let mut client = proxy.client();
    for _ in 0..20 {
        let answer = client.get("/");
        assert_eq!((answer.status(), answer.body.len()), (200, LENGTH));
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn the_size_of_a_responses_chunk_without_end_is_ended_by_the_routes_timeout() {
    let upstream = saying("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "0");
    let proxy = start(&upstream, "", ", timeout: 1s");
    std::thread::scope(|scope| {
        let flooded = scope.spawn(|| {
            let mut client = proxy.client();
            client.send("GET /flood HTTP/1.1\r\nhost: t\r\n\r\n");
            assert_eq!(client.head().status(), 200);
            client.rest().0
        });
        others_are_served(&proxy, || flooded.is_finished());
        assert_eq!(flooded.join().unwrap(), b"");
    });
    proxy.stdout.wait_for("200 UT response_timeout GET /flood");
    upstream.wait_for_ended(1);
}

#[test]
fn the_size_of_a_requests_chunk_without_end_is_ended_by_its_timeout() {
    let upstream = Upstream::new(|conn| {
        conn.rest();
    });
    let proxy = start(&upstream, "  request_timeout: 1s\n", "");
    std::thread::scope(|scope| {
        let mut client = proxy.client();
        let mut answered = client.twin();
        client.send("POST /flood HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n");
        let answer = scope.spawn(move || answered.response_to("POST"));
        let flooding = scope.spawn(move || {
            let zeros = block("0");
            let sent = (0..BLOCKS).take_while(|_| client.try_send(&zeros).is_ok());
            assert!(sent.count() < BLOCKS, "all was taken");
        });
        others_are_served(&proxy, || answer.is_finished());
        assert_eq!(answer.join().unwrap().status(), 408);
        flooding.join().unwrap();
    });
    proxy
        .stdout
        .wait_for("408 - request_overall_timeout POST /flood");
    upstream.wait_for_ended(upstream.connections());
}
