//! Filters that may not do everything.

use crate::support::{Config, Filter, Guest, Http, Proxy, Upstream, get, run};

/// Adds two headers to each request, the second saying what became of the first attempt.
fn adding() -> Vec<u8> {
    let code = "(if (call $replace (i32.const 0) «x-first» «1»)
        (then (drop (call $add (i32.const 0) «x-status» «refused»))))";
    Guest::new().on("request_headers", code).build()
}

#[test]
fn what_a_filter_may_not_do_it_does_not() {
    run(async {
        let upstream = Upstream::start();
        let free = Filter::wasm("free", adding());
        let bound = Filter::wasm("bound", adding()).with(
            "capabilities: { hostcalls: [proxy_add_header_map_value, proxy_log], \
             callbacks: [proxy_on_context_create, proxy_on_request_headers] }",
        );
        // The same code and VM id, but not the same VM: each keeps to its own capabilities.
        let config = Config::new(upstream.address).filter(bound).filter(free);
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        for path in ["/a", "/b"] {
            assert_eq!(client.send(get(path)).await.status, 200);
            let seen = upstream.only(path);
            assert_eq!(seen.all("x-status"), ["refused"], "once, by `bound`");
            assert_eq!(seen.all("x-first"), ["1"], "by `free`");
        }
        let told = proxy.lines(&["refused what its capabilities", "filter=\"bound\""]);
        assert_eq!(told.len(), 1, "counted, but told once a minute: {told:?}");
        assert!(
            told[0].contains("proxy_replace_header_map_value") && told[0].contains("attempts=1")
        );
        proxy.logged(&["filter=\"free\"", "delete 2."]).await;
        assert!(proxy.lines(&["filter=\"bound\"", "delete"]).is_empty());
        assert!(proxy.lines(&["filter=\"bound\"", "vm_start"]).is_empty());
    });
}
