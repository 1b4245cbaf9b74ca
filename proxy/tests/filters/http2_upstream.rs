//! The same filters before an upstream of HTTP/2, which is another proxy in front of the
//! usual one: there the end of a body comes with its last bytes.

use crate::support::{
    BOTH, Body, Config, Filter, Guest, Proxy, Upstream, built_guest, get, post, run,
};

struct World {
    upstream: Upstream,
    _between: Proxy,
    proxy: Proxy,
}

async fn start(filter: Filter) -> World {
    let upstream = Upstream::start();
    let between = Proxy::start(&Config::new(upstream.address)).await;
    let config = Config::new(between.address)
        .protocol("http2")
        .filter(filter);
    let proxy = Proxy::start(&config).await;
    World {
        upstream,
        _between: between,
        proxy,
    }
}

#[test]
fn a_rust_guest_pauses_anywhere() {
    let Some(module) = built_guest("pause") else {
        return;
    };
    run(async {
        for http in BOTH {
            let world = start(Filter::file("pause", &module).with("configuration: \"5\"")).await;
            let mut client = world.proxy.client(http).await;
            for place in [
                "request-headers,response-headers",
                "request-body,response-body",
                "request-trailers,response-trailers",
            ] {
                let mut request = post("/trailers", Body::with_trailer("body", "x-t", "1"));
                for (name, value) in [("x-pause", place), ("trailer", "x-t"), ("te", "trailers")] {
                    request
                        .headers_mut()
                        .insert(name, value.parse().expect("a value"));
                }
                let answer = client.send(request).await;
                assert_eq!(
                    (answer.status, answer.text(), answer.cut),
                    (200, "body", false),
                    "{place} over {http:?}"
                );
                let trailers = answer
                    .trailers
                    .as_ref()
                    .unwrap_or_else(|| panic!("trailers: {place} over {http:?}"));
                assert_eq!(trailers["x-end"], "upstream");
                let seen = world.upstream.seen().pop().expect("a request");
                assert_eq!(seen.body, b"body");
                assert_eq!(
                    seen.trailers,
                    [("x-t".to_owned(), "1".to_owned())],
                    "{place} over {http:?}"
                );
            }
        }
    });
}

#[test]
fn the_end_of_a_body_is_shown_once() {
    run(async {
        for http in BOTH {
            let world = start(Filter::wasm("f", Guest::new().build())).await;
            let mut client = world.proxy.client(http).await;
            for (context, path) in
                (2..).zip(["/same", "/chunked", "/nothing", "/empty", "/large?200000"])
            {
                let answer = client.send(post(path, Body::whole("body"))).await;
                assert!(
                    answer.status < 300 && !answer.cut,
                    "{path} over {http:?}: {answer:?}"
                );
                world
                    .proxy
                    .logged(&[&format!("filter: delete {context}.")])
                    .await;
                for way in ["request", "response"] {
                    let calls = world
                        .proxy
                        .lines(&[&format!(" filter: {way}_"), &format!("context={context}")]);
                    let ends = calls
                        .iter()
                        .filter(|line| line.contains(" 1. filter="))
                        .count();
                    assert_eq!(ends, 1, "{way} {path} over {http:?}: {calls:#?}");
                }
                world.proxy.access(&[path, "\"flags\":null"]).await;
            }
        }
    });
}

#[test]
fn changed_bodies_are_framed_right() {
    let Some(module) = built_guest("body") else {
        return;
    };
    run(async {
        for words in [
            "request=text response=text",
            "request=text response=text keep-content-length",
            "request=empty response=empty keep-content-length",
        ] {
            for http in BOTH {
                let world =
                    start(Filter::file("body", &module).with(format!("configuration: {words}")))
                        .await;
                let mut client = world.proxy.client(http).await;
                for path in ["/a", "/b"] {
                    let answer = client
                        .send(post(path, Body::whole("a body of some length")))
                        .await;
                    assert_eq!(
                        (answer.status, answer.cut),
                        (200, false),
                        "{words} over {http:?}"
                    );
                    let empty = words.contains("empty");
                    assert_eq!(answer.text().is_empty(), empty, "{words} over {http:?}");
                    let body = if empty { "" } else { "replaced 21 bytes\n" };
                    let seen = world.upstream.only(path);
                    assert_eq!(
                        String::from_utf8_lossy(&seen.body),
                        body,
                        "{words} over {http:?}"
                    );
                }
            }
        }
    });
}

#[test]
fn an_upstream_that_breaks_off_cuts_the_response_and_ends_the_stream_once() {
    run(async {
        for http in BOTH {
            let world = start(Filter::wasm("f", Guest::new().build())).await;
            let answer = world.proxy.client(http).await.try_send(get("/reset")).await;
            assert!(
                answer.as_ref().map_or(true, |answer| answer.cut),
                "{http:?}: {answer:?}"
            );
            world.proxy.logged(&["filter: delete 2."]).await;
            for name in ["log", "done", "delete"] {
                assert_eq!(world.proxy.lines(&[&format!("filter: {name} 2.")]).len(), 1);
            }
            let answer = world.proxy.client(http).await.send(get("/close")).await;
            assert_eq!(answer.status, 503, "{http:?}");
            assert_eq!(
                world
                    .proxy
                    .client(http)
                    .await
                    .send(get("/next"))
                    .await
                    .status,
                200
            );
        }
    });
}

#[test]
fn a_filter_that_answers_cancels_the_request_and_the_connection_goes_on() {
    run(async {
        let reply = "(if (i32.eq (local.get $1) (i32.const 6))
            (then (call $reply (i32.const 403) «enough») (return (i32.const 1))))";
        for http in BOTH {
            let world = start(Filter::wasm(
                "f",
                Guest::new().on("request_body", reply).build(),
            ))
            .await;
            for _ in 0..2 {
                let mut client = world.proxy.client(http).await;
                let (feeder, body) = Body::fed();
                feeder.feed("first");
                let sent = tokio::spawn(client.start(post("/a", body)));
                world.proxy.logged(&["request_body ", " 5 0."]).await;
                feeder.feed("second");
                let response = sent.await.expect("a task").expect("a response");
                assert_eq!(response.status(), 403, "{http:?}");
                assert_eq!(
                    world.proxy.client(http).await.send(get("/b")).await.status,
                    200
                );
            }
        }
    });
}
