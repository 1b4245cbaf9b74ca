//! What once waited for ever, or for the wrong clock: protocol switches, uploads that
//! outlive their response, upstreams that never shake hands.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::support::pki::Pki;
use crate::support::{Message, Proxy, Setup, Upstream, guest, h2, proxy};

const ASK: &str =
    "GET /chat HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
const AGREE: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// Agrees to leave HTTP, and then listens.
fn agreeing() -> Upstream {
    Upstream::new(|conn| {
        if conn.request().is_some() {
            conn.send(AGREE);
            conn.rest();
        }
    })
}

/// Another key of the only route.
fn route(yaml: &str, more: &str) -> String {
    let known = "cluster: backend }";
    assert!(yaml.contains(known));
    yaml.replace(known, &format!("cluster: backend, {more} }}"))
}

/// A proxy with one filter, where streams may be silent for a moment only.
fn through(wat: &str, upstream: SocketAddr) -> Proxy {
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", wat);
    let yaml = proxy::filtered(upstream, "guest.wasm");
    setup.start(&route(&yaml, "idle_timeout: 300ms"))
}

/// What a filter that does this with response headers makes of a switch of protocols.
fn at_the_switch(code: &str) -> (Message, Proxy) {
    let wat = guest::with(
        r#"(import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))"#,
        &format!(
            r#"(data (i32.const 1024) ":status403no")
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) {code} (i32.const 0))"#
        ),
    );
    let upstream = agreeing();
    let proxy = through(&wat, upstream.address);
    let answer = proxy.client().request(ASK);
    // Nothing is left behind at the upstream either.
    upstream.wait_for_ended(1);
    (answer, proxy)
}

#[test]
fn a_filter_may_answer_at_a_protocol_switch() {
    let (answer, proxy) = at_the_switch(
        "(drop (call $reply (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 1034) (i32.const 2) \
         (i32.const 0) (i32.const 0) (i32.const -1)))",
    );
    assert_eq!((answer.status(), answer.text()), (403, "no".to_owned()));
    assert_eq!(answer.field("upgrade"), None);
    proxy.stdout.wait_for("403 ");
}

#[test]
fn a_filter_that_traps_at_a_protocol_switch_is_503() {
    let (answer, proxy) = at_the_switch("unreachable");
    assert_eq!((answer.status(), answer.field("upgrade")), (503, None));
    proxy.stdout.wait_for("503 WF ");
}

#[test]
fn a_filter_that_pauses_a_protocol_switch_for_ever_is_ended_by_silence() {
    let (answer, proxy) = at_the_switch("(return (i32.const 1))");
    assert_eq!((answer.status(), answer.field("upgrade")), (408, None));
    proxy
        .stdout
        .wait_for("408 SI stream_idle_timeout GET /chat");
}

#[test]
fn a_filter_cannot_give_a_protocol_switch_another_status() {
    let (answer, proxy) = at_the_switch(
        "(drop (call $replace (i32.const 2) (i32.const 1024) (i32.const 7) (i32.const 1031) (i32.const 3)))",
    );
    assert_eq!((answer.status(), answer.field("upgrade")), (502, None));
    proxy.stdout.wait_for("502 ");
}

#[test]
fn an_upgrade_that_nobody_answers_is_504() {
    let upstream = Upstream::new(|conn| {
        conn.request();
        conn.rest();
    });
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", &guest::transparent());
    let short = |yaml: &str| route(yaml, "timeout: 200ms");
    let plain = Proxy::start(&short(&proxy::plain(upstream.address)));
    let filtered = setup.start(&short(&proxy::filtered(upstream.address, "guest.wasm")));
    for proxy in [plain, filtered] {
        assert_eq!(proxy.client().request(ASK).status(), 504);
        proxy.stdout.wait_for("504 UT response_timeout GET /chat");
    }
    upstream.wait_for_ended(2);
}

#[test]
fn a_tunnel_that_is_silent_for_too_long_ends() {
    for filtered in [false, true] {
        let upstream = agreeing();
        let proxy = if filtered {
            through(&guest::transparent(), upstream.address)
        } else {
            let yaml = proxy::plain(upstream.address);
            Proxy::start(&route(&yaml, "idle_timeout: 300ms"))
        };
        let mut client = proxy.client();
        client.send(ASK);
        assert_eq!(client.head().status(), 101);
        client.assert_ended();
        upstream.wait_for_ended(1);
        proxy.stdout.wait_for("101 SI ");
    }
}

#[test]
fn an_upgrade_that_promises_no_body_is_not_held_by_a_filter_of_bodies() {
    let upstream = Upstream::new(|conn| {
        if conn.request().is_some() {
            conn.send(AGREE);
            while let Ok(byte) = conn.bytes(1) {
                conn.send(byte.to_ascii_uppercase());
            }
        }
    });
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", &guest::transparent());
    let proxy = setup.start(&proxy::filtered(upstream.address, "guest.wasm"));
    let mut client = proxy.client();
    client.send(ASK.replace("\r\n\r\n", "\r\ncontent-length: 0\r\n\r\n"));
    assert_eq!(client.head().status(), 101);
    client.send("hello");
    assert_eq!(client.bytes(5), b"HELLO");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_does_not_outlive_its_response() {
    early_answers(false).await;
    early_answers(true).await;
}

async fn early_answers(filtered: bool) {
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::new(move |conn| {
        while let Some(head) = conn.head() {
            conn.respond("early");
            if head.line.starts_with("POST ") {
                // As long as it lasts: the client never sends so much.
                let end = loop {
                    if let Err(error) = conn.bytes(1) {
                        break error.kind();
                    }
                };
                let _ = ended.send(end);
                return;
            }
        }
    });
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", &guest::transparent());
    let proxy = setup.start(&if filtered {
        proxy::filtered(upstream.address, "guest.wasm")
    } else {
        proxy::plain(upstream.address)
    });
    let lost = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];

    let mut client = proxy.client();
    client.send("POST /one HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\nhalf");
    let answer = client.response();
    assert_eq!((answer.status(), answer.text()), (200, "early".to_owned()));
    let end = h2::soon(ends.recv()).await.expect("an end");
    assert!(lost.contains(&end), "the upstream's connection: {end:?}");
    // The client sends the rest all the same, and goes on.
    client.send([b'x'; 96]);
    client.send("GET /next HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(client.response().text(), "early");

    let client = h2::connect(proxy.web()).await;
    let (feeder, feed) = h2::feed();
    h2::data(&feeder, "half");
    let request = http::Request::post("http://test/two").body(feed).unwrap();
    let (head, whole) = h2::fetch(&client, request).await;
    assert_eq!(
        (head.status.as_u16(), &whole.body[..]),
        (200, &b"early"[..])
    );
    let end = h2::soon(ends.recv()).await.expect("an end");
    assert!(lost.contains(&end), "the upstream's connection: {end:?}");
    // On the client's connection life goes on, whether it still sends or not.
    let _ = feeder.send(Ok(http_body::Frame::data("late".into())));
    let (head, whole) = h2::fetch(&client, h2::get("/next")).await;
    assert_eq!(
        (head.status.as_u16(), &whole.body[..]),
        (200, &b"early"[..])
    );
    for path in ["/one", "/two"] {
        proxy
            .stdout
            .wait_for(&format!("200 - via_upstream POST {path}"));
    }
}

#[test]
fn requests_for_an_upstream_that_never_shakes_hands_do_not_queue() {
    // Connections are taken into its backlog, and nothing is ever said on them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let known = "name: backend, ";
    let yaml = proxy::plain(address).replace(
        known,
        &format!(
            "{known}connect_timeout: 1s, protocol: http2, tls: {{ server_name: test, ca: upstream-ca.pem }}, "
        ),
    );
    let setup = Setup::new();
    Pki::new(&["test"]).write(&setup.dir, "upstream");
    let proxy = setup.start(&yaml);
    // One after another, the last of these would wait longer than a test may.
    std::thread::scope(|scope| {
        let requests: Vec<_> = (0..16)
            .map(|number| {
                let proxy = &proxy;
                scope.spawn(move || proxy.get(&format!("/{number}")).status())
            })
            .collect();
        for request in requests {
            assert_eq!(request.join().unwrap(), 503);
        }
    });
    for number in 0..16 {
        let line = proxy.stdout.wait_for(&format!(" GET /{number}"));
        assert!(line.starts_with("503 UF "), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_request_that_is_answered_here_is_complete() {
    let yaml = proxy::plain(Upstream::nobody()).replace(
        "routes: [",
        "routes: [{ match: { prefix: /here }, respond: { body: hi } }, ",
    );
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", &guest::transparent());
    let filtered = yaml.replace("  routes: [", "  filters: [guest]\n  routes: [")
        + "filters: [{ name: guest, module: { file: guest.wasm } }]\n";
    for proxy in [Proxy::start(&yaml), setup.start(&filtered)] {
        let mut client = proxy.client();
        for _ in 0..2 {
            let answer = client.request("HEAD /here/one HTTP/1.1\r\nhost: test\r\n\r\n");
            assert_eq!(
                (answer.status(), answer.field("content-length")),
                (200, Some("2"))
            );
        }
        let client = h2::connect(proxy.web()).await;
        for (path, status) in [("/here/two", 200), ("/nobody", 503), ("/here/two", 200)] {
            let mut request = h2::get(path);
            *request.method_mut() = http::Method::HEAD;
            let (head, whole) = h2::fetch(&client, request).await;
            assert_eq!((head.status.as_u16(), whole.body.len()), (status, 0));
            if status == 200 {
                assert_eq!(head.headers["content-length"], "2");
            }
        }
        for path in ["/here/one", "/here/two"] {
            let line = proxy.stdout.wait_for(path);
            assert!(line.starts_with("200 - "), "{line}");
        }
        proxy.stdout.wait_for("503 UF ");
    }
}
