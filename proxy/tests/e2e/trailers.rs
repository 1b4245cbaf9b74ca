//! Trailers over HTTP/1.1: named in `Trailer` they pass, otherwise they are dropped and that
//! is said once.

use crate::support::{Proxy, Setup, Upstream, guest, h2, proxy};

const WITH_TRAILERS: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                             2\r\nok\r\n0\r\nx-sum: 42\r\nx-other: 1\r\n\r\n";

fn both(upstream: &Upstream) -> [Proxy; 2] {
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", &guest::transparent());
    [
        Proxy::in_front_of(upstream.address),
        setup.start(&proxy::filtered(upstream.address, "guest.wasm")),
    ]
}

#[test]
fn response_trailers_that_are_announced_reach_a_client_that_takes_them() {
    let upstream = Upstream::answering(WITH_TRAILERS);
    for proxy in both(&upstream) {
        let mut client = proxy.client();
        for _ in 0..2 {
            let answer = client
                .request("GET / HTTP/1.1\r\nhost: test\r\nte: trailers\r\nconnection: te\r\n\r\n");
            assert_eq!(
                (answer.text(), answer.trailer("x-sum")),
                ("ok".to_owned(), Some("42"))
            );
            assert_eq!(answer.trailer("x-other"), None);
        }
        proxy.log.wait_for("trailer dropped");
        assert_eq!(
            proxy.log.count("trailer dropped"),
            1,
            "{}",
            proxy.log.text()
        );
    }
}

#[test]
fn a_client_that_did_not_ask_for_trailers_gets_none() {
    let upstream = Upstream::answering(WITH_TRAILERS);
    for proxy in both(&upstream) {
        let mut client = proxy.client();
        for _ in 0..2 {
            let answer = client.get("/");
            assert_eq!((answer.text(), answer.trailers.len()), ("ok".to_owned(), 0));
        }
        proxy.log.wait_for("trailer dropped");
        assert_eq!(
            proxy.log.count("trailer dropped"),
            1,
            "said once, counted after"
        );
    }
}

#[test]
fn request_trailers_that_are_announced_reach_the_upstream() {
    let upstream = Upstream::named("ok");
    for proxy in both(&upstream) {
        let answer = proxy.client().request(
            "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
             2\r\nok\r\n0\r\nx-sum: 42\r\nx-other: 1\r\n\r\n",
        );
        assert_eq!(answer.status(), 200);
        let request = upstream.requests().pop().unwrap();
        assert_eq!(
            (request.text(), request.trailer("x-sum")),
            ("ok".to_owned(), Some("42"))
        );
        assert_eq!(request.trailer("x-other"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_cross_from_http_1_to_http_2_and_back() {
    let upstream = Upstream::new(|conn| {
        while conn.request().is_some() {
            conn.send(WITH_TRAILERS);
        }
    });
    for proxy in both(&upstream) {
        let client = h2::connect(proxy.web()).await;
        let (feeder, feed) = h2::feed();
        h2::data(&feeder, "body");
        h2::trailers(&feeder, &[("x-named", "1"), ("x-unnamed", "2")]);
        drop(feeder);
        let request = http::Request::post("http://test/")
            .header("trailer", "x-named")
            .body(feed)
            .unwrap();
        let (_, whole) = h2::fetch(&client, request).await;
        assert_eq!(whole.trailers["x-sum"], "42");
        assert_eq!(whole.trailers["x-other"], "1", "HTTP/2 sends them all");
        let request = upstream.requests().pop().unwrap();
        assert_eq!(
            (request.trailer("x-named"), request.trailer("x-unnamed")),
            (Some("1"), None)
        );
    }
}

#[test]
fn a_filter_can_have_its_trailers_announced() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-late: 42\r\n\r\n",
    );
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", &guest::transparent());
    let yaml = proxy::filtered(upstream.address, "guest.wasm")
        .replace("name: guest,", "name: guest, trailers: [x-late],");
    let proxy = setup.start(&yaml);
    let answer = proxy
        .client()
        .request("GET / HTTP/1.1\r\nhost: test\r\nte: trailers\r\nconnection: te\r\n\r\n");
    assert_eq!(
        (answer.field("trailer"), answer.trailer("x-late")),
        (Some("x-late"), Some("42"))
    );
}

#[test]
fn a_filter_can_add_trailers_to_messages_of_a_known_length() {
    let adding = |callback, map| {
        format!(
            r#"(func (export "proxy_on_{callback}_body") (param i32 i32 i32) (result i32)
  (if (local.get 2) (then (drop (call $add (i32.const {map}) (i32.const 16) (i32.const 6) (i32.const 22) (i32.const 2)))))
  (i32.const 0))"#
        )
    };
    let wat = guest::with(
        r#"(import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))"#,
        &format!(
            r#"(data (i32.const 16) "x-late42") {} {}"#,
            adding("request", 1),
            adding("response", 3)
        ),
    );
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", &wat);
    let upstream = Upstream::named("ok");
    let yaml = proxy::filtered(upstream.address, "guest.wasm")
        .replace("name: guest,", "name: guest, trailers: [x-late],");
    let proxy = setup.start(&yaml);
    let mut client = proxy.client();
    let post = |fields: &str| {
        format!("POST / HTTP/1.1\r\nhost: test\r\n{fields}content-length: 3\r\n\r\nabc")
    };
    for _ in 0..2 {
        let answer = client.request(&post("te: trailers\r\nconnection: te\r\n"));
        assert_eq!(
            (
                answer.field("content-length"),
                answer.field("trailer"),
                answer.trailer("x-late")
            ),
            (None, Some("x-late"), Some("42"))
        );
        assert_eq!(answer.text(), "ok");
    }
    // Who cannot be sent any is promised none.
    let answer = client.request(&post(""));
    assert_eq!(
        (
            answer.field("content-length"),
            answer.field("trailer"),
            answer.text()
        ),
        (Some("2"), None, "ok".to_owned())
    );
    for request in upstream.requests() {
        assert_eq!(
            (
                request.field("content-length"),
                request.trailer("x-late"),
                request.text()
            ),
            (None, Some("42"), "abc".to_owned())
        );
    }
    // Without a body there is nothing for them to follow.
    let answer =
        client.request("GET / HTTP/1.1\r\nhost: test\r\nte: trailers\r\nconnection: te\r\n\r\n");
    assert_eq!(answer.status(), 200);
    assert_eq!(upstream.requests().pop().unwrap().field("trailer"), None);
}
