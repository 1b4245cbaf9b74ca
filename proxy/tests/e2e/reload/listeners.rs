//! Listeners come, go, and become others.

use std::net::{SocketAddr, TcpListener};

use super::{refused, reload, responding, until};
use crate::proxied::V1;
use crate::support::{Client, Proxy, Upstream, client, h2};

fn listener(name: &str, address: &str, body: &str) -> String {
    listener_with(name, address, body, "")
}

fn listener_with(name: &str, address: &str, body: &str, more: &str) -> String {
    format!(
        "- name: {name}\n  address: {address}\n{more}  routes: [{}]\n",
        responding("/", body)
    )
}

fn config(listeners: &[String]) -> String {
    format!("listeners:\n{}workers: 2\n", listeners.concat())
}

const ANY: &str = "127.0.0.1:0";

/// An address where nobody listens, most likely for as long as a test needs it.
fn free() -> SocketAddr {
    Upstream::free()
}

#[test]
fn one_that_is_new_is_listened_on_and_one_that_is_gone_is_not() {
    let (web, more) = (listener("web", ANY, "web"), free());
    let proxy = Proxy::start(&config(std::slice::from_ref(&web)));
    let both = config(&[listener("more", &more.to_string(), "more"), web.clone()]);
    reload(&proxy, &both);
    proxy.log.wait_for(&format!("listening: more {more}"));
    let mut kept = Client::connect(more);
    let mut on_web = proxy.client();
    for _ in 0..8 {
        assert_eq!(Client::connect(more).get("/").text(), "more");
        assert_eq!(on_web.get("/").text(), "web");
    }
    assert_eq!(kept.get("/").text(), "more");
    reload(&proxy, &config(&[web]));
    proxy.log.wait_for("no longer listening: more");
    until(&proxy, "refused", || !client::is_let_in(more));
    // Whoever is connected there gets one more answer, by the routes of that time.
    let last = kept.get("/");
    assert_eq!(
        (last.text(), last.field("connection")),
        ("more".to_owned(), Some("close"))
    );
    kept.assert_ended();
    let other = on_web.get("/");
    assert_eq!(
        (other.text(), other.field("connection")),
        ("web".to_owned(), None)
    );
    // And it can be taken again.
    reload(&proxy, &both);
    assert_eq!(Client::connect(more).get("/").text(), "more");
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_connections_of_one_that_is_gone_are_told_so_once_their_streams_have_ended() {
    let upstream = h2::Upstream::new(None, h2::echo).await;
    let more = free();
    let with = format!(
        "listeners:\n{}- name: more\n  address: {more}\n  routes: [{{ match: {{ prefix: / }}, cluster: backend }}]\n\
         clusters: [{{ name: backend, endpoints: ['{}'], protocol: http2 }}]\nworkers: 2\n",
        listener("web", ANY, "web"),
        upstream.address
    );
    let proxy = Proxy::start(&config(&[listener("web", ANY, "web")]));
    tokio::task::block_in_place(|| reload(&proxy, &with));
    let client = h2::connect(more).await;
    let (feeder, feed) = h2::feed();
    let request = http::Request::post("http://test/").body(feed).unwrap();
    h2::data(&feeder, "half");
    let response = h2::send(&client, request).await;
    tokio::task::block_in_place(|| {
        reload(&proxy, &config(&[listener("web", ANY, "web")]));
    });
    h2::data(&feeder, "half");
    drop(feeder);
    assert_eq!(
        h2::whole(response.into_body()).await.unwrap().body,
        "halfhalf"
    );
    // GOAWAY: no request can be begun on it any more.
    h2::soon(async {
        while !client.is_closed() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[test]
fn connections_that_are_not_done_when_the_drain_time_is_over_are_cut() {
    let upstream = Upstream::new(|conn| {
        conn.head();
        let _ = conn.bytes(1);
    });
    let more = free();
    let with = format!(
        "listeners:\n{}- name: more\n  address: {more}\n  routes: [{{ match: {{ prefix: / }}, cluster: backend }}]\n\
         clusters: [{{ name: backend, endpoints: ['{}'] }}]\nworkers: 1\ndrain_time: 100ms\n",
        listener("web", ANY, "web"),
        upstream.address
    );
    let only = config(&[listener("web", ANY, "web")]).replace("workers: 2", "workers: 1");
    let proxy = Proxy::start(&with);
    let mut client = Client::connect(more);
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    upstream.wait_for_requests(0);
    until(&proxy, "a request", || !upstream.bytes().is_empty());
    reload(&proxy, &only);
    client.assert_ended();
    assert_eq!(proxy.get("/").text(), "web");
}

#[test]
fn a_name_may_change_and_the_address_goes_on() {
    let address = free().to_string();
    let proxy = Proxy::start(&config(&[
        listener("web", ANY, "web"),
        listener("a", &address, "a"),
    ]));
    let mut client = Client::connect(address.parse().unwrap());
    assert_eq!(client.get("/").text(), "a");
    reload(
        &proxy,
        &config(&[listener("b", &address, "b"), listener("web", ANY, "web")]),
    );
    let answer = client.get("/");
    assert_eq!(
        (answer.text(), answer.field("connection")),
        ("b".to_owned(), None)
    );
    assert!(!proxy.log.text().contains("no longer listening"));
}

#[test]
fn where_connections_are_treated_otherwise_those_there_are_end_politely() {
    let more = "  max_header_bytes: 2KiB\n";
    let proxy = Proxy::start(&config(&[listener("web", ANY, "one")]));
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "one");
    reload(&proxy, &config(&[listener_with("web", ANY, "two", more)]));
    let last = client.get("/");
    assert_eq!(
        (last.text(), last.field("connection")),
        ("one".to_owned(), Some("close")),
        "the listener it came in by is gone"
    );
    client.assert_ended();
    let long = format!(
        "GET / HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n",
        "x".repeat(4 << 10)
    );
    assert_eq!(proxy.client().request(&long).status(), 431);
    assert_eq!(proxy.get("/").text(), "two");
}

#[test]
fn where_connections_come_from_may_be_said_from_one_moment_on() {
    let upstream = Upstream::named("ok");
    let with = |proxied: &str| {
        format!(
            "listeners: [{{ name: web, address: 127.0.0.1:0, {proxied} routes: [{{ cluster: backend }}] }}]\n\
             clusters: [{{ name: backend, endpoints: ['{}'] }}]\nworkers: 2\n",
            upstream.address
        )
    };
    let (direct, told) = (with(""), with("proxy_protocol: { from: [127.0.0.0/8] },"));
    // Who the upstream heard of last.
    let client_of = |client: &mut Client| {
        assert_eq!(client.get("/").text(), "ok");
        let requests = upstream.requests();
        let last = requests.last().unwrap();
        last.field("x-forwarded-for").unwrap().to_owned()
    };
    let proxy = Proxy::start(&direct);
    let headed = || {
        let mut client = proxy.client();
        client.send(V1);
        client
    };
    let mut before = proxy.client();
    assert_eq!(client_of(&mut before), "127.0.0.1");
    reload(&proxy, &told);
    assert_eq!(client_of(&mut headed()), "192.0.2.1");
    // Nobody asks a connection that is there already: it is what it was.
    assert_eq!(client_of(&mut before), "127.0.0.1");
    let mut between = headed();
    assert_eq!(client_of(&mut between), "192.0.2.1");
    reload(&proxy, &direct);
    assert_eq!(client_of(&mut proxy.client()), "127.0.0.1");
    let (refused, _) = headed().rest();
    assert!(
        refused.starts_with(b"HTTP/1.1 400"),
        "a header is no request"
    );
    assert_eq!(client_of(&mut between), "192.0.2.1");
    assert_eq!(
        proxy.log.count("listening: web"),
        1,
        "one socket all the time"
    );
    assert_eq!(proxy.log.count("no longer listening"), 0);
}

#[test]
fn a_port_that_is_taken_keeps_everything_from_changing() {
    let taken = TcpListener::bind(ANY).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let proxy = Proxy::start(&config(&[listener("web", ANY, "one")]));
    let wanted = config(&[
        listener("web", ANY, "two"),
        listener("more", &address, "more"),
    ]);
    refused(&proxy, &wanted);
    proxy.log.wait_for(&format!(
        "/config.yaml:6:12: listeners[1].address: listener more cannot listen on {address}: "
    ));
    assert_eq!(proxy.get("/").text(), "one");
    drop(taken);
    reload(&proxy, &wanted);
    assert_eq!(proxy.get("/").text(), "two");
    assert_eq!(
        Client::connect(address.parse().unwrap()).get("/").text(),
        "more"
    );
}

#[test]
fn an_address_that_this_process_has_itself_is_told_with_the_way_to_it() {
    let one = free();
    let all = SocketAddr::from(([0, 0, 0, 0], one.port())).to_string();
    let with = |listeners: &[String]| config(&[&[listener("any", ANY, "any")], listeners].concat());
    let web = listener("web", &one.to_string(), "one");
    let proxy = Proxy::start(&with(std::slice::from_ref(&web)));
    refused(&proxy, &with(&[listener("web", &all, "two")]));
    let place = "/config.yaml:6:12: listeners[1].address: listener web cannot listen on";
    proxy.log.wait_for(&format!(
        "{place} {all}: listener web of this process has {one} until the reload is over; \
         give the listener another port, or take the old one away by a reload of its own"
    ));
    // One that stays.
    refused(&proxy, &with(&[listener("all", &all, "two"), web]));
    proxy.log.wait_for(&format!(
        "cannot listen on {all}: listener web has {one}; give one of the two another address"
    ));
    // As it says.
    reload(&proxy, &with(&[]));
    until(&proxy, "refused", || !client::is_let_in(one));
    reload(&proxy, &with(&[listener("web", &all, "three")]));
    assert_eq!(Client::connect(one).get("/").text(), "three");
}
