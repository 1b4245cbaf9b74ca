//! Modules that are none, and upstreams that fail while a filter looks on.

use crate::support::{
    BOTH, Body, Config, Filter, Guest, Http, Proxy, Upstream, check, get, post, run,
};

/// The line on stderr about the one filter of a configuration whose module is `module`.
fn refused(module: Vec<u8>, command: &str) -> String {
    let filter = Filter::wasm("faulty", module);
    let (status, said) = check(&Config::new(Upstream::nowhere()).filter(filter), command);
    assert_eq!(status, Some(64), "{command}: {said}");
    let line = said
        .lines()
        .find(|line| line.contains("proxy.yaml:"))
        .unwrap_or_else(|| panic!("{said}"));
    for words in [
        "proxy.yaml:9:13:",
        "filters[0].module",
        "filter faulty",
        "faulty.wasm",
    ] {
        assert!(line.contains(words), "{words} in {line}");
    }
    line.to_owned()
}

#[test]
fn a_file_that_is_no_module_is_refused_with_its_place() {
    for command in ["check", "run"] {
        for bytes in ["not wasm at all", "\0asm", "#!/bin/sh\n"] {
            let line = refused(bytes.into(), command);
            assert!(line.contains("not a usable module"), "{line}");
        }
    }
}

#[test]
fn a_truncated_module_is_refused_with_its_place() {
    let whole = Guest::new().build();
    for command in ["check", "run"] {
        for length in [8, 9, 20, whole.len() / 2, whole.len() - 1] {
            let line = refused(whole[..length].to_vec(), command);
            assert!(line.contains("not a usable module"), "{length}: {line}");
        }
    }
}

#[test]
fn a_module_without_the_marker_of_the_abi_is_refused_with_its_place() {
    let module = wat::parse_str("(module (memory (export \"memory\") 1))").expect("a module");
    for command in ["check", "run"] {
        let line = refused(module.clone(), command);
        assert!(line.contains("proxy_abi_version"), "{line}");
    }
}

#[test]
fn a_module_that_imports_what_no_host_has_is_refused_and_the_import_named() {
    let cases = [
        (
            r#"(import "env" "proxy_teleport" (func))"#,
            "env.proxy_teleport",
        ),
        (
            r#"(import "elsewhere" "thing" (func (param i32)))"#,
            "elsewhere.thing",
        ),
        (
            r#"(import "env" "proxy_log" (func (param i64)))"#,
            "env.proxy_log",
        ),
    ];
    for (import, name) in cases {
        let marker = "(func (export \"proxy_abi_version_0_2_1\"))";
        let module = wat::parse_str(format!(
            "(module {import} (memory (export \"memory\") 1) {marker})"
        ));
        let module = module.expect("a module");
        for command in ["check", "run"] {
            let line = refused(module.clone(), command);
            assert!(line.contains(name), "{line}");
        }
    }
}

#[test]
fn a_filter_that_refuses_its_configuration_is_told_with_what_it_logged() {
    let guest = Guest::new().on(
        "configure",
        "(drop (call $log (i32.const 4) «no such colour»)) (return (i32.const 0))",
    );
    let filter = Filter::wasm("choosy", guest.build()).with("configuration: mauve");
    let (status, said) = check(&Config::new(Upstream::nowhere()).filter(filter), "check");
    assert_eq!(status, Some(64));
    assert!(
        said.contains("filters[0].configuration: filter choosy"),
        "{said}"
    );
    assert!(said.contains("no such colour"), "{said}");
}

/// An upstream's fault and what comes of it: the status (`None`: a response that is cut)
/// and the flag in the access log.
const FAULTS: [(&str, Option<u16>, &str); 6] = [
    ("/close", Some(503), "UC"),
    ("/garbage", Some(502), "UPE"),
    ("/reset", None, "UC"),
    ("/reset-chunked", None, "UC"),
    ("/early", Some(200), ""),
    ("/status?500", Some(500), ""),
];

/// The end of a context, whatever came before: each once, in order.
async fn ended_once(proxy: &Proxy, context: u32) {
    proxy.logged(&[&format!(" delete {context}.")]).await;
    let lines = proxy.lines(&["filter: "]);
    let ends: Vec<&str> = lines
        .iter()
        .filter_map(|line| {
            ["log", "done", "delete"]
                .into_iter()
                .find(|name| line.contains(&format!(" {name} {context}.")))
        })
        .collect();
    assert_eq!(ends, ["log", "done", "delete"], "context {context}");
}

#[test]
fn whatever_the_upstream_does_the_filter_is_told_the_end_once() {
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let filter = Filter::wasm("f", Guest::new().build());
            let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
            for (context, (path, status, flag)) in (2..).zip(FAULTS) {
                let mut client = proxy.client(http).await;
                let sent = client.try_send(post(path, Body::whole("some body"))).await;
                match (status, sent) {
                    (Some(status), Ok(answer)) => {
                        assert_eq!(
                            (answer.status, answer.cut),
                            (status, false),
                            "{path} over {http:?}"
                        );
                    }
                    (None, Ok(answer)) => assert!(answer.cut, "{path} over {http:?}: {answer:?}"),
                    (None, Err(_)) => {}
                    (Some(_), Err(error)) => panic!("{path} over {http:?}: {error}"),
                }
                ended_once(&proxy, context).await;
                proxy.access(&[path, flag]).await;
                let mut client = proxy.client(http).await;
                assert_eq!(
                    client.send(get("/next")).await.status,
                    200,
                    "after {path} over {http:?}"
                );
                let next = proxy.logged_times(&["request_headers "], 2).await;
                assert!(!next.is_empty());
            }
        }
    });
}

#[test]
fn an_upstream_that_is_not_there_is_answered_503_through_the_filter() {
    run(async {
        for http in BOTH {
            let mark = "(drop (call $replace (i32.const 2) «x-filter» «seen»))";
            let filter = Filter::wasm("f", Guest::new().on("response_headers", mark).build());
            let proxy = Proxy::start(&Config::new(Upstream::nowhere()).filter(filter)).await;
            let answer = proxy
                .client(http)
                .await
                .send(post("/a", Body::whole("body")))
                .await;
            assert_eq!(answer.status, 503);
            assert_eq!(answer.header("x-filter"), Some("seen"));
            ended_once(&proxy, 2).await;
            proxy
                .access(&["\"/a\"", "503", "UF", "upstream_connection_failure"])
                .await;
        }
    });
}

#[test]
fn an_upstream_that_is_slow_is_answered_504_through_the_filter() {
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let mark = "(drop (call $replace (i32.const 2) «x-filter» «seen»))";
            let filter = Filter::wasm("f", Guest::new().on("response_headers", mark).build());
            let config = Config::new(upstream.address).filter(filter).routes(&[
                "{ match: { path: /held }, cluster: up, timeout: 50ms }",
                // Its headers must be there before.
                "{ match: { path: /halves }, cluster: up, timeout: 1s }",
                "{ match: { prefix: / }, cluster: up }",
            ]);
            let proxy = Proxy::start(&config).await;
            let answer = proxy.client(http).await.send(get("/held")).await;
            assert_eq!(answer.status, 504);
            assert_eq!(answer.header("x-filter"), Some("seen"));
            ended_once(&proxy, 2).await;
            proxy.access(&["/held", "504", "UT"]).await;
            // Slow in the middle of its body: nothing but a cut can tell.
            let mut client = proxy.client(http).await;
            let answer = client.try_send(get("/halves")).await.expect("headers");
            assert!(answer.cut && answer.status == 200, "{answer:?}");
            ended_once(&proxy, 3).await;
            upstream.gate.open();
            assert_eq!(
                proxy
                    .client(Http::One)
                    .await
                    .send(get("/next"))
                    .await
                    .status,
                200
            );
        }
    });
}
