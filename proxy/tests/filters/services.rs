//! Plugins outside of chains: services, and access loggers.

use std::time::{Duration, Instant};

use crate::support::{BOTH, Config, Filter, Guest, Http, Proxy, Upstream, check, get, post, run};

/// Crashes as SDKs do whose module makes no stream contexts.
const ROOT_ONLY: &str = "(if (local.get $1) (then unreachable))";

#[test]
fn a_service_runs_once_in_the_process_from_its_start_to_its_end() {
    run(async {
        let upstream = Upstream::start();
        let guest = Guest::new()
            .on("context_create", ROOT_ONLY)
            .on("configure", "(drop (call $tick_period (i32.const 10)))");
        let config = Config::new(upstream.address)
            .filter(Filter::wasm("f", guest.build()))
            .chain("")
            .workers(3)
            .with("services: [f]");
        let mut proxy = Proxy::start(&config).await;
        proxy.logged_times(&["filter=\"f\"", "tick 1."], 3).await;
        assert_eq!(
            proxy.client(Http::One).await.send(get("/x")).await.status,
            200
        );
        assert_eq!(
            proxy.lines(&["context_create "]).len(),
            1,
            "one of three workers has it"
        );
        proxy.terminate();
        assert!(proxy.ended().await.success());
        let log = proxy.log().join("\n");
        let (done, delete) = (log.find("done 1."), log.find("delete 1."));
        assert!(done.is_some() && done < delete, "{log}");
        assert!(
            !log[delete.unwrap_or(0)..].contains("tick 1."),
            "nothing comes after it"
        );
    });
}

/// Not done when asked; done at the third tick after that.
fn slow_to_end() -> Guest {
    Guest::new()
        .define("(global $asked (mut i32) (i32.const 0))")
        .on("configure", "(drop (call $tick_period (i32.const 100)))")
        .on(
            "done",
            "(global.set $asked (i32.const 1)) (return (i32.const 0))",
        )
        .on(
            "tick",
            "(if (global.get $asked) (then
               (global.set $asked (i32.add (global.get $asked) (i32.const 1)))
               (if (i32.eq (global.get $asked) (i32.const 4)) (then (drop (call $root_done))))))",
        )
}

#[test]
fn a_root_that_is_not_done_is_waited_for_until_it_says_so() {
    run(async {
        let upstream = Upstream::start();
        let config = Config::new(upstream.address).filter(Filter::wasm("f", slow_to_end().build()));
        let mut proxy = Proxy::start(&config).await;
        proxy.terminate();
        // Sooner than `drain_time`, which is longer than a test waits.
        assert!(proxy.ended().await.success());
        let log = proxy.log().join("\n");
        let asked = log.find("done 1.").expect("asked");
        let rest = &log[asked..];
        assert_eq!(rest.matches("tick 1.").count(), 3, "{log}");
        let delete = rest.find("delete 1.").expect("deleted");
        assert!(!rest[delete..].contains("tick 1."), "{log}");
    });
}

#[test]
fn a_root_that_is_never_done_is_waited_for_no_longer_than_drain_time() {
    run(async {
        let upstream = Upstream::start();
        let guest = Guest::new().on("done", "(return (i32.const 0))");
        let config = Config::new(upstream.address)
            .filter(Filter::wasm("f", guest.build()))
            .with("drain_time: 1s");
        let mut proxy = Proxy::start(&config).await;
        let began = Instant::now();
        proxy.terminate();
        assert!(proxy.ended().await.success());
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(800), "{took:?}");
        assert_eq!(proxy.lines(&["not done within"]).len(), 1);
        assert_eq!(proxy.lines(&["delete 1."]), [""; 0]);
    });
}

#[test]
fn a_service_that_crashes_is_started_again() {
    run(async {
        let upstream = Upstream::start();
        let guest = Guest::new()
            .on("configure", "(drop (call $tick_period (i32.const 10)))")
            .on("tick", "unreachable");
        let config = Config::new(upstream.address)
            .filter(Filter::wasm("f", guest.build()))
            .chain("")
            .with("services: [f]");
        let proxy = Proxy::start(&config).await;
        proxy
            .logged_times(&["filter crashed", "filter=\"f\"", "proxy_on_tick"], 2)
            .await;
        let starts = proxy.lines(&["vm_start 1 "]).len();
        assert!((2..=5).contains(&starts), "a new VM for each: {starts}");
    });
}

#[test]
fn a_service_that_stays_down_in_envoys_way_stays_down() {
    run(async {
        let upstream = Upstream::start();
        let guest = Guest::new()
            .on("configure", "(drop (call $tick_period (i32.const 10)))")
            .on("tick", "unreachable");
        let config = Config::new(upstream.address)
            .filter(Filter::wasm("f", guest.build()).with("compat: envoy"))
            .chain("")
            .with("services: [f]");
        let proxy = Proxy::start(&config).await;
        proxy.logged(&["filter crashed", "proxy_on_tick"]).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(proxy.lines(&["vm_start 1 "]).len(), 1);
    });
}

#[test]
fn a_module_that_makes_no_stream_contexts_is_refused_in_a_chain_and_fine_elsewhere() {
    let filter = || {
        let guest = Guest::new()
            .on(
                "context_create",
                format!("{ROOT_ONLY}(drop (call $log (i32.const 4) «no root»))"),
            )
            .build();
        Filter::wasm("f", guest)
    };
    let nowhere = ([127, 0, 0, 1], 1).into();
    let (status, told) = check(&Config::new(nowhere).filter(filter()), "check");
    assert_eq!(status, Some(64), "{told}");
    for words in [
        "filters[0].module: filter f:",
        "it makes no stream contexts: guest aborted in proxy_on_context_create",
        "it logged:",
        "run it as a service",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    for more in ["services: [f]", ""] {
        let config = Config::new(nowhere).filter(filter()).chain("").with(more);
        let (status, told) = check(&config, "check");
        assert_eq!(status, Some(0), "{more}: {told}");
    }
}

#[test]
fn a_service_that_refuses_its_configuration_is_named_with_what_it_said() {
    let guest = Guest::new().on(
        "configure",
        "(drop (call $log (i32.const 4) «a secret is required»)) (return (i32.const 0))",
    );
    let config = Config::new(([127, 0, 0, 1], 1).into())
        .filter(Filter::wasm("keeper", guest.build()))
        .chain("")
        .with("services: [{ name: keeper, configuration: { secret: null } }]");
    let (status, told) = check(&config, "check");
    assert_eq!(status, Some(64), "{told}");
    for words in [
        "services[0].configuration: filter keeper:",
        "proxy_on_configure refused its configuration",
        "a secret is required",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

/// Writes down what it reads of an exchange.
fn logger() -> Guest {
    let show = |map: u32, name: &str| {
        format!(
            "(i32.store (i32.const 4) (i32.const 0))
             (drop (call $get (i32.const {map}) «{name}» (i32.const 0) (i32.const 4)))
             (drop (call $log (i32.const 2) (i32.load (i32.const 0)) (i32.load (i32.const 4))))"
        )
    };
    Guest::new().on("context_create", ROOT_ONLY).on(
        "log",
        [
            show(0, ":path"),
            show(0, "x-added"),
            show(2, ":status"),
            show(2, "x-answer"),
        ]
        .concat()
            + "(call $property «response\0code»)",
    )
}

#[test]
fn an_access_logger_reads_every_exchange_without_a_stream_context() {
    run(async {
        for http in BOTH {
            let upstream = Upstream::start();
            let config = Config::new(upstream.address)
                .filter(Filter::wasm("logger", logger().build()))
                .chain("")
                .listener("access_log_filters: [logger]");
            let proxy = Proxy::start(&config).await;
            let mut client = proxy.client(http).await;
            assert_eq!(client.send(get("/one")).await.status, 200);
            assert_eq!(
                client
                    .send(post("/empty", crate::support::Body::whole("x")))
                    .await
                    .status,
                204
            );
            proxy
                .logged_times(&["filter=\"logger\"", "log 1."], 2)
                .await;
            proxy.logged(&["response/code= 0 cc00000000000000."]).await;
            proxy.logged(&["response/code= 0 c800000000000000."]).await;
            for words in [
                "filter: /one ",
                "filter: /empty ",
                "filter: 200 ",
                "filter: 204 ",
            ] {
                assert_eq!(proxy.lines(&[words]).len(), 1, "{words}");
            }
            assert_eq!(
                proxy.lines(&["context_create "]).len(),
                1,
                "the root's alone"
            );
        }
    });
}

#[test]
fn an_access_logger_sees_what_filters_made_of_the_exchange() {
    run(async {
        let upstream = Upstream::start();
        let filter = Guest::new()
            .on(
                "request_headers",
                "(drop (call $add (i32.const 0) «x-added» «by-a-filter»))",
            )
            .on(
                "response_headers",
                "(drop (call $add (i32.const 2) «x-answer» «by-a-filter-too»))",
            );
        let config = Config::new(upstream.address)
            .filter(Filter::wasm("f", filter.build()))
            .filter(Filter::wasm("logger", logger().build()))
            .chain("f")
            .listener("access_log_filters: [logger]");
        let proxy = Proxy::start(&config).await;
        assert_eq!(
            proxy.client(Http::One).await.send(get("/x")).await.status,
            200
        );
        proxy.logged(&["filter=\"logger\"", "response/code="]).await;
        for words in ["filter: by-a-filter ", "filter: by-a-filter-too "] {
            assert_eq!(
                proxy.lines(&[words, "filter=\"logger\""]).len(),
                1,
                "{words}"
            );
        }
        let log = proxy.log().join("\n");
        let (delete, logged) = (log.find("delete 2."), log.find("log 1."));
        assert!(
            delete.is_some() && delete < logged,
            "it is told last: {log}"
        );
    });
}

#[test]
fn a_request_that_nobody_serves_and_one_that_a_filter_answers_are_logged_too() {
    run(async {
        let upstream = Upstream::start();
        let config = Config::new(upstream.address)
            .filter(Filter::wasm("logger", logger().build()))
            .chain("")
            .listener("access_log_filters: [logger]")
            .routes(&["{ match: { path: /only }, respond: { status: 201 } }"]);
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        assert_eq!(client.send(get("/nowhere")).await.status, 404);
        assert_eq!(client.send(get("/only")).await.status, 201);
        proxy.logged(&["filter: 404 "]).await;
        proxy.logged(&["filter: 201 "]).await;
    });
}

#[test]
fn an_access_logger_that_crashes_costs_no_request() {
    run(async {
        let upstream = Upstream::start();
        let guest = Guest::new().on("log", "unreachable");
        let config = Config::new(upstream.address)
            .filter(Filter::wasm("logger", guest.build()))
            .chain("")
            .listener("access_log_filters: [logger]");
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        for _ in 0..3 {
            assert_eq!(client.send(get("/x")).await.status, 200);
        }
        proxy
            .logged_times(&["filter crashed", "filter=\"logger\"", "proxy_on_log"], 3)
            .await;
    });
}
