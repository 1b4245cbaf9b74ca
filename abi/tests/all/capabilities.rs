//! What a guest may not do (section 1.8, last lines).

use std::sync::Arc;

use cofferdam_abi::{Capabilities, Compat, VmSettings, Way};

use crate::world::{Drive, Engine, Look, PRESETS, Setup};

/// With nothing but these hostcalls.
fn hostcalls(names: &[&str]) -> Setup {
    let mut capabilities = Capabilities::default();
    capabilities.restrict_hostcalls(names);
    with(capabilities)
}

/// With nothing but these callbacks.
fn callbacks(names: &[&str]) -> Setup {
    let mut capabilities = Capabilities::default();
    capabilities.restrict_callbacks(names);
    with(capabilities)
}

fn with(capabilities: Capabilities) -> Setup {
    let settings = VmSettings {
        capabilities: Arc::new(capabilities),
        ..VmSettings::default()
    };
    Setup {
        settings,
        ..Setup::default()
    }
}

fn load(engine: Engine, setup: Setup, source: &str) -> cofferdam_abi::testing::Guest {
    engine
        .load(setup, source)
        .unwrap_or_else(|error| panic!("{error}"))
}

each_engine! {
    fn a_hostcall_that_is_not_allowed_answers_10_and_does_nothing(engine) {
        for compat in PRESETS {
            let mut setup = hostcalls(&["proxy_log", "proxy_get_buffer_status"]);
            setup.settings.compat = compat;
            let guest = load(engine, setup, "on request_headers
                (!say (!add_header_map_value #0 {\"x\"} {\"y\"}))
                (!say (!get_buffer_status #0 @out))
                (!say (!get_header_map_value #0 {\":path\"} @out))
                (!say (!add_header_map_value #99 #-1 #-1 #-1 #-1))");
            let mut chain = guest.chain();
            assert_eq!(chain.headers(Way::Request, true), ["headers."]);
            assert_eq!(guest.logs(), ["10", "0", "10", "10"], "{compat:?}");
            assert!(!chain.request().contains(&"x: y".to_owned()));
            assert_eq!(guest.host.refusals.take(), [
                ": proxy_add_header_map_value",
                ": proxy_get_header_map_value",
                ": proxy_add_header_map_value",
            ]);
        }
    }

    fn a_log_that_is_not_allowed_writes_nothing(engine) {
        let guest = load(engine, hostcalls(&["proxy_set_tick_period_milliseconds"]), "on tick
            (global.set $g (!log #2 {\"text\"}))
            (drop (!set_tick_period_milliseconds (global.get $g)))");
        assert!(guest.tick().is_empty());
        let effects = guest.vm.borrow_mut().take_root_effects();
        assert!(format!("{effects:?}").contains("10ms"), "{effects:?}");
    }

    fn wasi_that_is_not_allowed_answers_76(engine) {
        let guest = load(engine, hostcalls(&["proxy_log", "fd_close"]), "on tick
            (i32.store #512 #4096) (i32.store #516 #4)
            (!say (!fd_write #1 #512 #1 #24)) (!say (!fd_write #7 #-1 #-1 #-1)) (!say (!random_get #24 #4))
            (!say (!sched_yield)) (!say (!fd_close #1)) (drop (i32.const 0)) (!proc_exit #3) (!say #5)
            raw
            (data (i32.const 4096) \"text\")");
        assert_eq!(guest.tick(), ["76", "76", "76", "76", "0", "5"], "and proc_exit returns");
        assert_eq!(guest.host.refusals.borrow().last().map(String::as_str), Some(": proc_exit"));
    }

    fn hostcalls_without_a_result_are_refused_too(engine) {
        let mut setup = hostcalls(&["proxy_log"]);
        setup.shape.marker = "proxy_abi_version_0_1_0";
        let guest = load(engine, setup, "imports
            (import \"env\" \"proxy_continue_request\" (func $go))
            on request_headers
            (call $go) (!say #7) (return #1)");
        let mut chain = guest.chain();
        assert!(chain.headers(Way::Request, true).is_empty(), "still held");
        assert_eq!(guest.logs(), ["7"]);
        assert_eq!(guest.host.refusals.take(), [": proxy_continue_request"]);
    }

    fn the_start_function_and_the_allocator_are_restricted_too(engine) {
        let guest = load(engine, hostcalls(&["proxy_set_tick_period_milliseconds", "proxy_get_buffer_bytes"]), "raw
            (func (export \"_initialize\") (global.set $g (!log #2 {\"start\"})))
            on tick
            (drop (!set_tick_period_milliseconds (global.get $g)))");
        assert!(guest.tick().is_empty());
        let effects = guest.vm.borrow_mut().take_root_effects();
        assert!(format!("{effects:?}").contains("10ms"), "{effects:?}");
        assert_eq!(guest.host.refusals.take(), [": proxy_log"]);

        let mut setup = hostcalls(&["proxy_get_buffer_bytes"]);
        setup.settings.configuration = "vm".into();
        setup.shape.allocator = "";
        let guest = load(engine, setup, "raw
            (func (export \"malloc\") (param i32) (result i32)
                (drop (!log #2 {\"inside\"})) (i32.const 2048))
            on tick
            (drop (!get_buffer_bytes #6 #0 #9 @out))");
        assert!(guest.tick().is_empty());
        assert_eq!(guest.host.refusals.take(), [": proxy_log"]);
    }

    fn what_compilers_ask_for_cannot_be_taken_away(engine) {
        let guest = load(engine, hostcalls(&["proxy_log"]), "imports
            (import \"env\" \"pthread_equal\" (func $same (param i32 i32) (result i32)))
            on tick
            (!say (call $same #5 #5))");
        assert_eq!(guest.tick(), ["1"]);
    }

    fn a_callback_that_is_not_allowed_is_as_if_not_exported(engine) {
        let all = ["context_create", "request_headers", "request_body", "response_headers",
            "log", "done", "delete", "tick"];
        let mut source = String::new();
        for name in all {
            source += &format!("on {name}\n (!text {{\"{name}\"}})\n");
        }
        for compat in [Compat::SUPERSET, Compat::ENVOY] {
            for denied in all {
                let exported = |name: &&str| format!("proxy_on_{name}");
                let allowed: Vec<String> = all.iter().filter(|name| **name != denied).map(exported).collect();
                let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
                let mut setup = callbacks(&allowed);
                setup.settings.compat = compat;
                let guest = load(engine, setup, &source);
                let mut chain = guest.chain();
                chain.headers(Way::Request, false);
                assert_eq!(chain.data(Way::Request, "ab", true), ["data:ab."]);
                assert_eq!(chain.respond(true), ["headers."]);
                chain.end();
                guest.vm.borrow_mut().tick(guest.root).expect("ticks");
                let called = guest.logs();
                for name in all {
                    assert_eq!(called.iter().any(|call| call == name), name != denied, "{denied}: {called:?}");
                }
                assert!(guest.host.refusals.borrow().is_empty(), "nobody asked for anything");
            }
        }
    }

    fn callbacks_that_would_refuse_count_as_missing(engine) {
        let guest = load(engine, callbacks(&["proxy_on_tick"]), "on vm_start
            (return #0)
            on configure
            (return #0)
            on done
            (return #0)");
        assert_eq!(guest.vm.borrow_mut().end_root(guest.root), Ok(true));
    }
}
