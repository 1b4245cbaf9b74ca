//! What requests get while a filter has no VM that works, by `on_failure`; and VMs that are
//! shared.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{Body, Client, Config, Filter, Guest, Http, Proxy, Upstream, get, run};

const CRASH: &str = "(if (i32.eqz (call $get (i32.const 0) «x-crash» (i32.const 0) (i32.const 4))) (then unreachable))";

fn crashing(path: &str) -> http::Request<Body> {
    let mut request = get(path);
    request
        .headers_mut()
        .insert("x-crash", "1".parse().expect("a value"));
    request
}

fn faulty(guest: &Guest, policy: &str) -> Filter {
    Filter::wasm("faulty", guest.build()).with(format!("on_failure: {policy}"))
}

/// Statuses of the crash and of the two requests after it.
async fn statuses(client: &mut Client) -> [u16; 3] {
    let crash = client.send(crashing("/crash")).await.status;
    [
        crash,
        client.send(get("/after")).await.status,
        client.send(get("/again")).await.status,
    ]
}

#[test]
fn a_filter_that_cannot_be_started_again_is_refused_skipped_or_tried_again() {
    run(async {
        // From then on the guest refuses to start: long enough for the proxies to be up.
        let until = SystemTime::now() + Duration::from_secs(4);
        let nanos = until
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_nanos();
        let late = format!(
            "(drop (call $time (i32.const 0)))
             (if (i64.gt_u (i64.load (i32.const 0)) (i64.const {nanos})) (then (return (i32.const 0))))"
        );
        let time = r#"(import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))"#;
        let guest = Guest::new()
            .import(time)
            .on("vm_start", late)
            .on("request_headers", CRASH);
        let mut proxies = Vec::new();
        for (policy, after) in [
            ("closed", [503; 3]),
            ("open", [503, 200, 200]),
            ("reload", [503; 3]),
        ] {
            let upstream = Upstream::start();
            let config = Config::new(upstream.address).filter(faulty(&guest, policy));
            proxies.push((policy, after, Proxy::start(&config).await, upstream));
        }
        let left = until.duration_since(SystemTime::now()).unwrap_or_default();
        tokio::time::sleep(left + Duration::from_millis(10)).await;
        for (policy, after, proxy, upstream) in &proxies {
            let mut client = proxy.client(Http::One).await;
            assert_eq!(statuses(&mut client).await, *after, "{policy}");
            proxy
                .logged(&["ERROR", "filter=\"faulty\"", "could not be started"])
                .await;
            if *policy == "open" {
                assert_eq!(upstream.seen().len(), 2);
            } else {
                proxy
                    .access(&["/after", "503", "WF", "wasm_fail_stream{faulty}"])
                    .await;
                assert!(upstream.seen().is_empty(), "{policy}");
            }
        }
    });
}

#[test]
fn a_vm_that_failed_stays_failed_where_envoy_has_it_so() {
    run(async {
        let guest = Guest::new().on("request_headers", CRASH);
        for (policy, after) in [
            ("closed", [503; 3]),
            ("open", [503, 200, 200]),
            // How soon the others get a new one depends on when this one began.
            ("reload", [503, 0, 0]),
        ] {
            let upstream = Upstream::start();
            let filter = faulty(&guest, policy).with("compat: envoy");
            let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
            let mut client = proxy.client(Http::Two).await;
            let seen = statuses(&mut client).await;
            for (status, wanted) in seen.iter().zip(after) {
                let well = *status == wanted || wanted == 0 && [200, 503].contains(status);
                assert!(well, "{policy}: {seen:?}");
            }
            if policy == "reload" {
                // A second after its start there is a new one.
                let mut status = 503;
                for _ in 0..40 {
                    if status == 200 {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    status = client.send(get("/later")).await.status;
                }
                assert_eq!(status, 200);
                proxy.logged_times(&["filter: vm_start "], 2).await;
            }
        }
    });
}

#[test]
fn a_crash_in_a_vm_that_two_filters_share_costs_the_other_no_request() {
    run(async {
        let guest = Guest::new().on("request_headers", CRASH).build();
        let upstream = Upstream::start();
        let config = Config::new(upstream.address)
            .filter(Filter::wasm("one", guest.clone()).with("configuration: first"))
            .filter(Filter::wasm("two", guest).with("configuration: second"))
            .chain("")
            .routes(&[
                "{ match: { prefix: /one }, cluster: up, filters: [one] }",
                "{ match: { prefix: / }, cluster: up, filters: [two] }",
            ]);
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::Two).await;
        let held = tokio::spawn(client.start(get("/held")));
        proxy
            .logged(&["filter: request_headers 3 ", "filter=\"two\""])
            .await;
        assert_eq!(client.send(crashing("/one")).await.status, 503);
        for path in ["/two", "/one", "/two"] {
            assert_eq!(client.send(get(path)).await.status, 200, "{path}");
        }
        upstream.gate.open();
        let response = held.await.expect("a task").expect("a response");
        assert_eq!(response.status(), 200);
        // Two VMs in all, each with both roots.
        assert_eq!(proxy.lines(&["filter: context_create ", " 0."]).len(), 4);
    });
}

#[test]
fn one_filter_of_a_chain_that_crashes_ends_the_stream_of_the_others_in_order() {
    run(async {
        for http in [Http::One, Http::Two] {
            let upstream = Upstream::start();
            let well = Guest::new()
                .on(
                    "response_headers",
                    "(drop (call $add (i32.const 2) «x-seen» «yes»))",
                )
                .build();
            let config = Config::new(upstream.address)
                .filter(Filter::wasm("before", well.clone()))
                .filter(faulty(&Guest::new().on("request_headers", CRASH), "closed"))
                .filter(Filter::wasm("behind", well));
            let proxy = Proxy::start(&config).await;
            let answer = proxy.client(http).await.send(crashing("/a")).await;
            // The 503 passes back through the filter that saw the request.
            assert_eq!((answer.status, answer.header("x-seen")), (503, Some("yes")));
            for name in ["before", "behind"] {
                let own = format!("filter=\"{name}\"");
                for ending in ["log", "done", "delete"] {
                    proxy.logged(&[&format!("filter: {ending} "), &own]).await;
                }
            }
            assert!(
                proxy
                    .lines(&["filter: request_headers", "filter=\"behind\""])
                    .is_empty()
            );
            assert!(
                proxy
                    .lines(&["filter: delete", "filter=\"faulty\""])
                    .is_empty()
            );
            let access = proxy.access(&["/a", "503", "WF"]).await;
            assert!(access.contains("wasm_fail_stream"), "{access}");
        }
    });
}
