//! Contexts from their creation to their end.

use std::rc::Rc;
use std::time::Duration;

use cofferdam_abi::testing::{self, Guest};
use cofferdam_abi::{Chain, Plugin, RootEffect, Way};

use crate::guest;
use crate::world::{Drive, Engine, Look, Setup};

const LIFE: &str = "on context_create
    (!text {\"create\"}) (!say (local.get $a)) (!say (local.get $b))
    on request_headers
    (!text {\"headers\"}) (!say (local.get $a))
    on log
    (!text {\"log\"}) (!say (local.get $a))
    on done
    (!text {\"done\"}) (!say (local.get $a))
    on delete
    (!text {\"delete\"}) (!say (local.get $a))";

/// A second root in the VM of a guest.
fn another_root(guest: &Guest, name: &str) -> cofferdam_abi::RootId {
    let plugin = Plugin {
        name: name.to_owned(),
        ..Plugin::default()
    };
    guest
        .vm
        .borrow_mut()
        .create_root(Rc::new(plugin))
        .expect("a second root")
}

each_engine! {
    fn a_stream_lives_from_create_to_delete(engine) {
        let guest = engine.guest(LIFE);
        assert_eq!(guest.get(), [
            "create", "2", "1", "headers", "2", "log", "2", "done", "2", "delete", "2",
        ]);
    }

    fn the_spec_preset_ends_streams_done_log_delete(engine) {
        let guest = engine.guest("on log\n (!text {\"log\"})\non done\n (!text {\"done\"})
            on delete\n (!text {\"delete\"})");
        for (done_before_log, order) in
            [(false, ["log", "done", "delete"]), (true, ["done", "log", "delete"])]
        {
            Chain::begin(testing::get(), [guest.handle()], done_before_log).end();
            assert_eq!(guest.logs(), order);
        }
    }

    fn context_ids_are_never_used_again(engine) {
        let guest = engine.guest("on context_create\n (!say (local.get $a))");
        guest.logs();
        let first = guest.chain();
        let second = guest.chain();
        drop(first);
        let third = guest.chain();
        drop((second, third));
        guest.chain().end();
        assert_eq!(guest.logs(), ["2", "3", "4", "5"]);
        assert_eq!(guest.vm.borrow_mut().streams(), 0);
    }

    fn a_chain_ends_exactly_once_by_itself_or_by_hand(engine) {
        let guest = engine.guest("on log\n (!say #1)\non done\n (!say #2)\non delete\n (!say #3)");
        let mut chain = guest.chain();
        chain.end();
        chain.end();
        drop(chain);
        assert_eq!(guest.logs(), ["1", "2", "3"]);
        drop(guest.chain());
        assert_eq!(guest.logs(), ["1", "2", "3"]);
    }

    fn nothing_is_called_after_the_end(engine) {
        let guest = engine.guest(LIFE);
        let mut chain = guest.chain();
        chain.end();
        guest.logs();
        assert!(chain.headers(Way::Request, true).is_empty());
        assert!(chain.respond(true).is_empty());
        chain.poll();
        assert!(guest.logs().is_empty());
    }

    fn a_stream_that_is_not_done_is_deleted_all_the_same(engine) {
        let guest = engine.guest("on done\n (!say #1) (return #0)\non delete\n (!say #2)");
        assert_eq!(guest.get(), ["1", "2"]);
        assert_eq!(guest.vm.borrow_mut().streams(), 0);
    }

    fn a_request_that_never_came_has_only_its_end(engine) {
        let guest = engine.guest(LIFE);
        guest.logs();
        drop(guest.chain());
        assert_eq!(guest.logs(), ["create", "2", "1", "log", "2", "done", "2", "delete", "2"]);
    }

    fn a_client_that_leaves_while_a_guest_holds_the_stream_ends_it(engine) {
        let guest = engine.guest("on request_headers\n (return #1)
            on response_headers\n (!say #9)
            on log\n (!text {\"log\"}) (!say (!get_header_map_value #2 {\":status\"} @out))
                (!say (!get_property {\"response\\00code\"} @out))
            on done\n (!text {\"done\"})\non delete\n (!text {\"delete\"})");
        assert_eq!(guest.get(), ["log", "1", "1", "done", "delete"]);
    }

    fn ten_thousand_streams_leave_nothing_behind(engine) {
        let guest = engine.guest("on request_headers\n (return #1)\non request_body\n (return #1)");
        guest.get();
        let memory = guest.vm.borrow().memory_size();
        for _ in 0..10_000 {
            let mut chain = guest.chain();
            chain.headers(Way::Request, false);
            chain.data(Way::Request, "held", false);
        }
        assert_eq!(guest.vm.borrow_mut().streams(), 0);
        assert_eq!(guest.vm.borrow().memory_size(), memory);
    }

    fn each_root_of_a_vm_is_created_and_configured(engine) {
        let guest = engine.guest("on context_create
            (!text {\"create\"}) (!say (local.get $a))
            on vm_start\n (!text {\"start\"}) (!say (local.get $a))
            on configure\n (!text {\"configure\"}) (!say (local.get $a))
            (drop (!get_property {\"plugin_name\"} @out)) (!show)");
        guest.logs();
        let root = another_root(&guest, "second");
        assert_eq!(root.number(), 2);
        assert_eq!(guest.logs(), ["create", "2", "start", "2", "configure", "2", "second"]);
    }

    fn streams_belong_to_the_root_they_were_opened_for(engine) {
        let guest = engine.guest("on context_create\n (!say (local.get $b))
            on request_headers\n (drop (!get_property {\"plugin_name\"} @out)) (!show)");
        let root = another_root(&guest, "second");
        guest.logs();
        let mut handle = guest.handle();
        handle.root = root;
        let mut chain = Chain::begin(testing::get(), [handle], false);
        chain.headers(Way::Request, true);
        assert_eq!(guest.logs(), ["2", "second"]);
    }

    fn vms_do_not_share_globals(engine) {
        let source = "on vm_start
            (global.set $g (i32.add (global.get $g) #1)) (!say (global.get $g))";
        assert_eq!(engine.guest(source).logs(), ["1"]);
        assert_eq!(engine.guest(source).logs(), ["1"]);
    }

    fn a_root_that_is_done_is_deleted_at_once(engine) {
        let guest = engine.guest(LIFE);
        guest.logs();
        assert_eq!(guest.vm.borrow_mut().end_root(guest.root), Ok(true));
        assert_eq!(guest.logs(), ["done", "1", "delete", "1"]);
        assert_eq!(guest.vm.borrow_mut().end_root(guest.root), Ok(true));
        assert!(guest.tick().is_empty());
        assert!(guest.logs().is_empty());
    }

    fn a_root_without_callbacks_for_its_end_just_ends(engine) {
        let guest = engine.guest("on tick\n (!say #1)");
        assert_eq!(guest.vm.borrow_mut().end_root(guest.root), Ok(true));
        assert!(guest.tick().is_empty());
    }

    fn a_root_that_is_not_done_goes_on_until_it_says_so(engine) {
        let guest = engine.guest("on done\n (!text {\"done\"}) (return #0)
            on tick\n (!say (!done)) (!say (!done))
            on delete\n (!text {\"delete\"})");
        let mut vm = guest.vm.borrow_mut();
        assert_eq!(vm.end_root(guest.root), Ok(false));
        assert_eq!(vm.end_root(guest.root), Ok(false), "asked once only");
        drop(vm);
        assert_eq!(guest.logs(), ["done"]);
        assert_eq!(guest.tick(), ["0", "1"], "the second proxy_done is too late");
        let mut vm = guest.vm.borrow_mut();
        assert_eq!(vm.take_root_effects(), [RootEffect::Done { root: guest.root }]);
        vm.delete_root(guest.root).expect("delete");
        vm.delete_root(guest.root).expect("only once");
        drop(vm);
        assert_eq!(guest.logs(), ["delete"]);
    }

    fn proxy_done_is_too_early_before_the_host_has_asked(engine) {
        let guest = engine.guest("on tick\n (!say (!done))\non request_headers\n (!say (!done))");
        assert_eq!(guest.tick(), ["1"]);
        assert_eq!(guest.get(), ["1"]);
        assert!(!guest.vm.borrow_mut().has_root_effects());
    }

    fn a_stream_may_say_that_its_root_is_done(engine) {
        let guest = engine.guest("on request_headers\n (!say (!done))
            on done\n (return (i32.ne (local.get $a) #1))");
        guest.vm.borrow_mut().end_root(guest.root).expect("done");
        assert_eq!(guest.get(), ["0"]);
        assert_eq!(guest.vm.borrow_mut().take_root_effects(), [RootEffect::Done { root: guest.root }]);
    }

    fn proxy_done_inside_done_is_too_early(engine) {
        let guest = engine.guest("on done\n (!say (!done))\non delete\n (!text {\"delete\"})");
        assert_eq!(guest.vm.borrow_mut().end_root(guest.root), Ok(true));
        assert_eq!(guest.logs(), ["1", "delete"]);
        assert!(!guest.vm.borrow_mut().has_root_effects(), "nothing is left to do for it");
    }

    fn the_last_timer_asked_for_is_the_one_to_set(engine) {
        let guest = engine.guest("on configure
            (!say (!set_tick_period_milliseconds #5)) (!say (!set_tick_period_milliseconds #7))
            on request_headers
            (!say (!set_tick_period_milliseconds #0))");
        assert_eq!(guest.logs(), ["0", "0"]);
        let period = Some(Duration::from_millis(7));
        assert_eq!(guest.vm.borrow_mut().take_root_effects(), [RootEffect::Tick { root: guest.root, period }]);
        assert_eq!(guest.get(), ["0"], "a stream sets the timer of its root");
        assert_eq!(guest.vm.borrow_mut().take_root_effects(), [RootEffect::Tick { root: guest.root, period: None }]);
        assert!(!guest.vm.borrow_mut().has_root_effects());
    }

    fn a_root_that_was_refused_leaves_no_timer(engine) {
        let source = "on configure
            (drop (!set_tick_period_milliseconds #5)) (return (i32.eqz (local.get $b)))";
        let guest = engine.guest(source);
        guest.vm.borrow_mut().take_root_effects();
        let plugin = Plugin { configuration: "bad".into(), ..Plugin::default() };
        guest.vm.borrow_mut().create_root(Rc::new(plugin)).expect_err("refused");
        assert!(!guest.vm.borrow_mut().has_root_effects());
        assert!(!guest.vm.borrow().is_failed(), "a refusal is no crash");
    }

    fn every_callback_may_be_missing(engine) {
        let all: Vec<&str> = guest::CALLBACKS.iter().map(|(name, ..)| *name).collect();
        for missing in &all {
            let source: String = all
                .iter()
                .filter(|name| *name != missing)
                .map(|name| format!("on {name}\n"))
                .collect();
            whole_exchange(engine, &source);
        }
        whole_exchange(engine, "");
    }

    fn header_callbacks_of_0_1_0_are_not_told_of_the_end(engine) {
        let setup = Setup::version("proxy_abi_version_0_1_0");
        let guest = engine.load(setup, "on request_headers\n (!say (local.get $a)) (!say (local.get $b))
            on response_headers\n (!say (local.get $b))").expect("loads");
        let mut chain = guest.chain();
        assert_eq!(chain.headers(Way::Request, true), ["headers."]);
        assert_eq!(chain.respond(true), ["headers."]);
        assert_eq!(guest.logs(), ["2", "6", "2"]);
    }

    fn the_size_of_a_vm_and_its_debug_form_are_there(engine) {
        let guest = engine.guest("on tick\n");
        assert_eq!(guest.vm.borrow().memory_size(), 2 * 65536);
        assert!(format!("{:?}", guest.vm.borrow()).contains("failed: false"));
    }
}

/// A whole exchange through a guest that has nothing against it.
fn whole_exchange(engine: Engine, source: &str) {
    let guest = engine.guest(source);
    let mut chain = guest.chain();
    assert_eq!(chain.headers(Way::Request, false), ["headers"]);
    assert_eq!(chain.data(Way::Request, "a", false), ["data:a"]);
    assert_eq!(chain.trailers(Way::Request, &[("t", "1")]), ["trailers"]);
    assert_eq!(chain.respond(false), ["headers"]);
    assert_eq!(chain.data(Way::Response, "b", true), ["data:b."]);
    assert!(chain.end().is_empty());
    drop(chain);
    guest.vm.borrow_mut().tick(guest.root).expect("tick");
    assert_eq!(guest.vm.borrow_mut().end_root(guest.root), Ok(true));
    assert_eq!(guest.host.notices.borrow().len(), 0);
}
