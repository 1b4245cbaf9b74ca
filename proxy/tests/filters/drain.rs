//! The end of the process, while filters hold streams and when they do not.

use std::time::{Duration, Instant};

use crate::support::{
    Answer, BOTH, Config, Filter, Guest, Proxy, Upstream, built_guest, get, run, within,
};

/// The last callbacks, in the order they came, with their context.
fn endings(proxy: &Proxy) -> Vec<String> {
    let calls = proxy.lines(&[" filter: "]).into_iter();
    let calls = calls.filter_map(|line| {
        Some(
            line.split(" filter: ")
                .nth(1)?
                .split('.')
                .next()?
                .to_owned(),
        )
    });
    calls
        .filter(|call| {
            ["log ", "done ", "delete "]
                .iter()
                .any(|name| call.starts_with(name))
        })
        .collect()
}

#[test]
fn without_streams_the_roots_are_told_and_the_process_ends_at_once() {
    run(async {
        let upstream = Upstream::start();
        let filter = Filter::wasm("f", Guest::new().build());
        let mut proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
        assert_eq!(
            proxy.client(BOTH[0]).await.send(get("/a")).await.status,
            200
        );
        proxy.logged(&["delete 2."]).await;
        proxy.terminate();
        assert_eq!(proxy.ended().await.code(), Some(0));
        assert_eq!(
            endings(&proxy),
            ["log 2", "done 2", "delete 2", "done 1", "delete 1"]
        );
    });
}

#[test]
fn a_stream_that_is_held_for_ever_is_cut_after_the_drain_time_and_ends_before_its_root() {
    run(async {
        for callback in ["request_headers", "response_headers", "response_body"] {
            for http in BOTH {
                let upstream = Upstream::start();
                let filter = Filter::wasm(
                    "f",
                    Guest::new().on(callback, "(return (i32.const 1))").build(),
                );
                let config = Config::new(upstream.address)
                    .filter(filter)
                    .with("drain_time: 300ms");
                let mut proxy = Proxy::start(&config).await;
                let mut client = proxy.client(http).await;
                let held = tokio::spawn(client.start(get("/same")));
                proxy.logged(&[&format!("{callback} 2 ")]).await;
                let begun = Instant::now();
                proxy.terminate();
                assert_eq!(
                    proxy.ended().await.code(),
                    Some(0),
                    "{callback} over {http:?}"
                );
                assert!(
                    begun.elapsed() >= Duration::from_millis(250),
                    "it was given its time"
                );
                proxy.logged(&["WARN", "drain_time is over"]).await;
                let order = ["log 2", "done 2", "delete 2", "done 1", "delete 1"];
                assert_eq!(endings(&proxy), order, "{callback} over {http:?}");
                proxy.access(&["/same"]).await;
                let outcome = within("the client", held).await.expect("a task");
                if let Ok(response) = outcome {
                    assert!(Answer::read(response).await.cut, "{callback} over {http:?}");
                }
            }
        }
    });
}

#[test]
fn a_paused_stream_that_is_resumed_while_draining_is_served() {
    let Some(module) = built_guest("pause") else {
        return;
    };
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let filter = Filter::file("pause", &module).with("configuration: \"300\"");
            let mut proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
            let mut client = proxy.client(http).await;
            let held = tokio::spawn(client.start(get("/a")));
            proxy.logged(&["paused 2 at RequestHeaders"]).await;
            proxy.terminate();
            proxy.logged(&["draining"]).await;
            let response = within("the response", held)
                .await
                .expect("a task")
                .expect("a response");
            let answer = within("its body", Answer::read(response)).await;
            assert_eq!((answer.status, answer.cut), (200, false), "{http:?}");
            assert_eq!(proxy.ended().await.code(), Some(0), "{http:?}");
        }
    });
}

#[test]
fn a_root_that_is_never_done_does_not_keep_the_process_for_ever() {
    run(async {
        let upstream = Upstream::start();
        let guest = Guest::new().on("done", "(return (i32.const 0))");
        let filter = Filter::wasm("f", guest.build());
        let config = Config::new(upstream.address)
            .filter(filter)
            .with("drain_time: 1s");
        let mut proxy = Proxy::start(&config).await;
        assert_eq!(
            proxy.client(BOTH[1]).await.send(get("/a")).await.status,
            200
        );
        proxy.terminate();
        assert_eq!(proxy.ended().await.code(), Some(0));
        // What a stream answers does not matter; a root may never get to its end.
        assert_eq!(endings(&proxy), ["log 2", "done 2", "delete 2", "done 1"]);
    });
}

/// One worker's turn takes in 128 connections at most, unless it is told otherwise.
const WAITING: usize = 300;

#[test]
fn clients_that_were_let_in_while_the_worker_was_busy_are_served() {
    use std::io::{Read as _, Write as _};

    // The first request keeps the worker; the others find the count where it ends.
    let count = "(loop $on (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (br_if $on (i32.lt_s (global.get $n) (i32.const 20000000))))";
    let guest = Guest::new()
        .define("(global $n (mut i32) (i32.const 0))")
        .on("request_headers", count);
    run(async {
        let upstream = Upstream::start();
        let filter = Filter::wasm("f", guest.build())
            .with("engine: interpreter")
            .with("limits: { callback: 30s, stream_cpu: 60s, log: none }");
        let mut proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
        let mut client = proxy.client(BOTH[0]).await;
        let first = tokio::spawn(client.start(get("/a")));
        proxy.logged(&["request_headers"]).await;
        let address = proxy.address;
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let mut stream = std::net::TcpStream::connect(address).expect("a connection");
                let request = b"GET /b HTTP/1.1\r\nhost: a\r\n\r\n";
                stream.write_all(request).expect("it is taken");
                stream
            })
            .collect();
        proxy.terminate();
        let served = tokio::task::spawn_blocking(move || {
            let served = waiting.into_iter().filter(|mut stream| {
                let mut start = [0; 12];
                let read = stream.read_exact(&mut start);
                read.is_ok() && &start == b"HTTP/1.1 200"
            });
            served.count()
        });
        assert_eq!(served.await.expect("a thread"), WAITING);
        let first = first.await.expect("a task").expect("a response");
        assert_eq!(first.status(), 200);
        assert!(proxy.ended().await.success());
    });
}
