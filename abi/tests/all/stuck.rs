//! What would wait for ever, or cost the host more than the guest: answers that are held
//! back, roots that crash, loops of records.

use cofferdam_abi::testing::Guest;
use cofferdam_abi::{FailureReason, LocalReply, LogLevel, TrapKind, Way};

use crate::world::{Drive, Look};

/// Fuel of one callback in these tests.
const FUEL: usize = 2_000_000;
/// What a record costs at least.
const RECORD: usize = 3_000;

/// How many records a timer leaves that writes them until it is stopped.
fn records(guest: &Guest) -> usize {
    let trap = guest.vm.borrow_mut().tick(guest.root).expect_err("a trap");
    assert_eq!(trap.kind, TrapKind::Deadline);
    guest.logs().len()
}

each_engine! {
    fn the_last_word_goes_around_a_filter_that_holds_its_own_answer(engine) {
        let guest = engine.guest("on request_headers
            (drop (!send_local_response #403 #0 #0 {\"no\"} #0 #0 #-1)) (return #1)
            on response_headers\n (!text {\"headers\"}) (return #1)
            on response_body\n (!text {\"body\"})
            on tick\n (!say (!set_effective_context #2)) (drop (!continue_stream #1))
            on done\n (!text {\"done\"})\non log\n (!text {\"log\"})\non delete\n (!text {\"delete\"})");
        let reply = LocalReply { status: 504, body: "late".into(), grpc_status: -1, ..LocalReply::default() };
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert!(chain.response_is_local() && chain.out(Way::Response).is_empty());
        chain.reply(&reply);
        assert!(chain.out(Way::Response).is_empty(), "this one does not replace what is held");
        chain.reply_now(&reply);
        assert_eq!(chain.out(Way::Response), ["headers", "data:late."]);
        assert_eq!(chain.response()[0], ":status: 504");
        assert!(!chain.is_reset());
        assert_eq!(guest.logs(), ["headers"]);
        guest.tick();
        chain.poll();
        assert!(chain.out(Way::Response).is_empty(), "what it held is gone");
        guest.logs();
        chain.end();
        assert!(chain.is_ended());
        assert_eq!(guest.logs(), ["log", "done", "delete"]);
    }

    fn a_tick_that_crashes_fails_the_streams_its_root_holds(engine) {
        for held in ["request_headers", "request_body", "request_trailers", "response_headers", "response_body"] {
            let guest = engine.guest(&format!("on {held}\n (return #1)\non tick\n unreachable"));
            let mut chain = guest.chain();
            chain.headers(Way::Request, false);
            chain.data(Way::Request, "some", false);
            if held == "request_trailers" {
                chain.trailers(Way::Request, &[("t", "1")]);
            }
            if held.starts_with("response") {
                chain.respond(false);
                chain.data(Way::Response, "more", false);
            }
            assert_eq!(chain.failure(), None, "{held}");
            guest.vm.borrow_mut().tick(guest.root).expect_err("a trap");
            assert!(guest.vm.borrow().is_failed());
            chain.poll();
            let failure = chain.failure().unwrap_or_else(|| panic!("{held}: no failure"));
            assert!(matches!(&failure.reason, FailureReason::Trap(trap) if trap.callback == "proxy_on_tick"));
            // Too late to say so once headers have left.
            if held == "response_body" {
                assert!(chain.is_reset(), "{held}");
            } else {
                assert_eq!(chain.response()[0], ":status: 503", "{held}");
                assert!(!chain.out(Way::Response).is_empty(), "{held}");
            }
        }
    }

    fn a_tick_that_crashes_costs_nothing_where_nothing_is_held(engine) {
        let guest = engine.guest("on request_headers\non response_headers\n (!say #1)\non tick\n unreachable");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        guest.vm.borrow_mut().tick(guest.root).expect_err("a trap");
        chain.poll();
        assert_eq!(chain.data(Way::Request, "some", true), ["data:some."]);
        assert_eq!(chain.respond(true), ["headers."]);
        assert_eq!((chain.failure(), guest.logs()), (None, vec!["1".to_owned()]));
    }

    fn a_loop_of_records_leaves_so_many_and_no_more(engine) {
        for (what, code) in [
            ("proxy_log", "(drop (!log #2 #0 #1))"),
            ("critical", "(drop (!log #5 #0 #0))"),
            ("fd_write", "(i32.store #256 #4096) (i32.store #260 #1) (drop (!fd_write #1 #256 #1 #264))"),
        ] {
            let guest = engine.guest(&format!("on tick\n (loop $again {code} (br $again))"));
            let count = records(&guest);
            assert!((1..=FUEL / RECORD + 1).contains(&count), "{what}: {count}");
        }
    }

    fn records_nobody_wants_cost_no_more_than_any_call(engine) {
        let guest = engine.guest("on tick
            (local $n i32)
            (loop $again (drop (!log #2 #0 #1))
                (local.set $n (i32.add (local.get $n) #1)) (br_if $again (i32.lt_u (local.get $n) #5000)))
            (drop (!log #4 #0 #0))");
        guest.host.level.set(LogLevel::Error);
        assert_eq!(guest.tick().len(), 1);
    }
}
