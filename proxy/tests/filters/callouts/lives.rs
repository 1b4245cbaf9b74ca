//! Whose calls they are, and what ends them.

use std::time::Instant;

use super::{World, guest};
use crate::support::{Config, Filter, Guest, Http, Proxy, Upstream, get, run};

const CALL: &str = r#"(import "env" "proxy_http_call" (func $http_call
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))"#;

/// A guest that calls `up` for `path` from its request headers, and does `on_answer` then.
fn calling(path: &str, after: &str, on_answer: &str) -> Guest {
    let pairs = [(":method", "GET"), (":path", path), (":authority", "a")];
    let mut bytes = (pairs.len() as u32).to_le_bytes().to_vec();
    for (name, value) in pairs {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        bytes.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    let data: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let length = bytes.len();
    Guest::new()
        .import(CALL)
        .define(&format!(r#"(data (i32.const 60000) "{data}")"#))
        .on(
            "request_headers",
            format!(
                "(if (i32.eqz (call $get (i32.const 0) «x-call» (i32.const 0) (i32.const 4))) (then
                    (call $note «dispatch» (i32.const 1)
                      (call $http_call «callee» (i32.const 60000) (i32.const {length}) (i32.const 0) (i32.const 0)
                        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 8))
                      (i32.const 0) (i32.const 0))
                    {after}))"
            ),
        )
        .on("http_call_response", on_answer)
}

async fn start(guest: &Guest, more: &str) -> (Proxy, Upstream) {
    let (upstream, callee) = (Upstream::start(), Upstream::start());
    let mut filter = Filter::wasm("f", guest.build());
    if !more.is_empty() {
        filter = filter.with(more);
    }
    let config = Config::new(upstream.address)
        .filter(filter)
        .cluster(format!(
            "{{ name: callee, endpoints: ['{}'] }}",
            callee.address
        ));
    (Proxy::start(&config).await, callee)
}

fn asking(path: &str) -> http::Request<crate::support::Body> {
    let mut request = get(path);
    request
        .headers_mut()
        .insert("x-call", "1".parse().expect("a value"));
    request
}

#[test]
fn an_answer_comes_to_the_root_after_its_stream_has_gone() {
    run(async {
        for http in [Http::One, Http::Two] {
            let hold = "(return (i32.const 1))";
            let (proxy, callee) = start(&calling("/held", hold, ""), "").await;
            let mut client = proxy.client(http).await;
            let sent = tokio::spawn(client.start(asking("/gone")));
            proxy.logged(&["dispatch 0."]).await;
            while callee.seen().is_empty() {
                tokio::task::yield_now().await;
            }
            client.leave();
            drop(sent.await);
            proxy.logged(&["filter: delete 2."]).await;
            callee.gate.open();
            // The root, the token, and as many headers.
            proxy.logged(&["filter: http_call_response 1 4 3."]).await;
            assert_eq!(
                proxy.client(http).await.send(get("/next")).await.status,
                200
            );
            assert_eq!(proxy.lines(&["http_call_response"]).len(), 1);
        }
    });
}

#[test]
fn an_answer_that_crashes_the_guest_fails_what_waits_for_it() {
    run(async {
        let guest = calling("/same", "(return (i32.const 1))", "unreachable");
        let (proxy, callee) = start(&guest, "").await;
        for times in 1..=3 {
            let answer = proxy.client(Http::One).await.send(asking("/waits")).await;
            assert_eq!(answer.status, 503);
            let crashed = [
                "ERROR",
                "filter=\"f\"",
                "callback=\"proxy_on_http_call_response\"",
            ];
            proxy.logged_times(&crashed, times).await;
            assert_eq!(
                proxy
                    .client(Http::Two)
                    .await
                    .send(get("/next"))
                    .await
                    .status,
                200
            );
        }
        assert_eq!(callee.seen().len(), 3);
    });
}

#[test]
fn the_calls_of_a_crashed_vm_end_with_its_last_stream() {
    run(async {
        // The second request crashes the VM in which the first waits.
        let hold = "(return (i32.const 1))";
        let guest = calling("/held", hold, "(call $resume (i32.const 2) (i32.const 0))").on(
            "request_headers",
            "(if (i32.eqz (call $get (i32.const 0) «x-crash» (i32.const 0) (i32.const 4))) (then unreachable))",
        );
        let (proxy, callee) = start(&guest, "").await;
        let mut client = proxy.client(Http::One).await;
        let waiting = tokio::spawn(client.start(asking("/waits")));
        proxy.logged(&["dispatch 0."]).await;
        let mut request = get("/crash");
        request
            .headers_mut()
            .insert("x-crash", "1".parse().expect("a value"));
        assert_eq!(
            proxy.client(Http::One).await.send(request).await.status,
            503
        );
        callee.gate.open();
        let response = waiting.await.expect("a task").expect("a response");
        assert_eq!(response.status(), 200, "its VM still answers it");
        assert_eq!(proxy.lines(&["http_call_response"]).len(), 1);
    });
}

#[test]
fn roots_call_when_they_start_and_tick_and_streams_when_they_log() {
    let Some(filter) = guest() else { return };
    run(async {
        let callee = Upstream::start();
        let filter = filter
            .with("vm_configuration: \"http callee GET /vm-start\"")
            .with("configuration: \"configure: http callee GET /configure\\ntick: http callee GET /tick\\nlog: http callee GET /log\"");
        let cluster = format!("{{ name: callee, endpoints: ['{}'] }}", callee.address);
        let world = World::start(filter, |config| config.cluster(cluster)).await;
        for place in ["vm_start", "configure", "tick"] {
            world
                .proxy
                .logged(&[&format!("root {place}: "), ":status=200"])
                .await;
        }
        assert_eq!(world.upstream.seen().len(), 0);
        world.send(&[]).await;
        // The guest's SDK forgets who asked with the stream; the call is made all the same.
        world.proxy.logged(&["log: asked"]).await;
        while callee.seen().len() < 4 {
            tokio::task::yield_now().await;
        }
        let mut paths: Vec<_> = callee.seen().into_iter().map(|seen| seen.target).collect();
        paths.sort();
        assert_eq!(paths, ["/configure", "/log", "/tick", "/vm-start"]);
        assert_eq!(world.proxy.lines(&["ERROR"]), [""; 0]);
    });
}

#[test]
fn a_configuration_is_not_verified_by_calling_anybody() {
    let Some(filter) = guest() else { return };
    run(async {
        let callee = Upstream::start();
        let filter = filter.with("configuration: \"configure: http callee GET /configure\"");
        let config = Config::new(callee.address).filter(filter).cluster(format!(
            "{{ name: callee, endpoints: ['{}'] }}",
            callee.address
        ));
        let (status, log) = crate::support::check(&config, "check");
        assert_eq!(status, Some(0), "{log}");
        assert_eq!(callee.connections(), 0);
    });
}

#[test]
fn the_end_of_the_process_waits_for_no_call() {
    run(async {
        let (mut proxy, callee) = start(&calling("/held", "", ""), "").await;
        let answer = proxy.client(Http::One).await.send(asking("/a")).await;
        assert_eq!(answer.status, 200);
        while callee.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        let before = Instant::now();
        proxy.terminate();
        assert!(proxy.ended().await.success());
        // The drain limit is half a minute, and the gate opens later than that.
        assert!(before.elapsed() < crate::support::PATIENCE);
        assert!(proxy.lines(&["http_call_response"]).is_empty());
    });
}

#[test]
fn no_more_calls_are_under_way_than_may_be() {
    let Some(filter) = guest() else { return };
    run(async {
        let callee = Upstream::start();
        let cluster = format!("{{ name: callee, endpoints: ['{}'] }}", callee.address);
        let world = World::start(filter.with("limits: { callouts: 2 }"), |config| {
            config.cluster(cluster)
        })
        .await;
        world.call(&["http callee GET /same"; 5]).await;
        assert_eq!(world.answers().len(), 2);
        assert_eq!(world.proxy.lines(&["refused InternalFailure"]).len(), 3);
        // What has been answered makes room.
        world.call(&["http callee GET /same"; 2]).await;
        assert_eq!(world.answers().len(), 4);
    });
}
