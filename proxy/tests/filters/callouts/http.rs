//! HTTP calls that go well.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::{World, guest};
use crate::support::{Config, Http, Proxy, Upstream, get, run};

/// The services that tests call: one of each protocol, which do the same.
struct Callees {
    one: Upstream,
    two: Upstream,
    between: Proxy,
}

const BOTH: [&str; 2] = ["one", "two"];

// === impl Callees ===

impl Callees {
    async fn start() -> Self {
        let (one, two) = (Upstream::start(), Upstream::start());
        // Another proxy speaks HTTP/2 to those who call it.
        let trusting = Config::new(two.address).listener("trust_envoy_headers: true");
        let between = Proxy::start(&trusting).await;
        Self { one, two, between }
    }

    fn add(&self, config: Config) -> Config {
        let cluster = |name, address, protocol| {
            format!("{{ name: {name}, endpoints: ['{address}'], protocol: {protocol} }}")
        };
        config
            .cluster(cluster("one", self.one.address, "http1"))
            .cluster(cluster("two", self.between.address, "http2"))
    }

    fn of(&self, name: &str) -> &Upstream {
        if name == "one" { &self.one } else { &self.two }
    }
}

/// Runs `test` with each service.
fn with_each(test: impl AsyncFn(&World, &str, &Upstream)) {
    let Some(filter) = guest() else { return };
    run(async {
        let callees = Callees::start().await;
        let world = World::start(filter, |config| callees.add(config)).await;
        for name in BOTH {
            test(&world, name, callees.of(name)).await;
        }
        assert_eq!(world.proxy.lines(&["ERROR"]), [""; 0]);
    });
}

#[test]
fn a_request_waits_for_the_answer_of_a_call() {
    with_each(async |world, name, callee| {
        let call = format!("http {name} GET /held?{name}");
        let mut request = get(&format!("/waits-{name}"));
        let headers = request.headers_mut();
        headers.insert("x-call", call.parse().expect("a value"));
        let mut client = world.proxy.client(Http::Two).await;
        let sent = tokio::spawn(client.start(request));
        while callee.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            world.upstream.seen().len(),
            if name == "one" { 0 } else { 1 }
        );
        callee.gate.open();
        let response = sent.await.expect("a task").expect("a response");
        assert_eq!(response.status(), 200);
        world.upstream.only(&format!("/waits-{name}"));
        let answers = world.answers();
        let answer = answers.last().expect("an answer");
        assert!(
            answer.contains(":status=200 content-type=text/plain"),
            "{answer}"
        );
        assert!(answer.ends_with("| status 0 \"\""), "{answer}");
    });
}

#[test]
fn a_call_says_who_it_is_for_and_hides_what_is_the_connections() {
    with_each(async |world, name, callee| {
        let call = format!(
            "http {name} POST /show timeout=1234 body=hello host=api.test:81 h.x-a=1 h.X-A=2 h.expect=100-continue \
             h.connection=close,+x-b h.x-b=3 h.keep-alive=1 h.transfer-encoding=gzip h.content-length=99 h.te=gzip \
             h.upgrade=websocket h.proxy-connection=close h.trailer=x-c"
        );
        let outcome = world.outcome(&call).await;
        assert!(outcome.contains(":status=200"), "{outcome}");
        let seen = callee.only("/show");
        assert_eq!((&seen.method[..], &seen.body[..]), ("POST", &b"hello"[..]));
        assert_eq!(seen.all("x-a"), ["1", "2"]);
        for (field, value) in [
            ("host", "api.test:81"),
            ("content-length", "5"),
            ("x-envoy-internal", "true"),
            ("x-envoy-expected-rq-timeout-ms", "1234"),
        ] {
            assert_eq!(seen.all(field), [value], "{field}: {seen:?}");
        }
        for gone in [
            "x-b",
            "connection",
            "keep-alive",
            "transfer-encoding",
            "te",
            "upgrade",
            "proxy-connection",
            "trailer",
            "expect",
        ] {
            assert_eq!(seen.header(gone), None, "{gone}");
        }
        // The proxy between adds its own.
        if name == "one" {
            assert_eq!(seen.header("x-forwarded-for"), None);
        }
    });
}

#[test]
fn calls_without_body_and_timeout_say_so() {
    with_each(async |world, name, callee| {
        for (method, length) in [
            ("GET", None),
            ("DELETE", None),
            ("POST", Some("0")),
            ("PUT", Some("0")),
        ] {
            let path = format!("/bare-{method}");
            world
                .call(&[&format!("http {name} {method} {path} timeout=0")])
                .await;
            let seen = callee.only(&path);
            assert_eq!(seen.header("content-length"), length, "{method}");
            assert_eq!(seen.header("transfer-encoding"), None, "{method}");
            assert_eq!(seen.header("x-envoy-expected-rq-timeout-ms"), None);
        }
    });
}

#[test]
fn fields_that_cannot_be_sent_are_left_out() {
    with_each(async |world, name, callee| {
        let evil =
            r"h.x-evil=1\r\nx-smuggled:+1 h.x-nul=\0 h.bad+name=1 h.x-good=1 h.:status=200 body=ok";
        world
            .call(&[&format!("http {name} POST /evil {evil}")])
            .await;
        let seen = callee.only("/evil");
        assert_eq!(
            (seen.header("x-good"), &seen.body[..]),
            (Some("1"), &b"ok"[..])
        );
        for gone in [
            "x-evil",
            "x-smuggled",
            "x-nul",
            "bad name",
            ":status",
            "status",
        ] {
            assert_eq!(seen.header(gone), None, "{gone}");
        }
        world.proxy.logged(&["WARN", "left out", "x-evil"]).await;
        // Where the request goes cannot be left out.
        for evil in [
            r"/path\r\nx-smuggled:+1 body=x",
            r"/path host=a\r\nb",
            "relative",
            r"/p+HTTP/1.1",
        ] {
            let outcome = world.outcome(&format!("http {name} GET {evil}")).await;
            assert!(outcome.contains(":status=503"), "{evil}: {outcome}");
        }
        let outcome = world.outcome(&format!("http {name} CONNECT /x")).await;
        assert!(outcome.contains(":status=503"), "{outcome}");
        let smuggled: Vec<_> = callee
            .seen()
            .into_iter()
            .filter(|seen| seen.target != "/evil")
            .collect();
        assert!(smuggled.is_empty(), "{smuggled:?}");
    });
}

#[test]
fn trailers_go_both_ways() {
    with_each(async |world, name, callee| {
        let call =
            format!("http {name} POST /trailers body=text t.x-t=1 t.x-u=2 t.content-length=3");
        let outcome = world.outcome(&call).await;
        assert!(
            outcome.ends_with("| body |x-end=upstream | status 0 \"\""),
            "{outcome}"
        );
        let seen = callee.only("/trailers");
        assert_eq!(seen.body, b"text");
        if name == "one" {
            let mut trailers = seen.trailers.clone();
            trailers.sort();
            let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            assert_eq!(trailers, [pair("x-t", "1"), pair("x-u", "2")]);
            assert_eq!(seen.header("content-length"), None);
        }
    });
}

#[test]
fn responses_of_every_framing_are_read_whole() {
    with_each(async |world, name, _| {
        for (path, wanted) in [
            ("/same", "| some bytes ||"),
            ("/chunked", "| firstsecond ||"),
            ("/nothing", "|  ||"),
            ("/large?1000000", "| 1000000 bytes ||"),
            ("/status?418", "| asked\\n ||"),
        ] {
            let outcome = world.outcome(&format!("http {name} GET {path}")).await;
            assert!(outcome.contains(wanted), "{path}: {outcome}");
            assert!(!outcome.contains("transfer-encoding"), "{outcome}");
        }
        let outcome = world.outcome(&format!("http {name} GET /empty")).await;
        assert!(outcome.contains(":status=204"), "{outcome}");
        let outcome = world.outcome(&format!("http {name} HEAD /same")).await;
        assert!(
            outcome.contains(":status=200 content-length=10"),
            "{outcome}"
        );
        assert!(outcome.contains("|  ||"), "{outcome}");
    });
}

#[test]
fn calls_are_made_at_once_and_one_after_another() {
    with_each(async |world, name, callee| {
        let before = world.answers().len();
        let calls: Vec<_> = (0..3)
            .map(|n| format!("http {name} GET /at-once-{n}"))
            .collect();
        let mut headers: Vec<_> = calls.iter().map(|call| ("x-call", &call[..])).collect();
        let then: Vec<_> = (0..2)
            .map(|n| format!("http {name} GET /then-{n}"))
            .collect();
        headers.extend(then.iter().map(|call| ("x-then", &call[..])));
        world.send(&headers).await;
        let answers = world.answers();
        assert_eq!(answers.len(), before + 5, "{answers:#?}");
        let mut tokens: Vec<u32> = (answers[before..].iter())
            .filter_map(|answer| answer.split(": ").nth(1)?.split(' ').next()?.parse().ok())
            .collect();
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), 5, "{answers:#?}");
        assert!(tokens.iter().all(|token| token % 4 == 0 && *token > 0));
        let paths: Vec<_> = callee.seen().into_iter().map(|seen| seen.target).collect();
        assert_eq!(paths[3..], ["/then-0", "/then-1"], "{paths:?}");
    });
}

#[test]
fn a_response_waits_for_a_call_too() {
    with_each(async |world, name, callee| {
        let (call, then) = (
            format!("http {name} GET /one"),
            format!("http {name} GET /two"),
        );
        world
            .send(&[("x-call-response", &call), ("x-then", &then)])
            .await;
        let paths: Vec<_> = callee.seen().into_iter().map(|seen| seen.target).collect();
        assert_eq!(paths, ["/one", "/two"]);
        world.proxy.logged(&["resumed Ok(())"]).await;
    });
}

#[test]
fn connections_are_kept_for_the_next_call() {
    with_each(async |world, name, callee| {
        for _ in 0..5 {
            world.call(&[&format!("http {name} GET /same")]).await;
        }
        assert_eq!(callee.connections(), 1, "{name}");
    });
}

#[test]
fn an_answer_in_many_small_pieces_takes_no_more_than_one_in_one() {
    const PIECES: usize = 1_000_000;
    let Some(filter) = guest() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut head = [0; 1024];
        let _ = stream.read(&mut head);
        let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        answer.extend(b"1\r\na\r\n".repeat(PIECES));
        answer.extend(b"0\r\n\r\n");
        stream.write_all(&answer).expect("sent");
    });
    run(async {
        let world = World::start(filter, |config| {
            config.cluster(format!("{{ name: one, endpoints: ['{address}'] }}"))
        })
        .await;
        let before = world.proxy.peak_memory();
        let outcome = world.outcome("http one GET / timeout=30000").await;
        assert!(outcome.contains(":status=200"), "{:.200}", outcome);
        let grown = world.proxy.peak_memory() - before;
        assert!(grown < 16 << 20, "{grown} bytes for {PIECES} of body");
    });
}
