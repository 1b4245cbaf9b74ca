//! A cluster of Redis servers that a reload changes or takes away: what is under way there is
//! answered, and its connection ends after that. The server is the test's own, since it must
//! answer neither too early nor too late.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{asking_within, resp};
use crate::support::{Config, Filter, Http, Proxy, Upstream, get, run, within};

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
