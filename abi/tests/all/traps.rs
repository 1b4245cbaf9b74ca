//! Guests that crash: what becomes of their stream, and of everybody else.

use cofferdam_abi::testing::{self, Guest};
use cofferdam_abi::{Chain, Compat, FailureReason, TrapKind, Way};

use crate::world::{Drive, Engine, Look, Setup};

fn trap(chain: &Chain) -> (TrapKind, &'static str) {
    match &chain.failure().expect("a failure").reason {
        FailureReason::Trap(trap) => (trap.kind, trap.callback),
        FailureReason::TooLarge(_) => panic!("not a trap"),
    }
}

/// A whole exchange, as far as it comes; whether it was cut, and its status.
fn exchange(guest: &Guest) -> (bool, String, Chain) {
    let mut chain = guest.chain();
    chain.headers(Way::Request, false);
    chain.data(Way::Request, "a", false);
    chain.trailers(Way::Request, &[("t", "1")]);
    if !chain.request_is_closed() {
        chain.respond(false);
        chain.data(Way::Response, "b", false);
        chain.trailers(Way::Response, &[("t", "1")]);
    }
    (
        chain.is_reset(),
        chain.response().first().cloned().unwrap_or_default(),
        chain,
    )
}

/// The name under which a callback is exported.
fn exported(callback: &str) -> &'static str {
    let name = format!("proxy_on_{callback}");
    cofferdam_abi::Callback::from_name(&name)
        .expect("a callback")
        .name()
}

fn crashing(engine: Engine, callback: &str) -> Guest {
    engine.guest(&format!("on {callback}\n unreachable"))
}

each_engine! {
    fn a_crash_in_the_request_answers_503(engine) {
        for callback in ["request_headers", "request_body", "request_trailers"] {
            let guest = crashing(engine, callback);
            let (cut, status, mut chain) = exchange(&guest);
            assert_eq!((cut, &status[..]), (false, ":status: 503"), "{callback}");
            assert_eq!(trap(&chain), (TrapKind::Unreachable, exported(callback)));
            assert_eq!(chain.out(Way::Response), ["headers."]);
            assert_eq!(chain.details().map(|text| &text[..]), Some(&b"wasm_fail_stream"[..]));
            assert!(guest.vm.borrow().is_failed());
        }
    }

    fn a_crash_in_the_response_headers_replaces_them(engine) {
        let guest = crashing(engine, "response_headers");
        let (cut, status, mut chain) = exchange(&guest);
        assert_eq!((cut, &status[..]), (false, ":status: 503"));
        assert_eq!(chain.out(Way::Response), Vec::<String>::new(), "taken by the exchange already");
        assert!(chain.response_is_local());
    }

    fn a_crash_after_headers_have_left_resets(engine) {
        for callback in ["response_body", "response_trailers"] {
            let (cut, status, chain) = exchange(&crashing(engine, callback));
            assert_eq!((cut, &status[..]), (true, ":status: 200"), "{callback}");
            assert!(chain.failure().is_some() && chain.request_is_closed());
        }
    }

    fn a_crash_while_a_stream_is_opened_answers_its_request_with_503(engine) {
        let guest = engine.guest("on context_create\n (if (local.get $b) (then unreachable))");
        let (cut, status, chain) = exchange(&guest);
        assert_eq!((cut, &status[..]), (false, ":status: 503"));
        assert_eq!(trap(&chain), (TrapKind::Unreachable, "proxy_on_context_create"));
        assert_eq!(guest.vm.borrow_mut().streams(), 0);
    }

    fn a_crash_at_the_end_is_told_and_harms_nobody(engine) {
        for (compat, callback, called, failed) in [
            (Compat::SUPERSET, "log", "", true),
            (Compat::SUPERSET, "done", "log delete", false),
            (Compat::SUPERSET, "delete", "log done", false),
            (Compat::ENVOY, "log", "", true),
            (Compat::ENVOY, "done", "log", true),
            (Compat::ENVOY, "delete", "log done", true),
            (Compat::SPEC, "log", "done", true),
            (Compat::SPEC, "done", "", true),
            (Compat::SPEC, "delete", "done log", true),
        ] {
            let mut source = String::new();
            for name in ["log", "done", "delete"] {
                let crash = if name == callback { "unreachable" } else { "" };
                source += &format!("on {name}\n {crash} (!text {{\"{name}\"}})\n");
            }
            let guest = engine.load(Setup::compat(compat), &source).expect("loads");
            let mut chain = Chain::begin(testing::get(), [guest.handle()], compat.done_before_log);
            assert_eq!(chain.headers(Way::Request, true), ["headers."]);
            let failures = chain.end();
            assert_eq!(failures.len(), 1);
            assert!(chain.failure().is_none(), "the exchange itself was fine");
            assert_eq!(guest.logs().join(" "), called, "{callback} {compat:?}");
            assert_eq!(guest.vm.borrow_mut().streams(), 0);
            assert_eq!(guest.vm.borrow().is_failed(), failed, "{callback} {compat:?}");
            assert_eq!(guest.vm.borrow_mut().is_sound(guest.root), !failed);
        }
    }

    fn a_guest_that_locks_itself_up_when_it_crashes_at_the_end_is_found_out(engine) {
        // As the `proxy-wasm` crate: what was borrowed for the call stays borrowed.
        let locked = "raw\n (func $lock (if (global.get $g) (then unreachable)) (global.set $g #1))
            on context_create\n (!lock) (global.set $g #0)
            on done\n (!lock) (if (global.get $h) (then unreachable)) (global.set $g #0)
            on delete\n (!lock) (global.set $g #0)
            on request_headers\n (!lock) (global.set $h (i32.eq (local.get $b) #1)) (global.set $g #0)";
        let guest = engine.guest(locked);
        let well = guest.chain();
        drop(well);
        assert!(guest.vm.borrow_mut().is_sound(guest.root), "nothing has crashed");
        let mut chain = Chain::begin(
            cofferdam_abi::Exchange::new(testing::map(&[(":path", "/")]), Box::new(())).share(),
            [guest.handle()],
            false,
        );
        chain.headers(Way::Request, true);
        assert_eq!(chain.end().len(), 2, "done, and delete that finds it locked");
        let vm = &guest.vm;
        assert!(!vm.borrow_mut().is_sound(guest.root), "no request has to find out");
        assert!(vm.borrow().is_failed());
        assert_eq!(vm.borrow_mut().streams(), 0);
    }

    fn a_stream_that_crashed_gets_no_callback_any_more(engine) {
        let guest = engine.guest("on request_headers\n unreachable
            on request_body\n (!say #9)\non response_headers\n (!say #9)\non log\n (!say #9)
            on done\n (!say #9)\non delete\n (!say #9)");
        let (_, _, mut chain) = exchange(&guest);
        assert!(chain.end().is_empty());
        assert!(guest.logs().is_empty());
        assert_eq!(guest.vm.borrow_mut().streams(), 0);
    }

    fn other_filters_see_the_503_and_the_end(engine) {
        let watch = "on request_headers\n (!text {\"q\"})
            on response_headers\n (drop (!get_header_map_value #2 {\":status\"} @out)) (!show)
            on log\n (!text {\"log\"})\non delete\n (!text {\"delete\"})";
        let (first, last) = (engine.guest(watch), engine.guest(watch));
        let middle = crashing(engine, "request_headers");
        let handles = [first.handle(), middle.handle(), last.handle()];
        let mut chain = Chain::begin(testing::get(), handles, false);
        chain.headers(Way::Request, true);
        assert_eq!(chain.out(Way::Response), ["headers."]);
        chain.end();
        assert_eq!(first.logs(), ["q", "503", "log", "delete"]);
        assert_eq!(last.logs(), ["log", "delete"]);
        assert!(!first.vm.borrow().is_failed());
    }

    fn a_crash_in_the_response_goes_around_the_other_filters(engine) {
        let watch = engine.guest("on request_headers\non response_headers\n (!say #9)");
        let crash = crashing(engine, "response_headers");
        let mut chain = Chain::begin(testing::get(), [watch.handle(), crash.handle()], false);
        chain.headers(Way::Request, true);
        assert_eq!(chain.respond(false), ["headers."]);
        assert_eq!(chain.response(), [":status: 503"]);
        assert!(watch.logs().is_empty());
    }

    fn a_crash_in_the_way_of_a_503_does_not_stop_it(engine) {
        let first = crashing(engine, "response_headers");
        let second = crashing(engine, "request_headers");
        let mut chain = Chain::begin(testing::get(), [first.handle(), second.handle()], false);
        chain.headers(Way::Request, true);
        assert_eq!(chain.out(Way::Response), ["headers."]);
        assert_eq!(chain.response(), [":status: 503"]);
        assert!(!chain.is_reset());
        assert_eq!(trap(&chain).1, "proxy_on_request_headers", "the first failure is kept");
    }

    fn a_filter_that_crashes_over_its_own_answer_gives_503(engine) {
        let guest = engine.guest("on request_headers\n (drop (!send_local_response #200 #0 #0 {\"ok\"} #0 #0 #-1))
            on response_headers\n unreachable");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert_eq!(chain.out(Way::Response), ["headers."]);
        assert_eq!(chain.response(), [":status: 503"]);
    }

    fn what_a_guest_asked_for_before_it_crashed_is_void(engine) {
        for ask in [
            "(drop (!send_local_response #200 #0 #0 {\"ok\"} #0 #0 #-1))",
            "(drop (!close_stream #0))",
            "(drop (!continue_stream #0))",
        ] {
            for callback in ["request_headers", "request_body"] {
                let guest = engine.guest(&format!("on {callback}\n {ask} unreachable"));
                let mut chain = guest.chain();
                chain.headers(Way::Request, false);
                chain.data(Way::Request, "a", true);
                assert_eq!(chain.out(Way::Response), ["headers."], "{ask}");
                assert_eq!(chain.response(), [":status: 503"]);
                assert!(!chain.is_reset());
                assert_eq!(trap(&chain).0, TrapKind::Unreachable);
            }
        }
    }

    fn a_crash_while_resuming_is_a_crash(engine) {
        let guest = engine.guest("on request_headers\n (return #1)\non request_body\n unreachable
            on tick\n (drop (!set_effective_context #2)) (drop (!continue_stream #0))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        chain.data(Way::Request, "a", true);
        guest.tick();
        chain.poll();
        assert_eq!(chain.out(Way::Response), ["headers."]);
        assert_eq!(chain.response(), [":status: 503"]);
        assert!(chain.out(Way::Request).is_empty(), "the upstream gets nothing of it");
    }

    fn a_crash_in_the_allocator_ends_the_outer_call(engine) {
        let mut setup = Setup::default();
        setup.shape.allocator = "";
        let guest = engine.load(setup, "raw
            (func (export \"malloc\") (param i32) (result i32) unreachable)
            on request_headers
            (drop (!get_header_map_value #0 {\"x-a\"} @out)) (!say #9)").expect("loads");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert!(guest.logs().is_empty());
        let reason = format!("{:?}", chain.failure().expect("a failure").reason);
        assert!(reason.contains("Unreachable") && reason.contains("in its allocator"), "{reason}");
        assert_eq!(chain.response(), [":status: 503"]);
    }

    fn an_allocator_may_log_and_little_else(engine) {
        let mut setup = Setup::default();
        setup.shape.allocator = "";
        let source = "raw
            (func (export \"malloc\") (param $size i32) (result i32)
                (!say (!clock_time_get #0 (i64.const 0) #256)) (!say (!poll_oneoff #0 #0 #0 #256))
                (!say (!fd_write #1 #256 #0 #264)) (!say (!continue_stream #0)) (!say (!random_get #256 #4))
                (!allocate (local.get $size)))
            on request_headers
            (!say (!get_header_map_value #0 {\"x-a\"} @out)) (!say (!continue_stream #0))";
        let guest = engine.load(setup.clone(), source).expect("loads");
        assert_eq!(guest.get(), ["0", "0", "0", "12", "52", "0", "0"]);
        setup.settings.compat = Compat::ENVOY;
        let guest = engine.load(setup, source).expect("loads");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert_eq!(trap(&chain).0, TrapKind::Hostcall);
    }

    fn every_way_to_crash_is_told_apart(engine) {
        for (code, kind) in [
            ("unreachable", TrapKind::Unreachable),
            ("(drop (i32.load #-1))", TrapKind::Fault),
            ("(i32.store #131070 #0)", TrapKind::Fault),
            ("(drop (i32.div_u #1 #0))", TrapKind::Fault),
            ("(drop (i32.div_s #0x80000000 #-1))", TrapKind::Fault),
            ("(drop (i32.trunc_f64_s (f64.const nan)))", TrapKind::Fault),
            ("(call_indirect (type $t) #0)", TrapKind::Fault),
            ("(call_indirect (type $t) #9)", TrapKind::Fault),
            ("(!proc_exit #0)", TrapKind::Exit),
            ("(!proc_exit #1)", TrapKind::Exit),
        ] {
            let guest = engine.guest(&format!("raw\n (type $t (func)) (table 1 funcref)\non request_headers\n {code}"));
            let mut chain = guest.chain();
            chain.headers(Way::Request, true);
            assert_eq!(trap(&chain), (kind, "proxy_on_request_headers"), "{code}");
        }
    }

    fn streams_of_a_vm_that_crashed_may_finish_on_it(engine) {
        let guest = engine.guest("on request_headers
            (if (i32.eq (local.get $a) #3) (then unreachable)) (return #1)
            on tick\n (drop (!set_effective_context #2)) (drop (!continue_stream #0))
            on response_headers\n (!say (local.get $a))\non delete\n (!say (local.get $a))");
        let (mut good, mut bad) = (guest.chain(), guest.chain());
        good.headers(Way::Request, true);
        bad.headers(Way::Request, true);
        assert!(guest.vm.borrow().is_failed());
        assert!(good.failure().is_none());
        guest.tick();
        good.poll();
        assert_eq!(good.out(Way::Request), ["headers."]);
        assert_eq!(good.respond(true), ["headers."]);
        drop(good);
        assert_eq!(guest.logs(), ["2", "2"]);
    }

    fn a_root_that_crashes_at_its_end_is_gone_all_the_same(engine) {
        let guest = crashing(engine, "delete");
        let mut vm = guest.vm.borrow_mut();
        assert!(vm.end_root(guest.root).is_err());
        assert_eq!(vm.end_root(guest.root), Ok(true));
        drop(vm);
        let guest = engine.guest("on done\n unreachable");
        let mut vm = guest.vm.borrow_mut();
        assert!(vm.end_root(guest.root).is_err());
        assert_eq!(vm.end_root(guest.root), Ok(true), "nobody waits for it");
    }

    fn the_end_of_a_root_is_not_told_to_a_vm_that_crashed(engine) {
        const SOURCE: &str = "on tick\n unreachable
            on done\n (!text {\"done\"}) (return #0)
            on delete\n (!text {\"delete\"})";
        let guest = engine.guest(SOURCE);
        let mut vm = guest.vm.borrow_mut();
        assert!(vm.tick(guest.root).is_err());
        assert_eq!(vm.end_root(guest.root), Ok(true));
        drop(vm);
        assert!(guest.logs().is_empty());
        // It crashes between its answer and what it was waiting for.
        let guest = engine.guest(SOURCE);
        let mut vm = guest.vm.borrow_mut();
        assert_eq!(vm.end_root(guest.root), Ok(false));
        assert!(vm.tick(guest.root).is_err());
        assert_eq!(vm.end_root(guest.root), Ok(true));
        vm.delete_root(guest.root).expect("no call");
        drop(vm);
        assert_eq!(guest.logs(), ["done"]);
    }
}
