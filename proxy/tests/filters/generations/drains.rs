//! What a VM that has been replaced still does: its streams, its timers, its calls, its
//! queues, and its end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{
    ADMIN, ENGINES, LONG, answered_by, answering, eventually, filter, metric, replace_on_all,
    traffic_flows, version,
};
use crate::support::{
    Answer, Client, Config, Filter, Http, Load, Proxy, Upstream, get, run, within,
};

const CALLEE: &str = "{pairs \":method\" \"GET\" \":path\" \"/held\" \":authority\" \"a\"}";

async fn replace(proxy: &Proxy, module: &[u8]) {
    proxy.replace_module("f", module);
    proxy.reload();
    answered_by(proxy, "two").await;
}

/// A proxy of two workers that answers by itself, but for what its upstream holds.
fn under_load(upstream: SocketAddr) -> Config {
    Config::new(upstream)
        .routes(&[
            "{ match: { path: /held }, cluster: up }",
            "{ match: { prefix: / }, respond: { status: 200, body: hello } }",
        ])
        .with(ADMIN)
        .without_access_log()
        .workers(2)
}

type Held = tokio::task::JoinHandle<Result<http::Response<hyper::body::Incoming>, hyper::Error>>;

/// Requests that wait for their upstream, so many that every worker has some.
async fn held_on_all(proxy: &Proxy, upstream: &Upstream) -> (Vec<Client>, Vec<Held>) {
    let (mut clients, mut held) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        let mut client = proxy.client(Http::One).await;
        held.push(tokio::spawn(client.start(get("/held"))));
        clients.push(client);
    }
    eventually("all are held", async || {
        upstream.seen_at("/held").len() == held.len()
    })
    .await;
    (clients, held)
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
        for engine in ENGINES {
            let upstream = Upstream::start();
            let config = under_load(upstream.address).filter(filter(engine, &ticking("one")));
            let proxy = Proxy::start(&config).await;
            let Some(load) = Load::on(proxy.address, LONG) else {
                return;
            };
            // They keep the old VMs, and ask nothing of their guest.
            let (_clients, held) = held_on_all(&proxy, &upstream).await;
            proxy.logged_times(&["tick one"], 6).await;
            traffic_flows(&proxy).await;
            replace_on_all(&proxy, &ticking("two")).await;
            // Lines that were written before come first.
            proxy.logged_times(&["tick two"], 10).await;
            let before = proxy.lines(&["tick one"]).len();
            proxy.logged_times(&["tick two"], 50).await;
            traffic_flows(&proxy).await;
            assert_eq!(proxy.lines(&["tick one"]).len(), before, "{engine}");
            load.stop();
            upstream.gate.open();
            for held in held {
                let response = within("what was held", held).await.expect("a task");
                assert_eq!(response.expect("a response").status(), 200, "{engine}");
            }
        }
    });
}

#[test]
fn a_timer_of_the_root_ends_where_the_new_one_has_none() {
    run(async {
        let ticking = |text: &str| {
            format!(
                "on configure (drop (!set_tick_period_milliseconds #20))
                on tick (!text {{\"{text}\"}})"
            )
        };
        for engine in ENGINES {
            let upstream = Upstream::start();
            // The clock of this test, on the same worker.
            let clock = Filter::wasm("clock", version("clock", &ticking("tock")));
            let config = Config::new(upstream.address)
                .with(ADMIN)
                .filter(filter(engine, &version("one", &ticking("tick"))))
                .filter(clock.with("engine: interpreter"))
                .chain("f")
                .with("services: [clock]");
            let proxy = Proxy::start(&config).await;
            let mut client = proxy.client(Http::Two).await;
            // It keeps the old VM, and asks nothing of its guest.
            let held = tokio::spawn(client.start(get("/held")));
            proxy.logged_times(&["tick"], 3).await;
            eventually("it is held", async || upstream.seen_at("/held").len() == 1).await;
            replace(&proxy, &version("two", "")).await;
            // Lines that were written before come first.
            let clock = proxy.lines(&["tock"]).len();
            proxy.logged_times(&["tock"], clock + 5).await;
            let before = proxy.lines(&["tick"]).len();
            proxy.logged_times(&["tock"], clock + 25).await;
            assert_eq!(proxy.lines(&["tick"]).len(), before, "{engine}");
            upstream.gate.open();
            let response = within("what was held", held).await.expect("a task");
            assert_eq!(response.expect("a response").status(), 200, "{engine}");
        }
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
        for (engine, http) in ENGINES.into_iter().zip([Http::One, Http::Two]) {
            let config = answering()
                .filter(filter(engine, &holding("one")))
                .without_access_log()
                .workers(2);
            let proxy = Proxy::start(&config).await;
            let Some(load) = Load::on(proxy.address, LONG) else {
                return;
            };
            let mut client = proxy.client(http).await;
            let held = tokio::spawn(client.start(get("/slow")));
            proxy.logged(&["holds"]).await;
            traffic_flows(&proxy).await;
            replace_on_all(&proxy, &holding("two")).await;
            let response = within("what was held", held).await.expect("a task");
            let answer = Answer::read(response.expect("a response")).await;
            assert_eq!(
                (answer.status, answer.header("x-version")),
                (200, Some("one")),
                "{engine}"
            );
            load.stop();
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
            on done (if (i32.eq (local.get $a) #1) (then (!text {{\"done {version}\"}}))) (return #1)
            on delete (if (i32.eq (local.get $a) #1) (then (!text {{\"delete {version}\"}})))"
        ),
    )
}

fn callee(config: Config, callee: &Upstream) -> Config {
    config.cluster(format!(
        "{{ name: callee, endpoints: ['{}'] }}",
        callee.address
    ))
}

#[test]
fn an_answer_comes_to_the_vm_that_asked_and_keeps_it_until_then() {
    run(async {
        for engine in ENGINES {
            let called = Upstream::start();
            let config = answering()
                .filter(filter(engine, &calling("one")))
                .without_access_log()
                .workers(2);
            let proxy = Proxy::start(&callee(config, &called)).await;
            let Some(load) = Load::on(proxy.address, LONG) else {
                return;
            };
            // Of either worker's VM one.
            proxy.logged_times(&["calls one"], 2).await;
            traffic_flows(&proxy).await;
            replace_on_all(&proxy, &calling("two")).await;
            proxy.logged_times(&["calls two"], 2).await;
            assert!(proxy.lines(&["done one"]).is_empty(), "{engine}");
            assert!(proxy.lines(&["answered"]).is_empty(), "{engine}");
            called.gate.open();
            proxy.logged_times(&["answered two"], 2).await;
            proxy.logged_times(&["answered one"], 2).await;
            // With the answer the VMs have nothing left, and their roots are told.
            proxy.logged_times(&["done one"], 2).await;
            proxy.logged_times(&["delete one"], 2).await;
            traffic_flows(&proxy).await;
            load.stop();
            assert_eq!(proxy.lines(&["answered"]).len(), 4, "{engine}");
            assert!(proxy.lines(&["done two"]).is_empty(), "{engine}");
        }
    });
}

#[test]
fn items_of_a_queue_are_told_to_the_newest_vm_and_none_is_lost() {
    run(async {
        // Every request puts an item in; whoever is told takes one out.
        let queueing = |round: usize| {
            version(
                "any",
                &format!(
                    "on configure
                        (drop (!register_shared_queue {{\"q\"}} #24))
                        (drop (!define_metric #0 {{\"put\"}} #32))
                        (drop (!define_metric #0 {{\"taken_{round}\"}} #36))
                        (drop (!define_metric #0 {{\"no_room\"}} #40))
                    on request_headers
                        (local $put i32)
                        (local.set $put (!enqueue_shared_queue (i32.load #24) {{\"x\"}}))
                        (if (i32.eqz (local.get $put)) (then
                            (drop (!increment_metric (i32.load #32) (i64.const 1)))))
                        (if (i32.eq (local.get $put) #10) (then
                            (drop (!increment_metric (i32.load #40) (i64.const 1)))))
                    on queue_ready
                        (if (i32.eqz (!dequeue_shared_queue (local.get $b) @out)) (then
                            (drop (!increment_metric (i32.load #36) (i64.const 1)))))"
                ),
            )
        };
        const ROUNDS: usize = 5;
        for engine in ENGINES {
            let config = answering()
                .filter(filter(engine, &queueing(0)))
                .without_access_log()
                .workers(2);
            let proxy = Proxy::start(&config).await;
            let Some(load) = Load::on(proxy.address, LONG) else {
                return;
            };
            let taken = async |round| metric(&proxy, &format!("taken_{round}_total ")).await;
            for round in 1..=ROUNDS {
                eventually("items are told", async || taken(round - 1).await > 0).await;
                replace_on_all(&proxy, &queueing(round)).await;
                // What is put in from here on is told to the newest alone.
                let before = taken(round - 1).await;
                let now = taken(round).await;
                eventually("items are told", async || taken(round).await > now + 100).await;
                assert_eq!(taken(round - 1).await, before, "{engine} {round}");
            }
            let requests = load.stop().requests;
            let all = async || {
                let mut sum = 0;
                for round in 0..=ROUNDS {
                    sum += taken(round).await;
                }
                sum
            };
            let put = async || metric(&proxy, "put_total ").await;
            eventually("none is lost", async || all().await == put().await).await;
            let (put, no_room) = (put().await, metric(&proxy, "no_room_total ").await);
            assert!(
                put >= requests,
                "{engine}: {put} of {requests}, and {no_room} found no room"
            );
        }
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
            let place = |context: &str| ends.iter().position(|line| line.ends_with(context));
            assert!(place("context=2").is_some());
            assert!(place("context=2") < place("context=1"), "{ends:#?}");
            answered_by(&proxy, "two").await;
        }
    });
}

#[test]
fn a_call_that_is_left_after_the_drain_time_is_not_answered() {
    run(async {
        for engine in ENGINES {
            let called = Upstream::start();
            let config = answering()
                .filter(filter(engine, &calling("one")))
                .with("filter_drain_time: 300ms");
            let proxy = Proxy::start(&callee(config, &called)).await;
            let mut client = proxy.client(Http::One).await;
            assert_eq!(client.send(get("/a")).await.status, 200);
            proxy.logged(&["calls one"]).await;
            // Nothing but the call is left of it.
            eventually("it is called", async || called.seen_at("/held").len() == 1).await;
            replace(&proxy, &calling("two")).await;
            let over = proxy.logged(&["filter_drain_time is over"]).await;
            for part in ["WARN", "filter=\"f\"", "streams=0"] {
                assert!(over.contains(part), "{engine}: {over}");
            }
            for end in ["done one", "delete one"] {
                proxy.logged(&[end, "context=1"]).await;
            }
            // Both would be answered now; the newer call was made after the older one.
            proxy.logged(&["calls two"]).await;
            eventually("it is called", async || called.seen_at("/held").len() == 2).await;
            called.gate.open();
            proxy.logged(&["answered two"]).await;
            assert_eq!(client.send(get("/b")).await.status, 200);
            assert_eq!(proxy.lines(&["answered"]).len(), 1, "{engine}");
            assert!(proxy.lines(&["ERROR"]).is_empty(), "{engine}");
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
