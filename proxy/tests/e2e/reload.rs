//! The whole configuration becomes another while the proxy runs: each kind of change, and
//! what of it nobody notices.

mod listeners;
mod load;
mod watch;

use std::net::SocketAddr;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::{Client, LONGEST, Proxy, Upstream, h2};

/// Writes another configuration, has it read, and waits until it is served; the log's line.
pub(crate) fn reload(proxy: &Proxy, yaml: &str) {
    proxy.dir.write("config.yaml", yaml);
    ends(proxy, "reload: module files were read again");
}

/// The same of one that is refused.
fn refused(proxy: &Proxy, yaml: &str) {
    proxy.dir.write("config.yaml", yaml);
    ends(proxy, "reload: nothing is changed");
}

/// Has the configuration read, and waits until that has ended with these words.
fn ends(proxy: &Proxy, words: &str) {
    let before = proxy.log.count(words);
    proxy.signal(Signal::HUP);
    until(proxy, words, || proxy.log.count(words) > before);
}

fn until(proxy: &Proxy, what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONGEST;
    while !done() {
        assert!(
            Instant::now() < deadline,
            "never {what}:\n{}",
            proxy.log.text()
        );
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// One listener `web` with these routes, and these clusters, on two workers.
fn config(routes: &str, clusters: &str) -> String {
    format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{routes}] }}]\n\
         clusters: [{clusters}]\n\
         workers: 2\n"
    )
    // What the support code looks for.
    .replace("address: 127.0.0.1:0,", "\"address\": 127.0.0.1:0,")
    .replace("\"address\"", "address")
}

fn answering(body: &str) -> String {
    config(&responding("/", body), "")
}

fn responding(prefix: &str, body: &str) -> String {
    format!("{{ match: {{ prefix: {prefix} }}, respond: {{ status: 200, body: {body} }} }}")
}

fn forwarding(prefix: &str, cluster: &str) -> String {
    format!("{{ match: {{ prefix: {prefix} }}, cluster: {cluster} }}")
}

fn cluster(name: &str, address: SocketAddr) -> String {
    format!("{{ name: {name}, endpoints: ['{address}'] }}")
}

#[tokio::test]
async fn the_next_request_of_a_connection_is_served_by_the_new_routes() {
    let proxy = Proxy::start(&answering("one"));
    let mut http1 = proxy.client();
    let http2 = h2::connect(proxy.web()).await;
    assert_eq!(http1.get("/").text(), "one");
    assert_eq!(h2::fetch(&http2, h2::get("/")).await.1.body, "one");
    reload(&proxy, &answering("two"));
    // On the connections that there are, and on new ones.
    let answer = http1.get("/");
    assert_eq!(
        (answer.text(), answer.field("connection")),
        ("two".to_owned(), None)
    );
    assert_eq!(h2::fetch(&http2, h2::get("/")).await.1.body, "two");
    for _ in 0..8 {
        assert_eq!(proxy.get("/").text(), "two");
    }
    // A route that is gone, and one that has come.
    reload(&proxy, &config(&responding("/new", "three"), ""));
    assert_eq!(http1.get("/").status(), 404);
    assert_eq!(http1.get("/new").text(), "three");
}

#[test]
fn a_cluster_that_is_the_same_keeps_its_connections_and_another_does_not() {
    let (same, before, after) = (
        Upstream::named("same"),
        Upstream::named("before"),
        Upstream::named("after"),
    );
    let routes = [forwarding("/same", "same"), forwarding("/other", "other")].join(", ");
    let with = |other: SocketAddr, more: &str| {
        let clusters = [cluster("other", other), cluster("same", same.address)].join(", ");
        config(&routes, &format!("{more}{clusters}")).replace("workers: 2", "workers: 1")
    };
    let proxy = Proxy::start(&with(before.address, ""));
    let mut client = proxy.client();
    assert_eq!(client.get("/same").text(), "same");
    assert_eq!(client.get("/other").text(), "before");
    // In another place of the list, too.
    let more = cluster("more", after.address) + ", ";
    reload(&proxy, &with(after.address, &more));
    assert_eq!(client.get("/same").text(), "same");
    assert_eq!(client.get("/other").text(), "after");
    assert_eq!(same.connections(), 1, "the connection was kept");
    // What belonged to the endpoints before is closed.
    before.wait_for_ended(1);
}

#[test]
fn a_bad_file_changes_nothing_and_every_mistake_is_told() {
    let proxy = Proxy::start(&answering("one"));
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "one");
    let bad = config(
        &[forwarding("/a", "nowhere"), forwarding("/b", "nobody")].join(", "),
        "",
    );
    refused(&proxy, &bad);
    for (place, what) in [
        ("listeners[0].routes[0].cluster", "nowhere"),
        ("listeners[0].routes[1].cluster", "nobody"),
    ] {
        let told = proxy.log.all().into_iter().filter(|line| {
            line.contains("ERROR")
                && line.contains("reload: ")
                && line.contains(place)
                && line.contains(what)
        });
        assert_eq!(told.count(), 1, "{place}");
    }
    for unusable in ["", "listeners: 3", "nothing: here", "\u{0}"] {
        refused(&proxy, unusable);
        assert_eq!(client.get("/").text(), "one", "{unusable:?}");
    }
    std::fs::remove_file(proxy.dir.join("config.yaml")).unwrap();
    ends(&proxy, "reload: nothing is changed");
    proxy.log.wait_for("there is no such file");
    assert_eq!(client.get("/").text(), "one");
    reload(&proxy, &answering("two"));
    assert_eq!(client.get("/").text(), "two");
}

#[test]
fn what_is_read_at_the_start_only_is_named_and_the_rest_changes() {
    let proxy = Proxy::start(&answering("one"));
    reload(
        &proxy,
        &answering("two").replace("workers: 2", "workers: 3"),
    );
    proxy.log.wait_for("`workers` is read at the start only");
    for _ in 0..8 {
        assert_eq!(proxy.get("/").text(), "two");
    }
}

#[test]
fn the_access_log_follows_the_configuration() {
    let logging = |format: &str| {
        answering("hello") + &format!("access_log: {{ file: access.log, format: '{format}' }}\n")
    };
    let proxy = Proxy::start(&logging("before %REQ(:PATH)%"));
    let mut client = proxy.client();
    let written = |line: &str| {
        until(&proxy, line, || proxy.dir.read("access.log").contains(line));
    };
    client.get("/a");
    written("before /a\n");
    reload(&proxy, &logging("after %REQ(:PATH)%"));
    client.get("/b");
    written("after /b\n");
    reload(
        &proxy,
        &logging("last %REQ(:PATH)%").replace("access.log", "other.log"),
    );
    client.get("/c");
    until(&proxy, "a line", || {
        proxy.dir.read("other.log") == "last /c\n"
    });
    // Rotation finds the file that is written now.
    std::fs::rename(proxy.dir.join("other.log"), proxy.dir.join("moved.log")).unwrap();
    proxy.signal(Signal::USR1);
    proxy.log.wait_for("the access log was opened anew");
    client.get("/d");
    until(&proxy, "a line", || {
        proxy.dir.read("other.log") == "last /d\n"
    });
    reload(&proxy, &answering("hello"));
    client.get("/e");
    assert_eq!(client.get("/e").text(), "hello");
    assert_eq!(proxy.dir.read("other.log"), "last /d\n");
}

#[test]
fn an_upload_across_a_reload_goes_where_it_began() {
    let (before, after) = (Upstream::echo(), Upstream::named("after"));
    let to =
        |address: SocketAddr| config(&forwarding("/", "backend"), &cluster("backend", address));
    let proxy = Proxy::start(&to(before.address));
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\nhalf");
    before.wait_for_bytes(4);
    reload(&proxy, &to(after.address));
    client.send("half");
    assert_eq!(client.response().text(), "halfhalf");
    // The next one on the same connection does not.
    assert_eq!(client.get("/").text(), "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_across_a_reload_end_where_they_began_and_the_connection_goes_on() {
    let upstream = h2::Upstream::new(None, h2::echo).await;
    let before = config(
        &forwarding("/", "backend"),
        &format!(
            "{{ name: backend, endpoints: ['{}'], protocol: http2 }}",
            upstream.address
        ),
    );
    let proxy = Proxy::start(&before);
    let client = h2::connect(proxy.web()).await;
    let (feeder, feed) = h2::feed();
    let request = http::Request::post("http://test/").body(feed).unwrap();
    h2::data(&feeder, "half");
    let response = h2::send(&client, request).await;
    tokio::task::block_in_place(|| reload(&proxy, &answering("hello")));
    assert_eq!(h2::fetch(&client, h2::get("/")).await.1.body, "hello");
    h2::data(&feeder, "half");
    drop(feeder);
    assert_eq!(
        h2::whole(response.into_body()).await.unwrap().body,
        "halfhalf"
    );
}

#[test]
fn a_tunnel_outlives_its_route() {
    let upstream = Upstream::new(|conn| {
        if conn.head().is_some() {
            conn.send(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            );
            while let Ok(bytes) = conn.bytes(4) {
                conn.send(bytes);
            }
        }
    });
    let to = config(
        &forwarding("/", "backend"),
        &cluster("backend", upstream.address),
    );
    let proxy = Proxy::start(&to);
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    assert_eq!(client.head().status(), 101);
    client.send("ping");
    assert_eq!(client.bytes(4), b"ping");
    reload(&proxy, &answering("hello"));
    client.send("pong");
    assert_eq!(client.bytes(4), b"pong");
    assert_eq!(Client::connect(proxy.web()).get("/").text(), "hello");
}
