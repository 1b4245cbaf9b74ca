//! Limits that are not of one call alone: what a plugin may write and keep, and that the
//! embedder is told of every limit by its name.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_abi::shared::{Bounds, Eviction};
use cofferdam_abi::testing::Guest;
use cofferdam_abi::{Limits, Shared, VmSettings, Way};

use crate::world::{Drive, Look, Setup};

fn limited(limits: Limits) -> Setup {
    let settings = VmSettings {
        limits,
        ..VmSettings::default()
    };
    let mut setup = Setup {
        settings,
        ..Setup::default()
    };
    "f".clone_into(&mut setup.plugin.name);
    setup
}

/// What the embedder has been told of limits, and forgets it.
fn told(guest: &Guest) -> Vec<String> {
    guest.host.limited.take()
}

each_engine! {
    fn a_plugin_writes_so_much_to_the_log_and_no_more(engine) {
        let limits = Limits { log: Some(1_000), ..Limits::default() };
        let guest = engine.guest_of(limited(limits), "on tick
            (local $n i32)
            (loop $again (drop (!log #2 #0 #100))
                (local.set $n (i32.add (local.get $n) #1)) (br_if $again (i32.lt_u (local.get $n) #50)))
            on request_headers\n (!text {\"a request\"})");
        assert_eq!(guest.tick().len(), 10, "a second's worth at once");
        assert_eq!(told(&guest), vec!["f: log in proxy_on_tick"; 40]);
        assert!(guest.get().is_empty(), "of a stream's as well");
        assert_eq!(told(&guest), ["f: log in proxy_on_request_headers"]);
        guest.host.now.set(guest.host.now.get() + Duration::from_millis(500));
        assert_eq!(guest.tick().len(), 5);
        assert!(!guest.vm.borrow().is_failed());
        assert!(guest.host.trapped.borrow().is_empty());
    }

    fn what_is_written_to_standard_output_counts_too(engine) {
        let limits = Limits { log: Some(1_000), ..Limits::default() };
        let guest = engine.guest_of(limited(limits), "on tick
            (local $n i32)
            (i32.store #256 #4096) (i32.store #260 #100)
            (loop $again (drop (!fd_write #1 #256 #1 #264))
                (local.set $n (i32.add (local.get $n) #1)) (br_if $again (i32.lt_u (local.get $n) #500)))");
        let written: usize = guest.tick().iter().map(String::len).sum();
        assert!((1_000..6_000).contains(&written), "{written}");
        assert!(!told(&guest).is_empty());
    }

    fn records_that_nobody_wants_are_not_held_against_a_plugin(engine) {
        let limits = Limits { log: Some(10), ..Limits::default() };
        let guest = engine.guest_of(limited(limits), "on tick
            (drop (!log #1 #0 #10)) (drop (!log #1 #0 #10)) (drop (!log #4 #0 #10)) (drop (!log #4 #0 #1))");
        guest.host.level.set(cofferdam_abi::LogLevel::Warn);
        assert_eq!(guest.tick().len(), 1);
        assert_eq!(told(&guest), ["f: log in proxy_on_tick"]);
    }

    fn plugins_of_one_vm_write_on_their_own_account(engine) {
        let limits = Limits { log: Some(100), ..Limits::default() };
        let guest = engine.guest_of(limited(limits), "on tick\n (drop (!log #2 #0 #100)) (drop (!log #2 #0 #100))");
        let other = cofferdam_abi::Plugin { name: "g".to_owned(), ..cofferdam_abi::Plugin::default() };
        let other = guest.vm.borrow_mut().create_root(other.into()).expect("a root");
        assert_eq!(guest.tick().len(), 1);
        guest.vm.borrow_mut().tick(other).expect("no trap");
        assert_eq!(guest.logs().len(), 1);
        assert_eq!(told(&guest), ["f: log in proxy_on_tick", "g: log in proxy_on_tick"]);
    }

    fn a_flood_of_shared_data_stays_within_its_bound(engine) {
        // Each with another key.
        let flood = "on tick
            (loop $again
                (i32.store #64 (global.get $g))
                (global.set $h (!set_shared_data #64 #4 #64 #4 #0))
                (global.set $g (i32.add (global.get $g) #1)) (br_if $again (i32.lt_u (global.get $g) #100)))
            (!say (global.get $h))";
        for (eviction, last) in [(Eviction::Slru, "0"), (Eviction::Lru, "0"), (Eviction::None, "10")] {
            let shared = Arc::new(Shared::new(Bounds { eviction, ..Bounds::default() }));
            let limits = Limits { shared_entries: 40, ..Limits::default() };
            let mut setup = limited(limits);
            setup.shared = Some(shared.clone());
            let guest = engine.guest_of(setup, flood);
            assert_eq!(guest.tick(), [last], "{eviction:?}");
            assert_eq!(shared.spaces()[0].data_size().0, 40, "{eviction:?}");
            assert_eq!(told(&guest), vec!["f: shared_entries in proxy_on_tick"; 60], "{eviction:?}");
        }
    }

    fn every_limit_of_a_call_is_told_by_its_name(engine) {
        for (name, code) in [
            ("callback", "(loop $again (br $again))"),
            ("memory", "(drop (memory.grow #60000))"),
            ("table", "(drop (table.grow $t (ref.null func) #60000))"),
            ("stack", "(call $down)"),
        ] {
            let guest = engine.guest_of(limited(Limits::default()), &format!("raw
                (table $t 1 funcref)
                (func $down (call $down))
                on tick\n {code}"));
            guest.vm.borrow_mut().tick(guest.root).expect_err("a trap");
            assert_eq!(told(&guest), [format!("f: {name} in proxy_on_tick")]);
            assert_eq!(guest.host.trapped.take(), [format!("f: {name} in proxy_on_tick")]);
        }
    }

    fn a_trap_that_is_no_limits_is_told_as_such(engine) {
        for (kind, code) in [
            ("unreachable", "unreachable"),
            ("fault", "(drop (i32.load #-1))"),
            ("exit", "(!proc_exit #3)"),
        ] {
            let guest = engine.guest_of(limited(Limits::default()), &format!("on request_headers\n {code}"));
            let mut chain = guest.chain();
            chain.headers(Way::Request, true);
            assert!(chain.failure().is_some(), "{kind}");
            assert!(told(&guest).is_empty(), "{kind}");
            assert_eq!(guest.host.trapped.take(), [format!("f: {kind} in proxy_on_request_headers")]);
        }
    }

    fn limits_that_a_guest_is_told_of_the_embedder_is_told_of_too(engine) {
        let limits = Limits { callouts: 1, metrics: 1, ..Limits::default() };
        let mut setup = limited(limits);
        setup.clusters = vec!["c".to_owned()];
        let guest = engine.guest_of(setup, "on tick
            (drop (!grpc_call {\"c\"} {\"s\"} {\"m\"} #0 #0 #0 #0 #0 #24))
            (!say (!grpc_call {\"c\"} {\"s\"} {\"m\"} #0 #0 #0 #0 #0 #24))
            (drop (!define_metric #0 {\"a\"} #24))
            (!say (!define_metric #0 {\"b\"} #24))");
        assert_eq!(guest.tick(), ["10", "10"]);
        assert_eq!(told(&guest), ["f: callouts in proxy_on_tick", "f: metrics in proxy_on_tick"]);
    }

    fn a_body_that_is_too_large_is_told_by_its_callback(engine) {
        for (way, callback) in [(Way::Request, "request_body"), (Way::Response, "response_body")] {
            let mut setup = limited(Limits::default());
            setup.plugin.body_limit = 10;
            let guest = engine.guest_of(setup, &format!("on {callback}\n (return #1)"));
            let mut chain = guest.chain();
            chain.headers(Way::Request, way == Way::Response);
            if way == Way::Response {
                chain.respond(false);
            }
            chain.data(way, "longer than ten", false);
            assert!(chain.failure().is_some());
            assert_eq!(told(&guest), [format!("f: body in proxy_on_{callback}")]);
            assert!(guest.host.trapped.borrow().is_empty());
        }
    }
}
