//! Bounds of a cluster: what goes past them is told so at once, and what is freed is used.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use hyper::body::Incoming;

use crate::support::admin::Watched;
use crate::support::pki::Pki;
use crate::support::{Proxy, Setup, Upstream, h2};

fn proxy(breakers: &str, more: &str, upstream: &Upstream) -> Proxy {
    Proxy::start(&yaml(breakers, more, upstream))
}

fn yaml(breakers: &str, more: &str, upstream: &Upstream) -> String {
    format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c }}] }}]\n\
         clusters: [{{ name: c, endpoints: ['{}'], {more} circuit_breakers: {{ {breakers} }} }}]\n\
         workers: 1\n\
         access_log: {{ format: '%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%' }}\n",
        upstream.address
    )
}

/// Answers `/held` only when the other side has gone, half of everything else at once.
fn holding() -> Upstream {
    Upstream::new(|conn| {
        while let Some(request) = conn.request() {
            if request.line.contains("/held") {
                conn.rest();
                return;
            }
            conn.respond("free");
        }
    })
}

#[test]
fn requests_past_the_bound_are_503_uo_until_one_ends() {
    let upstream = holding();
    let proxy = proxy("max_requests: 1", "", &upstream);
    assert_eq!(proxy.get("/").text(), "free");
    let mut held = proxy.client();
    held.send("GET /held HTTP/1.1\r\nhost: test\r\n\r\n");
    upstream.wait_for_requests(2);
    let refused = proxy.get("/");
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.field("x-envoy-overloaded"), Some("true"));
    proxy
        .stdout
        .wait_for("503 UO upstream_reset_before_response_started{overflow}");
    // Whoever held the place goes, and it is free again.
    drop(held);
    proxy.stdout.wait_for(" DC ");
    assert_eq!(proxy.get("/").text(), "free");
}

#[test]
fn a_request_waits_for_a_connection_where_there_may_be_no_more() {
    let upstream = Upstream::named("one");
    let Watched { proxy, admin } = Watched::start(&yaml("max_connections: 1", "", &upstream));
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| proxy.get("/"))).collect();
        for answer in asking {
            assert_eq!(answer.join().unwrap().text(), "one");
        }
    });
    assert_eq!(upstream.connections(), 1);
    assert_eq!(upstream.requests().len(), 8);
    // Each of those that wait is one, however often it looks.
    let overflow = "cofferdam_cluster_events_total{cluster=\"c\",event=\"upstream_cx_overflow\"}";
    admin.becomes(overflow, |times| (1.0..=7.0).contains(&times));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_connection_shares_one_of_http_2_that_another_has_opened() {
    const ALL: usize = 8;
    static CAME: AtomicUsize = AtomicUsize::new(0);
    /// Answers nobody before all have asked.
    async fn together(_: Request<Incoming>) -> Response<h2::Feed> {
        CAME.fetch_add(1, Ordering::SeqCst);
        while CAME.load(Ordering::SeqCst) < ALL {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Response::new(h2::full("together"))
    }
    let (pki, setup) = (Pki::new(&["up.test"]), Setup::new());
    pki.write(&setup.dir, "upstream");
    let upstream = h2::Upstream::new(Some(pki.server(&["h2", "http/1.1"])), together).await;
    let proxy = setup.start(&format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c }}] }}]\n\
         clusters: [{{ name: c, endpoints: ['{}'], protocol: auto, circuit_breakers: {{ max_connections: 1 }}, \
         tls: {{ server_name: up.test, ca: upstream-ca.pem }} }}]\nworkers: 1\n",
        upstream.address
    ));
    let asking: Vec<_> = (0..ALL)
        .map(|_| {
            let address = proxy.web();
            tokio::task::spawn_blocking(move || crate::support::client::get(address, "/"))
        })
        .collect();
    for answer in asking {
        assert_eq!(answer.await.unwrap().text(), "together");
    }
    assert_eq!(*upstream.connections.lock().unwrap(), 1);
}

#[test]
fn nobody_waits_longer_than_for_a_connection_of_his_own() {
    let upstream = holding();
    let proxy = proxy("max_connections: 1", "connect_timeout: 300ms,", &upstream);
    let mut held = proxy.client();
    held.send("GET /held HTTP/1.1\r\nhost: test\r\n\r\n");
    upstream.wait_for_requests(1);
    assert_eq!(proxy.get("/").status(), 503);
    proxy.stdout.wait_for("503 UO");
    drop(held);
    proxy.stdout.wait_for(" DC ");
    assert_eq!(proxy.get("/").text(), "free");
}

#[test]
fn so_many_may_wait_and_no_more() {
    let upstream = holding();
    let proxy = proxy("max_connections: 1, max_pending_requests: 0", "", &upstream);
    // The first connection is waited for, too.
    assert_eq!(proxy.get("/held").status(), 503);
    proxy.stdout.wait_for("503 UO");
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn bounds_are_over_all_workers() {
    let upstream = holding();
    let text = format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c }}] }}]\n\
         clusters: [{{ name: c, endpoints: ['{}'], circuit_breakers: {{ max_requests: 4 }} }}]\n\
         workers: 3\naccess_log: {{ format: '%RESPONSE_CODE% %RESPONSE_FLAGS%' }}\n",
        upstream.address
    );
    let proxy = Proxy::start(&text);
    let held: Vec<_> = (0..4)
        .map(|number| {
            let mut client = proxy.client();
            client.send("GET /held HTTP/1.1\r\nhost: test\r\n\r\n");
            upstream.wait_for_requests(number + 1);
            client
        })
        .collect();
    for _ in 0..6 {
        assert_eq!(proxy.get("/").status(), 503);
    }
    drop(held);
}

#[test]
fn what_is_no_longer_http_counts_until_it_ends() {
    let upstream = Upstream::new(|conn| {
        while let Some(request) = conn.request() {
            if request.line.contains("/chat") {
                conn.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n");
                conn.rest();
                return;
            }
            conn.respond("free");
        }
    });
    for breakers in ["max_requests: 1", "max_connections: 1"] {
        let proxy = proxy(breakers, "connect_timeout: 300ms,", &upstream);
        let mut chat = proxy.client();
        chat.send(
            "GET /chat HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n",
        );
        assert_eq!(chat.head().status(), 101);
        assert_eq!(proxy.get("/").status(), 503, "{breakers}");
        proxy.stdout.wait_for("503 UO");
        drop(chat);
        proxy.stdout.wait_for("101 ");
        assert_eq!(proxy.get("/").text(), "free", "{breakers}");
    }
}

#[test]
fn connections_that_are_not_http_are_bounded_too() {
    let upstream = Upstream::new(|conn| {
        conn.send("hello");
        conn.rest();
    });
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, tcp: {{ cluster: c }} }}]\n\
         clusters: [{{ name: c, endpoints: ['{}'], circuit_breakers: {{ max_connections: 1 }} }}]\n\
         workers: 1\naccess_log: {{ format: 'ended %RESPONSE_FLAGS%' }}\n",
        upstream.address
    ));
    let mut first = proxy.client();
    assert_eq!(first.bytes(5), b"hello");
    let (bytes, _) = proxy.client().rest();
    assert_eq!(bytes, b"");
    proxy.stdout.wait_for("ended UO");
    drop(first);
    proxy.stdout.wait_for("ended -");
    assert_eq!(proxy.client().bytes(5), b"hello");
}
