//! Filters written with `cofferdam-sdk`, as its users build them: what is in the modules,
//! and what they do in the real binary.

use cofferdam_abi::Module;

use crate::support::{
    BOTH, Body, Config, Filter, Grpc, Proxy, Upstream, built_guest, get, post, run,
};

/// Names of a module's callbacks and imports, in order, and its size.
fn inside(name: &str) -> Option<(Vec<&'static str>, Vec<String>, usize)> {
    let file = built_guest(name)?;
    let bytes = std::fs::read(file).expect("a module");
    let size = bytes.len();
    let module = Module::parse(bytes.into()).expect("a module that loads");
    // Two pages of 64 KiB: the shadow stack is one of them.
    assert_eq!(module.memory.map(|(pages, _)| pages), Some(2), "{name}");
    let mut callbacks: Vec<_> = module.callbacks.iter().map(|c| c.name()).collect();
    callbacks.sort_unstable();
    let mut imports: Vec<_> = module
        .imports
        .iter()
        .map(|import| import.full_name())
        .collect();
    imports.sort_unstable();
    Some((callbacks, imports, size))
}

/// What std brings along for a panic that nobody has hooked; Envoy links all of it.
const STD: [&str; 3] = ["environ_get", "environ_sizes_get", "fd_write"];

/// Imports that are not std's.
fn own(imports: &[String]) -> Vec<&str> {
    let names = imports.iter().filter_map(|import| {
        let wasi = import.strip_prefix("wasi_snapshot_preview1.");
        assert!(wasi.is_none_or(|name| STD.contains(&name)), "{import}");
        import.strip_prefix("env.")
    });
    names.collect()
}

#[test]
fn the_callback_layer_exports_what_is_written_and_imports_what_is_used() {
    let Some((callbacks, imports, size)) = inside("sdk_callbacks") else {
        return;
    };
    assert_eq!(
        callbacks,
        [
            "proxy_on_configure",
            "proxy_on_context_create",
            "proxy_on_delete",
            "proxy_on_request_headers",
            "proxy_on_response_headers",
        ]
    );
    assert_eq!(
        own(&imports),
        [
            "proxy_get_buffer_bytes",
            "proxy_get_header_map_pairs",
            "proxy_get_header_map_value",
            "proxy_get_log_level",
            "proxy_log",
            "proxy_replace_header_map_value",
        ]
    );
    assert!(size <= 46_080, "{size} bytes");
}

#[test]
fn a_filter_of_callbacks_stamps_both_ways() {
    let Some(module) = built_guest("sdk_callbacks") else {
        return;
    };
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let filter = Filter::file("guest", &module).with("configuration: hello");
            let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
            let answer = proxy.client(http).await.send(get("/a")).await;
            assert_eq!(answer.header("x-sdk-callbacks"), Some("hello"));
            let seen = upstream.only("/a");
            assert_eq!(seen.header("x-sdk-callbacks"), Some("hello"));
        }
    });
}

#[test]
fn a_panic_says_file_and_line() {
    let Some(module) = built_guest("sdk_callbacks") else {
        return;
    };
    run(async {
        let upstream = Upstream::start();
        let proxy =
            Proxy::start(&Config::new(upstream.address).filter(Filter::file("guest", &module)))
                .await;
        let mut request = get("/a");
        let headers = request.headers_mut();
        headers.insert("x-do", "panic".parse().expect("a value"));
        let answer = proxy.client(BOTH[0]).await.send(request).await;
        assert_eq!(answer.status, 503);
        proxy.logged(&["panicked at", "lib.rs:", "as asked"]).await;
    });
}

#[test]
fn the_default_filter_is_small_and_exports_four_callbacks() {
    let Some((callbacks, imports, size)) = inside("sdk_headers") else {
        return;
    };
    assert_eq!(
        callbacks,
        [
            "proxy_on_configure",
            "proxy_on_context_create",
            "proxy_on_delete",
            "proxy_on_request_headers",
            "proxy_on_response_headers",
        ]
    );
    assert_eq!(
        own(&imports),
        [
            "proxy_close_stream",
            "proxy_continue_stream",
            "proxy_get_buffer_bytes",
            "proxy_get_log_level",
            "proxy_log",
            "proxy_replace_header_map_value",
            "proxy_send_local_response",
        ]
    );
    assert!(size <= 46_080, "{size} bytes");
}

#[test]
fn a_module_carries_its_schema_and_its_mark() {
    for (name, holds) in [("sdk_headers", false), ("sdk_guard", true)] {
        let Some(file) = built_guest(name) else {
            return;
        };
        let bytes = std::fs::read(file).expect("a module");
        let module = Module::parse(bytes.clone().into()).expect("a module that loads");
        assert_eq!(module.holds_headers(), holds, "{name}");
        let schema = section(&bytes, "filter.schema").expect("a schema");
        let schema: serde_json::Value = serde_json::from_slice(schema).expect("JSON");
        assert_eq!(schema["type"], "object");
        assert_eq!(schema["additionalProperties"], false);
        if holds {
            assert_eq!(schema["required"], serde_json::json!(["cluster"]));
            assert_eq!(
                schema["properties"]["limit"]["description"],
                "Most bytes of a request's body."
            );
        }
    }
}

/// The content of a custom section.
fn section<'a>(module: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let named = [&[wanted.len() as u8], wanted.as_bytes()].concat();
    let at = module
        .windows(named.len())
        .position(|bytes| bytes == named)?;
    // Before the name stands the section's size, of which these are the last bytes.
    let text = &module[at + named.len()..];
    let end = text.iter().scan(0, |depth: &mut usize, byte| {
        *depth = match byte {
            b'{' => *depth + 1,
            b'}' => *depth - 1,
            _ => *depth,
        };
        Some(*depth)
    });
    let length = end.take_while(|depth| *depth > 0).count() + 1;
    text.get(..length)
}

#[test]
fn one_async_function_changes_headers_both_ways() {
    let Some(module) = built_guest("sdk_headers") else {
        return;
    };
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let filter = Filter::file("guest", &module).with("configuration: { who: you }");
            let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
            let mut client = proxy.client(http).await;
            for path in ["/a", "/b"] {
                let answer = client.send(get(path)).await;
                assert_eq!(answer.header("x-filter"), Some("hello"));
                assert_eq!(upstream.only(path).header("x-hello"), Some("you"));
            }
        }
    });
}

#[test]
fn a_filter_holds_headers_asks_another_cluster_and_edits_both_bodies() {
    let Some(module) = built_guest("sdk_guard") else {
        return;
    };
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            // Nothing is configured for the headers to be held: the module is marked.
            let filter = Filter::file("guest", &module).with("configuration: { cluster: up }");
            let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
            let mut client = proxy.client(http).await;
            let ask = |path: &str, check: &str, body: &str| {
                let mut request = post(path, Body::whole(body));
                let check = check.parse().expect("a value");
                request.headers_mut().insert("x-check", check);
                request
            };
            let answer = client.send(ask("/a", "/check", "hello")).await;
            assert_eq!(answer.status, 200);
            assert!(
                answer.text().ends_with("\nHELLO\n-- checked\n"),
                "{}",
                answer.text()
            );
            assert_eq!(upstream.only("/check").body, b"hello");
            let seen = upstream.only("/a");
            assert_eq!(
                (&seen.body[..], seen.header("content-length")),
                (&b"HELLO"[..], Some("5"))
            );

            let answer = client.send(ask("/b", "/status?401", "x")).await;
            assert_eq!((answer.status, answer.text()), (403, "no"));
            let answer = client.send(ask("/b", "/held", "x")).await;
            assert_eq!((answer.status, answer.text()), (504, "nobody answers"));
            upstream.gate.open();
            let answer = client.send(ask("/b", "/check", &"x".repeat(2000))).await;
            assert_eq!(answer.status, 413);
            assert!(upstream.seen_at("/b").is_empty());
            assert_eq!(proxy.lines(&["ERROR"]), [""; 0]);
        }
    });
}

#[test]
fn a_filter_streams_a_body_to_a_grpc_server_and_edits_trailers_both_ways() {
    let Some(module) = built_guest("sdk_streams") else {
        return;
    };
    run(async {
        let server = Grpc::start().await;
        for http in BOTH {
            let upstream = Upstream::start();
            let filter = Filter::file("guest", &module)
                .with("configuration: { cluster: scanner }")
                .with("trailers: [x-scanned]");
            let cluster = format!(
                "{{ name: scanner, endpoints: ['{}'], protocol: http2 }}",
                server.address
            );
            let config = Config::new(upstream.address)
                .cluster(cluster)
                .filter(filter);
            let proxy = Proxy::start(&config).await;
            let mut client = proxy.client(http).await;
            let mut request = post("/trailers", Body::with_trailer("body", "x-t", "1"));
            for (name, value) in [("trailer", "x-t"), ("te", "trailers")] {
                let value = value.parse().expect("a value");
                request.headers_mut().insert(name, value);
            }
            let answer = client.send(request).await;
            assert_eq!(answer.status, 200);
            let seen = upstream.only("/trailers");
            let said = "bye 0 true true";
            assert_eq!(seen.body, b"BODY");
            assert_eq!(seen.trailers, [("x-scanned".to_owned(), said.to_owned())]);
            let trailers = answer.trailers.expect("trailers");
            assert_eq!(
                (&trailers["x-end"], &trailers["x-scanned"]),
                (
                    &"upstream".parse().expect("text"),
                    &said.parse().expect("text")
                )
            );

            let mut request = post("/refused", Body::whole("body"));
            let value = "1".parse().expect("a value");
            request.headers_mut().insert("x-refuse", value);
            assert_eq!(client.send(request).await.status, 403);
            assert_eq!(proxy.lines(&["ERROR"]), [""; 0]);
        }
        // Its methods, with the metadata of the filter.
        assert!(
            server.seen()[0].contains("x-meta=data"),
            "{:#?}",
            server.seen()
        );

        let upstream = Upstream::start();
        let alone = Config::new(upstream.address)
            .cluster("{ name: scanner, endpoints: [] }")
            .filter(Filter::file("guest", &module).with("configuration: { cluster: scanner }"));
        let proxy = Proxy::start(&alone).await;
        let answer = proxy
            .client(BOTH[0])
            .await
            .send(post("/a", Body::whole("x")))
            .await;
        assert_eq!(answer.status, 503);
        proxy.logged(&["gRPC status 14"]).await;
    });
}

#[test]
fn a_bad_configuration_names_the_field() {
    let Some(module) = built_guest("sdk_guard") else {
        return;
    };
    run(async {
        let upstream = Upstream::start();
        let filter =
            Filter::file("guest", &module).with("configuration: { cluster: up, limit: many }");
        let config = Config::new(upstream.address).filter(filter);
        let (code, said) = crate::support::check(&config, "run");
        assert_ne!(code, Some(0));
        // The host has it from the module's schema, before the guest runs.
        let (place, what) = (
            "filters[0].configuration.limit: filter guest: ",
            "expected a whole number, found text",
        );
        assert!(said.contains(place) && said.contains(what), "{said}");
    });
}
