//! What a guest may use. Past a limit its call traps, and that is all that happens.

use crate::support::{
    Answer, Config, Filter, Guest, Http, Proxy, Upstream, built_guest, get, run, text, within,
};

/// Does `code` when the request carries `x-crash`.
fn marked(code: &str) -> String {
    format!(
        "(if (i32.eqz (call $get (i32.const 0) «x-crash» (i32.const 0) (i32.const 4))) (then {code}))"
    )
}

/// Sends a stream in which `filter` must fail as `words` say, beside one that must not, and
/// another after it.
async fn breaks(filter: Filter, words: &[&str], http: Http) {
    let upstream = Upstream::start();
    let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
    let mut beside = proxy.client(http).await;
    let held = tokio::spawn(beside.start(get("/held")));
    proxy.logged(&["faulty", "request_headers 2 "]).await;

    let mut client = proxy.client(http).await;
    let mut request = get("/a");
    request
        .headers_mut()
        .insert("x-crash", "1".parse().expect("a value"));
    assert_eq!(client.send(request).await.status, 503, "{words:?}");
    let mut wanted = vec![
        "ERROR",
        "filter=\"faulty\"",
        "callback=\"proxy_on_request_headers\"",
    ];
    wanted.extend(words);
    proxy.logged(&wanted).await;
    proxy
        .access(&["\"/a\"", "503", "WF", "wasm_fail_stream"])
        .await;

    upstream.gate.open();
    let response = within("the stream beside", held)
        .await
        .expect("a task")
        .expect("a response");
    let answer = within("its body", Answer::read(response)).await;
    assert_eq!(
        (answer.status, answer.cut),
        (200, false),
        "{words:?}: the stream beside"
    );
    assert_eq!(
        client.send(get("/next")).await.status,
        200,
        "{words:?}: the next request"
    );
}

fn faulty(code: &str) -> Guest {
    Guest::new().on("request_headers", marked(code))
}

#[test]
fn a_guest_that_never_returns_is_stopped() {
    run(async {
        let filter = Filter::wasm("faulty", faulty("(loop $again (br $again))").build());
        let filter = filter.with("limits: { callback: 20ms }");
        breaks(filter, &["time limit exceeded"], Http::One).await;
    });
}

#[test]
fn a_guest_that_grows_its_memory_without_end_is_stopped() {
    run(async {
        // Memory that is refused is not always an end: this guest goes on asking, and writes.
        let code = "(loop $more (drop (memory.grow (i32.const 16)))
            (memory.fill (i32.const 65536) (i32.const 1) (i32.const 65536)) (br $more))";
        let filter = Filter::wasm("faulty", faulty(code).build()).with("limits: { memory: 8MiB }");
        breaks(filter, &["memory or table limit exceeded"], Http::Two).await;
    });
}

#[test]
fn a_guest_that_grows_a_table_without_end_is_stopped() {
    run(async {
        let code = "(loop $more (drop (table.grow (ref.null func) (i32.const 100))) (br $more))";
        let guest = faulty(code).define("(table 1 funcref)");
        let filter = Filter::wasm("faulty", guest.build()).with("limits: { table: 5000 }");
        breaks(filter, &["memory or table limit exceeded"], Http::One).await;
    });
}

#[test]
fn a_guest_that_calls_itself_without_end_is_stopped() {
    run(async {
        let guest = faulty("(call $deeper)").define("(func $deeper (call $deeper) (call $deeper))");
        breaks(
            Filter::wasm("faulty", guest.build()),
            &["stack limit exceeded"],
            Http::Two,
        )
        .await;
    });
}

#[test]
fn a_guest_that_exits_ends_its_stream_and_not_the_process() {
    run(async {
        let filter = Filter::wasm("faulty", faulty("(call $exit (i32.const 0))").build());
        breaks(filter, &["guest exited"], Http::One).await;
    });
}

#[test]
fn a_guest_that_leaves_its_memory_ends_its_stream() {
    run(async {
        let code = "(i32.store (i32.const 0x7fffffff) (i32.const 1))";
        breaks(
            Filter::wasm("faulty", faulty(code).build()),
            &["guest fault"],
            Http::One,
        )
        .await;
    });
}

#[test]
fn exiting_is_returning_where_envoy_has_it_so() {
    run(async {
        let guest = Guest::new().on("request_headers", "(call $exit (i32.const 1))");
        let filter = Filter::wasm("f", guest.build()).with("compat: { proc_exit_traps: \"off\" }");
        let upstream = Upstream::start();
        let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
        assert_eq!(
            proxy.client(Http::One).await.send(get("/a")).await.status,
            200
        );
    });
}

/// An allocator that answers something useless: the hostcall says so, and nothing else
/// happens.
async fn allocator_answers(address: &str) {
    let ask = format!(
        "(call $note {} (i32.const 1) (call $get (i32.const 0) {} (i32.const 0) (i32.const 4))
           (i32.const 0) (i32.const 0))",
        text("status"),
        text(":path")
    );
    let guest = Guest::new()
        .allocator(&format!("(i32.const {address})"))
        .on("request_headers", ask);
    let upstream = Upstream::start();
    let proxy =
        Proxy::start(&Config::new(upstream.address).filter(Filter::wasm("f", guest.build()))).await;
    let mut client = proxy.client(Http::One).await;
    for times in 1..=2 {
        assert_eq!(client.send(get("/a")).await.status, 200, "{address}");
        proxy.logged_times(&["status 6."], times).await;
    }
    assert!(
        proxy.lines(&["ERROR"]).is_empty(),
        "{address}: {:?}",
        proxy.log()
    );
}

#[test]
fn an_allocator_that_answers_nothing_or_outside_of_memory_fails_the_hostcall() {
    run(async {
        for address in ["0", "-1", "262143", "0x7ffffff0", "262144"] {
            allocator_answers(address).await;
        }
    });
}

#[test]
fn an_allocator_that_traps_ends_the_stream() {
    run(async {
        let guest = faulty("").allocator("unreachable");
        breaks(
            Filter::wasm("faulty", guest.build()),
            &["guest aborted"],
            Http::One,
        )
        .await;
    });
}

#[test]
fn a_rust_guest_that_fails_in_any_way_is_stopped() {
    let Some(module) = built_guest("panic") else {
        return;
    };
    run(async {
        let upstream = Upstream::start();
        let filter =
            Filter::file("panic", &module).with("limits: { callback: 50ms, memory: 16MiB }");
        let proxy = Proxy::start(&Config::new(upstream.address).filter(filter)).await;
        let kinds = [
            ("panic", "asked to panic in"),
            ("loop", "time limit exceeded"),
            // A Rust guest aborts when its allocator gets nothing.
            ("memory", "memory"),
            ("stack", ""),
            ("trap", "guest aborted"),
        ];
        let mut client = proxy.client(Http::Two).await;
        for (kind, words) in kinds {
            for callback in ["request_headers", "response_headers"] {
                let mut request = get("/a");
                let plan = format!("{callback}:{kind}").parse().expect("a value");
                request.headers_mut().insert("x-panic", plan);
                assert_eq!(
                    client.send(request).await.status,
                    503,
                    "{kind} in {callback}"
                );
                proxy.logged(&[words]).await;
                let callback = format!("callback=\"proxy_on_{callback}\"");
                proxy
                    .logged(&["ERROR", "filter=\"panic\"", &callback])
                    .await;
                assert_eq!(client.send(get("/next")).await.status, 200, "after {kind}");
            }
        }
    });
}
