//! VMs that will not end: guests that are asked whether they are done, say no, and never say
//! more. Whatever they were replaced for, after `filter_drain_time` they are gone.

use std::time::Instant;

use super::{ADMIN, answered_by, answering, metric, terse, version};
use crate::support::{Config, Filter, Http, PATIENCE, Proxy, Upstream, get, run, within};

/// Never done, whoever asks.
const NEVER: &str = "on done (return #0)";

/// How many VMs of `f` there are.
async fn vms(proxy: &Proxy) -> u64 {
    metric(
        proxy,
        "cofferdam_filter_vms{filter=\"f\",engine=\"interpreter\"}",
    )
    .await
}

/// Waits until there are no more VMs of `f` than that.
async fn only(proxy: &Proxy, most: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = vms(proxy).await;
        if now <= most {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{now} VMs, and {most} are needed"
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn cut_short(proxy: &Proxy, why: &str) -> u64 {
    let name = "cofferdam_filter_vms_cut_short_total";
    metric(proxy, &format!("{name}{{filter=\"f\",reason=\"{why}\"}}")).await
}

/// Native code would be one more VM that takes another's place.
fn interpreted(module: Vec<u8>) -> Filter {
    Filter::wasm("f", module).with("engine: interpreter")
}

/// Five times as long as a tick takes, and it is not to come.
async fn a_while() {
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

#[test]
fn one_whose_module_has_changed_goes_after_the_drain_time() {
    run(async {
        let ticking = "on configure (drop (!set_tick_period_milliseconds #20))
            on tick (!text {\"tick one\"})";
        let one = version("one", &format!("{NEVER}\n{ticking}"));
        let config = answering()
            .filter(interpreted(one))
            .with("filter_drain_time: 200ms");
        let proxy = Proxy::start(&config).await;
        proxy.logged(&["tick one"]).await;
        proxy.replace_module("f", &version("two", ""));
        proxy.reload();
        answered_by(&proxy, "two").await;
        proxy
            .logged(&["WARN", "filter=\"f\"", "filter_drain_time is over"])
            .await;
        only(&proxy, 1).await;
        let ticks = proxy.lines(&["tick one"]).len();
        a_while().await;
        assert_eq!(proxy.lines(&["tick one"]).len(), ticks);
        assert_eq!(cut_short(&proxy, "drain_time").await, 1);
    });
}

#[test]
fn one_that_asks_for_ticks_at_its_end_has_them_until_then() {
    run(async {
        // It is done at the third.
        let finishing = "on done (drop (!set_tick_period_milliseconds #20)) (return #0)
            on tick
                (!text {\"tick one\"})
                (global.set $g (i32.add (global.get $g) #1))
                (if (i32.eq (global.get $g) #3) (then (drop (!done))))
            on delete (!text {\"delete one\"})";
        let config = answering().filter(interpreted(version("one", finishing)));
        let proxy = Proxy::start(&config).await;
        proxy.replace_module("f", &version("two", ""));
        proxy.reload();
        answered_by(&proxy, "two").await;
        proxy.logged(&["delete one", "context=1"]).await;
        only(&proxy, 1).await;
        assert_eq!(proxy.lines(&["tick one"]).len(), 3);
        assert_eq!(cut_short(&proxy, "drain_time").await, 0);
    });
}

#[test]
fn those_that_have_grown_go_and_others_are_not_started_as_fast_as_requests_come() {
    run(async {
        // Past its mark with every request.
        let growing = terse(&format!(
            "{NEVER}\non request_headers (drop (memory.grow #1))"
        ));
        let filter = interpreted(growing).with("recycle_memory: 64KiB");
        let config = answering().filter(filter).with("filter_drain_time: 200ms");
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::One).await;
        let began = Instant::now();
        for _ in 0..300 {
            assert_eq!(client.send(get("/a")).await.status, 200);
        }
        let replaced = metric(
            &proxy,
            "cofferdam_filter_vm_replacements_total{filter=\"f\",reason=\"memory\"}",
        )
        .await;
        // Ten at once, and then ten a second.
        let most = 11 + u64::try_from(began.elapsed().as_millis() / 100).expect("not for ever");
        assert!((1..=most).contains(&replaced), "{replaced}, of {most}");
        if most < 300 {
            proxy
                .logged(&["WARN", "filter=\"f\"", "replaced later"])
                .await;
        }
        only(&proxy, 1).await;
        assert!(proxy.lines(&["crashed"]).is_empty());
    });
}

#[test]
fn those_that_have_grown_wait_while_too_many_still_drain() {
    run(async {
        let growing = terse("on request_headers (drop (memory.grow #1))");
        let filter = interpreted(growing).with("recycle_memory: 64KiB");
        let upstream = Upstream::start();
        let config = Config::new(upstream.address).filter(filter).with(ADMIN);
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::Two).await;
        let mut held = Vec::new();
        for count in 1..=20 {
            held.push(tokio::spawn(client.start(get("/held"))));
            while upstream.seen_at("/held").len() < count {
                tokio::task::yield_now().await;
            }
            // Grown is what is so when a stream has ended.
            assert_eq!(client.send(get("/a")).await.status, 200);
        }
        proxy
            .logged(&["WARN", "filter=\"f\"", "replaced later"])
            .await;
        let now = vms(&proxy).await;
        assert!((2..=9).contains(&now), "{now} VMs: eight may drain");
        upstream.gate.open();
        for held in held {
            let response = within("what was held", held).await.expect("a task");
            assert_eq!(response.expect("a response").status(), 200);
        }
        only(&proxy, 1).await;
    });
}

#[test]
fn those_of_one_stream_go_after_the_drain_time() {
    run(async {
        let filter = interpreted(terse(NEVER)).with("isolation: request");
        let config = answering().filter(filter).with("filter_drain_time: 200ms");
        let proxy = Proxy::start(&config).await;
        let mut client = proxy.client(Http::Two).await;
        for _ in 0..20 {
            assert_eq!(client.send(get("/a")).await.status, 200);
        }
        only(&proxy, 0).await;
        assert_eq!(cut_short(&proxy, "drain_time").await, 20);
    });
}

#[test]
fn those_that_only_wait_keep_no_more_than_one_vm_may() {
    run(async {
        // 128 KiB each count as 256: four of them, and the oldest goes for the next.
        let filter = interpreted(terse(NEVER))
            .with("isolation: request")
            .with("limits: { memory: 1MiB }");
        let proxy = Proxy::start(&answering().filter(filter)).await;
        let mut client = proxy.client(Http::One).await;
        for _ in 0..20 {
            assert_eq!(client.send(get("/a")).await.status, 200);
        }
        only(&proxy, 4).await;
        let deadline = Instant::now() + PATIENCE;
        while cut_short(&proxy, "memory").await < 16 {
            assert!(Instant::now() < deadline);
        }
        assert_eq!(vms(&proxy).await, 4);
        proxy
            .logged(&["WARN", "filter=\"f\"", "limits.memory"])
            .await;
    });
}

#[test]
fn one_that_grows_while_it_waits_counts_as_it_is_then() {
    run(async {
        let growing = "on done (drop (!set_tick_period_milliseconds #10)) (return #0)
            on tick (if (i32.lt_u (memory.size) #10) (then (drop (memory.grow #2))))";
        let filter = interpreted(terse(growing))
            .with("isolation: request")
            .with("limits: { memory: 1MiB }");
        let proxy = Proxy::start(&answering().filter(filter)).await;
        let mut client = proxy.client(Http::One).await;
        for _ in 0..4 {
            assert_eq!(client.send(get("/a")).await.status, 200);
        }
        only(&proxy, 1).await;
    });
}

/// Two filters of one VM, or the first of them alone.
fn two_in_one(module: &[u8], both: bool) -> Config {
    let filter = |name: &str| {
        Filter::wasm(name, module.to_vec())
            .with(format!("configuration: {name}"))
            .with("engine: interpreter")
    };
    let config = answering().with("filter_drain_time: 200ms");
    let config = config.filter(filter("f"));
    if both {
        config.filter(filter("g"))
    } else {
        config
    }
}

#[test]
fn a_root_that_leaves_a_vm_to_others_goes_after_the_drain_time() {
    run(async {
        let module = terse(
            "on done (drop (!set_tick_period_milliseconds #20)) (return #0)
            on tick (!text {\"tick\"})
            on delete (!text {\"delete\"})",
        );
        let proxy = Proxy::start(&two_in_one(&module, true)).await;
        let mut client = proxy.client(Http::One).await;
        assert_eq!(client.send(get("/a")).await.status, 200);
        proxy.reconfigure(&two_in_one(&module, false)).await;
        proxy.logged(&["tick", "filter=\"g\""]).await;
        // Both have roots before streams.
        proxy.logged(&["delete", "context=2", "filter=\"g\""]).await;
        let ticks = || proxy.lines(&["tick", "filter=\"g\""]).len();
        let before = ticks();
        a_while().await;
        assert_eq!(ticks(), before);
        assert_eq!(vms(&proxy).await, 1);
        assert_eq!(client.send(get("/a")).await.status, 200);
        assert!(proxy.lines(&["delete", "context=1"]).is_empty());
    });
}
