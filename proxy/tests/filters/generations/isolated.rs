//! `isolation: request`: what a stream leaves in its guest, no other finds.

use std::time::{Duration, Instant};

use super::{ADMIN, answering, metric, terse};
use crate::support::{
    BOTH, Body, Config, Filter, Http, Load, PATIENCE, Proxy, Upstream, get, post, run,
};

/// Says how many streams it has had before, and what becomes of it.
const COUNTING: &str = "on vm_start (!text {\"starts\"})
    on request_headers
        (global.set $g (i32.add (global.get $g) #1))
        (!say (i32.add #7000 (global.get $g)))
    on log (!text {\"log\"})
    on done (!text {\"done\"}) (return #1)
    on delete (!text {\"delete\"})";

#[test]
fn every_stream_has_a_vm_of_its_own_from_its_start_to_its_end() {
    run(async {
        for http in BOTH {
            let filter = Filter::wasm("f", terse(COUNTING)).with("isolation: request");
            let proxy = Proxy::start(&answering().filter(filter)).await;
            let mut client = proxy.client(http).await;
            assert!(proxy.lines(&["starts"]).is_empty(), "nobody has asked");
            for _ in 0..3 {
                assert_eq!(client.send(get("/a")).await.status, 200);
            }
            // The stream's end, and then the root's.
            proxy.logged_times(&["delete"], 6).await;
            assert_eq!(proxy.lines(&["starts"]).len(), 3);
            assert_eq!(proxy.lines(&[" 7001 "]).len(), 3);
            assert_eq!(proxy.lines(&["log", "context=2"]).len(), 3);
            assert_eq!(proxy.lines(&["delete", "context=1"]).len(), 3);
        }
    });
}

#[test]
fn a_crash_costs_its_own_stream_and_too_many_hold_the_filter_back() {
    run(async {
        let guest = terse(
            "on request_headers
                (if (i32.eqz (!get_header_map_value #0 {\"x-crash\"} @out)) (then (unreachable)))",
        );
        let filter = Filter::wasm("f", guest).with("isolation: request");
        let config = answering().filter(filter).with("ready_needs: [f]");
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        let crashing = || {
            let mut request = get("/crash");
            let value = "1".parse().expect("a value");
            request.headers_mut().insert("x-crash", value);
            request
        };
        for _ in 0..4 {
            assert_eq!(client.send(crashing()).await.status, 503);
            assert_eq!(client.send(get("/a")).await.status, 200);
        }
        assert_eq!(client.send(crashing()).await.status, 503);
        proxy.logged(&["held back for 1s", "filter=\"f\""]).await;
        // It is ready again without anybody asking for it.
        let began = Instant::now();
        while proxy.admin("/ready").await.status != 200 {
            assert!(began.elapsed().as_secs() < 5);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(client.send(get("/a")).await.status, 200);
    });
}

#[test]
fn the_end_of_a_hold_does_not_end_the_longer_one_that_came_meanwhile() {
    run(async {
        let guest = terse(
            "on request_headers (!text {\"begun\"})
            on request_body (unreachable)",
        );
        let filter = Filter::wasm("f", guest).with("isolation: request");
        let upstream = Upstream::start();
        let config = Config::new(upstream.address).filter(filter).with(ADMIN);
        let proxy = Proxy::start(&config.with("ready_needs: [f]")).await;
        // All of them have begun before any crashes.
        let mut client = proxy.client(Http::Two).await;
        let mut streams = Vec::new();
        for _ in 0..10 {
            let (feeder, body) = Body::fed();
            streams.push((feeder, tokio::spawn(client.start(post("/a", body)))));
        }
        proxy.logged_times(&["begun"], 10).await;
        for (feeder, _) in &streams[..5] {
            feeder.feed("crash");
        }
        proxy.logged(&["held back for 1s", "filter=\"f\""]).await;
        let began = Instant::now();
        for (feeder, _) in &streams[5..] {
            feeder.feed("crash");
        }
        proxy.logged(&["held back for 2s", "filter=\"f\""]).await;
        while proxy.admin("/ready").await.status != 200 {
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(began.elapsed() >= Duration::from_secs(2));
        assert_eq!(client.send(get("/b")).await.status, 200);
    });
}

#[test]
fn an_answer_that_comes_after_the_stream_still_finds_its_vm() {
    run(async {
        let callee = Upstream::start();
        let guest = terse(
            "on log
                (drop (!http_call {\"callee\"} {pairs \":method\" \"GET\" \":path\" \"/held\" \":authority\" \"a\"} #0 #0 #0 #0 #9000 #16))
            on http_call_response (!text {\"answered\"})
            on delete (!text {\"delete\"})",
        );
        let config = answering()
            .filter(Filter::wasm("f", guest).with("isolation: request"))
            .cluster(format!(
                "{{ name: callee, endpoints: ['{}'] }}",
                callee.address
            ));
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        for _ in 0..2 {
            assert_eq!(client.send(get("/a")).await.status, 200);
        }
        proxy.logged_times(&["delete", "context=2"], 2).await;
        assert!(proxy.lines(&["delete", "context=1"]).is_empty());
        callee.gate.open();
        proxy.logged_times(&["answered"], 2).await;
        proxy.logged_times(&["delete", "context=1"], 2).await;
    });
}

#[test]
fn under_load_nothing_fails_and_nothing_stays() {
    run(async {
        let guest = terse("on request_headers (global.set $g (i32.add (global.get $g) #1))");
        let filter = Filter::wasm("f", guest).with("isolation: request");
        let proxy = Proxy::start(&answering().filter(filter).workers(2)).await;
        let Some(load) = Load::on(proxy.address, 1) else {
            return;
        };
        load.end();
        let before = proxy.peak_memory();
        let Some(load) = Load::on(proxy.address, 2) else {
            return;
        };
        let outcome = load.end();
        let grown = proxy.peak_memory() - before;
        // One VM that stays for each would be gigabytes.
        assert!(grown < 32 << 20, "{grown} bytes for {}", outcome.requests);
        let interpreter = "cofferdam_filter_vm_starts_total{filter=\"f\",engine=\"interpreter\"}";
        assert!(metric(&proxy, interpreter).await >= outcome.requests);
    });
}

#[test]
fn a_filter_may_log_for_all_and_see_each_stream_alone() {
    run(async {
        // Its root as a logger counts on; its streams begin anew each time.
        let filter = Filter::wasm(
            "f",
            terse(
                "on request_headers
                    (global.set $g (i32.add (global.get $g) #1))
                    (!say (i32.add #7000 (global.get $g)))
                on log
                    (if (i32.eq (local.get $a) #1) (then
                        (global.set $h (i32.add (global.get $h) #1))
                        (!say (i32.add #8000 (global.get $h)))))",
            ),
        )
        .with("isolation: request");
        let config = answering()
            .filter(filter)
            .listener("access_log_filters: [f]");
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        for _ in 0..3 {
            assert_eq!(client.send(get("/a")).await.status, 200);
        }
        proxy.logged_times(&[" 7001 "], 3).await;
        for count in [" 8001 ", " 8002 ", " 8003 "] {
            proxy.logged(&[count]).await;
        }
    });
}
