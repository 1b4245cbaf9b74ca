//! Answers that filters give themselves.

use crate::support::{
    Answer, BOTH, Body, Config, Filter, Guest, Proxy, Upstream, built_guest, get, post, run,
};

fn denied(mut request: http::Request<Body>, place: &'static str) -> http::Request<Body> {
    request
        .headers_mut()
        .insert("x-deny", place.parse().expect("a value"));
    request
}

/// A 403 as the Rust guest makes it.
fn is_denial(answer: &Answer, place: &str, about: &str) {
    assert_eq!(answer.status, 403, "{about}: {answer:?}");
    assert_eq!(answer.header("x-denied"), Some(place), "{about}");
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"], "{about}");
    let body = if place == "empty" {
        String::new()
    } else {
        format!("denied at {place}\n")
    };
    assert_eq!((answer.text(), answer.cut), (&body[..], false), "{about}");
    let length = answer.header("content-length").unwrap_or("0");
    assert_eq!(length, body.len().to_string(), "{about}");
    assert_eq!(answer.header("server"), Some("cofferdam"), "{about}");
}

#[test]
fn a_rust_guest_answers_in_any_phase() {
    let Some(module) = built_guest("local_reply") else {
        return;
    };
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let config = Config::new(upstream.address).filter(Filter::file("deny", &module));
            let proxy = Proxy::start(&config).await;
            let mut client = proxy.client(http).await;

            for place in ["request-headers", "empty"] {
                let about = format!("{place} over {http:?}");
                let answer = client.send(denied(get("/refused"), place)).await;
                is_denial(&answer, place, &about);
                // Its own answer passes the filter on its way back.
                assert_eq!(
                    answer.header("x-local-reply-filter"),
                    Some("seen"),
                    "{about}"
                );
            }
            let answer = client
                .send(denied(
                    post("/refused", Body::whole("body")),
                    "request-body",
                ))
                .await;
            is_denial(&answer, "request-body", "request-body");
            assert_eq!(answer.header("x-local-reply-filter"), Some("seen"));

            // In place of the upstream's: straight out, not past the filter again.
            let mut client = proxy.client(http).await;
            let answer = client
                .send(denied(get("/passed"), "response-headers"))
                .await;
            is_denial(&answer, "response-headers", "response-headers");
            assert_eq!(answer.header("x-local-reply-filter"), None, "{http:?}");

            // Too late for an answer: its headers have left.
            let mut client = proxy.client(http).await;
            let answer = client.try_send(denied(get("/late"), "response-body")).await;
            assert!(
                answer.as_ref().map_or(true, |answer| answer.cut),
                "{http:?}: {answer:?}"
            );
            assert!(
                upstream
                    .seen()
                    .iter()
                    .all(|seen| !seen.target.contains("refused"))
            );

            let mut client = proxy.client(http).await;
            let answer = client.send(get("/next")).await;
            assert_eq!(
                (answer.status, answer.header("x-local-reply-filter")),
                (200, Some("seen"))
            );
            proxy.access(&["/refused", "403", "\"flags\":null"]).await;
            proxy.access(&["/late", "LR"]).await;
        }
    });
}

#[test]
fn a_grpc_request_is_answered_in_its_own_form() {
    let Some(module) = built_guest("local_reply") else {
        return;
    };
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let config = Config::new(upstream.address).filter(Filter::file("deny", &module));
            let proxy = Proxy::start(&config).await;
            let mut client = proxy.client(http).await;
            for (place, message) in [
                ("grpc", "denied"),
                ("request-headers", "denied at request-headers%0A"),
            ] {
                let mut request = denied(post("/service/Method", Body::whole("body")), place);
                request
                    .headers_mut()
                    .insert("content-type", "application/grpc".parse().expect("a value"));
                let answer = client.send(request).await;
                assert_eq!(
                    (answer.status, answer.text()),
                    (200, ""),
                    "{place} over {http:?}"
                );
                assert_eq!(
                    answer.header("grpc-status"),
                    Some("7"),
                    "{place} over {http:?}"
                );
                assert_eq!(
                    answer.header("grpc-message"),
                    Some(message),
                    "{place} over {http:?}"
                );
                assert_eq!(
                    answer.header("content-type"),
                    Some("application/grpc"),
                    "{place} over {http:?}"
                );
            }
        }
    });
}

const DETAILS: &str = "(drop (call $local_response (i32.const 429) «too keen» «slow down»
    (i32.const 0) (i32.const 0) (i32.const -1))) (return (i32.const 1))";

#[test]
fn the_access_log_has_the_details_of_an_answer() {
    run(async {
        for callback in ["request_headers", "request_body", "response_headers"] {
            for http in BOTH {
                let upstream = Upstream::start();
                let filter = Filter::wasm("f", Guest::new().on(callback, DETAILS).build());
                let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
                let answer = proxy
                    .client(http)
                    .await
                    .send(post("/a", Body::whole("body")))
                    .await;
                assert_eq!(
                    (answer.status, answer.text()),
                    (429, "slow down"),
                    "{callback}"
                );
                proxy
                    .access(&["/a", "429", "\"too_keen\"", "\"flags\":null"])
                    .await;
            }
        }
    });
}

/// Marks responses with its name, in the order they pass.
fn marking(name: &str) -> Guest {
    Guest::new().on(
        "response_headers",
        format!("(drop (call $add (i32.const 2) «x-passed» «{name}»))"),
    )
}

#[test]
fn an_answer_passes_the_filters_before_the_one_that_gave_it() {
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let config = Config::new(upstream.address)
                .filter(Filter::wasm("first", marking("first").build()))
                .filter(Filter::wasm(
                    "second",
                    marking("second").on("request_headers", DETAILS).build(),
                ))
                .filter(Filter::wasm("third", marking("third").build()));
            let proxy = Proxy::start(&config).await;
            let answer = proxy.client(http).await.send(get("/a")).await;
            let passed: Vec<_> = answer.headers.get_all("x-passed").iter().collect();
            assert_eq!(
                (answer.status, &passed[..]),
                (
                    429,
                    &["second", "first"]
                        .map(|n| n.parse().expect("a value"))
                        .iter()
                        .collect::<Vec<&http::HeaderValue>>()[..]
                )
            );
            assert!(upstream.seen().is_empty());
            // The third had a context and never saw anything.
            proxy.logged(&["delete ", "filter=\"third\""]).await;
            assert!(proxy.lines(&["_headers ", "filter=\"third\""]).is_empty());
        }
    });
}

#[test]
fn an_answer_from_a_tick_reaches_a_paused_stream() {
    run(async {
        for callback in ["request_headers", "request_body", "response_headers"] {
            for http in BOTH {
                let guest = Guest::new()
                    .define("(global $held (mut i32) (i32.const 0))")
                    .on(
                        callback,
                        "(global.set $held (local.get $0)) (drop (call $tick_period (i32.const 5)))
                        (return (i32.const 1))",
                    )
                    .on(
                        "tick",
                        "(drop (call $tick_period (i32.const 0)))
                        (drop (call $effective (global.get $held)))
                        (call $reply (i32.const 418) «teapot»)",
                    );
                let upstream = Upstream::start();
                let filter = Filter::wasm("f", guest.build());
                let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
                let mut client = proxy.client(http).await;
                let answer = client.send(post("/a", Body::whole("body"))).await;
                assert_eq!(
                    (answer.status, answer.text()),
                    (418, "teapot"),
                    "{callback} over {http:?}"
                );
                proxy.access(&["/a", "418", "teapot"]).await;
                proxy.logged(&["delete 2."]).await;
            }
        }
    });
}

#[test]
fn a_stream_closed_by_its_filter_is_cut_and_logged() {
    run(async {
        for callback in [
            "request_headers",
            "request_body",
            "response_headers",
            "response_body",
        ] {
            for http in BOTH {
                let close = "(drop (call $close_stream (i32.const 0)))";
                let upstream = Upstream::start();
                let filter = Filter::wasm("f", Guest::new().on(callback, close).build());
                let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
                let answer = proxy
                    .client(http)
                    .await
                    .try_send(post("/a", Body::whole("body")))
                    .await;
                let cut = answer.as_ref().map_or(true, |answer| answer.cut);
                assert!(cut, "{callback} over {http:?}: {answer:?}");
                proxy.access(&["/a", "LR", "wasm_close_stream"]).await;
                proxy.logged(&["delete 2."]).await;
                for name in ["log", "done", "delete"] {
                    assert_eq!(
                        proxy.lines(&[&format!("filter: {name} 2.")]).len(),
                        1,
                        "{name} after {callback}"
                    );
                }
            }
        }
    });
}

#[test]
fn an_answer_to_a_request_still_being_sent_arrives_and_the_rest_is_not_waited_for() {
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let filter = Filter::wasm("f", Guest::new().on("request_body", DETAILS).build());
            let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
            let mut client = proxy.client(http).await;
            let (feeder, body) = Body::fed();
            feeder.feed("the first piece");
            let answer = client.send(post("/a", body)).await;
            assert_eq!(
                (answer.status, answer.text()),
                (429, "slow down"),
                "{http:?}"
            );
            feeder.feed("the second piece");
            proxy.logged(&["delete 2."]).await;
            assert_eq!(proxy.lines(&["request_body 2 "]).len(), 1);
            drop(feeder);
            assert!(upstream.seen().is_empty());
        }
    });
}
