//! Connections that stop being HTTP.

use crate::support::{Client, Message, Proxy, Setup, Upstream, guest, h2, proxy};

const ASK: &str = "GET /chat HTTP/1.1\r\nhost: test\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";

/// Agrees, sends something at once, and then sends back in capitals what it gets.
fn shouting() -> Upstream {
    Upstream::new(|conn| {
        let Some(_) = conn.request() else { return };
        conn.send("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nx-more: 1\r\n\r\nearly ");
        while let Ok(byte) = conn.bytes(1) {
            conn.send(byte.to_ascii_uppercase());
        }
        conn.send("bye");
        conn.close();
    })
}

/// Asks on a fresh connection, with `early` bytes in the same packet.
fn ask(proxy: &Proxy, early: &str) -> (Client, Message) {
    let mut client = proxy.client();
    client.send(format!("{ASK}{early}"));
    let answer = client.head();
    (client, answer)
}

#[test]
fn an_upgrade_carries_bytes_both_ways_and_none_is_lost() {
    let upstream = shouting();
    let proxy = Proxy::in_front_of(upstream.address);
    let (mut client, answer) = ask(&proxy, "hello ");
    assert_eq!(
        (
            answer.status(),
            answer.field("upgrade"),
            answer.field("x-more")
        ),
        (101, Some("websocket"), Some("1"))
    );
    assert!(
        answer
            .field("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("upgrade"))
    );
    client.send("again");
    assert_eq!(client.bytes(17), b"early HELLO AGAIN");
    client.shutdown();
    assert_eq!(client.rest().0, b"bye", "one way ends, the other goes on");
    let request = upstream.only_request();
    assert_eq!(
        (request.field("connection"), request.field("upgrade")),
        (Some("upgrade"), Some("websocket"))
    );
    assert_eq!(
        request.field("sec-websocket-key"),
        Some("dGhlIHNhbXBsZSBub25jZQ==")
    );
    proxy.stdout.wait_for("101 - via_upstream GET /chat");
}

#[test]
fn a_filter_sees_the_bytes_of_an_upgrade_in_its_body_callbacks() {
    // Replaces every byte it is shown with `u` on the way up, `d` on the way down.
    let setup = Setup::new();
    let write = |name: &str, buffer: u32, letter: u32| {
        format!(
            r#"(func (export "{name}") (param $id i32) (param $size i32) (param $end i32) (result i32)
    (if (i32.gt_u (local.get $size) (i32.const 0)) (then
      (memory.fill (i32.const 1024) (i32.const {letter}) (local.get $size))
      (drop (call $set (i32.const {buffer}) (i32.const 0) (local.get $size) (i32.const 1024) (local.get $size)))))
    (i32.const 0))"#
        )
    };
    let wat = guest::with(
        r#"(import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))"#,
        &(write("proxy_on_request_body", 0, 'u'.into())
            + &write("proxy_on_response_body", 1, 'd'.into())),
    );
    guest::write(&setup.dir, "guest", &wat);
    let upstream = shouting();
    let proxy = setup.start(&proxy::filtered(upstream.address, "guest.wasm"));
    let (mut client, answer) = ask(&proxy, "abc");
    assert_eq!(answer.status(), 101);
    client.send("def");
    assert_eq!(
        client.bytes(12),
        b"dddddddddddd",
        "early, and six letters come back"
    );
    client.shutdown();
    assert_eq!(client.rest().0, b"ddd");
    upstream.wait_for_ended(1);
    assert!(upstream.bytes().ends_with(b"\r\n\r\nuuuuuu"));
}

#[test]
fn where_upgrades_are_off_the_request_is_a_plain_one() {
    let upstream = Upstream::named("plain");
    let yaml = proxy::plain(upstream.address)
        .replace("cluster: backend }", "cluster: backend, upgrades: false }");
    let proxy = Proxy::start(&yaml);
    let mut client = proxy.client();
    let answer = client.request(ASK);
    assert_eq!((answer.status(), answer.text()), (200, "plain".to_owned()));
    let request = upstream.only_request();
    assert_eq!(
        (request.field("upgrade"), request.field("connection")),
        (None, None)
    );
    assert_eq!(client.get("/").status(), 200);
}

#[test]
fn an_upstream_that_declines_an_upgrade_is_passed_on_and_the_connection_kept() {
    let upstream = Upstream::named("no, thanks");
    let proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    for _ in 0..2 {
        assert_eq!(client.request(ASK).text(), "no, thanks");
    }
}

#[test]
fn an_upstream_that_switches_unasked_is_a_bad_gateway() {
    let upstream = Upstream::answering(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    );
    let proxy = Proxy::in_front_of(upstream.address);
    assert_eq!(proxy.get("/").status(), 502);
    proxy.stdout.wait_for("502 UPE ");
}

#[test]
fn an_upstream_that_vanishes_ends_the_tunnel() {
    let upstream = Upstream::new(|conn| {
        let Some(_) = conn.request() else { return };
        conn.send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        );
        let _ = conn.bytes(1);
        conn.reset();
    });
    let proxy = Proxy::in_front_of(upstream.address);
    let (mut client, answer) = ask(&proxy, "x");
    assert_eq!(answer.status(), 101);
    client.assert_ended();
    proxy.stdout.wait_for("101 ");
}

/// A guest that sets these fields of a request, and does what else `then` says.
fn setting(fields: &[(&str, &str)], then: &str) -> String {
    let (mut data, mut calls) = (String::new(), String::new());
    for (name, value) in fields {
        let mut put = |text: &str| {
            let at = 16 + data.len();
            data += text;
            format!("(i32.const {at}) (i32.const {})", text.len())
        };
        calls += &format!(
            "(drop (call $replace (i32.const 0) {} {}))",
            put(name),
            put(value)
        );
    }
    let imports = r#"(import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
      (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))"#;
    let callbacks = format!(
        r#"(data (i32.const 16) "{data}")
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        {calls} {then} (i32.const 0))"#
    );
    guest::with(imports, &callbacks)
}

#[test]
fn an_upgrade_promises_no_body_whatever_a_filter_says() {
    let with_body =
        "(drop (call $set (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 5)))";
    for (then, upgrades) in [("", true), ("", false), (with_body, true)] {
        let setup = Setup::new();
        guest::write(
            &setup.dir,
            "guest",
            &setting(&[("content-length", "5")], then),
        );
        let upstream = Upstream::named("no, thanks");
        let yaml = proxy::filtered(upstream.address, "guest.wasm").replace(
            "cluster: backend }",
            &format!("cluster: backend, upgrades: {upgrades} }}"),
        );
        let proxy = setup.start(&yaml);
        for _ in 0..2 {
            assert_eq!(proxy.client().request(ASK).text(), "no, thanks");
        }
        for request in upstream.requests() {
            assert_eq!(
                (&request.line[..], request.field("content-length")),
                ("GET /chat HTTP/1.1", None)
            );
        }
        assert_eq!(upstream.connections(), 1, "it was good for another request");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_cannot_make_another_tunnel_of_an_upgrade() {
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", &setting(&[(":method", "CONNECT")], ""));
    let upstream = shouting();
    let proxy = setup.start(&proxy::filtered(upstream.address, "guest.wasm"));
    assert_eq!(proxy.client().request(ASK).status(), 500);
    proxy.stdout.wait_for("500 ");
    let client = h2::connect(proxy.web()).await;
    assert_eq!(h2::send(&client, websocket("/chat")).await.status(), 500);
    assert_eq!(upstream.connections(), 0);
}

/// What an upstream could take for leave to speak HTTP/2, or TLS, behind our back.
const HTTP_AND_TLS: [&str; 7] = [
    "h2c",
    "H2C",
    "websocket, h2c",
    "h2c;x,websocket",
    "websocket,\tHTTP/2.0",
    "http/1.1",
    "TLS/1.2, x",
];

#[test]
fn no_upgrade_goes_to_another_http_or_to_tls() {
    let upstream = Upstream::named("plain");
    let proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    let lines = HTTP_AND_TLS.map(|protocol| format!("upgrade: {protocol}\r\n"));
    let several = "upgrade: websocket\r\nupgrade: h2c\r\n".to_owned();
    let asked = lines.iter().chain([&several]);
    for line in asked.clone() {
        let answer = client.request(&format!(
            "GET /chat HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\n{line}\
             http2-settings: AAMAAABkAAQAAP__\r\n\r\n"
        ));
        assert_eq!((answer.status(), answer.text()), (200, "plain".to_owned()));
    }
    let requests = upstream.requests();
    assert_eq!(requests.len(), asked.count());
    for request in requests {
        for name in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(request.all(name), [""; 0], "{request:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_extended_connect_goes_to_another_http_or_to_tls() {
    let upstream = shouting();
    let proxy = Proxy::in_front_of(upstream.address);
    let client = h2::connect(proxy.web()).await;
    let ask = |protocol| {
        http::Request::connect("http://test/chat")
            .extension(hyper::ext::Protocol::from_static(protocol))
            .header("http2-settings", "AAMAAABkAAQAAP__")
            .body(h2::empty())
            .unwrap()
    };
    for protocol in HTTP_AND_TLS {
        let (head, _) = h2::fetch(&client, ask(protocol)).await;
        assert_eq!(head.status, 405, "{protocol:?}");
        proxy
            .stdout
            .wait_for("405 NR connect_not_supported CONNECT");
    }
    assert_eq!(upstream.connections(), 0);
    assert_eq!(h2::send(&client, ask("websocket")).await.status(), 200);
    upstream.wait_for_requests(1);
    assert_eq!(upstream.only_request().field("http2-settings"), None);
}

/// WebSocket by HTTP/2's extended CONNECT.
fn websocket(path: &str) -> http::Request<h2::Feed> {
    http::Request::connect(format!("http://test{path}"))
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .body(h2::empty())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_see_an_extended_connect_as_the_upgrade_that_it_is() {
    // Whoever has `upgrade` is answered 403, with the method.
    let wat = guest::with(
        r#"(import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response"
    (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))"#,
        r#"(data (i32.const 16) "upgradeconnection:method")
  (func $has (param $at i32) (param $length i32) (result i32)
    (i32.eqz (call $get (i32.const 0) (local.get $at) (local.get $length) (i32.const 0) (i32.const 4))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.and (call $has (i32.const 16) (i32.const 7)) (call $has (i32.const 23) (i32.const 10))) (then
      (drop (call $has (i32.const 33) (i32.const 7)))
      (drop (call $reply (i32.const 403) (i32.const 0) (i32.const 0)
        (i32.load (i32.const 0)) (i32.load (i32.const 4)) (i32.const 0) (i32.const 0) (i32.const -1)))
      (return (i32.const 1))))
    (i32.const 0))"#,
    );
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", &wat);
    let upstream = shouting();
    let proxy = setup.start(&proxy::filtered(upstream.address, "guest.wasm"));
    let answer = proxy.client().request(ASK);
    assert_eq!((answer.status(), answer.text()), (403, "GET".to_owned()));
    let client = h2::connect(proxy.web()).await;
    let (head, whole) = h2::fetch(&client, websocket("/second")).await;
    assert_eq!((head.status.as_u16(), &whole.body[..]), (403, &b"GET"[..]));
    proxy.stdout.wait_for("403 - ");
    proxy.stdout.wait_for("GET /second");
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_by_method_sees_the_get_that_goes_upstream() {
    let upstream = shouting();
    let yaml = proxy::plain(upstream.address).replace(
        "routes: [",
        "routes: [{ match: { path: /as, method: GET }, respond: { status: 403 } }, \
         { match: { path: /chat, method: CONNECT }, respond: { status: 404 } }, ",
    );
    let proxy = Proxy::start(&yaml);
    let client = h2::connect(proxy.web()).await;
    let refused = h2::send(&client, websocket("/as")).await;
    assert_eq!(refused.status(), 403);
    let agreed = h2::send(&client, websocket("/chat")).await;
    assert_eq!(agreed.status(), 200);
    assert_eq!(upstream.only_request().line, "GET /chat HTTP/1.1");
    drop((agreed, client));
    proxy.stdout.wait_for("200 ");
    proxy.stdout.wait_for("GET /chat");
}

/// A guest that removes these fields of a request.
fn removing(names: &[&str]) -> String {
    let (mut data, mut calls) = (String::new(), String::new());
    for name in names {
        let (at, length) = (16 + data.len(), name.len());
        data += name;
        calls +=
            &format!("(drop (call $remove (i32.const 0) (i32.const {at}) (i32.const {length})))");
    }
    guest::with(
        r#"(import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))"#,
        &format!(
            r#"(data (i32.const 16) "{data}")
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {calls} (i32.const 0))"#
        ),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_can_take_an_upgrade_away() {
    for wat in [
        removing(&["upgrade", "connection"]),
        removing(&["upgrade"]),
        removing(&["connection"]),
        setting(&[("connection", "close")], ""),
        setting(&[("upgrade", "h2c")], ""),
    ] {
        let setup = Setup::new();
        guest::write(&setup.dir, "guest", &wat);
        let upstream = Upstream::named("plain");
        let proxy = setup.start(&proxy::filtered(upstream.address, "guest.wasm"));
        let mut client = proxy.client();
        for _ in 0..2 {
            let answer = client.request(ASK);
            assert_eq!((answer.status(), answer.text()), (200, "plain".to_owned()));
        }
        for request in upstream.requests() {
            let fields = (request.field("upgrade"), request.field("connection"));
            assert_eq!(fields, (None, None), "{wat}");
        }
        // A plain answer of 2xx would say that there is a tunnel.
        let client = h2::connect(proxy.web()).await;
        let refused = h2::send(&client, websocket("/chat")).await;
        assert_eq!(refused.status(), 405, "{wat}");
        proxy
            .stdout
            .wait_for("405 NR connect_not_supported GET /chat");
        assert_eq!(upstream.requests().len(), 2);
    }
}
