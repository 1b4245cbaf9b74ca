//! What clients and filters bring about with each request makes a few short lines, whatever
//! they send.

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use crate::support::{Body, Config, Filter, Guest, Http, Proxy, Upstream, get, post, run};

/// Most that one such thing may take of the log.
const FEW_LINES: usize = 10;
const FEW_BYTES: usize = 8192;

/// Names of 60,000 zeros, and as many bytes that are text.
const LONG: &str = "
    (func $long_names (param $map i32) (local $n i32)
        (loop $more
            (drop (call $add (local.get $map) (i32.const 131072) (i32.const 60000)
                (i32.const 131072) (i32.const 1)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $n) (i32.const 15)))))
    (func $long_details
        (memory.fill (i32.const 131072) (i32.const 120) (i32.const 60000))
        (drop (call $local_response (i32.const 403) (i32.const 131072) (i32.const 60000)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))))";

async fn with(guest: &Guest) -> (Upstream, Proxy) {
    let upstream = Upstream::start();
    let filter = Filter::wasm("loud", guest.build());
    let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
    (upstream, proxy)
}

/// What the log says of one thing.
async fn told(proxy: &Proxy, what: &str) -> String {
    let first = proxy.logged(&["WARN", what]).await;
    // The access log has its line when everything else has been said.
    proxy.access(&["\"/loud\""]).await;
    let lines = proxy.lines(&["WARN", what]);
    assert!(lines.len() <= FEW_LINES, "{} lines: {first}", lines.len());
    let size: usize = proxy.log().iter().map(String::len).sum();
    assert!(size <= FEW_BYTES, "{size} bytes of log");
    first
}

#[test]
fn a_clients_trailers_that_cannot_be_sent_make_a_few_lines() {
    run(async {
        let (_upstream, proxy) = with(&Guest::new()).await;
        let mut trailers = HeaderMap::new();
        for _ in 0..1500 {
            trailers.append("trailer", "x".parse().expect("a value"));
        }
        trailers.append("x-sum", "1".parse().expect("a value"));
        let body = Body::Ready(
            [
                Frame::data(Bytes::from_static(b"body")),
                Frame::trailers(trailers),
            ]
            .into(),
        );
        let mut client = proxy.client(Http::Two).await;
        assert_eq!(client.send(post("/loud", body)).await.status, 200);
        told(&proxy, "trailer left out").await;
        assert_eq!(client.send(get("/next")).await.status, 200);
        // Those that were not told are counted: in the line after them, or at the end.
        proxy.terminate();
        proxy
            .logged(&["WARN", "more was left out", "trailers"])
            .await;
        let told = proxy.lines(&["WARN", "trailer left out"]).len();
        let left_out = |line: &String| {
            let number = line.split("left_out=").nth(1)?.split(' ').next()?;
            number.parse::<usize>().ok()
        };
        let left_out: usize = proxy.log().iter().filter_map(left_out).sum();
        assert_eq!(told + left_out, 1500);
    });
}

#[test]
fn a_filters_long_names_make_a_few_short_lines() {
    run(async {
        let guest = Guest::new()
            .define(LONG)
            .on("request_headers", "(call $long_names (i32.const 0))");
        let (_upstream, proxy) = with(&guest).await;
        let mut client = proxy.client(Http::One).await;
        assert_eq!(client.send(get("/loud")).await.status, 200);
        let first = told(&proxy, "header made by a filter left out").await;
        assert!(first.contains('…'), "{first}");
    });
}

#[test]
fn a_response_that_cannot_be_sent_is_told_in_short() {
    run(async {
        let guest = Guest::new()
            .define(LONG)
            .on("response_headers", "(call $long_names (i32.const 2))");
        let upstream = Upstream::start();
        let filter = Filter::wasm("loud", guest.build());
        let filter = filter.with("compat: { reject_smuggling: false }");
        let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
        let mut client = proxy.client(Http::One).await;
        assert_eq!(client.send(get("/loud")).await.status, 502);
        let line = proxy
            .access(&["\"/loud\"", "invalid_response_headers"])
            .await;
        assert!(line.len() < 2048, "{} bytes", line.len());
        let line = proxy.logged(&["ERROR", "cannot be sent"]).await;
        assert!(line.len() < 2048, "{} bytes", line.len());
    });
}

#[test]
fn what_a_filter_says_of_its_answer_is_cut() {
    run(async {
        let guest = Guest::new().define(LONG).on(
            "request_headers",
            "(call $long_details) (return (i32.const 1))",
        );
        let (_upstream, proxy) = with(&guest).await;
        let mut client = proxy.client(Http::One).await;
        assert_eq!(client.send(get("/loud")).await.status, 403);
        let line = proxy.access(&["\"/loud\"", "xxxx"]).await;
        assert!(
            line.contains(&"x".repeat(1024)) && line.contains('…'),
            "{line}"
        );
        assert!(line.len() < 2048, "{} bytes", line.len());
    });
}
