//! An HTTP/2 upstream that allows so many streams and no more: what is past them goes over
//! another connection, or is told so; nothing waits inside the codec.

use std::sync::{Condvar, Mutex, mpsc};
use std::time::Duration;

use crate::support::admin::Watched;
use crate::support::frames::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, SETTINGS, frame};
use crate::support::upstream::Conn;
use crate::support::{Client, Proxy, Upstream};
use crate::upstream_floods::speaking;

/// `:status: 200`.
const OK: &[u8] = b"\x88";

/// For what ought to come.
const PATIENCE: Duration = Duration::from_secs(5);

const ONE: &[u8] = &[0, 3, 0, 0, 0, 1];
const TWO: &[u8] = &[0, 3, 0, 0, 0, 2];

fn yaml(upstream: &Upstream, more: &str) -> String {
    format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c }}] }}]\n\
         clusters: [{{ name: c, protocol: http2, endpoints: ['{}']{more} }}]\n\
         workers: 1\naccess_log: {{ format: '%RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_CONNECTION_ID%' }}\n",
        upstream.address
    )
}

/// Begins an answer, and ends it if it is to.
fn answer(conn: &mut Conn, stream: u32, ends: bool) -> bool {
    let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
    conn.send(frame(HEADERS, flags, stream, OK))
}

/// Reads on until the next request has begun.
fn is_asked(conn: &mut Conn) -> bool {
    while let Ok(head) = conn.bytes(9) {
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        if conn.bytes(length).is_err() {
            return false;
        }
        if head[3] == HEADERS {
            return true;
        }
    }
    false
}

/// Holds the first `held` requests of its first connection, once they have begun to be answered.
fn holding(settings: &'static [u8], held: u32) -> Upstream {
    speaking(settings, move |conn, stream| {
        let ends = conn.index > 0 || stream > 2 * held;
        answer(conn, stream, ends)
    })
}

/// So many requests that are under way.
fn under_way(proxy: &Proxy, count: u32) -> Vec<Client> {
    (0..count)
        .map(|_| {
            let mut client = proxy.client();
            client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
            assert_eq!(client.head().status(), 200);
            client
        })
        .collect()
}

#[test]
fn what_is_past_the_limit_goes_over_another_connection() {
    let upstream = holding(TWO, 2);
    let proxy = Proxy::start(&yaml(&upstream, ""));
    let held = under_way(&proxy, 2);
    for _ in 0..20 {
        assert_eq!(proxy.get("/").status(), 200);
    }
    assert_eq!(upstream.connections(), 2);
    drop(held);
}

#[test]
fn another_connection_goes_when_it_is_idle() {
    let upstream = holding(ONE, 1);
    let proxy = Proxy::start(&yaml(&upstream, ", idle_timeout: 50ms"));
    let held = under_way(&proxy, 1);
    assert_eq!(proxy.get("/").status(), 200);
    upstream.wait_for_ended(1);
    assert_eq!(proxy.get("/").status(), 200);
    assert_eq!(upstream.connections(), 3);
    drop(held);
}

#[test]
fn where_there_may_be_no_other_it_is_503_uo_and_nothing_is_sent() {
    let upstream = holding(TWO, 2);
    let bounds = ", connect_timeout: 300ms, circuit_breakers: { max_connections: 1 }";
    let watched = Watched::start(&yaml(&upstream, bounds));
    let proxy = &watched.proxy;
    let held = under_way(proxy, 2);
    let mut posting = proxy.client();
    for chunk in ["5\r\nhello\r\n0\r\n\r\n", "5\r\nagain\r\n0\r\n\r\n"] {
        posting.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n");
        posting.send(chunk);
        assert_eq!(posting.response().status(), 503);
    }
    assert_eq!(proxy.stdout.wait_for("503"), "503 UO 0");
    // Its connection goes on, and ends with it.
    assert_eq!(posting.get("/").status(), 503);
    drop(posting);
    let active = "cofferdam_downstream_connections_active{listener=\"web\"}";
    watched.admin.becomes(active, |active| active == 2.0);
    // Nothing of all this was kept for later.
    drop(held);
    watched.admin.becomes(active, |active| active == 0.0);
    assert_eq!(proxy.get("/").status(), 200);
    assert_eq!(upstream.connections(), 1);
    let sent = "cofferdam_cluster_requests_total{cluster=\"c\"}";
    watched.admin.becomes(sent, |sent| sent == 3.0);
}

#[test]
fn who_waits_has_the_place_of_whoever_ends_first() {
    let upstream = holding(ONE, 1);
    let proxy = Proxy::start(&yaml(
        &upstream,
        ", circuit_breakers: { max_connections: 1 }",
    ));
    let held = under_way(&proxy, 1);
    let mut waiting = proxy.client();
    waiting.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    drop(held);
    assert_eq!(waiting.response().status(), 200);
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| proxy.get("/"))).collect();
        for answer in asking {
            assert_eq!(answer.join().unwrap().status(), 200);
        }
    });
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_limit_that_is_lowered_later_is_kept() {
    let upstream = speaking(&[], |conn, stream| {
        if (conn.index, stream) == (0, 1) && !conn.send(frame(SETTINGS, 0, 0, ONE)) {
            return false;
        }
        let ends = (conn.index, stream) != (0, 3);
        answer(conn, stream, ends)
    });
    let proxy = Proxy::start(&yaml(&upstream, ""));
    assert_eq!(proxy.get("/").status(), 200);
    let held = under_way(&proxy, 1);
    assert_eq!(upstream.connections(), 1);
    assert_eq!(proxy.get("/").status(), 200);
    assert_eq!(upstream.connections(), 2);
    drop(held);
}

#[test]
fn an_upstream_that_allows_no_stream_is_not_tried_again_and_again() {
    let upstream = holding(&[0, 3, 0, 0, 0, 0], 0);
    let proxy = Proxy::start(&yaml(&upstream, ""));
    for _ in 0..20 {
        assert_eq!(proxy.get("/").status(), 503);
    }
    assert_eq!(proxy.stdout.wait_for("503"), "503 UO 0");
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn one_that_was_silent_is_asked_all_the_same() {
    let upstream = Upstream::new(|conn| {
        // Settings only with the answer.
        if conn.bytes(24).is_ok() && is_asked(conn) && conn.send(frame(SETTINGS, 0, 0, &[])) {
            answer(conn, 1, true);
            while conn.bytes(1).is_ok() {}
        }
    });
    let proxy = Proxy::start(&yaml(&upstream, ", connect_timeout: 900ms"));
    assert_eq!(proxy.get("/").status(), 200);
}

#[test]
fn one_that_goes_before_its_first_request_is_a_connection_that_failed() {
    let upstream = Upstream::new(|conn| {
        let goes = [frame(SETTINGS, 0, 0, &[]), frame(GOAWAY, 0, 0, &[0; 8])].concat();
        if conn.bytes(24).is_ok() && conn.send(goes) {
            while conn.bytes(1).is_ok() {}
        }
    });
    let proxy = Proxy::start(&yaml(&upstream, ""));
    assert_eq!(proxy.get("/").status(), 503);
    assert_eq!(proxy.stdout.wait_for("503"), "503 UF 0");
    upstream.wait_for_ended(1);
}

#[test]
fn who_waits_lets_go_of_a_connection_that_goes() {
    let (now, when) = mpsc::channel();
    let when = Mutex::new(when);
    let upstream = speaking(ONE, move |conn, stream| {
        if conn.index > 0 {
            return answer(conn, stream, true);
        }
        // It goes while another waits for its stream, and is then for the proxy to close.
        answer(conn, stream, false)
            && when.lock().unwrap().recv().is_ok()
            && conn.send(frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]))
            && conn.send(frame(DATA, END_STREAM, stream, b"over"))
    });
    let bounds = ", circuit_breakers: { max_connections: 1 }";
    let proxy = Proxy::start(&yaml(&upstream, bounds));
    let _held = under_way(&proxy, 1);
    let mut waiting = proxy.client();
    waiting.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    std::thread::sleep(Duration::from_millis(100));
    now.send(()).unwrap();
    assert_eq!(waiting.response().status(), 200);
    upstream.wait_for_ended(1);
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn as_many_are_opened_at_a_time_as_are_needed() {
    let all = (Mutex::new(0), Condvar::new());
    let upstream = Upstream::new(move |conn| {
        // The others say how much they allow once all of them are there; until then it would
        // be thought to be more.
        if conn.index > 0 {
            let mut there = all.0.lock().unwrap();
            *there += 1;
            all.1.notify_all();
            let missing = |there: &mut u32| *there < 8;
            let _there = all.1.wait_timeout_while(there, PATIENCE, missing);
        }
        let settings = frame(SETTINGS, 0, 0, ONE);
        let ends = conn.index > 0;
        if conn.bytes(24).is_ok() && conn.send(settings) && is_asked(conn) {
            answer(conn, 1, ends);
            while conn.bytes(1).is_ok() {}
        }
    });
    let proxy = Proxy::start(&yaml(&upstream, ""));
    let held = under_way(&proxy, 1);
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| proxy.get("/"))).collect();
        for answer in asking {
            assert_eq!(answer.join().unwrap().status(), 200);
        }
    });
    assert_eq!(upstream.connections(), 9);
    drop(held);
}
