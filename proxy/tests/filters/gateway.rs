//! Guests of marker 0.2.100: endpoints of their own choice, and responses put together by
//! a filter.

use crate::support::{BOTH, Config, Filter, Guest, Http, Proxy, Upstream, check, get, run};

const MARKER: &str = "proxy_abi_version_0_2_100";

fn guest() -> Guest {
    Guest::new().marker(MARKER).import(
        r#"(import "env" "proxy_inject_encoded_data_to_filter_chain"
             (func $inject (param i32 i32 i32) (result i32)))
           (import "env" "proxy_get_upstream_hosts" (func $hosts (param i32 i32) (result i32)))
           (import "env" "proxy_set_upstream_override_host" (func $aim (param i32 i32) (result i32)))"#,
    )
}

#[test]
fn a_filter_chooses_the_endpoint() {
    run(async {
        let (first, second) = (Upstream::start(), Upstream::start());
        // The first and the second request by name, the third to one that is not there.
        let code = format!(
            "(global.set $n (i32.add (global.get $n) (i32.const 1)))
             (if (i32.eq (global.get $n) (i32.const 5)) (then (drop (call $aim «127.0.0.1:1»))))
             (if (i32.lt_u (global.get $n) (i32.const 5)) (then (drop (call $aim «{}»))))
             (if (call $aim «nonsense») (then (drop (call $add (i32.const 0) «x-refused» «yes»))))
             (drop (call $hosts (i32.const 0) (i32.const 4)))
             (drop (call $add (i32.const 0) «x-hosts» (i32.add (i32.load (i32.const 0)) (i32.const 20))
               (i32.const {})))",
            second.address,
            first.address.to_string().len()
        );
        let guest = guest()
            .define("(global $n (mut i32) (i32.const 0))")
            .on("request_headers", code);
        let config = Config::new(first.address)
            .filter(Filter::wasm("f", guest.build()))
            .endpoint(second.address);
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        for path in ["/1", "/2", "/3", "/4", "/5", "/6"] {
            assert_eq!(client.send(get(path)).await.status, 200);
        }
        for path in ["/1", "/2", "/3", "/4"] {
            let seen = second.only(path);
            assert_eq!(seen.all("x-refused"), ["yes"]);
            assert_eq!(seen.all("x-hosts"), [first.address.to_string()]);
            assert!(first.seen_at(path).is_empty());
        }
        // An endpoint that is not of the cluster counts as none: the turn decides.
        assert_eq!(first.seen_at("/5").len() + second.seen_at("/5").len(), 1);
        assert_eq!(first.seen_at("/6").len() + second.seen_at("/6").len(), 1);
        assert_eq!(first.seen_at("/5").len() + first.seen_at("/6").len(), 1);
    });
}

#[test]
fn a_filter_streams_an_answer_into_a_response_it_holds() {
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let guest = guest()
                .define("(global $n (mut i32) (i32.const 0)) (global $stream (mut i32) (i32.const 0))")
                .on("configure", "(drop (call $tick_period (i32.const 20)))")
                .on(
                    "response_headers",
                    "(global.set $stream (local.get $0)) (return (i32.const 4))",
                )
                .on(
                    "tick",
                    "(if (i32.eqz (global.get $stream)) (then (return)))
                     (global.set $n (i32.add (global.get $n) (i32.const 1)))
                     (drop (call $effective (global.get $stream)))
                     (if (i32.eq (global.get $n) (i32.const 1)) (then (drop (call $inject «one » (i32.const 0)))))
                     (if (i32.eq (global.get $n) (i32.const 2)) (then (drop (call $inject «two » (i32.const 0)))))
                     (if (i32.eq (global.get $n) (i32.const 3)) (then (drop (call $inject «three» (i32.const 1)))))",
                );
            let config = Config::new(upstream.address).filter(Filter::wasm("f", guest.build()));
            let proxy = Proxy::start(&config).await;
            let answer = proxy.client(http).await.send(get("/x")).await;
            assert_eq!(
                (answer.status, answer.text()),
                (200, "one two three"),
                "{http:?}"
            );
            assert!(
                !answer.headers.contains_key("content-length"),
                "the upstream's is another"
            );
            proxy.logged(&["delete 2."]).await;
        }
    });
}

#[test]
fn a_header_callback_that_answers_1_holds_the_headers_only() {
    run(async {
        let upstream = Upstream::start();
        let guest = guest().on("response_headers", "(return (i32.const 1))");
        let config = Config::new(upstream.address).filter(Filter::wasm("f", guest.build()));
        let proxy = Proxy::start(&config).await;
        // Its body callback answers 0, which lets both go.
        assert_eq!(
            proxy.client(Http::One).await.send(get("/x")).await.status,
            200
        );
    });
}

#[test]
fn the_marker_is_refused_where_envoy_refuses_it() {
    for preset in ["envoy", "spec"] {
        let filter = Filter::wasm("f", guest().build()).with(format!("compat: {preset}"));
        let config = Config::new(([127, 0, 0, 1], 1).into()).filter(filter);
        let (status, told) = check(&config, "check");
        assert_eq!(status, Some(64), "{told}");
        assert!(
            told.contains("filters[0].module") && told.contains("proxy_abi_version_0_2_100"),
            "{told}"
        );
    }
}
