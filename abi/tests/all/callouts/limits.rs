//! How many callouts there may be.

use std::rc::Rc;
use std::time::Duration;

use cofferdam_abi::{HttpOutcome, Plugin, TrapKind};

use super::{Embed, setup, source};
use crate::world::{Look, Setup};

fn bounded(callouts: usize) -> Setup {
    let mut setup = setup();
    setup.settings.limits.callouts = callouts;
    setup
}

/// 256 KiB, and time for many calls.
fn narrow() -> Setup {
    let mut setup = setup();
    setup.settings.limits.memory = 256 << 10;
    setup.settings.limits.callback = Duration::from_secs(1);
    setup
}

each_engine! {
    fn one_more_than_64_answers_10_and_token_0(engine) {
        let guest = engine.guest_of(setup(), &source("on tick
            (local.set $a #64)
            (loop $more (global.set $g (i32.add (global.get $g) (!get)))
                (br_if $more (local.tee $a (i32.sub (local.get $a) #1))))
            (!say (global.get $g)) (!say (!get)) (!say (!token))
            (!say (!grpc_call {\"c\"} #0 #0 #0 #0 #0 #0 #0 #0 #0 #24)) (!say (!token))"));
        assert_eq!(guest.tick(), ["0", "10", "0", "10", "0"]);
        assert_eq!(guest.tokens().len(), 64);
        assert!(guest.host.notices.borrow()[0].contains("too many callouts under way"));
    }

    fn every_kind_counts_and_every_end_makes_room(engine) {
        let guest = engine.guest_of(bounded(1), &source("on configure
            (drop (!redis_init {\"c\"} #0 #0 #0 #0 #0))
            on tick\n (!say (!get))
            (!say (!grpc_stream {\"c\"} #0 #0 #0 #0 #0 #0 #24))
            (!say (!redis_call {\"c\"} {\"q\"} #24))
            on http_call_response\n (!text {\"again\"}) (!say (!get))"));
        guest.asked();
        assert_eq!(guest.tick(), ["0", "10", "10"]);
        guest.outcome(guest.tokens()[0], HttpOutcome::Reset).expect("no trap");
        assert_eq!(guest.logs(), ["again", "0"]);
    }

    fn each_root_has_as_many(engine) {
        let guest = engine.guest_of(bounded(1), &source("on tick\n (!say (!get)) (!say (!get))"));
        let other = guest.vm.borrow_mut().create_root(Rc::new(Plugin::default())).expect("root");
        assert_eq!(guest.tick(), ["0", "10"]);
        guest.vm.borrow_mut().tick(other).expect("no trap");
        assert_eq!(guest.logs(), ["0", "10"]);
    }

    fn none_is_none(engine) {
        let guest = engine.guest_of(bounded(0), &source("on tick\n (!say (!get))"));
        assert_eq!(guest.tick(), ["10"]);
    }

    fn requests_under_way_may_hold_what_a_guest_may(engine) {
        let mut setup = setup();
        setup.settings.limits.memory = 256 << 10;
        let guest = engine.guest_of(setup, &source("on tick
            (!say (!http_call {\"c\"} {\"GET\"} #0 #130000 #0 #0 #0 #24))
            (!say (!http_call {\"c\"} {\"GET\"} #0 #130000 #0 #0 #0 #24))
            (!say (!http_call {\"c\"} {\"GET\"} #0 #130000 #0 #0 #0 #24)) (!say (!token))
            on http_call_response\n (!say (!http_call {\"c\"} {\"GET\"} #0 #130000 #0 #0 #0 #24))"));
        assert_eq!(guest.tick(), ["0", "0", "10", "0"]);
        assert!(guest.host.notices.borrow()[0].contains("too many bytes in callouts"));
        guest.answer(guest.tokens()[0], "room");
        assert_eq!(guest.logs(), ["0"]);
    }

    fn messages_of_no_bytes_are_bounded_too(engine) {
        for (times, ends) in [(1_500, false), (2_100, true)] {
            let guest = engine.guest_of(narrow(), &source(&format!("on tick
                (drop (!grpc_stream {{\"c\"}} #0 #0 #0 #0 #0 #0 #24))
                (loop $more (drop (!grpc_send (!token) #0 #0 #0))
                    (br_if $more (i32.lt_u (local.tee $a (i32.add (local.get $a) #1)) #{times})))")));
            let ended = guest.vm.borrow_mut().tick(guest.root).err();
            assert_eq!(ended.map(|trap| trap.kind), ends.then_some(TrapKind::Memory), "{times}");
        }
    }

    fn calls_that_are_given_up_at_once_are_bounded_and_leave_nothing(engine) {
        let guest = engine.guest_of(narrow(), &source("on tick
            (loop $more
                (global.set $g (i32.add (global.get $g)
                    (i32.eqz (!grpc_call {\"c\"} #0 #0 #0 #0 #0 #0 #0 #0 #0 #24))))
                (drop (!grpc_cancel (!token)))
                (br_if $more (i32.lt_u (local.tee $a (i32.add (local.get $a) #1)) #1000)))
            (!say (global.get $g))"));
        let begun: usize = guest.tick()[0].parse().expect("a number");
        assert!((300..=410).contains(&begun), "{begun}");
        assert!(guest.asked().is_empty());
    }

    fn a_stream_that_was_left_open_at_our_end_does_not_count(engine) {
        let guest = engine.guest_of(bounded(1), &source("on tick
            (!say (!grpc_stream {\"c\"} #0 #0 #0 #0 #0 #0 #24)) (!say (!token))"));
        for token in 0..2000_u32 {
            assert_eq!(guest.tick(), ["0".to_owned(), (token * 4 + 6).to_string()]);
            let closed = cofferdam_abi::GrpcEvent::Closed { status: 0, message: "".into() };
            let token = guest.tokens()[0];
            guest.vm.borrow_mut().grpc_event(token, closed).expect("no trap");
        }
    }
}
