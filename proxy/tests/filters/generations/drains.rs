//! What a VM that has been replaced still does: its streams, its timers, its calls, its
//! queues, and its end.

use std::time::{Duration, Instant};

use super::{ADMIN, answered_by, answering, metric, version};
use crate::support::{Answer, Config, Filter, Http, Proxy, Upstream, get, run, within};

const CALLEE: &str = "{pairs \":method\" \"GET\" \":path\" \"/held\" \":authority\" \"a\"}";

async fn replace(proxy: &Proxy, module: &[u8]) {
    proxy.replace_module("f", module);
    proxy.reload();
    answered_by(proxy, "two").await;
}

#[test]
fn a_timer_of_the_root_does_not_tick_twice() {
    run(async {
        let ticking = |version: &str| {
            super::version(
                version,
                &format!(
                    "on configure (drop (!set_tick_period_milliseconds #20))
                    on tick (!text {{\"tick {version}\"}})"
                ),
            )
        };
        let upstream = Upstream::start();
        let config = Config::new(upstream.address).filter(Filter::wasm("f", ticking("one")));
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        // It keeps the old VM, and asks nothing of its guest.
        let held = tokio::spawn(client.start(get("/held")));
        proxy.logged_times(&["tick one"], 3).await;
        replace(&proxy, &ticking("two")).await;
        let before = proxy.lines(&["tick one"]).len();
        proxy.logged_times(&["tick two"], 20).await;
        assert_eq!(proxy.lines(&["tick one"]).len(), before);
        upstream.gate.open();
        let response = within("what was held", held).await.expect("a task");
        assert_eq!(response.expect("a response").status(), 200);
    });
}

#[test]
fn a_stream_that_waits_for_a_timer_of_the_old_vm_is_let_go() {
    run(async {
        // Holds requests for /slow until the tenth tick after.
        let holding = |version: &str| {
            super::version(
                version,
                "on configure (drop (!set_tick_period_milliseconds #30))
                on request_headers
                    (drop (!get_header_map_value #0 {\":path\"} @out))
                    (if (i32.eq (i32.load8_u (i32.add (i32.load #16) #1)) #115) (then
                        (global.set $g (local.get $a)) (global.set $h #0)
                        (!text {\"holds\"})
                        (return #1)))
                on tick
                    (global.set $h (i32.add (global.get $h) #1))
                    (if (i32.and (i32.ne (global.get $g) #0) (i32.gt_u (global.get $h) #10)) (then
                        (drop (!set_effective_context (global.get $g)))
                        (drop (!continue_stream #0))
                        (global.set $g #0)))",
            )
        };
        for http in [Http::One, Http::Two] {
            let config = answering().filter(Filter::wasm("f", holding("one")));
            let proxy = Proxy::start(&config).await;
            let mut client = proxy.client(http).await;
            let held = tokio::spawn(client.start(get("/slow")));
            proxy.logged(&["holds"]).await;
            replace(&proxy, &holding("two")).await;
            let response = within("what was held", held).await.expect("a task");
            let answer = Answer::read(response.expect("a response")).await;
            assert_eq!(
                (answer.status, answer.header("x-version")),
                (200, Some("one"))
            );
        }
    });
}

/// Calls `callee` from its first stream, which does not wait for the answer.
fn calling(version: &str) -> Vec<u8> {
    super::version(
        version,
        &format!(
            "on request_headers
                (if (i32.eqz (global.get $g)) (then
                    (drop (!http_call {{\"callee\"}} {CALLEE} #0 #0 #0 #0 #9000 #16))
                    (!text {{\"calls {version}\"}})
                    (global.set $g #1)))
            on http_call_response (!text {{\"answered {version}\"}})
            on done (!text {{\"done {version}\"}}) (return #1)
            on delete (!text {{\"delete {version}\"}})"
        ),
    )
}

#[test]
fn an_answer_comes_to_the_vm_that_asked_and_keeps_it_until_then() {
    run(async {
        let callee = Upstream::start();
        // Native code would be one more VM that takes another's place.
        let filter = Filter::wasm("f", calling("one")).with("engine: interpreter");
        let config = answering().filter(filter).cluster(format!(
            "{{ name: callee, endpoints: ['{}'] }}",
            callee.address
        ));
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        assert_eq!(client.send(get("/a")).await.status, 200);
        proxy.logged(&["calls one"]).await;
        replace(&proxy, &calling("two")).await;
        proxy.logged(&["calls two"]).await;
        // Streams have ended, and not yet the root.
        assert!(proxy.lines(&["done one", "context=1"]).is_empty());
        assert!(proxy.lines(&["answered"]).is_empty());
        callee.gate.open();
        proxy.logged(&["answered two"]).await;
        proxy.logged(&["answered one"]).await;
        // With the answer the VM has nothing left, and its root is told.
        proxy.logged(&["done one", "context=1"]).await;
        proxy.logged(&["delete one", "context=1"]).await;
        assert_eq!(proxy.lines(&["answered"]).len(), 2);
    });
}

#[test]
fn items_of_a_queue_are_told_to_the_newest_vm_and_none_is_lost() {
    run(async {
        // Every request puts an item in; whoever is told takes one out.
        let queueing = |version: &str| {
            super::version(
                version,
                &format!(
                    "on configure (drop (!register_shared_queue {{\"q\"}} #24)) (global.set $h (i32.load #24))
                    on request_headers (drop (!enqueue_shared_queue (global.get $h) {{\"x\"}}))
                    on queue_ready
                        (if (i32.eqz (!dequeue_shared_queue (local.get $b) @out)) (then
                            (!text {{\"item {version}\"}})))"
                ),
            )
        };
        let config = answering().filter(Filter::wasm("f", queueing("v0")));
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        let mut requests = 0;
        for round in 1..=10 {
            proxy.replace_module("f", &queueing(&format!("v{round}")));
            proxy.reload();
            let newest = format!("v{round}");
            loop {
                let answer = client.send(get("/a")).await;
                assert_eq!(answer.status, 200);
                requests += 1;
                if answer.header("x-version") == Some(&newest) {
                    break;
                }
            }
            // What is put in from here on is told to the newest alone.
            let old = format!("item v{}", round - 1);
            proxy.logged_times(&["item v"], requests).await;
            let before = proxy.lines(&[&old]).len();
            for _ in 0..5 {
                assert_eq!(client.send(get("/a")).await.status, 200);
                requests += 1;
            }
            proxy.logged_times(&["item v"], requests).await;
            assert_eq!(proxy.lines(&[&old]).len(), before);
        }
        assert_eq!(proxy.lines(&["item v"]).len(), requests);
    });
}

#[test]
fn what_is_left_after_the_drain_time_fails() {
    run(async {
        for http in [Http::One, Http::Two] {
            let upstream = Upstream::start();
            let config = Config::new(upstream.address)
                .filter(Filter::wasm(
                    "f",
                    version("one", "on done (!text {\"done\"}) (return #1)"),
                ))
                .with(ADMIN)
                .with("filter_drain_time: 300ms");
            let proxy = Proxy::start(&config).await;
            let mut client = proxy.client(http).await;
            // One is held by its upstream, the other has its headers and part of its body.
            let held = tokio::spawn(client.start(get("/held")));
            while upstream.seen_at("/held").is_empty() {
                tokio::task::yield_now().await;
            }
            let began = Instant::now();
            replace(&proxy, &version("two", "")).await;
            let response = within("what was held", held).await.expect("a task");
            let answer = Answer::read(response.expect("a response")).await;
            assert_eq!(answer.status, 503, "{http:?}");
            assert!(began.elapsed() >= Duration::from_millis(300));
            proxy
                .logged(&["WARN", "filter=\"f\"", "filter_drain_time is over"])
                .await;
            proxy.access(&["/held", "503", "WF"]).await;
            // The stream is told its end, as it is the VM's whose guest is well; then the root.
            proxy.logged(&["done filter=\"f\"", "context=1"]).await;
            let ends = proxy.lines(&["done filter"]);
            let place = |context: &str| ends.iter().position(|line| line.contains(context));
            assert!(place("context=2").is_some());
            assert!(place("context=2") < place("context=1"), "{ends:#?}");
            answered_by(&proxy, "two").await;
        }
    });
}

#[test]
fn a_vm_that_has_drained_in_time_fails_nobody() {
    run(async {
        let upstream = Upstream::start();
        let config = Config::new(upstream.address)
            .filter(Filter::wasm("f", version("one", "")))
            .with(ADMIN)
            .with("filter_drain_time: 200ms");
        let proxy = Proxy::start(&config).await;
        replace(&proxy, &version("two", "")).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(proxy.lines(&["filter_drain_time"]).is_empty());
        let reloads = metric(
            &proxy,
            "cofferdam_filter_vm_replacements_total{filter=\"f\",reason=\"changed_module\"}",
        );
        assert_eq!(reloads.await, 1);
    });
}

#[test]
fn the_process_ends_while_a_vm_drains() {
    run(async {
        let callee = Upstream::start();
        let config = answering()
            .filter(Filter::wasm("f", calling("one")))
            .cluster(format!(
                "{{ name: callee, endpoints: ['{}'] }}",
                callee.address
            ));
        let mut proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        assert_eq!(client.send(get("/a")).await.status, 200);
        proxy.logged(&["calls one"]).await;
        replace(&proxy, &calling("two")).await;
        drop(client);
        proxy.terminate();
        assert_eq!(proxy.ended().await.code(), Some(0));
        for root in ["delete one", "delete two"] {
            proxy.logged(&[root, "context=1"]).await;
        }
        assert!(proxy.lines(&["answered"]).is_empty());
    });
}
