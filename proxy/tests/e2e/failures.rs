//! What a client is told when an upstream fails, and what the access log says of it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Proxy, Setup, Upstream, guest, proxy};

/// The same proxy without and with a filter: failures must look alike.
fn both(yaml: impl Fn(&str) -> String, upstream: SocketAddr) -> [Proxy; 2] {
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", &guest::transparent());
    [
        Proxy::start(&yaml(&proxy::plain(upstream))),
        setup.start(&yaml(&proxy::filtered(upstream, "guest.wasm"))),
    ]
}

fn same(yaml: &str) -> String {
    yaml.to_owned()
}

/// An upstream that reads a request and holds its connection until the test ends.
fn silent() -> Upstream {
    Upstream::new(|conn| {
        conn.request();
        conn.rest();
    })
}

#[test]
fn an_upstream_that_refuses_is_503_uf() {
    for proxy in both(same, Upstream::nobody()) {
        assert_eq!(proxy.get("/x").status(), 503);
        proxy
            .stdout
            .wait_for("503 UF upstream_connection_failure GET /x");
    }
}

#[test]
fn an_upstream_that_does_not_take_the_connection_is_503_uf() {
    let (_listener, address) = crowded();
    let _waiting = crowd(address);
    let short = |yaml: &str| {
        yaml.replace(
            "name: backend, endpoints",
            "name: backend, connect_timeout: 100ms, endpoints",
        )
    };
    for proxy in both(short, address) {
        assert_eq!(proxy.get("/x").status(), 503);
        proxy
            .stdout
            .wait_for("503 UF upstream_connection_failure GET /x");
    }
}

/// A listening socket whose backlog is soon full; then it answers no handshake.
fn crowded() -> (TcpListener, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Those who fill it.
fn crowd(address: SocketAddr) -> Vec<TcpStream> {
    let moment = Duration::from_millis(200);
    let waiting: Vec<_> = (0..8)
        .map_while(|_| TcpStream::connect_timeout(&address, moment).ok())
        .collect();
    assert!(waiting.len() < 8, "the backlog never filled");
    waiting
}

#[test]
fn a_connection_that_died_unseen_is_replaced_within_the_time_of_the_first() {
    for (route, answer) in [
        ("timeout: 300ms", "504 UT response_timeout"),
        (
            "timeout: 1h, retry_policy: { retry_on: 5xx, num_retries: 0, per_try_timeout: 300ms }",
            "504 UT,URX upstream_per_try_timeout",
        ),
    ] {
        let (listener, address) = crowded();
        let yaml = proxy::plain(address)
            .replace(
                "cluster: backend }",
                &format!("cluster: backend, {route} }}"),
            )
            .replace("name: backend,", "name: backend, connect_timeout: 1h,");
        let proxy = Proxy::start(&yaml);
        let mut client = proxy.client();
        client.send("GET /first HTTP/1.1\r\nhost: t\r\n\r\n");
        let (mut pooled, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        assert!(pooled.read(&mut head).unwrap() > 0);
        let response = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        pooled.write_all(response.as_bytes()).unwrap();
        assert_eq!(client.response().status(), 200);
        let _waiting = crowd(address);
        // When it goes on it hears of the request first, and then of the end.
        proxy.freeze();
        client.send("GET /x HTTP/1.1\r\nhost: t\r\n\r\n");
        drop(pooled);
        proxy.signal(Signal::CONT);
        assert_eq!(client.response().status(), 504);
        proxy.stdout.wait_for(&format!("{answer} GET /x"));
    }
}

#[test]
fn an_upstream_that_does_not_answer_is_504_ut() {
    let upstream = silent();
    let short =
        |yaml: &str| yaml.replace("cluster: backend }", "cluster: backend, timeout: 200ms }");
    for proxy in both(short, upstream.address) {
        let mut client = proxy.client();
        assert_eq!(client.get("/x").status(), 504);
        proxy.stdout.wait_for("504 UT response_timeout GET /x");
        assert_eq!(
            client.get("/y").status(),
            504,
            "the client's connection goes on"
        );
    }
    upstream.wait_for_ended(4);
}

#[test]
fn the_times_of_a_route_and_of_an_attempt_cover_connecting() {
    // Takes connections, and nothing of TLS.
    let mute = Upstream::new(|conn| {
        conn.rest();
    });
    for (route, answer) in [
        ("timeout: 200ms", "504 UT response_timeout"),
        (
            "timeout: 1h, retry_policy: { retry_on: 5xx, num_retries: 0, per_try_timeout: 200ms }",
            "504 UT,URX upstream_per_try_timeout",
        ),
    ] {
        let proxy = Proxy::start(
            &proxy::plain(mute.address)
                .replace("cluster: backend }", &format!("cluster: backend, {route} }}"))
                .replace(
                    "name: backend,",
                    "name: backend, connect_timeout: 1h, tls: { server_name: a.test }, outlier_detection: \
                     { consecutive_5xx: 1, max_ejection_percent: 100, base_ejection_time: 1h, max_ejection_time: 1h },",
                ),
        );
        assert_eq!(proxy.get("/").status(), 504, "{route}");
        let line = proxy.stdout.wait_for("504 UT");
        assert!(line.contains(answer), "{line}");
        // Who lets nobody in has failed.
        proxy.log.wait_for("endpoint is ejected");
    }
}

#[test]
fn a_response_that_outlasts_the_route_is_cut() {
    let upstream = Upstream::new(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc");
        conn.rest();
    });
    let short =
        |yaml: &str| yaml.replace("cluster: backend }", "cluster: backend, timeout: 500ms }");
    for proxy in both(short, upstream.address) {
        let mut client = proxy.client();
        client.send("GET /x HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(
            (client.head().status(), client.bytes(3)),
            (200, b"abc".to_vec())
        );
        client.assert_ended();
        proxy.stdout.wait_for("200 UT ");
    }
}

#[test]
fn a_stream_on_which_nothing_moves_is_ended() {
    let short = |yaml: &str| {
        yaml.replace(
            "cluster: backend }",
            "cluster: backend, timeout: 0s, idle_timeout: 200ms }",
        )
    };
    let short = move |yaml: &str| short(yaml).replace("timeout: 0s", "timeout: none");
    for proxy in both(short, silent().address) {
        assert_eq!(proxy.get("/x").status(), 408);
        proxy.stdout.wait_for("408 SI stream_idle_timeout GET /x");
    }
    let upstream = Upstream::new(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc");
        conn.rest();
    });
    for proxy in both(short, upstream.address) {
        let mut client = proxy.client();
        client.send("GET /x HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(
            (client.head().status(), client.bytes(3)),
            (200, b"abc".to_vec())
        );
        client.assert_ended();
        proxy.stdout.wait_for("200 SI ");
    }
}

#[test]
fn an_upload_that_stalls_is_ended() {
    let upstream = silent();
    let short = |yaml: &str| {
        yaml.replace(
            "cluster: backend }",
            "cluster: backend, idle_timeout: 200ms }",
        )
    };
    for proxy in both(short, upstream.address) {
        let mut client = proxy.client();
        client.send("POST /x HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\nabc");
        assert_eq!(client.response().status(), 408);
        proxy.stdout.wait_for("408 SI stream_idle_timeout POST /x");
    }
}

#[test]
fn an_upstream_that_hangs_up_before_its_answer_is_503_uc() {
    for reset in [false, true] {
        let upstream = Upstream::new(move |conn| {
            conn.request();
            if reset {
                conn.reset();
            }
        });
        for proxy in both(same, upstream.address) {
            let mut client = proxy.client();
            assert_eq!(client.get("/x").status(), 503);
            proxy
                .stdout
                .wait_for("503 UC upstream_reset_before_response_started GET /x");
            assert_eq!(
                client.get("/x").status(),
                503,
                "the client's connection goes on"
            );
        }
    }
}

#[test]
fn an_answer_cut_within_its_head_is_503_uc() {
    let upstream = Upstream::new(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ncontent-le");
    });
    for proxy in both(same, upstream.address) {
        assert_eq!(proxy.get("/x").status(), 503);
        proxy.stdout.wait_for("503 UC ");
    }
}

#[test]
fn an_answer_that_is_not_http_is_502_upe() {
    for garbage in [
        "this is not HTTP\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: \0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
    ] {
        let upstream = Upstream::answering(garbage);
        for proxy in both(same, upstream.address) {
            let mut client = proxy.client();
            assert_eq!(client.get("/x").status(), 502, "{garbage:?}");
            proxy
                .stdout
                .wait_for("502 UPE upstream_protocol_error GET /x");
            assert_eq!(
                client.get("/x").status(),
                502,
                "the client's connection goes on"
            );
        }
    }
}

#[test]
fn a_pooled_connection_that_has_died_costs_no_request() {
    // Each connection serves one request and ends; that it does is known before the next.
    let (ended, has_ended) = mpsc::channel();
    let ended = Mutex::new(ended);
    let upstream = Upstream::new(move |conn| {
        conn.request();
        conn.respond("ok");
        conn.close();
        conn.rest();
        let _ = ended.lock().unwrap().send(());
    });
    for proxy in both(same, upstream.address) {
        let mut client = proxy.client();
        for _ in 0..5 {
            assert_eq!(client.get("/").status(), 200);
            has_ended.recv_timeout(crate::support::LONGEST).unwrap();
        }
    }
}

#[test]
fn the_access_log_can_be_a_file_and_json() {
    let setup = Setup::new();
    let yaml = proxy::plain(Upstream::named("ok").address);
    let at = yaml.find("access_log").unwrap();
    let yaml = format!(
        "{}access_log:\n  file: access.log\n  json: {{ status: '%RESPONSE_CODE%', flags: '%RESPONSE_FLAGS%', \
         path: '%REQ(:PATH)%', agent: '%REQ(USER-AGENT)%', sent: '%BYTES_SENT%', cluster: '%UPSTREAM_CLUSTER%' }}\n",
        &yaml[..at]
    );
    let mut proxy = setup.start(&yaml);
    let mut client = proxy.client();
    client.request("GET /a\"b HTTP/1.1\r\nhost: test\r\nuser-agent: x\"\\y\r\n\r\n");
    client.get("/plain");
    drop(client);
    assert!(proxy.drain().success());
    let lines: Vec<serde_json::Value> = proxy
        .dir
        .read("access.log")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        (&lines[0]["path"], &lines[0]["agent"]),
        (&"/a\"b".into(), &"x\"\\y".into())
    );
    assert_eq!(lines[1]["path"], "/plain");
    assert!(lines[1]["agent"].is_null());
    assert_eq!(lines[1]["cluster"], "backend");
    assert!(
        lines
            .iter()
            .all(|line| line["status"].to_string().contains("200")),
        "{lines:?}"
    );
}

#[test]
fn the_default_access_log_line_shows_flags_and_where_it_went() {
    let yaml = proxy::plain(Upstream::nobody());
    let at = yaml.find("access_log").unwrap();
    let proxy = Proxy::start(&format!("{}access_log: stdout\n", &yaml[..at]));
    assert_eq!(proxy.get("/down").status(), 503);
    let line = proxy.stdout.wait_for("/down");
    assert!(
        line.contains("503") && line.contains("UF") && line.contains("127.0.0.1:"),
        "{line}"
    );
}
