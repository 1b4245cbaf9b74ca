//! Whose a callout is: where it may begin, where its answer goes, how it ends with a root.

use std::rc::Rc;

use cofferdam_abi::{HttpOutcome, Plugin, Way};

use super::{Embed, setup, source};
use crate::world::{Drive, Look};

const ANSWERED: &str =
    "on http_call_response\n (!say (local.get $a)) (!say (local.get $b)) (!body #4)\n";

each_engine! {
    fn calls_may_begin_in_every_callback_of_a_root(engine) {
        for callback in ["context_create", "vm_start", "configure"] {
            let guest = engine.guest_of(setup(), &source(&format!("on {callback}\n (!say (!get))\n{ANSWERED}")));
            assert_eq!(guest.logs(), ["0"], "{callback}");
            assert_eq!(guest.tokens().len(), 1);
        }
        let guest = engine.guest_of(setup(), &source(&format!("on vm_start\n (!say (!get))\n{ANSWERED}on tick\n (!say (!get))")));
        guest.answer(guest.tokens()[0], "start");
        assert_eq!(guest.logs(), ["0", "1", "4", "start"]);
        assert_eq!(guest.tick(), ["0"]);
        guest.answer(guest.tokens()[0], "tick");
        assert_eq!(guest.logs(), ["1", "8", "tick"]);
    }

    fn calls_of_a_stream_are_its_roots(engine) {
        for callback in ["request_headers", "log", "done", "delete"] {
            let guest = engine.guest_of(setup(), &source(&format!("on {callback}\n (!say (!get))\n{ANSWERED}")));
            assert_eq!(guest.get(), ["0"], "{callback}");
            assert_eq!(guest.vm.borrow_mut().streams(), 0);
            let effects = guest.vm.borrow_mut().take_root_effects();
            assert_eq!(effects[0].root(), guest.root);
            let cofferdam_abi::RootEffect::Call { token, .. } = effects[0] else { panic!("{effects:?}") };
            guest.answer(token, "late");
            assert_eq!(guest.logs(), ["1", "4", "late"], "the stream is gone, the root is there");
        }
    }

    fn an_answer_waits_until_the_guest_is_back(engine) {
        let guest = engine.guest_of(setup(), &source("on request_headers\n (drop (!get)) (!text {\"asked\"}) (return #1)
            on http_call_response\n (!text {\"answered\"}) (drop (!set_effective_context #2)) (drop (!continue_stream #0))"));
        let mut chain = guest.chain();
        assert!(chain.headers(Way::Request, true).is_empty());
        assert_eq!(guest.logs(), ["asked"]);
        guest.answer(guest.tokens()[0], "b");
        assert_eq!(guest.logs(), ["answered"]);
        chain.poll();
        assert_eq!(chain.out(Way::Request), ["headers."]);
    }

    fn an_answer_is_readable_under_the_effective_context_of_its_stream(engine) {
        let guest = engine.guest_of(setup(), &source("on request_headers\n (drop (!get)) (return #1)
            on http_call_response
            (drop (!set_effective_context #2)) (!value #6 {\":status\"}) (!body #4) (!value #0 {\":path\"})
            (!say (!get)) (!say (!token)) (!status)"));
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        guest.answer(guest.tokens()[0], "b");
        assert_eq!(guest.logs(), ["200", "b", "/path?q=1", "0", "8", "0", ""]);
    }

    fn another_root_does_not_see_it_nor_can_it_name_the_call(engine) {
        let guest = engine.guest_of(setup(), &source("on tick
            (drop (!get)) (drop (!grpc_stream {\"c\"} #0 #0 #0 #0 #0 #0 #28))
            on queue_ready\n (!say (!grpc_send #6 #0 #0 #0)) (!say (!grpc_close #6)) (!say (!grpc_cancel #6))
            on http_call_response
            (drop (!set_effective_context #2)) (!value #6 {\":status\"}) (!body #4)
            (!say (!grpc_send #6 #0 #0 #0)) (!say (!grpc_close #6)) (!say (!grpc_cancel #6))
            (drop (!set_effective_context #0)) (!value #6 {\":status\"}) (!body #4)
            (!say (!grpc_send #6 #0 #0 #0)) (!say (!grpc_close #6)) (!say (!grpc_cancel #6))"));
        let other = guest.vm.borrow_mut().create_root(Rc::new(Plugin::default())).expect("root");
        assert_eq!(other.number(), 2);
        guest.tick();
        guest.answer(guest.tokens()[0], "b");
        assert_eq!(guest.logs(), ["2", "1", "1", "1", "1", "200", "b", "0", "0", "0"]);
    }

    fn a_call_under_an_effective_context_is_of_that_contexts_root(engine) {
        let guest = engine.guest_of(setup(), &source(&format!("on request_headers\n (return #1)
            on tick\n (drop (!set_effective_context #2)) (!say (!get))\n{ANSWERED}")));
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        let other = guest.vm.borrow_mut().create_root(Rc::new(Plugin::default())).expect("root");
        guest.logs();
        guest.vm.borrow_mut().tick(other).expect("no trap");
        let effects = guest.vm.borrow_mut().take_root_effects();
        assert_eq!(effects[0].root(), guest.root);
        let cofferdam_abi::RootEffect::Call { token, .. } = effects[0] else { panic!("{effects:?}") };
        guest.answer(token, "b");
        assert_eq!(guest.logs(), ["0", "1", "4", "b"]);
    }

    fn calls_can_follow_one_another(engine) {
        let guest = engine.guest_of(setup(), &source("on tick\n (drop (!get))
            on http_call_response\n (!body #4) (!say (!get)) (!say (!token))"));
        guest.tick();
        for (body, token) in [("one", "8"), ("two", "12"), ("three", "16")] {
            guest.answer(guest.tokens()[0], body);
            assert_eq!(guest.logs(), [body, "0", token]);
        }
    }

    fn a_root_that_goes_cancels_its_calls_and_hears_nothing(engine) {
        let guest = engine.guest_of(setup(), &source(&format!("on tick
            (drop (!get)) (drop (!get)) (drop (!grpc_stream {{\"c\"}} #0 #0 #0 #0 #0 #0 #28))\n{ANSWERED}
            on grpc_close\n (!text {{\"closed\"}})
            on done\n (drop (!get))")));
        let other = guest.vm.borrow_mut().create_root(Rc::new(Plugin::default())).expect("root");
        guest.tick();
        assert_eq!(guest.asked(), ["1: http 4", "1: http 8", "1: stream 6"]);
        guest.vm.borrow_mut().tick(other).expect("no trap");
        assert_eq!(guest.tokens().len(), 3);
        let first = cofferdam_abi::Token::clone(&{ guest.tick(); guest.tokens()[0] });
        assert!(guest.vm.borrow_mut().end_root(guest.root).expect("no trap"));
        // The call of its last moments has not even been heard of.
        assert_eq!(guest.asked(), ["1: cancel 4", "1: cancel 6", "1: cancel 8",
            "1: cancel 14", "1: cancel 20", "1: cancel 24"]);
        guest.answer(first, "b");
        assert!(guest.logs().is_empty());
    }

    fn a_root_that_waits_to_be_done_still_hears(engine) {
        let guest = engine.guest_of(setup(), &source("on done\n (drop (!get)) (return #0)
            on http_call_response\n (!body #4) (!say (!done))
            on delete\n (!text {\"delete\"})"));
        assert!(!guest.vm.borrow_mut().end_root(guest.root).expect("no trap"));
        guest.answer(guest.tokens()[0], "last");
        assert_eq!(guest.logs(), ["last", "0"]);
        guest.vm.borrow_mut().delete_root(guest.root).expect("no trap");
        assert_eq!(guest.logs(), ["delete"]);
    }

    fn a_root_that_could_not_be_created_leaves_no_call_behind(engine) {
        let guest = engine.guest_of(setup(), &source("on configure\n (drop (!get)) (return (i32.eq (local.get $a) #1))"));
        guest.tokens();
        guest.vm.borrow_mut().create_root(Rc::new(Plugin::default())).expect_err("refuses");
        assert!(guest.asked().is_empty());
    }

    fn a_second_vm_counts_for_itself(engine) {
        let source = source("on tick\n (!say (!get)) (!say (!token))");
        let (one, two) = (engine.guest_of(setup(), &source), engine.guest_of(setup(), &source));
        assert_eq!((one.tick(), two.tick()), (vec!["0".to_owned(), "4".to_owned()], vec!["0".to_owned(), "4".to_owned()]));
    }

    fn an_answer_to_nobody_is_no_error(engine) {
        let guest = engine.guest_of(setup(), &source(&format!("on tick\n (drop (!get))\n{ANSWERED}")));
        guest.tick();
        let token = guest.tokens()[0];
        let stranger = engine.guest_of(setup(), &source(ANSWERED));
        stranger.outcome(token, HttpOutcome::Reset).expect("no trap");
        assert!(stranger.logs().is_empty());
    }
}
