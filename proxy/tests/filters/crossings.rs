//! Where filters meet other parts: old clients, upgrades of expectations, answers that come
//! early, routes that answer, VMs that are on their way out.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::support::{
    Answer, BOTH, Body, Config, Filter, Guest, Http, PATIENCE, Proxy, Upstream, get, post, run,
    within,
};

async fn start(guest: &Guest) -> (Upstream, Proxy) {
    let upstream = Upstream::start();
    let filter = Filter::wasm("f", guest.build());
    let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
    (upstream, proxy)
}

/// Sends bytes as they are and reads until the proxy closes.
fn raw(proxy: &Proxy, bytes: &str) -> String {
    let mut stream = TcpStream::connect(proxy.address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(bytes.as_bytes()).expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_client_of_http_1_0_gets_a_changed_body_to_its_end() {
    run(async {
        let guest = Guest::new().on(
            "response_body",
            "(if (i32.eqz (local.get $2)) (then (return (i32.const 1))))
            (call $body (i32.const 1) «something else»)",
        );
        let (_upstream, proxy) = start(&guest).await;
        for path in ["/same", "/chunked"] {
            let answer = raw(
                &proxy,
                &format!("GET {path} HTTP/1.0\r\nhost: proxy.test\r\n\r\n"),
            );
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
            assert!(
                head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200"),
                "{answer}"
            );
            assert!(!head.contains("chunked"), "{answer}");
            assert_eq!(body, "something else", "{path}");
        }
    });
}

#[test]
fn a_client_that_expects_100_is_refused_by_a_filter_before_it_sends_its_body() {
    run(async {
        let guest = Guest::new().on(
            "request_headers",
            "(call $reply (i32.const 403) «no») (return (i32.const 1))",
        );
        let (upstream, proxy) = start(&guest).await;
        let mut stream = TcpStream::connect(proxy.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head = "POST /a HTTP/1.1\r\nhost: proxy.test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("a request");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 403");
        assert!(upstream.seen().is_empty());
    });
}

#[test]
fn a_client_that_expects_100_is_told_to_go_on_when_a_filter_wants_the_body() {
    run(async {
        let guest = Guest::new()
            .on("request_headers", "(return (i32.const 1))")
            .on(
                "request_body",
                "(if (i32.eqz (local.get $2)) (then (return (i32.const 1))))",
            );
        let upstream = Upstream::start();
        let filter = Filter::wasm("f", guest.build()).with("allow_on_headers_stop_iteration: true");
        let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
        let mut stream = TcpStream::connect(proxy.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head = "POST /a HTTP/1.1\r\nhost: proxy.test\r\nexpect: 100-continue\r\ncontent-length: 4\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("a request");
        let mut answer = [0; 25];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(
            String::from_utf8_lossy(&answer),
            "HTTP/1.1 100 Continue\r\n\r\n"
        );
        stream.write_all(b"body").expect("a body");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("an answer");
        assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
        assert_eq!(upstream.only("/a").body, b"body");
    });
}

#[test]
fn an_upstream_may_answer_before_a_filter_lets_the_request_body_go() {
    run(async {
        for http in BOTH {
            let (_upstream, proxy) =
                start(&Guest::new().on("request_body", "(return (i32.const 1))")).await;
            let mut client = proxy.client(http).await;
            let (feeder, body) = Body::fed();
            feeder.feed("some");
            let answer = client.send(post("/early", body)).await;
            assert_eq!((answer.status, answer.text()), (200, "early"), "{http:?}");
            drop(feeder);
            proxy.logged(&["filter: delete 2."]).await;
            assert_eq!(proxy.lines(&["filter: done 2."]).len(), 1);
        }
    });
}

#[test]
fn a_filter_may_answer_after_part_of_the_request_has_reached_the_upstream() {
    run(async {
        for http in BOTH {
            let reply = "(if (i32.eq (local.get $1) (i32.const 6))
                (then (call $reply (i32.const 403) «enough») (return (i32.const 1))))";
            let (upstream, proxy) = start(&Guest::new().on("request_body", reply)).await;
            let mut client = proxy.client(http).await;
            let (feeder, body) = Body::fed();
            feeder.feed("first");
            let sent = tokio::spawn(client.start(post("/a", body)));
            proxy.logged(&["request_body 2 5 0"]).await;
            feeder.feed("second");
            let response = within("the answer", sent)
                .await
                .expect("a task")
                .expect("a response");
            let answer = within("its body", Answer::read(response)).await;
            assert_eq!((answer.status, answer.text()), (403, "enough"), "{http:?}");
            proxy.access(&["/a", "403", "enough"]).await;
            assert!(
                upstream.seen().is_empty(),
                "the upstream never got a whole request"
            );
            drop(feeder);
            assert_eq!(proxy.client(http).await.send(get("/b")).await.status, 200);
        }
    });
}

#[test]
fn a_response_whose_headers_are_held_can_still_be_replaced_at_its_end() {
    run(async {
        let guest = Guest::new()
            .on("response_headers", "(return (i32.const 1))")
            .on(
                "response_body",
                "(if (i32.eqz (local.get $2)) (then (return (i32.const 1))))
             (call $reply (i32.const 451) «not for you») (return (i32.const 1))",
            );
        for http in BOTH {
            let upstream = Upstream::start();
            let filter =
                Filter::wasm("f", guest.build()).with("allow_on_headers_stop_iteration: true");
            let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
            let mut client = proxy.client(http).await;
            for path in ["/same", "/chunked"] {
                let answer = client.send(get(path)).await;
                assert_eq!(
                    (answer.status, answer.text(), answer.cut),
                    (451, "not for you", false),
                    "{http:?}"
                );
            }
            proxy.access(&["/same", "451", "not_for_you"]).await;
        }
    });
}

#[test]
fn routes_that_answer_by_themselves_pass_the_filters() {
    run(async {
        for http in BOTH {
            let mark = "(drop (call $add (i32.const 2) «x-seen» «yes»))";
            let guest = Guest::new().on("response_headers", mark);
            let upstream = Upstream::start();
            let config = Config::new(upstream.address)
                .filter(Filter::wasm("f", guest.build()))
                .routes(&[
                    "{ match: { path: /direct }, respond: { status: 202, body: direct } }",
                    "{ match: { path: /moved }, redirect: { path: /there } }",
                ]);
            let proxy = Proxy::start(&config).await;
            let mut client = proxy.client(http).await;
            let cases = [
                ("/direct", 202, "direct", None),
                ("/moved", 301, "", Some("http://proxy.test/there")),
                ("/x", 404, "", None),
            ];
            for (path, status, body, location) in cases {
                let answer = client.send(post(path, Body::whole("body"))).await;
                assert_eq!(
                    (answer.status, answer.text(), answer.header("x-seen")),
                    (status, body, Some("yes")),
                    "{path}"
                );
                assert_eq!(answer.header("location"), location, "{path}");
                client.ready().await.expect("the connection goes on");
            }
        }
    });
}

#[test]
fn a_stream_in_a_vm_that_has_crashed_still_gets_its_ticks() {
    run(async {
        let crash = "(if (i32.eqz (call $get (i32.const 0) «x-crash» (i32.const 0) (i32.const 4))) (then unreachable))";
        let guest = Guest::new()
            .on("request_headers", crash)
            .on("response_headers", "(if (i32.eq (local.get $0) (i32.const 2)) (then
                (drop (call $tick_period (i32.const 5))) (return (i32.const 1))))")
            .on("tick", "(drop (call $tick_period (i32.const 0))) (call $resume (i32.const 2) (i32.const 1))");
        let (upstream, proxy) = start(&guest).await;
        let mut client = proxy.client(Http::Two).await;
        let held = tokio::spawn(client.start(get("/held")));
        proxy.logged(&["request_headers 2 "]).await;
        let mut crashing = get("/crash");
        crashing
            .headers_mut()
            .insert("x-crash", "1".parse().expect("a value"));
        assert_eq!(client.send(crashing).await.status, 503);
        // A new VM is there before the old one asks for its tick.
        let mut other = get("/trailers");
        other
            .headers_mut()
            .insert("x-other", "1".parse().expect("a value"));
        let _other = tokio::spawn(client.start(other));
        proxy.logged_times(&["filter: vm_start "], 2).await;
        upstream.gate.open();
        let response = within("the held stream", held)
            .await
            .expect("a task")
            .expect("a response");
        assert_eq!(response.status(), 200);
    });
}
