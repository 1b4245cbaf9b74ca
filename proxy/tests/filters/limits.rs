//! What a guest may use. Past a limit its call traps, and that is all that happens.

use cofferdam_abi::testing::guest::{self, Shape};

use crate::support::{
    Answer, Body, Config, Filter, Guest, Http, Proxy, Upstream, built_guest, get, post, run, text,
    within,
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
        breaks(
            filter,
            &["limit=\"memory\"", "memory limit exceeded"],
            Http::Two,
        )
        .await;
    });
}

#[test]
fn a_guest_that_grows_a_table_without_end_is_stopped() {
    run(async {
        let code = "(loop $more (drop (table.grow (ref.null func) (i32.const 100))) (br $more))";
        let guest = faulty(code).define("(table 1 funcref)");
        let filter = Filter::wasm("faulty", guest.build()).with("limits: { table: 5000 }");
        breaks(
            filter,
            &["limit=\"table\"", "table limit exceeded"],
            Http::One,
        )
        .await;
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
        let config = Config::new(upstream.address).filter(filter);
        let kinds = [
            ("panic", "asked to panic in"),
            ("loop", "time limit exceeded"),
            // A Rust guest aborts when its allocator gets nothing.
            ("memory", "memory"),
            ("stack", ""),
            ("trap", "guest aborted"),
        ];
        for (kind, words) in kinds {
            // A proxy for each: a filter that crashes more often is held back.
            let proxy = Proxy::start(&config).await;
            let mut client = proxy.client(Http::Two).await;
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

const ADMIN: &str = "admin: { address: \"127.0.0.1:0\" }";

/// A proxy with this filter alone, after these requests, of which each must be answered so.
async fn proxy_after(filter: Filter, statuses: &[u16]) -> Proxy {
    let upstream = Upstream::start();
    let proxy = Proxy::start(&Config::new(upstream.address).filter(filter).with(ADMIN)).await;
    let mut client = proxy.client(Http::One).await;
    for status in statuses {
        assert_eq!(client.send(get("/a")).await.status, *status);
    }
    proxy
}

fn terse(source: &str) -> Vec<u8> {
    let wat = guest::module(source, Shape::default());
    wat::parse_str(wat).expect("WAT")
}

#[test]
fn a_flood_of_log_records_is_cut_and_counted() {
    run(async {
        let flood = "on request_headers
            (local $n i32)
            (loop $again (!text {\"the same again and again\"})
                (local.set $n (i32.add (local.get $n) #1)) (br_if $again (i32.lt_u (local.get $n) #100)))";
        let filter = Filter::wasm("f", terse(flood)).with("limits: { log: 240B/s }");
        let proxy = proxy_after(filter, &[200, 200]).await;
        let line = proxy.logged(&["WARN", "limits.log"]).await;
        for part in [
            "filter=\"f\"",
            "limit=\"log\"",
            "callback=\"proxy_on_request_headers\"",
            "log records were dropped",
        ] {
            assert!(line.contains(part), "{line}");
        }
        let page = proxy.admin("/metrics").await;
        let dropped = page.text().lines().find_map(|line| {
            line.strip_prefix("cofferdam_filter_limit_hits_total{filter=\"f\",limit=\"log\",callback=\"proxy_on_request_headers\"} ")
        });
        let dropped: usize = dropped.expect("a counter").parse().expect("a number");
        let written = proxy.lines(&["the same again"]).len();
        assert_eq!(
            written + dropped,
            200,
            "nothing is lost without being counted"
        );
        assert!(written >= 10, "{written}");
        assert!(dropped >= 100, "{dropped}");
    });
}

#[test]
fn a_flood_of_shared_data_makes_room_for_itself_and_is_counted() {
    run(async {
        let flood = "on request_headers
            (loop $again
                (i32.store #64 (global.get $g))
                (drop (!set_shared_data #64 #4 #64 #4 #0))
                (global.set $g (i32.add (global.get $g) #1)) (br_if $again (i32.lt_u (global.get $g) #50)))";
        let filter = Filter::wasm("f", terse(flood))
            .with("vm_id: v")
            .with("limits: { shared_entries: 20 }");
        let proxy = proxy_after(filter, &[200]).await;
        proxy
            .logged(&["WARN", "filter=\"f\"", "limit=\"shared_entries\""])
            .await;
        let page = proxy
            .measured("cofferdam_filter_limit_hits_total{filter=\"f\",limit=\"shared_entries\",callback=\"proxy_on_request_headers\"} 30")
            .await;
        assert!(
            page.contains("\ncofferdam_shared_data_entries{vm_id=\"v\"} 20\n"),
            "{page}"
        );
    });
}

#[test]
fn crashes_past_a_limit_are_counted_by_filter_limit_and_callback() {
    run(async {
        for (limit, limits, code) in [
            ("callback", "callback: 5ms", "(loop $again (br $again))"),
            ("memory", "memory: 1MiB", "(drop (memory.grow #1000))"),
            (
                "table",
                "table: 5",
                "(drop (table.grow 0 (ref.null func) #10))",
            ),
            ("stack", "stack: 16KiB", "(!down #0)"),
        ] {
            let source = format!(
                "raw
                (table 1 funcref)
                (func $down (param i32) (call $down (local.get 0)) (drop (!done)))
                on request_headers
                (if (i32.eqz (!get_header_map_value #0 {{\"x-crash\"}} @out)) (then {code}))"
            );
            let upstream = Upstream::start();
            let filter = Filter::wasm("f", terse(&source)).with(format!("limits: {{ {limits} }}"));
            let proxy =
                Proxy::start(&Config::new(upstream.address).filter(filter).with(ADMIN)).await;
            let mut client = proxy.client(Http::One).await;
            for _ in 0..3 {
                let mut request = get("/a");
                request
                    .headers_mut()
                    .insert("x-crash", "1".parse().expect("a value"));
                assert_eq!(client.send(request).await.status, 503, "{limit}");
                assert_eq!(client.send(get("/next")).await.status, 200, "{limit}");
            }
            let callback = "callback=\"proxy_on_request_headers\"";
            proxy
                .logged(&["filter=\"f\"", callback, &format!("limit=\"{limit}\"")])
                .await;
            let hits = format!(
                "cofferdam_filter_limit_hits_total{{filter=\"f\",limit=\"{limit}\",{callback}}} 3"
            );
            let page = proxy.measured(&hits).await;
            let traps = format!(
                "\ncofferdam_filter_traps_total{{filter=\"f\",{callback},kind=\"{limit}\"}} 3\n"
            );
            assert!(page.contains(&traps), "{page}");
        }
    });
}

#[test]
fn a_filter_that_keeps_crashing_does_not_fill_the_log() {
    run(async {
        // At the end of a stream, where a crash costs no VM: it would be held back. (The
        // next stream finds a VM that has to show first that it still opens contexts.)
        let filter = Filter::wasm("f", terse("on done\n unreachable"));
        let mut proxy = proxy_after(filter, &[200; 40]).await;
        proxy
            .measured("cofferdam_filter_traps_total{filter=\"f\",callback=\"proxy_on_done\",kind=\"unreachable\"} 79")
            .await;
        proxy.terminate();
        assert!(proxy.ended().await.success());
        let told = proxy.lines(&["filter crashed:"]);
        // A burst, and one for every second that this took.
        assert!((10..30).contains(&told.len()), "{told:#?}");
        let left_out = left_out(&told) + left_out(&proxy.lines(&["crashed more often"]));
        // Each stream, and the root.
        assert_eq!(told.len() + left_out, 41, "{told:#?}");
    });
}

/// How many times were not told, as those lines have it.
fn left_out(lines: &[String]) -> usize {
    let of = |line: &String| {
        let (_, rest) = line.split_once("left_out=")?;
        rest.split_whitespace().next()?.parse::<usize>().ok()
    };
    lines.iter().filter_map(of).sum()
}

#[test]
fn bodies_that_a_filter_may_not_keep_do_not_fill_the_log() {
    run(async {
        let answer = "on request_headers
            (drop (!send_local_response #200 #0 #0 #0 #65537 #0 #0 #-1)) (return #0)";
        let filter = Filter::wasm("f", terse(answer)).with("limits: { body: 64KiB }");
        let mut proxy = proxy_after(filter, &[500; 40]).await;
        proxy.terminate();
        assert!(proxy.ended().await.success());
        let told = proxy.lines(&[
            "response body outgrew what the filter may keep in proxy_on_request_headers",
            "callback=\"proxy_on_request_headers\"",
        ]);
        // A burst, and one for every second that this took.
        assert!((10..30).contains(&told.len()), "{told:#?}");
        let left_out = left_out(&told) + left_out(&proxy.lines(&["limits.body more often"]));
        assert_eq!(told.len() + left_out, 40, "{told:#?}");
    });
}

#[test]
fn a_stream_has_so_much_time_for_all_its_callbacks_and_its_vm_stays() {
    run(async {
        // A little at each piece of the body, of which there is no end.
        let source = "on request_body
            (local $n i32)
            (loop $again
                (local.set $n (i32.add (local.get $n) #1)) (br_if $again (i32.lt_u (local.get $n) #8000)))
            on vm_start\n (!text {\"a new vm\"})";
        let upstream = Upstream::start();
        // Else it earns native code, and that another VM.
        let filter = Filter::wasm("f", terse(source))
            .with("limits: { stream_cpu: 10ms }")
            .with("engine: interpreter");
        let proxy = Proxy::start(&Config::new(upstream.address).filter(filter).with(ADMIN)).await;
        for round in 1..=2 {
            let mut client = proxy.client(Http::One).await;
            let (feeder, body) = Body::fed();
            let sent = tokio::spawn(client.start(post("/echo", body)));
            let page = loop {
                feeder.feed("a piece of the body");
                let page = proxy.admin("/metrics").await.text().to_owned();
                if page.contains(&format!(
                    "callback=\"proxy_on_request_body\",kind=\"stream_cpu\"}} {round}\n"
                )) {
                    break page;
                }
            };
            assert!(page.contains(&format!(
                "cofferdam_filter_limit_hits_total{{filter=\"f\",limit=\"stream_cpu\",callback=\"proxy_on_request_body\"}} {round}\n"
            )), "{page}");
            drop(sent);
        }
        let line = proxy
            .logged(&["filter crashed", "limit=\"stream_cpu\""])
            .await;
        assert!(
            line.contains("callback=\"proxy_on_request_body\""),
            "{line}"
        );
        assert_eq!(
            proxy.client(Http::One).await.send(get("/a")).await.status,
            200
        );
        assert_eq!(
            proxy.lines(&["a new vm"]).len(),
            1,
            "nobody else lost anything"
        );
    });
}

#[test]
fn a_quota_of_fuel_is_kept_and_what_is_burnt_is_counted() {
    run(async {
        let source = "on request_headers
            (local $n i32)
            (if (i32.eqz (!get_header_map_value #0 {\"x-crash\"} @out)) (then
                (loop $again
                    (local.set $n (i32.add (local.get $n) #1)) (br_if $again (i32.lt_u (local.get $n) #100000)))))";
        let upstream = Upstream::start();
        let filter = Filter::wasm("f", terse(source))
            .with("engine: interpreter")
            .with("limits: { fuel: 100000 }");
        let proxy = Proxy::start(&Config::new(upstream.address).filter(filter).with(ADMIN)).await;
        let mut client = proxy.client(Http::One).await;
        assert_eq!(client.send(get("/a")).await.status, 200);
        let mut request = get("/a");
        request
            .headers_mut()
            .insert("x-crash", "1".parse().expect("a value"));
        assert_eq!(client.send(request).await.status, 503);
        assert_eq!(client.send(get("/a")).await.status, 200);
        let line = proxy.logged(&["filter crashed: fuel quota used up"]).await;
        for part in [
            "filter=\"f\"",
            "limit=\"fuel\"",
            "callback=\"proxy_on_request_headers\"",
            "engine=\"interpreter\"",
        ] {
            assert!(line.contains(part), "{line}");
        }
        let callback = "callback=\"proxy_on_request_headers\"";
        let page = proxy
            .measured(&format!(
                "cofferdam_filter_calls_total{{filter=\"f\",{callback},engine=\"interpreter\"}} 3"
            ))
            .await;
        assert!(
            page.contains(&format!(
                "\ncofferdam_filter_limit_hits_total{{filter=\"f\",limit=\"fuel\",{callback}}} 1\n"
            )),
            "{page}"
        );
        let burnt = page.lines().find_map(|line| {
            line.strip_prefix(&format!(
                "cofferdam_filter_fuel_total{{filter=\"f\",{callback},engine=\"interpreter\"}} "
            ))
        });
        let burnt: u64 = burnt.expect("fuel").parse().expect("a number");
        assert!((100_000..105_000).contains(&burnt), "{burnt}");
    });
}
