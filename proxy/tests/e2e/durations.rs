//! How long a request may take to come, and how long all of it may last, whatever moves.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::frames::{DATA, END_HEADERS, Frames, HEADERS, POST};
use crate::support::{Client, Proxy, Setup, Upstream, guest, proxy};

/// Plain, and through a filter that looks at everything, with a key more each for listener and
/// route.
fn both(upstream: SocketAddr, listener: &str, route: &str) -> [Proxy; 2] {
    let with = |yaml: String| {
        let (address, cluster) = ("  address: 127.0.0.1:0\n", "cluster: backend }");
        assert!(yaml.contains(cluster));
        yaml.replace(address, &format!("{address}{listener}"))
            .replace(cluster, &format!("cluster: backend{route} }}"))
    };
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", &guest::transparent());
    let filtered = setup.start(&with(proxy::filtered(upstream, "guest.wasm")));
    [Proxy::start(&with(proxy::plain(upstream))), filtered]
}

const SOON: &str = "  request_timeout: 300ms\n";

/// A byte now and then, until nobody takes any more of them.
fn trickle(client: &mut Client) {
    for _ in 0..2_000 {
        if client.try_send("x").is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("a body that trickles was read to its end");
}

#[test]
fn a_body_that_trickles_is_408() {
    let upstream = Upstream::new(|conn| {
        conn.rest();
    });
    for proxy in both(upstream.address, SOON, "") {
        let mut client = proxy.client();
        let head = "POST /slow HTTP/1.1\r\nhost: t\r\ncontent-length: 9999\r\n\r\n";
        let mut answered = client.twin();
        client.send(head);
        let reading = std::thread::spawn(move || answered.response_to("POST"));
        trickle(&mut client);
        let answer = reading.join().unwrap();
        assert_eq!(answer.status(), 408);
        assert_eq!(answer.text(), "request timeout\n");
        proxy
            .stdout
            .wait_for("408 - request_overall_timeout POST /slow");
    }
    // Nothing is left behind at the upstream either.
    upstream.wait_for_ended(upstream.connections());
}

#[test]
fn a_body_that_trickles_over_http_2_is_408_and_the_connection_goes_on() {
    let upstream = Upstream::new(|conn| while conn.request().is_some() && conn.respond("ok") {});
    for proxy in both(upstream.address, SOON, "") {
        let mut client = Frames::connect(proxy.web(), &[]);
        client.send(HEADERS, END_HEADERS, 1, POST).unwrap();
        let mut writer = client.twin();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let writing = std::thread::spawn(move || {
            for _ in 0..2_000 {
                let over = stopped.recv_timeout(Duration::from_millis(20));
                if over != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
                writer.send(DATA, 0, 1, b"x").unwrap();
            }
        });
        let answer = client.until(|frame| frame.stream == 1 && frame.kind == HEADERS);
        // 408 in Huffman's code, behind `:status` by its place in the static table.
        assert_eq!(answer.payload[..5], [0x48, 0x83, 0x68, 0x0f, 0x7f]);
        drop(stop);
        writing.join().unwrap();
        proxy
            .stdout
            .wait_for("408 - request_overall_timeout POST /");
        // HEADERS with END_STREAM.
        client.send(HEADERS, END_HEADERS | 1, 3, POST).unwrap();
        client.until(|frame| frame.stream == 3 && frame.kind == HEADERS);
    }
}

#[test]
fn a_request_that_has_come_may_wait_for_its_answer() {
    let upstream = Upstream::new(|conn| {
        while conn.request().is_some() {
            std::thread::sleep(Duration::from_millis(700));
            conn.respond("late");
        }
    });
    for proxy in both(upstream.address, SOON, "") {
        let mut client = proxy.client();
        assert_eq!(client.get("/").text(), "late");
        client.send("POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\nabc");
        assert_eq!(client.response_to("POST").text(), "late");
    }
}

#[test]
fn who_is_being_answered_may_go_on_sending() {
    let upstream = Upstream::new(|conn| {
        while conn.head().is_some() {
            conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            let body = conn.bytes(3).unwrap_or_default();
            conn.send([b"3\r\n", &body[..], b"\r\n0\r\n\r\n"].concat());
        }
    });
    for proxy in both(upstream.address, SOON, "") {
        let mut client = proxy.client();
        // A filter that looks at bodies holds the head until something has come.
        client.send("POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\na");
        assert_eq!(client.head().status(), 200);
        for byte in ["b", "c"] {
            std::thread::sleep(Duration::from_millis(200));
            client.send(byte);
        }
        assert_eq!(client.chunk().unwrap().as_deref(), Some(&b"abc"[..]));
    }
}

const SHORT: &str = ", max_stream_duration: 400ms";

#[test]
fn a_request_that_lasts_too_long_is_408() {
    let upstream = Upstream::new(|conn| {
        conn.rest();
    });
    for proxy in both(upstream.address, "", SHORT) {
        let answer = proxy.get("/long");
        assert_eq!(answer.status(), 408);
        assert_eq!(answer.text(), "downstream duration timeout\n");
        proxy
            .stdout
            .wait_for("408 - max_duration_timeout GET /long");
    }
    upstream.wait_for_ended(2);
}

#[test]
fn a_response_that_goes_on_for_too_long_is_cut() {
    let upstream = Upstream::new(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while conn.send("1\r\nx\r\n") {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    for proxy in both(upstream.address, "", SHORT) {
        let mut client = proxy.client();
        client.send("GET / HTTP/1.1\r\nhost: t\r\n\r\n");
        assert_eq!(client.head().status(), 200);
        let (rest, _) = client.rest();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "it was cut");
        proxy.stdout.wait_for("200 - max_duration_timeout GET /");
    }
    upstream.wait_for_ended(2);
}

#[test]
fn a_tunnel_that_lasts_too_long_ends() {
    const SWITCH: &str = "connection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let upstream = Upstream::new(|conn| {
        conn.request();
        conn.send(format!("HTTP/1.1 101 Switching Protocols\r\n{SWITCH}"));
        while conn.send("x") {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    for proxy in both(upstream.address, "", SHORT) {
        let mut client = proxy.client();
        client.send(format!("GET / HTTP/1.1\r\nhost: t\r\n{SWITCH}"));
        assert_eq!(client.head().status(), 101);
        client.rest();
        proxy.stdout.wait_for("101 - max_duration_timeout GET /");
    }
    upstream.wait_for_ended(2);
}

#[test]
fn neither_runs_where_nobody_asks_for_it() {
    let upstream = Upstream::echo();
    for proxy in both(
        upstream.address,
        "  request_timeout: none\n",
        ", max_stream_duration: none",
    ) {
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\n");
        for byte in ["a", "b", "c"] {
            std::thread::sleep(Duration::from_millis(100));
            client.send(byte);
        }
        assert_eq!(client.response_to("POST").text(), "abc");
    }
}
