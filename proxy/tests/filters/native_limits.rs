//! The limits again, where guests run as native code: past one, a request fails and the
//! process lives.

use cofferdam_abi::testing::guest::{self, Shape};

use crate::support::{Config, Filter, Http, Proxy, Upstream, get, run};

const TOP: &str = "admin: { address: \"127.0.0.1:0\" }\nartifacts: { directory: artifacts }";

/// Does `code` when the request carries `x-crash`.
fn source(code: &str) -> Vec<u8> {
    let source = format!(
        "raw
        (table 1 funcref)
        (func $down (param i32) (call $deeper (i32.add (local.get 0) #1)) (drop (!done)))
        (func $deeper (param i32) (call $down (local.get 0)) (drop (!done)))
        on request_headers
        (if (i32.eqz (!get_header_map_value #0 {{\"x-crash\"}} @out)) (then {code}))"
    );
    let wat = guest::module(&source, Shape::default());
    wat::parse_str(wat).expect("WAT")
}

async fn start(code: &str, limits: &str) -> Proxy {
    let upstream = Upstream::start();
    let filter = Filter::wasm("f", source(code))
        .with("engine: aot")
        .with(format!("limits: {{ {limits} }}"));
    let config = Config::new(upstream.address).filter(filter).with(TOP);
    let proxy = Proxy::start(&config).await;
    // The upstream must not go before the proxy does.
    std::mem::forget(upstream);
    proxy
}

/// One request that crashes the filter and one that does not.
async fn crash(proxy: &Proxy) -> [u16; 2] {
    let mut client = proxy.client(Http::One).await;
    let mut request = get("/a");
    request
        .headers_mut()
        .insert("x-crash", "1".parse().expect("a value"));
    let crashed = client.send(request).await.status;
    [crashed, client.send(get("/next")).await.status]
}

#[test]
fn native_code_past_a_limit_costs_its_own_stream() {
    run(async {
        for (limit, limits, code) in [
            ("callback", "callback: 20ms", "(loop $again (br $again))"),
            (
                "stream_cpu",
                "stream_cpu: 20ms, callback: 1h",
                "(loop $again (br $again))",
            ),
            ("fuel", "fuel: 10000", "(loop $again (br $again))"),
            (
                "memory",
                "memory: 1MiB",
                "(loop $more (drop (memory.grow #1)) (br $more))",
            ),
            (
                "table",
                "table: 5",
                "(drop (table.grow 0 (ref.null func) #10))",
            ),
            ("stack", "stack: 16KiB", "(!down #0)"),
            ("stack", "stack: 8MiB", "(!down #0)"),
        ] {
            let proxy = start(code, limits).await;
            for _ in 0..2 {
                assert_eq!(crash(&proxy).await, [503, 200], "{limits}");
            }
            let line = proxy.logged(&["filter crashed"]).await;
            let callback = "callback=\"proxy_on_request_headers\"";
            let words = format!("limit=\"{limit}\"");
            for part in ["filter=\"f\"", callback, "engine=\"aot\"", &words] {
                assert!(line.contains(part), "{limits}: {line}");
            }
            proxy
                .measured(&format!(
                    "cofferdam_filter_limit_hits_total{{filter=\"f\",limit=\"{limit}\",{callback}}} 2"
                ))
                .await;
            let calls =
                format!("cofferdam_filter_calls_total{{filter=\"f\",{callback},engine=\"aot\"}} 4");
            proxy.measured(&calls).await;
        }
    });
}

#[test]
fn a_crash_of_native_code_names_the_guests_functions() {
    run(async {
        let code = "(call $outer_function)";
        let source = format!(
            "raw
            (func $inner_function unreachable)
            (func $outer_function (call $inner_function) (drop (!done)))
            on request_headers\n {code}"
        );
        let wat = guest::module(&source, Shape::default());
        let upstream = Upstream::start();
        let filter = Filter::wasm("f", wat::parse_str(wat).expect("WAT")).with("engine: aot");
        let config = Config::new(upstream.address).filter(filter).with(TOP);
        let proxy = Proxy::start(&config).await;
        assert_eq!(
            proxy.client(Http::One).await.send(get("/a")).await.status,
            503
        );
        let line = proxy.logged(&["filter crashed: guest aborted"]).await;
        assert!(
            line.contains("inner_function < outer_function < "),
            "{line}"
        );
        assert!(
            line.contains("engine=\"aot\"") && line.contains("request="),
            "{line}"
        );
    });
}

#[test]
fn time_of_native_code_is_counted() {
    run(async {
        let busy = "(local $n i32)
            (loop $again (global.set $g (i32.add (global.get $g) #1))
                (local.set $n (i32.add (local.get $n) #1)) (br_if $again (i32.lt_u (local.get $n) #30000000)))";
        let wat = guest::module(&format!("on request_headers\n {busy}"), Shape::default());
        let upstream = Upstream::start();
        let filter = Filter::wasm("f", wat::parse_str(wat).expect("WAT"))
            .with("engine: aot")
            .with("limits: { callback: 10s, stream_cpu: none }");
        let config = Config::new(upstream.address).filter(filter).with(TOP);
        let proxy = Proxy::start(&config).await;
        let name = "cofferdam_filter_cpu_seconds_total{filter=\"f\",callback=\"proxy_on_request_headers\",engine=\"aot\"} ";
        let mut client = proxy.client(Http::One).await;
        // Some of these outlast two ticks, or one of sixteen is timed.
        for _ in 0..200 {
            assert_eq!(client.send(get("/a")).await.status, 200);
            let page = proxy.admin("/metrics").await;
            let seconds = page.text().lines().find_map(|line| line.strip_prefix(name));
            let seconds: f64 = seconds.expect("a counter").parse().expect("a number");
            if seconds > 0.0 {
                return;
            }
        }
        panic!("no time was counted");
    });
}
