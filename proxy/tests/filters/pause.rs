//! Holding a stream and letting it go: headers, bodies and trailers, both ways.

use std::time::Duration;

use crate::support::{
    Answer, BOTH, Body, Config, Filter, Guest, Http, Proxy, Upstream, built_guest, get, post, run,
    within,
};

/// Holds what a request with `x-hold` says `callback` shall answer, until a request with
/// `x-resume` comes.
fn holder(callback: &str, answer: u32) -> Guest {
    let stream = u32::from(callback.starts_with("response"));
    let marks =
        |name| format!("(i32.eqz (call $get (i32.const 0) «{name}» (i32.const 0) (i32.const 4)))");
    let held = "(i32.eq (global.get $held) (local.get $0))";
    Guest::new()
        .define("(global $held (mut i32) (i32.const -1))")
        .on(
            "request_headers",
            format!(
                "(if {} (then (global.set $held (local.get $0))))",
                marks("x-hold")
            ),
        )
        .on(
            "request_headers",
            format!(
                "(if {} (then (call $resume (global.get $held) (i32.const {stream}))))",
                marks("x-resume")
            ),
        )
        .on(
            callback,
            format!("(if {held} (then (return (i32.const {answer}))))"),
        )
}

fn marked(mut request: http::Request<Body>, name: &'static str) -> http::Request<Body> {
    request
        .headers_mut()
        .insert(name, "1".parse().expect("a value"));
    request
}

async fn start(filter: Filter) -> (Upstream, Proxy) {
    let upstream = Upstream::start();
    let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
    (upstream, proxy)
}

#[test]
fn a_rust_guest_pauses_anywhere_and_resumes_from_its_tick() {
    let Some(module) = built_guest("pause") else {
        return;
    };
    run(async {
        for http in BOTH {
            let (upstream, proxy) =
                start(Filter::file("pause", &module).with("configuration: \"5\"")).await;
            let places = [
                "request-headers",
                "request-body",
                "request-trailers",
                "response-headers",
                "response-body",
                "response-trailers",
            ];
            let all = places.join(",");
            for (number, place) in places.into_iter().chain([&all[..]]).enumerate() {
                let mut request = post(
                    &format!("/trailers?{number}"),
                    Body::with_trailer("body", "x-t", "1"),
                );
                for (name, value) in [("x-pause", place), ("trailer", "x-t"), ("te", "trailers")] {
                    request
                        .headers_mut()
                        .insert(name, value.parse().expect("a value"));
                }
                let answer = proxy.client(http).await.send(request).await;
                let about = format!("{place} over {http:?}: {answer:?}");
                assert_eq!(
                    (answer.status, answer.text(), answer.cut),
                    (200, "body", false),
                    "{about}"
                );
                let trailers = answer
                    .trailers
                    .as_ref()
                    .unwrap_or_else(|| panic!("trailers: {about}"));
                assert_eq!(trailers.get("x-end").expect("x-end"), "upstream", "{about}");
                let resumed = place.contains("response-headers").then_some("tick");
                assert_eq!(answer.header("x-resumed"), resumed, "{about}");
                let seen = upstream.seen().pop().expect("a request");
                assert_eq!(seen.body, b"body", "{about}");
                assert_eq!(
                    seen.trailers,
                    [("x-t".to_owned(), "1".to_owned())],
                    "{about}"
                );
                let resumed = place.contains("request-headers").then_some("tick");
                assert_eq!(seen.header("x-resumed"), resumed, "{about}");
                proxy.logged_times(&["filter: delete "], number + 1).await;
            }
            assert_eq!(proxy.lines(&["filter: paused ", " at "]).len(), 12);
        }
    });
}

#[test]
fn headers_that_stop_everything_show_the_body_after_the_resumption_only() {
    run(async {
        for http in BOTH {
            for answer in [1, 3, 4, 9] {
                let (upstream, proxy) =
                    start(Filter::wasm("f", holder("request_headers", answer).build())).await;
                let mut client = proxy.client(http).await;
                let held = tokio::spawn(
                    client.start(marked(post("/a", Body::whole("some body")), "x-hold")),
                );
                proxy.logged(&["request_headers 2 "]).await;
                let resume = marked(get("/b"), "x-resume");
                assert_eq!(proxy.client(http).await.send(resume).await.status, 200);
                let response = within("the held stream", held)
                    .await
                    .expect("a task")
                    .expect("a response");
                assert_eq!(response.status(), 200);
                assert_eq!(
                    upstream.only("/a").body,
                    b"some body",
                    "{answer} over {http:?}"
                );
                for call in ["request_body 2 ", "request_headers 3 "] {
                    proxy.logged(&[call]).await;
                }
                let calls = proxy.lines(&["filter: request_"]);
                let at = |words| {
                    calls
                        .iter()
                        .position(|line| line.contains(words))
                        .expect("a call")
                };
                assert!(
                    at("request_body 2 ") > at("request_headers 3 "),
                    "{answer} over {http:?}: {calls:#?}"
                );
            }
        }
    });
}

#[test]
fn responses_are_held_by_their_headers_in_every_mode() {
    run(async {
        for http in BOTH {
            for answer in [1, 3, 4] {
                let (_upstream, proxy) = start(Filter::wasm(
                    "f",
                    holder("response_headers", answer).build(),
                ))
                .await;
                let mut client = proxy.client(http).await;
                let held = tokio::spawn(client.start(marked(get("/chunked"), "x-hold")));
                proxy.logged(&["response_headers 2 "]).await;
                let resume = marked(get("/b"), "x-resume");
                assert_eq!(proxy.client(http).await.send(resume).await.status, 200);
                let response = within("the held stream", held)
                    .await
                    .expect("a task")
                    .expect("a response");
                let held = within("its body", Answer::read(response)).await;
                assert_eq!(
                    (held.text(), held.cut),
                    ("firstsecond", false),
                    "{answer} over {http:?}"
                );
                for call in ["response_body 2 ", "request_headers 3 "] {
                    proxy.logged(&[call]).await;
                }
                let calls = proxy.lines(&["filter: re"]);
                let at = |words| {
                    calls
                        .iter()
                        .position(|line| line.contains(words))
                        .expect("a call")
                };
                assert!(
                    at("response_body 2 ") > at("request_headers 3 "),
                    "{answer} over {http:?}: {calls:#?}"
                );
            }
        }
    });
}

#[test]
fn an_upload_larger_than_the_limit_waits_outside_and_flows_after_the_resumption() {
    const SIZE: usize = 48 << 20;
    run(async {
        for http in BOTH {
            let filter = Filter::wasm("f", holder("request_headers", 4).build())
                .with("limits: { body: 64KiB }");
            let (upstream, proxy) = start(filter).await;
            assert_eq!(
                proxy.client(http).await.send(get("/warm")).await.status,
                200
            );
            let before = proxy.peak_memory();
            let mut client = proxy.client(http).await;
            let (feeder, body) = Body::fed();
            let piece = vec![b'x'; 1 << 20];
            (0..SIZE >> 20).for_each(|_| feeder.feed(&piece));
            drop(feeder);
            let held = tokio::spawn(client.start(marked(post("/a", body), "x-hold")));
            proxy.logged(&["request_headers 3 "]).await;
            // Time for what would come, were it let in.
            tokio::time::sleep(Duration::from_millis(200)).await;
            let while_held = proxy.peak_memory() - before;
            // One beside it, on the same connection where there can be one.
            if http == Http::Two {
                let beside = client.send(post("/b", Body::whole("beside"))).await;
                assert_eq!(beside.status, 200);
            }
            let resume = marked(get("/c"), "x-resume");
            assert_eq!(proxy.client(http).await.send(resume).await.status, 200);
            let response = within("the upload", held)
                .await
                .expect("a task")
                .expect("a response");
            assert_eq!(response.status(), 200);
            assert_eq!(upstream.only("/a").body.len(), SIZE);
            let in_all = proxy.peak_memory() - before;
            assert!(
                while_held < 8 << 20 && in_all < 16 << 20,
                "{http:?}: {while_held} then {in_all} bytes more"
            );
        }
    });
}

#[test]
fn headers_alone_are_held_where_the_filter_may_do_so_and_a_changed_body_lets_them_go() {
    run(async {
        let guest = Guest::new()
            .on("request_headers", "(return (i32.const 1))")
            .on("request_body", "(if (i32.eqz (local.get $2)) (then (return (i32.const 1))))
                (drop (call $replace (i32.const 0) «x-late» «yes»)) (call $body (i32.const 0) «replaced»)")
            .on("response_headers", "(return (i32.const 1))")
            .on("response_body", "(if (i32.eqz (local.get $2)) (then (return (i32.const 1))))
                (drop (call $replace (i32.const 2) «x-late» «yes»)) (call $body (i32.const 1) «a new response»)");
        for http in BOTH {
            let filter =
                Filter::wasm("f", guest.build()).with("allow_on_headers_stop_iteration: true");
            let (upstream, proxy) = start(filter).await;
            let mut client = proxy.client(http).await;
            for path in ["/a", "/chunked"] {
                let answer = client
                    .send(post(path, Body::whole("a longer body than that")))
                    .await;
                assert_eq!(
                    (answer.status, answer.text(), answer.cut),
                    (200, "a new response", false),
                    "{http:?}"
                );
                assert_eq!(answer.header("x-late"), Some("yes"), "{http:?}");
                let seen = upstream.only(path);
                assert_eq!(
                    (seen.header("x-late"), &seen.body[..]),
                    (Some("yes"), &b"replaced"[..]),
                    "{http:?}"
                );
                assert_eq!(
                    seen.header("content-length"),
                    Some("8"),
                    "{http:?}: {seen:?}"
                );
                if path == "/a" {
                    assert_eq!(answer.header("content-length"), Some("14"), "{http:?}");
                }
            }
        }
    });
}

#[test]
fn headers_alone_are_held_until_the_trailers_let_them_go() {
    run(async {
        let guest = Guest::new()
            .on("request_headers", "(return (i32.const 1))")
            .on("request_body", "(return (i32.const 1))")
            .on(
                "request_trailers",
                "(drop (call $replace (i32.const 1) «x-t» «changed»))",
            );
        for http in BOTH {
            let filter =
                Filter::wasm("f", guest.build()).with("allow_on_headers_stop_iteration: true");
            let (upstream, proxy) = start(filter).await;
            let mut request = post("/a", Body::with_trailer("body", "x-t", "1"));
            request
                .headers_mut()
                .insert("trailer", "x-t".parse().expect("a value"));
            let answer = proxy.client(http).await.send(request).await;
            assert_eq!(answer.status, 200, "{http:?}");
            let seen = upstream.only("/a");
            assert_eq!(seen.body, b"body");
            assert_eq!(
                seen.trailers,
                [("x-t".to_owned(), "changed".to_owned())],
                "{http:?}"
            );
        }
    });
}
