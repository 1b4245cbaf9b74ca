//! HTTP/1.1 between client, proxy and upstream: connections, methods, statuses.

use crate::support::{Proxy, Upstream, proxy};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

#[test]
fn a_connection_is_kept_for_the_next_request_on_both_sides() {
    let upstream = Upstream::echo();
    let proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    for body in ["one", "two", "three"] {
        let length = body.len();
        let answer = client.request(&format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        assert_eq!((answer.status(), answer.text()), (200, body.to_owned()));
        assert_eq!(answer.field("connection"), None);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_request_that_says_close_is_the_last_of_its_connection() {
    let proxy = Proxy::in_front_of(Upstream::named("ok").address);
    let mut client = proxy.client();
    let answer = client.request("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    assert_eq!(
        (answer.text(), answer.field("connection")),
        ("ok".to_owned(), Some("close"))
    );
    client.assert_ended();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::new(|conn| {
        while let Some(request) = conn.request() {
            conn.respond(request.line);
        }
    });
    let proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    let all: String = (0..20)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nhost: test\r\n\r\n"))
        .collect();
    client.send(all);
    for n in 0..20 {
        assert_eq!(client.response().text(), format!("GET /{n} HTTP/1.1"));
    }
}

#[test]
fn an_http_1_0_client_is_answered_and_closed_and_the_upstream_sees_http_1_1() {
    let upstream = Upstream::named("ok");
    let proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    let answer = client.request("GET /old HTTP/1.0\r\nhost: test\r\n\r\n");
    assert_eq!(answer.text(), "ok");
    assert!(answer.line.starts_with("HTTP/1.0 200"), "{}", answer.line);
    client.assert_ended();
    assert_eq!(upstream.only_request().line, "GET /old HTTP/1.1");
}

#[test]
fn an_http_1_0_client_that_asks_for_it_keeps_its_connection() {
    let upstream = Upstream::named("ok");
    let proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer =
            client.request("GET / HTTP/1.0\r\nhost: test\r\nconnection: keep-alive\r\n\r\n");
        assert_eq!(
            (answer.text(), answer.field("connection")),
            ("ok".to_owned(), Some("keep-alive"))
        );
    }
    for request in upstream.requests() {
        assert_eq!(request.field("connection"), None);
    }
}

#[test]
fn an_http_1_0_client_gets_a_chunked_answer_without_chunks() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    let proxy = Proxy::in_front_of(upstream.address);
    let answer = proxy
        .client()
        .request("GET / HTTP/1.0\r\nhost: test\r\n\r\n");
    assert_eq!(
        (answer.text(), answer.field("transfer-encoding")),
        ("abcde".to_owned(), None)
    );
}

#[test]
fn an_http_1_0_upstream_does_not_make_the_client_one() {
    let upstream = Upstream::new(|conn| {
        conn.request();
        conn.send("HTTP/1.0 200 OK\r\n\r\nuntil the end");
    });
    let proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    let answer = client.get("/");
    assert_eq!(
        (&answer.line[..9], answer.text()),
        ("HTTP/1.1 ", "until the end".to_owned())
    );
    assert_eq!(
        client.get("/").status(),
        200,
        "the client's connection is kept"
    );
}

#[test]
fn head_is_answered_with_the_length_and_without_a_body() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 42\r\n\r\n");
    let proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.request("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(
            (answer.status(), answer.field("content-length")),
            (200, Some("42"))
        );
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn statuses_without_a_body_have_none_and_keep_both_connections() {
    let upstream = Upstream::new(|conn| {
        while let Some(request) = conn.request() {
            let status = request
                .line
                .split(['/', ' '])
                .nth(2)
                .unwrap_or("204")
                .to_owned();
            conn.send(format!("HTTP/1.1 {status} Whatever\r\netag: \"x\"\r\n\r\n"));
        }
    });
    let proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    for status in [204, 304, 204, 304] {
        let answer = client.get(&format!("/{status}"));
        assert_eq!(
            (answer.status(), answer.field("etag")),
            (status, Some("\"x\""))
        );
        assert_eq!(answer.field("transfer-encoding"), None);
        if status == 204 {
            assert_eq!(answer.field("content-length"), None);
        }
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn interim_answers_of_the_upstream_do_not_disturb_the_final_one() {
    let upstream = Upstream::answering(
        "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "ok");
    assert_eq!(client.get("/").text(), "ok");
}

#[test]
fn the_reason_phrase_of_the_upstream_is_kept() {
    let upstream = Upstream::answering("HTTP/1.1 299 Rather Fine\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(
        Proxy::in_front_of(upstream.address).get("/").line,
        "HTTP/1.1 299 Rather Fine"
    );
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it_and_the_upstream_is_not_asked() {
    let upstream = Upstream::echo();
    let proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(client.head().status(), 100);
    assert_eq!(client.send("hello").response().text(), "hello");
    assert_eq!(upstream.only_request().field("expect"), None);
}

#[test]
fn a_client_that_waits_for_100_continue_can_be_refused_instead() {
    let yaml = proxy::plain(Upstream::nobody()).replace(
        "cluster: backend }]\n",
        "respond: { status: 403, body: no } }]\n",
    );
    let proxy = Proxy::start(&yaml);
    let mut client = proxy.client();
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(client.head().status(), 403);
}

#[test]
fn an_answer_before_the_upload_was_read_leaves_the_connection_usable() {
    let yaml = proxy::plain(Upstream::nobody()).replace(
        "cluster: backend }]\n",
        "respond: { status: 403, body: no } }]\n",
    );
    let proxy = Proxy::start(&yaml);
    let mut client = proxy.client();
    let length = 256 << 10;
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n"
    ));
    assert_eq!(client.response().status(), 403, "before a byte of the body");
    client.send(vec![b'x'; length]);
    assert_eq!(client.get("/again").status(), 403);
}

#[test]
fn a_client_that_half_closes_frees_what_it_held() {
    let upstream = Upstream::new(|conn| while conn.head().is_some() {});
    let proxy = Proxy::in_front_of(upstream.address);
    let mut client = proxy.client();
    client.send(GET);
    upstream.wait_for_bytes(GET.len());
    client.shutdown();
    client.assert_ended();
    upstream.wait_for_ended(1);
    proxy.stdout.wait_for("0 DC ");
}

#[test]
fn options_for_the_server_itself_reach_the_upstream_as_such() {
    let upstream = Upstream::named("ok");
    let proxy = Proxy::start(&proxy::plain(upstream.address).replace("match: { prefix: / }, ", ""));
    assert_eq!(
        proxy
            .client()
            .request("OPTIONS * HTTP/1.1\r\nhost: test\r\n\r\n")
            .status(),
        200
    );
    assert_eq!(upstream.only_request().line, "OPTIONS * HTTP/1.1");
}

#[test]
fn the_absolute_form_is_sent_on_in_origin_form_with_its_host() {
    let upstream = Upstream::named("ok");
    let proxy = Proxy::in_front_of(upstream.address);
    let answer = proxy
        .client()
        .request("GET http://real.test/a?b HTTP/1.1\r\nhost: other.test\r\n\r\n");
    assert_eq!(answer.status(), 200);
    let request = upstream.only_request();
    assert_eq!(
        (&request.line[..], request.field("host")),
        ("GET /a?b HTTP/1.1", Some("real.test"))
    );
}

#[test]
fn connect_is_not_passed_on() {
    let upstream = Upstream::named("ok");
    let proxy = Proxy::in_front_of(upstream.address);
    let answer = proxy
        .client()
        .request("CONNECT inside.test:22 HTTP/1.1\r\nhost: inside.test:22\r\n\r\n");
    assert_eq!(answer.status(), 405);
    assert_eq!(upstream.connections(), 0);
    proxy.stdout.wait_for("405 NR ");
}
