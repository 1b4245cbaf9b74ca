//! Several filters, routes that change the chain, and filters that change the route.

use crate::support::{
    BOTH, Body, Config, Filter, Guest, Http, Proxy, Upstream, built_guest, get, post, run,
};

/// Marks requests and responses with its name, in the order they pass.
fn marking(name: &str) -> Filter {
    let guest = Guest::new()
        .on(
            "request_headers",
            format!("(drop (call $add (i32.const 0) «x-passed» «{name}»))"),
        )
        .on(
            "response_headers",
            format!("(drop (call $add (i32.const 2) «x-passed» «{name}»))"),
        );
    Filter::wasm(name, guest.build())
}

fn passed(answer: &crate::support::Answer) -> Vec<&str> {
    let values = answer.headers.get_all("x-passed").iter();
    values.map(|value| value.to_str().expect("text")).collect()
}

#[test]
fn requests_pass_in_order_and_responses_in_reverse() {
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let config = Config::new(upstream.address)
                .filter(marking("a"))
                .filter(marking("b"))
                .filter(marking("c"));
            let proxy = Proxy::start(&config).await;
            let answer = proxy.client(http).await.send(get("/x")).await;
            assert_eq!(passed(&answer), ["c", "b", "a"]);
            assert_eq!(upstream.only("/x").all("x-passed"), ["a", "b", "c"]);
        }
    });
}

#[test]
fn a_route_disables_appends_and_keeps_filters() {
    run(async {
        let upstream = Upstream::start();
        let config = Config::new(upstream.address)
            .filter(marking("a"))
            .filter(marking("b"))
            .filter(marking("c"))
            .chain("a, b")
            .routes(&[
                "{ match: { path: /without }, cluster: up, filters: [{ name: a, disabled: true }] }",
                "{ match: { path: /with }, cluster: up, filters: [c] }",
                "{ match: { path: /alone }, cluster: up, filters: [{ name: a, disabled: true }, { name: b, disabled: true }] }",
                "{ match: { prefix: /plain }, cluster: up }",
            ]);
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        for (path, way) in [
            ("/without", "b"),
            ("/with", "abc"),
            ("/alone", ""),
            ("/plain", "ab"),
        ] {
            let answer = client.send(get(path)).await;
            assert_eq!(upstream.only(path).all("x-passed").concat(), way, "{path}");
            let back: String = way.chars().rev().collect();
            assert_eq!(passed(&answer).concat(), back, "{path}");
        }
        // A request that no route takes passes the listener's chain.
        let answer = client.send(get("/unknown")).await;
        assert_eq!(
            (answer.status, passed(&answer).concat()),
            (404, "ba".to_owned())
        );
    });
}

#[test]
fn another_configuration_on_a_route_is_another_root_of_the_same_vm() {
    let Some(module) = built_guest("config") else {
        return;
    };
    run(async {
        let upstream = Upstream::start();
        let config = Config::new(upstream.address)
            .filter(Filter::file("c", &module).with("configuration: listener's"))
            .filter(Filter::wasm("w", Guest::new().build()))
            .routes(&[
                "{ match: { path: /other }, cluster: up, filters: [{ name: c, configuration: route's }, { name: w, configuration: x }] }",
                "{ match: { prefix: / }, cluster: up }",
            ]);
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        for (path, configuration) in [
            ("/a", "listener's"),
            ("/other", "route's"),
            ("/b", "listener's"),
        ] {
            let answer = client.send(get(path)).await;
            assert_eq!(
                answer.header("x-configuration"),
                Some(configuration),
                "{path}"
            );
            assert_eq!(
                upstream.only(path).header("x-configuration"),
                Some(configuration),
                "{path}"
            );
        }
        // One VM: the contexts of both roots are numbered together.
        proxy
            .logged_times(&["filter: delete ", "filter=\"w\""], 3)
            .await;
        let roots = proxy.lines(&["filter: context_create ", " 0.", "filter=\"w\""]);
        assert_eq!(roots.len(), 2, "{roots:?}");
        assert!(
            roots[0].contains("create 1 0.") && roots[1].contains("create 2 0."),
            "{roots:?}"
        );
        for created in ["create 3 2.", "create 4 1.", "create 5 2."] {
            let other = created
                .replace(" 2.", " 9.")
                .replace(" 1.", " 2.")
                .replace(" 9.", " 1.");
            let found = proxy.lines(&[created]).len() + proxy.lines(&[&other]).len();
            assert_eq!(
                found,
                1,
                "{created}: {:?}",
                proxy.lines(&["context_create"])
            );
        }
    });
}

#[test]
fn a_filter_that_rewrites_what_routes_match_on_routes_again() {
    run(async {
        let rewrites = [
            (":path", "/elsewhere?q=1", "GET /elsewhere?q=1"),
            (":method", "PUT", "PUT /start"),
            (":authority", "other.test", "GET /start"),
            ("x-tenant", "blue", "GET /start"),
        ];
        for http in BOTH {
            for (name, value, line) in rewrites {
                let upstream = Upstream::start();
                let code = format!("(drop (call $replace (i32.const 0) «{name}» «{value}»))");
                let config = Config::new(upstream.address)
                    .filter(Filter::wasm("f", Guest::new().on("request_headers", code).build()))
                    .routes(&[
                        "{ match: { path: /elsewhere }, cluster: up, response_headers: { set: { x-route: path } } }",
                        "{ match: { prefix: /, method: PUT }, cluster: up, response_headers: { set: { x-route: method } } }",
                        "{ match: { host: other.test }, cluster: up, response_headers: { set: { x-route: authority } } }",
                        "{ match: { prefix: /, headers: { x-tenant: blue } }, cluster: up, response_headers: { set: { x-route: tenant } } }",
                        "{ match: { path: /never }, cluster: up }",
                    ]);
                let proxy = Proxy::start(&config).await;
                let answer = proxy.client(http).await.send(get("/start")).await;
                let about = format!("{name} over {http:?}: {answer:?}");
                assert_eq!(answer.status, 200, "{about}");
                assert_eq!(
                    answer.header("x-route"),
                    Some(name.trim_start_matches(':').trim_start_matches("x-")),
                    "{about}"
                );
                assert!(
                    answer.text().starts_with(line),
                    "{about}: {}",
                    answer.text()
                );
                if name == ":authority" {
                    assert!(
                        answer.text().contains("host: other.test"),
                        "{}",
                        answer.text()
                    );
                }
            }
        }
    });
}

/// What a guest writes where it must not, and what may come of it.
const SMUGGLED: [(&str, &str); 10] = [
    ("x-a", "1\\0d\\0ax-b: 2"),
    ("x-a\\0d\\0ax-b", "2"),
    ("x a", "1"),
    ("", "1"),
    ("x-a", "1\\00"),
    ("transfer-encoding", "chunked"),
    ("content-length", "3"),
    ("connection", "x-request-id"),
    ("upgrade", "websocket"),
    ("host", "elsewhere.test"),
];

#[test]
fn fields_that_cannot_be_sent_are_left_out_of_requests() {
    run(async {
        for http in BOTH {
            for (name, value) in SMUGGLED {
                let upstream = Upstream::start();
                let code = format!(
                    "(drop (call $add (i32.const 0) «{}» «{}»))",
                    raw(name),
                    raw(value)
                );
                let guest = Guest::new().on("request_headers", code);
                let config = Config::new(upstream.address).filter(Filter::wasm("f", guest.build()));
                let proxy = Proxy::start(&config).await;
                let mut client = proxy.client(http).await;
                let sent = client.try_send(post("/a", Body::whole("body"))).await;
                let about = format!("{name}: {value} over {http:?}: {sent:?}");
                // One request arrives, whole, and nothing else is read out of it; or none does.
                let seen = upstream.seen();
                assert!(seen.len() <= 1, "{about}: {seen:?}");
                for seen in &seen {
                    assert_eq!(
                        (&seen.method[..], &seen.body[..]),
                        ("POST", &b"body"[..]),
                        "{about}"
                    );
                    let framing =
                        seen.all("content-length").len() + seen.all("transfer-encoding").len();
                    assert_eq!(framing, 1, "{about}: {seen:?}");
                    assert_eq!(seen.header("x-b"), None, "{about}");
                    // Added to by its other name, as in Envoy; never a second field.
                    let host = if name == "host" {
                        "proxy.test,elsewhere.test"
                    } else {
                        "proxy.test"
                    };
                    assert_eq!(seen.all("host"), [host], "{about}");
                    assert!(seen.header("x-request-id").is_some(), "{about}");
                }
                let answer = sent.unwrap_or_else(|error| panic!("{about}: {error}"));
                assert!(answer.status == 200 || answer.status == 500, "{about}");
                assert_eq!(answer.status == 200, seen.len() == 1, "{about}");
                assert_eq!(client_after(&proxy, http).await, 200, "{about}");
            }
        }
    });
}

#[test]
fn fields_that_cannot_be_sent_are_left_out_of_responses() {
    run(async {
        for http in BOTH {
            for (name, value) in SMUGGLED {
                let upstream = Upstream::start();
                let code = format!(
                    "(drop (call $add (i32.const 2) «{}» «{}»))",
                    raw(name),
                    raw(value)
                );
                let guest = Guest::new().on("response_headers", code);
                let config = Config::new(upstream.address).filter(Filter::wasm("f", guest.build()));
                let proxy = Proxy::start(&config).await;
                let mut client = proxy.client(http).await;
                // A length that an unchanged body does not have is a broken promise.
                let paths = if name == "content-length" {
                    ["/same", "/nothing"]
                } else {
                    ["/same", "/chunked"]
                };
                for path in paths {
                    let answer = client.try_send(get(path)).await;
                    let answer = answer.unwrap_or_else(|error| {
                        panic!("{name}: {value} {path} {http:?}: {error:?}")
                    });
                    let about = format!("{name}: {value} {path} over {http:?}: {answer:?}");
                    assert!(answer.status == 200 || answer.status == 502, "{about}");
                    assert_eq!(answer.header("x-b"), None, "{about}");
                    assert!(!answer.cut, "{about}");
                    let whole = match path {
                        "/same" => "some bytes",
                        "/nothing" => "",
                        _ => "firstsecond",
                    };
                    assert!(answer.status == 502 || answer.text() == whole, "{about}");
                }
            }
        }
    });
}

#[test]
fn pseudo_headers_that_cannot_be_sent_end_the_stream() {
    run(async {
        let requests = [
            (":path", "no slash"),
            (":path", "/a b"),
            (":path", "/a\\0d\\0ax: y"),
            (":path", ""),
            (":method", "G E T"),
            (":method", ""),
            (":authority", "a b"),
            (":authority", "a\\0d\\0a"),
            (":scheme", "gopher"),
        ];
        let responses = [
            (":status", "abc"),
            (":status", "99"),
            (":status", ""),
            (":status", "1000"),
            (":status", "101"),
        ];
        for http in BOTH {
            for (map, name, value, status) in requests
                .map(|(name, value)| (0, name, value, 500))
                .into_iter()
                .chain(responses.map(|(name, value)| (2, name, value, 502)))
            {
                let upstream = Upstream::start();
                let code = format!(
                    "(drop (call $replace (i32.const {map}) «{name}» «{}»))",
                    raw(value)
                );
                let callback = if map == 0 {
                    "request_headers"
                } else {
                    "response_headers"
                };
                let guest = Guest::new().on(callback, code);
                let config = Config::new(upstream.address).filter(Filter::wasm("f", guest.build()));
                let proxy = Proxy::start(&config).await;
                let answer = proxy.client(http).await.send(get("/a")).await;
                assert_eq!(answer.status, status, "{name}: {value} over {http:?}");
                assert_eq!(
                    upstream.seen().is_empty(),
                    map == 0,
                    "{name}: {value} over {http:?}"
                );
                proxy.access(&["/a", "WF", "invalid_re"]).await;
                proxy.logged(&["filter: delete 2."]).await;
            }
        }
    });
}

#[test]
fn where_invalid_fields_are_not_dropped_they_end_the_stream() {
    run(async {
        for http in BOTH {
            for (map, callback, status) in
                [(0, "request_headers", 500), (2, "response_headers", 502)]
            {
                let upstream = Upstream::start();
                let code = format!(
                    "(drop (call $add (i32.const {map}) «x-a» «{}»))",
                    raw("1\\0d\\0ax-b: 2")
                );
                let filter = Filter::wasm("f", Guest::new().on(callback, code).build())
                    .with("compat: envoy");
                let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
                let answer = proxy.client(http).await.send(get("/a")).await;
                assert_eq!(answer.status, status, "{callback} over {http:?}");
                assert_eq!(answer.header("x-b"), None);
            }
        }
    });
}

async fn client_after(proxy: &Proxy, http: Http) -> u16 {
    let answer = proxy.client(http).await.send(get("/after")).await;
    answer.status
}

/// Bytes written as `\HH` in a text.
fn raw(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        let byte = u8::from_str_radix(&after[..2], 16).expect("two digits");
        out.push_str(before);
        out.push(char::from(byte));
        rest = &after[2..];
    }
    out + rest
}
