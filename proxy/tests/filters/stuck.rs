//! Filters that hold back what nobody will ever let go: the stream's silence ends it, or
//! the crash of what it waited for; and records that would forge others.

use std::net::SocketAddr;

use crate::support::{BOTH, Config, Filter, Guest, Http, Proxy, Upstream, get, run};

const HOLD: &str = "(return (i32.const 1))";

/// Through that guest, on a route whose streams may be silent for a moment only.
async fn start(guest: &Guest, upstream: SocketAddr) -> Proxy {
    let config = Config::new(upstream)
        .filter(Filter::wasm("f", guest.build()))
        .routes(&["{ match: { prefix: / }, cluster: up, idle_timeout: 300ms }"]);
    Proxy::start(&config).await
}

/// The request ends with the idle timeout's answer, and the stream's context once.
async fn ends_by_silence(proxy: &Proxy, http: Http) {
    let answer = proxy.client(http).await.send(get("/a")).await;
    assert_eq!(
        (answer.status, answer.text(), answer.cut),
        (408, "stream timeout\n", false),
        "{http:?}"
    );
    proxy.access(&["\"/a\"", "408", "SI"]).await;
    proxy.logged(&["filter: delete 2."]).await;
    for name in ["response_headers 2 ", "log 2.", "done 2.", "delete 2."] {
        let calls = proxy.lines(&[&format!("filter: {name}")]);
        assert_eq!(calls.len(), 1, "{name} over {http:?}: {calls:#?}");
    }
}

#[test]
fn a_filter_that_holds_its_own_answer_for_ever_is_gone_around() {
    run(async {
        for http in BOTH {
            let guest = Guest::new()
                .on(
                    "request_headers",
                    "(call $reply (i32.const 403) «no») (return (i32.const 1))",
                )
                .on("response_headers", HOLD);
            let upstream = Upstream::start();
            ends_by_silence(&start(&guest, upstream.address).await, http).await;
            assert!(upstream.seen().is_empty());
        }
    });
}

#[test]
fn a_filter_that_holds_a_failure_for_ever_is_gone_around() {
    run(async {
        for http in BOTH {
            let guest = Guest::new().on("response_headers", HOLD);
            ends_by_silence(&start(&guest, Upstream::nowhere()).await, http).await;
        }
    });
}

#[test]
fn a_filter_that_holds_a_response_for_ever_is_gone_around() {
    run(async {
        for http in BOTH {
            let guest = Guest::new().on("response_headers", HOLD);
            let upstream = Upstream::start();
            ends_by_silence(&start(&guest, upstream.address).await, http).await;
        }
    });
}

#[test]
fn a_tick_that_traps_fails_the_stream_that_waits_for_it() {
    run(async {
        for held in ["request_headers", "response_headers"] {
            for (policy, http) in
                ["closed", "open", "reload"]
                    .into_iter()
                    .zip([Http::One, Http::Two, Http::One])
            {
                let about = format!("{held} under {policy} over {http:?}");
                let marked =
                    "(i32.eqz (call $get (i32.const 0) «x-hold» (i32.const 0) (i32.const 4)))";
                let hold =
                    format!("(if {marked} (then (drop (call $tick_period (i32.const 5))) {HOLD}))");
                let guest = Guest::new().on(held, hold).on("tick", "unreachable");
                let filter = Filter::wasm("f", guest.build()).with(format!("on_failure: {policy}"));
                let upstream = Upstream::start();
                let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
                let mut client = proxy.client(http).await;
                let mut request = get("/a");
                request
                    .headers_mut()
                    .insert("x-hold", "1".parse().expect("a value"));
                assert_eq!(client.send(request).await.status, 503, "{about}");
                proxy
                    .logged(&["ERROR", "filter=\"f\"", "proxy_on_tick", "filter crashed"])
                    .await;
                proxy.access(&["\"/a\"", "503", "WF"]).await;
                assert_eq!(client.send(get("/next")).await.status, 200, "{about}");
                // In a VM of its own.
                proxy.logged_times(&["request_headers 2 "], 2).await;
            }
        }
    });
}

#[test]
fn a_guest_cannot_forge_records_or_drive_a_terminal() {
    run(async {
        let forge =
            "(drop (call $log (i32.const 2) «one\nERROR forged\r\u{1b}[31mred\u{9b}\u{0}.»))";
        let guest = Guest::new().on("request_headers", forge);
        let upstream = Upstream::start();
        let proxy = start(&guest, upstream.address).await;
        assert_eq!(
            proxy.client(Http::One).await.send(get("/a")).await.status,
            200
        );
        let line = proxy.logged(&["filter: one"]).await;
        let escaped = r"one\nERROR forged\r\x1b[31mred\xc2\x9b\x00.";
        assert!(line.contains(escaped), "{line}");
        proxy.logged(&["filter: delete 2."]).await;
        assert_eq!(proxy.lines(&["forged"]), [line]);
        let wild = |line: &String| line.chars().any(char::is_control);
        assert!(!proxy.log().iter().any(wild), "{:?}", proxy.log());
    });
}
