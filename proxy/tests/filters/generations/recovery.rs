//! After a crash: a VM at once, a filter that is held back when that does not help, and
//! guests that never give memory back.

use std::time::{Duration, Instant};

use super::{ENGINES, LONG, answering, filter, metric, terse, traffic_flows};
use crate::support::{Body, Client, Config, Filter, Guest, Http, Load, Proxy, Upstream, get, run};

const CRASH: &str = "on vm_start (!text {\"starts\"})
    on request_headers
        (if (i32.eqz (!get_header_map_value #0 {\"x-crash\"} @out)) (then (unreachable)))";

fn crashing() -> http::Request<Body> {
    let mut request = get("/crash");
    request
        .headers_mut()
        .insert("x-crash", "1".parse().expect("a value"));
    request
}

async fn status(client: &mut Client) -> u16 {
    client.send(get("/a")).await.status
}

async fn becomes_ready(proxy: &Proxy) {
    let began = Instant::now();
    while proxy.admin("/ready").await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_vm_that_crashed_is_replaced_before_anybody_asks() {
    run(async {
        let config = answering().filter(Filter::wasm("f", terse(CRASH)));
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        assert_eq!(client.send(crashing()).await.status, 503);
        proxy.logged_times(&["starts"], 2).await;
        assert_eq!(status(&mut client).await, 200);
        assert_eq!(proxy.lines(&["starts"]).len(), 2);
        let crashes = "cofferdam_filter_vm_replacements_total{filter=\"f\",reason=\"crash\"}";
        assert_eq!(metric(&proxy, crashes).await, 1);
    });
}

/// Streams that began on a VM that has crashed finish there where its guest can still be called
/// (this one can), and whoever comes next is served by another: so the load must not see any of
/// the crashes. The fifth would hold the filter back.
#[test]
fn crashes_under_load_cost_nobody_but_who_caused_them() {
    run(async {
        for engine in ENGINES {
            let config = answering()
                .filter(filter(engine, &terse(CRASH)))
                .without_access_log()
                .workers(2);
            let proxy = Proxy::start(&config).await;
            let Some(load) = Load::on(proxy.address, LONG) else {
                return;
            };
            let crashes = "cofferdam_filter_vm_replacements_total{filter=\"f\",reason=\"crash\"}";
            for crash in 1..=4 {
                traffic_flows(&proxy).await;
                // On whichever worker.
                let mut client = proxy.client(Http::One).await;
                assert_eq!(client.send(crashing()).await.status, 503, "{engine}");
                assert_eq!(status(&mut client).await, 200, "{engine}");
                proxy.measured(&format!("{crashes} {crash}")).await;
                proxy.logged_times(&["starts"], 2 + crash).await;
            }
            traffic_flows(&proxy).await;
            load.stop();
            assert_eq!(proxy.lines(&["starts"]).len(), 6, "{engine}");
            assert_eq!(proxy.lines(&["filter crashed"]).len(), 4, "{engine}");
            assert!(proxy.lines(&["held back"]).is_empty(), "{engine}");
        }
    });
}

#[test]
fn a_filter_that_keeps_crashing_is_held_back_and_comes_back() {
    run(async {
        for (policy, meanwhile) in [("closed", 503), ("open", 200), ("reload", 503)] {
            let filter = Filter::wasm("f", terse(CRASH)).with(format!("on_failure: {policy}"));
            let config = answering().filter(filter).with("ready_needs: [f]");
            let proxy = Proxy::start(&config).await;
            proxy.logged(&["starts"]).await;
            becomes_ready(&proxy).await;
            let mut client = proxy.client(Http::Two).await;
            let began = Instant::now();
            for _ in 0..5 {
                assert_eq!(client.send(crashing()).await.status, 503, "{policy}");
            }
            // On a machine that is very slow the hold may be over by now.
            let held = status(&mut client).await;
            let ready = proxy.admin("/ready").await;
            if began.elapsed() < Duration::from_millis(900) {
                assert_eq!(held, meanwhile, "{policy}");
                assert_eq!(ready.status, 503, "{policy}");
                assert_eq!(ready.text(), "not ready: without f\n");
            }
            proxy
                .logged(&["ERROR", "filter=\"f\"", "held back for 1s"])
                .await;
            assert_eq!(
                metric(&proxy, "cofferdam_filter_held_back_total{filter=\"f\"}").await,
                1
            );
            // It comes back by itself.
            proxy.logged_times(&["starts"], 6).await;
            assert!(began.elapsed() >= Duration::from_secs(1), "{policy}");
            becomes_ready(&proxy).await;
            assert_eq!(status(&mut client).await, 200, "{policy}");
            // The next time it is longer, but for `reload`.
            for _ in 0..5 {
                assert_eq!(client.send(crashing()).await.status, 503, "{policy}");
            }
            let longer = if policy == "reload" { "1s" } else { "2s" };
            let words = format!("held back for {longer}");
            proxy.logged_times(&["ERROR", &words], 1).await;
        }
    });
}

#[test]
fn a_module_that_has_been_mended_need_not_wait() {
    run(async {
        let config = answering().filter(Filter::wasm("f", terse(CRASH)));
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        for _ in 0..5 {
            assert_eq!(client.send(crashing()).await.status, 503);
        }
        proxy.logged(&["held back"]).await;
        let began = Instant::now();
        proxy.replace_module("f", &terse("on request_headers (!text {\"mended\"})"));
        proxy.reload();
        proxy.logged(&["reload: module files"]).await;
        while status(&mut client).await != 200 {
            assert!(began.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        proxy.logged(&["mended"]).await;
    });
}

#[test]
fn a_filter_that_is_restarted_with_another_is_named() {
    run(async {
        let guest = Guest::new()
            .on(
                "request_headers",
                "(if (i32.eqz (call $get (i32.const 0) «x-crash» (i32.const 0) (i32.const 4))) (then unreachable))",
            )
            .build();
        let upstream = Upstream::start();
        let config = Config::new(upstream.address)
            .filter(Filter::wasm("guilty", guest.clone()).with("configuration: first"))
            .filter(Filter::wasm("innocent", guest).with("configuration: second"))
            .chain("")
            .routes(&[
                "{ match: { path: /crash }, cluster: up, filters: [guilty] }",
                "{ match: { prefix: / }, cluster: up, filters: [innocent] }",
            ]);
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        for _ in 0..5 {
            assert_eq!(client.send(crashing()).await.status, 503);
            assert_eq!(status(&mut client).await, 200);
        }
        let told = proxy
            .logged_times(&["WARN", "filter=\"innocent\"", "restarted"], 5)
            .await;
        assert_eq!(told.len(), 5);
        assert!(proxy.lines(&["restarted", "filter=\"guilty\""]).is_empty());
        // Who is held back is the one whose calls crashed.
        proxy.logged(&["held back", "filter=\"guilty\""]).await;
        assert!(proxy.lines(&["held back", "innocent"]).is_empty());
        assert_eq!(status(&mut client).await, 200);
    });
}

#[test]
fn a_service_that_keeps_crashing_is_held_back_too() {
    run(async {
        let guest = terse(
            "on vm_start (!text {\"starts\"})
            on configure (drop (!set_tick_period_milliseconds #5))
            on tick (unreachable)",
        );
        let config = answering()
            .filter(Filter::wasm("f", guest))
            .chain("")
            .with("services: [f]")
            .with("ready_needs: [f]")
            .workers(2);
        let proxy = Proxy::start(&config).await;
        proxy.logged(&["held back for 1s", "filter=\"f\""]).await;
        assert_eq!(proxy.lines(&["starts"]).len(), 5);
        proxy.logged(&["held back for 2s", "filter=\"f\""]).await;
        assert_eq!(proxy.lines(&["starts"]).len(), 10);
        assert_eq!(proxy.admin("/ready").await.status, 503);
    });
}

#[test]
fn a_guest_that_leaks_is_replaced_before_it_comes_to_its_limit() {
    run(async {
        // Four pages, of 16 MiB in all, for the first request after each tick: however fast
        // requests come, no VM is too large before a tenth of a second has passed.
        let leaking = terse(
            "on configure (drop (!set_tick_period_milliseconds #5))
            on tick (global.set $g #1)
            on request_headers
                (if (global.get $g) (then
                    (global.set $g #0)
                    (if (i32.eq (memory.grow #4) #-1) (then (unreachable)))))",
        );
        for recycle in ["", "recycle_memory: 4MiB"] {
            let mut filter = Filter::wasm("f", leaking.clone()).with("limits: { memory: 16MiB }");
            if !recycle.is_empty() {
                filter = filter.with(recycle);
            }
            let proxy = Proxy::start(&answering().filter(filter).workers(2)).await;
            let Some(load) = Load::on(proxy.address, 2) else {
                return;
            };
            load.end();
            let grown = "cofferdam_filter_vm_replacements_total{filter=\"f\",reason=\"memory\"}";
            let replaced = metric(&proxy, grown).await;
            assert!(replaced > 3, "{replaced}");
            assert!(proxy.lines(&["crashed"]).is_empty());
        }
    });
}

/// Its limits, where nothing but the process's end may stop a guest.
const UNLIMITED: &str = "limits: { callback: 1h, stream_cpu: none }";

#[test]
fn a_signal_to_end_works_while_a_guest_spins() {
    run(async {
        for engine in ENGINES {
            let spinning = terse("on request_headers (loop $for_ever (br $for_ever))");
            let filter = Filter::wasm("f", spinning)
                .with("limits: { callback: 500ms, stream_cpu: 10s }")
                .with(format!("engine: {engine}"));
            let mut proxy = Proxy::start(&answering().filter(filter)).await;
            let mut client = proxy.client(Http::One).await;
            let spinning = tokio::spawn(client.start(get("/a")));
            tokio::time::sleep(Duration::from_millis(100)).await;
            proxy.terminate();
            assert_eq!(proxy.ended().await.code(), Some(0), "{engine}");
            proxy
                .logged(&["filter crashed", "time limit exceeded"])
                .await;
            let response = spinning.await.expect("a task").expect("a response");
            assert_eq!(response.status(), 503, "{engine}");
        }
    });
}

#[test]
fn a_signal_to_end_works_while_a_guest_spins_that_no_limit_stops() {
    run(async {
        for engine in ENGINES {
            // In a stream, on a timer, and when the root is told its end.
            for (callback, workers) in [("request_headers", 1), ("tick", 2), ("done", 2)] {
                let spinning = terse(&format!(
                    "on configure
                        (if (i32.eq #{ticks} #1) (then (drop (!set_tick_period_milliseconds #5))))
                    on {callback}
                        (if (i32.eq (local.get $a) #{context}) (then
                            (!text {{\"spins\"}}) (loop $for_ever (br $for_ever))))",
                    ticks = i32::from(callback == "tick"),
                    context = 1 + i32::from(callback == "request_headers"),
                ));
                let filter = Filter::wasm("f", spinning)
                    .with(UNLIMITED)
                    .with(format!("engine: {engine}"));
                let config = answering().filter(filter).workers(workers);
                let mut proxy = Proxy::start(&config.with("drain_time: 1s")).await;
                if callback == "request_headers" {
                    let mut client = proxy.client(Http::One).await;
                    tokio::spawn(client.start(get("/a")));
                }
                if callback != "done" {
                    proxy.logged_times(&["spins"], workers).await;
                }
                proxy.terminate();
                assert_eq!(proxy.ended().await.code(), Some(0), "{engine} {callback}");
                assert_eq!(proxy.lines(&["spins"]).len(), workers);
                proxy.logged(&["WARN", "workers did not exit within"]).await;
                assert!(proxy.lines(&["crashed"]).is_empty());
            }
        }
    });
}
