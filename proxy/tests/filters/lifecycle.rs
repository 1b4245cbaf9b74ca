//! Log, done and delete: exactly once, whatever becomes of a stream.

use crate::support::{
    BOTH, Body, Client, Config, Feeder, Filter, Guest, Http, Proxy, Upstream, get, post, run,
};

/// The callbacks of one context, as the guest wrote them down: name and arguments.
fn calls(proxy: &Proxy, context: u32) -> Vec<String> {
    let words = format!(" {context}");
    let mut calls = Vec::new();
    for line in proxy.lines(&[" filter: "]) {
        let Some(call) = line
            .split(" filter: ")
            .nth(1)
            .and_then(|rest| rest.split('.').next())
        else {
            continue;
        };
        let mut parts = call.split(' ');
        let name = parts.next().unwrap_or_default();
        if parts.next().is_some_and(|id| id == words.trim()) {
            calls.push(call.replacen(&words, "", 1).trim().to_owned());
            assert!(!name.is_empty());
        }
    }
    calls
}

/// The names alone.
fn names(calls: &[String]) -> Vec<&str> {
    calls
        .iter()
        .map(|call| call.split(' ').next().unwrap_or_default())
        .collect()
}

async fn start(guest: &Guest, more: &str) -> (Upstream, Proxy) {
    let upstream = Upstream::start();
    let mut filter = Filter::wasm("f", guest.build());
    if !more.is_empty() {
        filter = filter.with(more);
    }
    let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
    (upstream, proxy)
}

#[test]
fn a_stream_without_bodies_goes_through_its_callbacks_in_order() {
    run(async {
        for http in BOTH {
            let (_upstream, proxy) = start(&Guest::new(), "").await;
            let answer = proxy.client(http).await.send(get("/empty")).await;
            assert_eq!(answer.status, 204);
            proxy.logged(&["delete 2."]).await;
            let calls = calls(&proxy, 2);
            let expected = [
                "context_create",
                "request_headers",
                "response_headers",
                "log",
                "done",
                "delete",
            ];
            assert_eq!(names(&calls), expected, "{http:?}");
            // Four pseudo-headers, x-request-id, x-forwarded-for, x-forwarded-proto; no body
            // either way.
            assert_eq!(
                (&calls[1][..], &calls[2][..]),
                ("request_headers 7 1", "response_headers 1 1"),
                "{http:?}"
            );
            proxy
                .access(&["/empty", "204", "\"flags\":null", "via_upstream"])
                .await;
        }
    });
}

#[test]
fn bodies_and_trailers_come_between_headers_and_the_end() {
    run(async {
        for http in BOTH {
            let (_upstream, proxy) = start(&Guest::new(), "").await;
            let mut request = post("/trailers", Body::with_trailer("hello", "x-t", "1"));
            request
                .headers_mut()
                .insert("trailer", "x-t".parse().expect("a value"));
            assert_eq!(proxy.client(http).await.send(request).await.text(), "body");
            proxy.logged(&["delete 2."]).await;
            let calls = calls(&proxy, 2);
            let expected = [
                "context_create",
                "request_headers",
                "request_body",
                "request_trailers",
                "response_headers",
                "response_body",
                "response_trailers",
                "log",
                "done",
                "delete",
            ];
            assert_eq!(names(&calls), expected, "{http:?}");
            // With trailers no body callback is the last one.
            assert_eq!(
                (&calls[2][..], &calls[3][..]),
                ("request_body 5 0", "request_trailers 1"),
                "{http:?}"
            );
            assert_eq!(
                (&calls[5][..], &calls[6][..]),
                ("response_body 4 0", "response_trailers 1"),
                "{http:?}"
            );
        }
    });
}

#[test]
fn the_end_of_a_body_is_shown_whatever_its_framing() {
    run(async {
        for http in BOTH {
            let (_upstream, proxy) = start(&Guest::new(), "").await;
            for (context, path) in (2..).zip(["/same", "/chunked", "/nothing", "/large?100000"]) {
                let mut client = proxy.client(http).await;
                assert_eq!(
                    client.send(post(path, Body::whole("body"))).await.status,
                    200
                );
                proxy.logged(&[&format!("delete {context}.")]).await;
                let calls = calls(&proxy, context);
                for way in ["request", "response"] {
                    let parts = calls.iter().filter(|call| call.starts_with(way));
                    let ends = parts.filter(|call| call.ends_with(" 1")).count();
                    assert_eq!(ends, 1, "{way} {path} over {http:?}: {calls:?}");
                }
            }
            assert_eq!(proxy.lines(&["ERROR"]), [""; 0]);
        }
    });
}

#[test]
fn the_order_of_the_end_is_what_compat_says() {
    run(async {
        let orders = [
            ("compat: superset", ["log", "done", "delete"]),
            ("compat: envoy", ["log", "done", "delete"]),
            ("compat: spec", ["done", "log", "delete"]),
            (
                "compat: { end_order: done_log_delete }",
                ["done", "log", "delete"],
            ),
        ];
        for (compat, order) in orders {
            let (_upstream, proxy) = start(&Guest::new(), compat).await;
            assert_eq!(
                proxy
                    .client(Http::One)
                    .await
                    .send(get("/empty"))
                    .await
                    .status,
                204
            );
            proxy.logged(&["delete 2."]).await;
            assert_eq!(names(&calls(&proxy, 2))[3..], order, "{compat}");
        }
    });
}

#[test]
fn request_headers_are_readable_later_where_compat_says_so() {
    run(async {
        let ask = "(call $note «status» (i32.const 1)
            (call $get (i32.const 0) «:path» (i32.const 0) (i32.const 4)) (i32.const 0) (i32.const 0))";
        let guest = Guest::new().on("response_headers", ask);
        for (compat, line) in [
            ("superset", "status 0."),
            ("spec", "status 0."),
            ("envoy", "status 2."),
        ] {
            let (_upstream, proxy) = start(&guest, &format!("compat: {compat}")).await;
            assert_eq!(
                proxy
                    .client(Http::Two)
                    .await
                    .send(get("/empty"))
                    .await
                    .status,
                204
            );
            proxy.logged(&["delete 2."]).await;
            assert_eq!(proxy.lines(&["filter: status "]).len(), 1);
            assert_eq!(
                proxy.lines(&[line]).len(),
                1,
                "{compat}: {:?}",
                proxy.lines(&["status"])
            );
        }
    });
}

/// Where a stream is held, what the guest answers there, and the line that says it is.
const HOLDS: [(&str, u32, &str); 6] = [
    ("request_headers", 1, "request_headers 2 "),
    ("request_body", 1, "request_body 2 "),
    ("request_body", 2, "request_body 2 "),
    ("response_headers", 1, "response_headers 2 "),
    ("response_body", 1, "response_body 2 "),
    ("response_body", 2, "response_body 2 "),
];

/// How a client goes.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    Connection,
    /// RST_STREAM.
    Stream,
}

async fn gone_while_held(
    callback: &str,
    answer: u32,
    line: &str,
    http: Http,
    leaving: Leaving,
    complete: bool,
) {
    let about =
        format!("held in {callback} by {answer} over {http:?}, {leaving:?}, complete {complete}");
    let guest = Guest::new().on(callback, format!("(return (i32.const {answer}))"));
    let (_upstream, proxy) = start(&guest, "").await;
    let mut client: Client = proxy.client(http).await;
    let (feeder, body) = Body::fed();
    feeder.feed("some");
    let mut feeder: Option<Feeder> = Some(feeder);
    if complete {
        feeder = None;
    }
    let sent = tokio::spawn(client.start(post("/gone", body)));
    proxy.logged(&[line]).await;
    match leaving {
        Leaving::Connection => client.leave(),
        Leaving::Stream => {
            // Whoever waits for the response gives up; the connection stays.
            sent.abort();
            drop(sent.await);
        }
    }
    proxy.logged(&["delete 2."]).await;
    let calls = calls(&proxy, 2);
    let names = names(&calls);
    assert!(
        names.ends_with(&["log", "done", "delete"]),
        "{about}: {names:?}"
    );
    for name in ["log", "done", "delete"] {
        assert_eq!(
            names.iter().filter(|found| **found == name).count(),
            1,
            "{about}: {names:?}"
        );
    }
    proxy.access(&["/gone"]).await;
    drop(feeder);
}

#[test]
fn a_client_that_goes_while_a_filter_holds_its_stream_ends_it_once_over_http1() {
    run(async {
        for (callback, answer, line) in HOLDS {
            if callback.starts_with("request") {
                gone_while_held(
                    callback,
                    answer,
                    line,
                    Http::One,
                    Leaving::Connection,
                    false,
                )
                .await;
            }
            gone_while_held(callback, answer, line, Http::One, Leaving::Connection, true).await;
        }
    });
}

#[test]
fn a_client_that_goes_while_a_filter_holds_its_stream_ends_it_once_over_http2() {
    run(async {
        for (callback, answer, line) in HOLDS {
            for leaving in [Leaving::Connection, Leaving::Stream] {
                if callback.starts_with("request") {
                    gone_while_held(callback, answer, line, Http::Two, leaving, false).await;
                }
                gone_while_held(callback, answer, line, Http::Two, leaving, true).await;
            }
        }
    });
}
