//! Which engine runs a filter, and when that changes.

use super::{answered_by, answering, answers, metric, version};
use crate::support::{Config, Dir, Filter, Http, Load, Proxy, get, run};

async fn starts(proxy: &Proxy, engine: &str) -> u64 {
    let name = format!("cofferdam_filter_vm_starts_total{{filter=\"f\",engine=\"{engine}\"}}");
    metric(proxy, &name).await
}

/// Keeps native code in that folder.
fn keeping(dir: &Dir, filter: Filter) -> Config {
    answering().filter(filter).with(&format!(
        "artifacts: {{ directory: \"{}\" }}",
        dir.join("native").display()
    ))
}

async fn status(proxy: &Proxy) -> u16 {
    proxy.client(Http::One).await.send(get("/a")).await.status
}

#[test]
fn aot_is_native_from_the_first_request_and_a_restart_finds_it() {
    run(async {
        let dir = Dir::new();
        let filter = || Filter::wasm("f", version("one", "")).with("engine: aot");
        let proxy = Proxy::start(&keeping(&dir, filter())).await;
        assert_eq!(status(&proxy).await, 200);
        let tiers = (
            starts(&proxy, "aot").await,
            starts(&proxy, "interpreter").await,
        );
        assert_eq!(tiers, (1, 0));
        drop(proxy);
        // Yesterday's code, without a compiler that could make it today.
        let none = "compiler: { wall: 1ms }";
        for engine in ["aot", "auto"] {
            let filter = Filter::wasm("f", version("one", "")).with(format!("engine: {engine}"));
            let proxy = Proxy::start(&keeping(&dir, filter).with(none)).await;
            assert_eq!(status(&proxy).await, 200);
            let tiers = (
                starts(&proxy, "aot").await,
                starts(&proxy, "interpreter").await,
            );
            assert_eq!(tiers, (1, 0), "{engine}");
        }
        // Nobody who says otherwise is given it.
        for (engine, more) in [("interpreter", ""), ("aot", "no_exec_memory: true")] {
            let filter = Filter::wasm("f", version("one", "")).with(format!("engine: {engine}"));
            let proxy = Proxy::start(&keeping(&dir, filter).with(more)).await;
            assert_eq!(status(&proxy).await, 200);
            let tiers = (
                starts(&proxy, "aot").await,
                starts(&proxy, "interpreter").await,
            );
            assert_eq!(tiers, (0, 1), "{engine} {more}");
        }
    });
}

#[test]
fn what_the_compiler_gives_up_is_interpreted_and_tried_again_after_a_reload() {
    run(async {
        let dir = Dir::new();
        let filter = Filter::wasm("f", version("one", "")).with("engine: aot");
        let config = keeping(&dir, filter).with("compiler: { wall: 1ms }");
        let proxy = Proxy::start(&config).await;
        proxy.logged(&["WARN", "stays on the interpreter"]).await;
        assert_eq!(status(&proxy).await, 200);
        assert_eq!(starts(&proxy, "interpreter").await, 1);
        proxy.replace_module("f", &version("two", ""));
        proxy.reload();
        answered_by(&proxy, "two").await;
        proxy
            .logged_times(&["WARN", "stays on the interpreter"], 2)
            .await;
        assert_eq!(starts(&proxy, "aot").await, 0);
    });
}

#[test]
fn native_code_that_must_wait_for_a_reload_waits() {
    run(async {
        let busy = version(
            "one",
            "on request_headers
                (local $n i32)
                (loop $again
                    (local.set $n (i32.add (local.get $n) #1))
                    (br_if $again (i32.lt_u (local.get $n) #2000)))",
        );
        let filter = Filter::wasm("f", busy).with("tier_up: on_reload");
        let proxy = Proxy::start(&answering().filter(filter)).await;
        let Some(load) = Load::on(proxy.address, 3) else {
            return;
        };
        proxy.logged(&["there is native code now"]).await;
        load.end();
        assert_eq!(starts(&proxy, "aot").await, 0);
        proxy.reload();
        let mut client = proxy.client(Http::One).await;
        while starts(&proxy, "aot").await == 0 {
            assert_eq!(answers(&mut client).await, "one");
        }
        assert_eq!(starts(&proxy, "interpreter").await, 1);
    });
}

#[test]
fn a_changed_module_that_must_be_native_is_compiled_before_it_serves() {
    run(async {
        let filter = Filter::wasm("f", version("one", "")).with("engine: aot");
        let proxy = Proxy::start(&answering().filter(filter)).await;
        proxy.replace_module("f", &version("two", ""));
        proxy.reload();
        answered_by(&proxy, "two").await;
        let tiers = (
            starts(&proxy, "aot").await,
            starts(&proxy, "interpreter").await,
        );
        assert_eq!(tiers, (2, 0));
    });
}

#[test]
fn compact_memory_needs_little_address_space() {
    run(async {
        let mut sizes = Vec::new();
        for memory in ["default", "compact"] {
            let filter = Filter::wasm("f", version("one", "")).with("engine: aot");
            let config = answering()
                .filter(filter)
                .with(&format!("memory: {memory}"));
            let proxy = Proxy::start(&config).await;
            assert_eq!(status(&proxy).await, 200);
            assert_eq!(starts(&proxy, "aot").await, 1, "{memory}");
            sizes.push(address_space(proxy.id()));
        }
        let [default, compact] = sizes[..] else {
            unreachable!("two")
        };
        assert!(default > 4 << 30, "{default}");
        assert!(compact < 2 << 30, "{compact}");
    });
}

/// Address space of a process, in bytes.
fn address_space(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("status");
    let line = status.lines().find(|line| line.starts_with("VmSize"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    number.expect("a number") * 1024
}
