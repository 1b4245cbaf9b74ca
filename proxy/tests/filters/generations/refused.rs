//! A reload that one worker refuses after another has made ready for it: what was begun there
//! ends, wherever it has come to meanwhile.

use super::{ENGINES, answering, eventually, terse};
use crate::support::{Config, Filter, Proxy, run};

/// What filters `a`, `b` and `c` are, told apart by how long their configuration is. The first
/// root of `b` joins a VM in which `c` was root 2 before, so it is 3, and crashes that VM. In the
/// one that takes its place it is 2, and says so to whoever waits for it.
fn shared(again: &str) -> Vec<u8> {
    terse(&format!(
        "on configure
            (drop (!set_shared_data {{\"serving\"}} {{\"1\"}} #0))
            (if (i32.eq (local.get $b) #2) (then
                (drop (!set_tick_period_milliseconds #1))
                (if (i32.eq (local.get $a) #2) (then
                    (!text {{\"again\"}})
                    (drop (!set_shared_data {{\"again\"}} {{\"1\"}} #0))
                    {again}))))
        on tick (if (i32.eq (local.get $a) #3) (then (unreachable)))
        on done (!text {{\"ends\"}})"
    ))
}

/// Starts in a trial, which shares nothing; on a worker it waits for `b` to be started again on
/// the other, and does not.
const REFUSING: &str = "on configure
    (if (!get_shared_data {\"serving\"} @out #24) (then (return #1)))
    (loop $until (br_if $until (!get_shared_data {\"again\"} @out #24)))
    (return #0)";

fn filter(engine: &str, name: &str, module: &[u8], configuration: &str) -> Filter {
    Filter::wasm(name, module.to_vec())
        .with(format!("configuration: {configuration}"))
        .with(format!("engine: {engine}"))
        .with("limits: { callback: 5s }")
}

/// A proxy that has refused `b`, once that had crashed and been started again; and one of its
/// configurations, with `a` alone.
async fn refused(engine: &str, module: &[u8]) -> (Proxy, Config) {
    let filter = |name, module, configuration| filter(engine, name, module, configuration);
    let alone = answering()
        .workers(2)
        .filter(filter("a", module, "a"))
        .chain("a");
    let with_c = alone.clone().filter(filter("c", module, "c"));
    let proxy = Proxy::start(&with_c.chain("a, c")).await;
    proxy.reconfigure(&alone).await;
    proxy.logged_times(&["ends", "filter=\"c\""], 2).await;
    // Services are the first worker's alone.
    let with_b = alone
        .clone()
        .filter(filter("z", &terse(REFUSING), "z"))
        .with("services: [z]")
        .filter(filter("b", module, "bb"));
    proxy.refuses(&with_b.chain("a, b")).await;
    proxy
        .logged(&["filter z could not be started", "refused"])
        .await;
    proxy.logged(&["again", "filter=\"b\""]).await;
    (proxy, alone)
}

/// In a trial there is nobody whose data it could see.
const REFUSING_AT_ONCE: &str = "on configure
    (return (!get_shared_data {\"serving\"} @out #24))";

#[test]
fn a_filter_that_joined_others_in_their_vm_ends_and_they_go_on() {
    let module = terse(
        "on configure
            (drop (!set_shared_data {\"serving\"} {\"1\"} #0))
            (drop (!set_tick_period_milliseconds #1))
        on done (!text {\"asked\"}) (return #0)
        on tick (drop (!done))
        on delete (!text {\"ends\"})",
    );
    run(async {
        for engine in ENGINES {
            let filter = |name, module| filter(engine, name, module, name);
            let alone = answering().workers(2).filter(filter("a", &module));
            let alone = alone.chain("a");
            let proxy = Proxy::start(&alone).await;
            let with_b = alone
                .filter(filter("b", &module))
                .filter(filter("z", &terse(REFUSING_AT_ONCE)))
                .with("services: [z]");
            proxy.refuses(&with_b.chain("a, b")).await;
            for what in ["asked", "ends"] {
                proxy.logged_times(&[what, "filter=\"b\""], 2).await;
                assert!(proxy.lines(&[what, "filter=\"a\""]).is_empty());
            }
        }
    });
}

#[test]
fn a_filter_that_was_started_again_meanwhile_ends_too() {
    run(async {
        for engine in ENGINES {
            let (proxy, _) = refused(engine, &shared("")).await;
            // Once most likely; on the first worker it hardly ever comes to that.
            let again = proxy.lines(&["again", "filter=\"b\""]).len();
            let ends = ["ends", "filter=\"b\"", "context=2"];
            proxy.logged_times(&ends, again).await;
            assert!(proxy.lines(&["ends", "filter=\"a\""]).is_empty());
        }
    });
}

#[test]
fn one_that_could_not_be_started_again_is_not_missed() {
    run(async {
        for engine in ENGINES {
            let module = shared("(return #0)");
            let (proxy, alone) = refused(engine, &module).await;
            let with_b = alone
                .filter(filter(engine, "b", &module, "bbb"))
                .with("ready_needs: [b]");
            proxy.reconfigure(&with_b.chain("a, b")).await;
            let ready = async || proxy.admin("/ready").await.status == 200;
            eventually("it is ready", ready).await;
        }
    });
}
