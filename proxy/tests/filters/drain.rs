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
