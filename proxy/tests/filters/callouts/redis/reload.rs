//! A cluster of Redis servers that a reload changes or takes away: what is under way there is
//! answered, and its connection ends after that. The server is the test's own, since it must
//! answer neither too early nor too late.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{CALLS, asking_within, resp};
use crate::support::{Config, Filter, Guest, Http, Proxy, Upstream, get, run, within};

/// A proxy whose requests ask Redis, and configurations in which that cluster is as it was, is
/// another, and is gone.
struct Scene {
    proxy: Proxy,
    _upstream: Upstream,
    listener: TcpListener,
    after: [Config; 2],
}

// === impl Scene ===

impl Scene {
    /// With filters that wait so long for a reply.
    async fn start(queries: &[String], timeout: u32) -> Self {
        let upstream = Upstream::start();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let guest = asking_within(timeout, "redis", "", queries).build();
        let without = Config::new(upstream.address).filter(Filter::wasm("f", guest));
        let redis = |address: SocketAddr, connect: &str| {
            let endpoints = format!("endpoints: ['{address}'], connect_timeout: {connect}");
            without
                .clone()
                .cluster(format!("{{ name: redis, {endpoints} }}"))
        };
        let proxy = Proxy::start(&redis(address, "5s")).await;
        Self {
            proxy,
            _upstream: upstream,
            listener,
            after: [redis(address, "4s"), without],
        }
    }

    /// The next connection, once so many bytes of commands have come on it.
    async fn asked(&self, bytes: usize) -> TcpStream {
        within("commands", async {
            let (mut stream, _) = self.listener.accept().await.expect("a connection");
            let mut commands = vec![0; bytes];
            stream.read_exact(&mut commands).await.expect("commands");
            stream
        })
        .await
    }
}

async fn ends(mut stream: TcpStream) {
    let read = within("its end", stream.read(&mut [0; 1])).await;
    assert_eq!(read.ok(), Some(0), "nothing more comes");
}

#[test]
fn commands_under_way_are_answered_when_their_cluster_changes_or_goes() {
    run(async {
        let queries = [resp(&["PING"]), resp(&["ECHO", "a"])];
        for becomes in 0..2 {
            let scene = Scene::start(&queries, 60_000).await;
            let mut client = scene.proxy.client(Http::One).await;
            let sent = tokio::spawn(client.start(get("/a")));
            let mut stream = scene.asked(queries.concat().len()).await;
            scene.proxy.reconfigure(&scene.after[becomes]).await;
            // The one is answered now and the other later.
            stream.write_all(b"+PONG\r\n").await.expect("a reply");
            scene.proxy.logged(&["filter: +PONG"]).await;
            stream.write_all(b"$1\r\na\r\n").await.expect("a reply");
            let response = within("the response", sent).await.expect("a task");
            assert_eq!(response.expect("a response").status(), 200);
            scene.proxy.logged_times(&["filter: status 0 7."], 2).await;
            ends(stream).await;
        }
    });
}

#[test]
fn a_connection_to_a_cluster_that_has_gone_ends_once_nobody_waits_for_a_reply() {
    run(async {
        let queries = [resp(&["PING"]), resp(&["PING"])];
        let scene = Scene::start(&queries, 500).await;
        let mut client = scene.proxy.client(Http::One).await;
        let sent = tokio::spawn(client.start(get("/a")));
        let stream = scene.asked(queries.concat().len()).await;
        scene.proxy.reconfigure(&scene.after[1]).await;
        // The server says nothing.
        let response = within("the response", sent).await.expect("a task");
        assert_eq!(response.expect("a response").status(), 200);
        scene.proxy.logged_times(&["filter: status 1 0."], 2).await;
        ends(stream).await;
    });
}

/// 4 MiB of password each, so that what stays of them shows.
#[test]
fn how_a_root_logs_in_is_forgotten_with_it_though_others_go_on_in_its_vm() {
    const INIT: &str = "(if (i32.lt_u (memory.size) (i32.const 68)) (then
            (drop (memory.grow (i32.const 64)))))
        (if (call $redis_init «redis» (i32.const 0) (i32.const 0)
            (i32.const 262144) (i32.const 4194304) (i32.const 0)) (then unreachable))";
    // Gone at once or later, both with a last word; when its time is over.
    let last_words = format!("(drop (call $root_done)) {INIT}");
    let ends = [
        (INIT, "", "1h"),
        (
            "(drop (call $tick_period (i32.const 1))) (return (i32.const 0))",
            &last_words,
            "1h",
        ),
        ("(return (i32.const 0))", "", "100ms"),
    ];
    run(async {
        for (done, tick, time) in ends {
            let guest = Guest::new().import(CALLS).on("configure", INIT);
            let module = guest.on("done", done).on("tick", tick).build();
            let with = |n: usize| {
                let filter = |name: &str, n: usize| {
                    let filter = Filter::wasm(name, module.clone());
                    let filter = filter.with("engine: interpreter");
                    filter.with(format!("configuration: {{ {name}: {n} }}"))
                };
                Config::new(Upstream::nowhere())
                    .filter(filter("f", 0))
                    .filter(filter("g", n))
                    .cluster(format!(
                        "{{ name: redis, endpoints: ['{}'] }}",
                        Upstream::nowhere()
                    ))
                    .with(&format!("filter_drain_time: {time}"))
            };
            let proxy = Proxy::start(&with(0)).await;
            let reloads = async |first: usize, last: usize| {
                for n in first..=last {
                    proxy.reconfigure(&with(n)).await;
                    let gone = [" delete ", "filter=\"g\""];
                    proxy.logged_times(&gone, n).await;
                }
                proxy.peak_memory()
            };
            let before = reloads(1, 3).await;
            let grown = reloads(4, 15).await - before;
            assert!(
                grown < 24 << 20,
                "{grown} bytes for 12 reloads, {done} {tick}"
            );
            assert_eq!(
                proxy.lines(&[" vm_start ", "filter=\"f\""]).len(),
                1,
                "one VM"
            );
            assert!(proxy.lines(&[" delete ", "filter=\"f\""]).is_empty());
        }
    });
}
