//! Roots that look at exchanges without a stream context, and guests that make none.

use cofferdam_abi::testing::{self, Guest};
use cofferdam_abi::{SharedExchange, TrapKind, Way};

use crate::world::{Drive, Look};

/// An exchange that is over.
fn over() -> SharedExchange {
    let exchange = testing::get();
    exchange.borrow_mut().response_headers =
        Some(testing::map(&[(":status", "201"), ("x-up", "u")]));
    exchange
}

fn log(guest: &Guest) -> Vec<String> {
    guest.logs();
    let logged = guest.vm.borrow_mut().log(guest.root, over());
    logged.unwrap_or_else(|trap| panic!("{trap}"));
    guest.logs()
}

each_engine! {
    fn a_root_reads_the_exchange_it_logs(engine) {
        let guest = engine.guest("on context_create\n (!text {\"create\"})
            on done\n (!text {\"done\"})\non delete\n (!text {\"delete\"})
            on log
            (!say (local.get $a))
            (!say (!get_header_map_value #0 {\":path\"} @out)) (!show)
            (!say (!get_header_map_value #2 {\":status\"} @out)) (!show)
            (!say (!get_header_map_value #2 {\"missing\"} @out))
            (!say (!add_header_map_value #0 {\"a\"} {\"b\"}))
            (!say (!get_property {\"request\\00method\"} @out)) (!show)
            (!say (!get_property {\"plugin_name\"} @out))");
        assert_eq!(log(&guest), ["1", "0", "/path?q=1", "0", "201", "1", "2", "0", "GET", "0"], "and no context");
        assert_eq!(guest.vm.borrow_mut().streams(), 0);
    }

    fn what_a_log_asks_of_the_exchange_nobody_does(engine) {
        let guest = engine.guest("on log
            (!say (!continue_stream #0)) (!say (!close_stream #0))
            (!say (!send_local_response #200 #0 #0 #0 #0 #0 #0 #-1))
            (!say (!set_tick_period_milliseconds #7))
            (!say (!set_buffer_bytes #0 #0 #0 {\"x\"}))
            on tick
            (!say (!get_header_map_value #0 {\":path\"} @out)) (!say (!continue_stream #0))");
        assert_eq!(log(&guest), ["0", "0", "0", "0", "1"]);
        assert_eq!(guest.vm.borrow_mut().take_root_effects().len(), 1, "the root's own timer");
        assert_eq!(guest.tick(), ["2", "0"], "after the call it is a root as before");
    }

    fn a_log_does_not_disturb_the_streams(engine) {
        let guest = engine.guest("on log\n (!say (local.get $a))
            on request_headers\n (return #1)
            on tick\n (drop (!set_effective_context #2)) (!say (!continue_stream #0))");
        let mut chain = guest.chain();
        assert!(chain.headers(Way::Request, true).is_empty());
        assert_eq!(log(&guest), ["1"]);
        guest.vm.borrow_mut().tick(guest.root).expect("ticks");
        chain.poll();
        assert_eq!(chain.out(Way::Request), ["headers."]);
    }

    fn a_crash_while_logging_marks_the_vm(engine) {
        let guest = engine.guest("on log\n unreachable");
        let trap = guest.vm.borrow_mut().log(guest.root, over()).expect_err("a trap");
        assert_eq!((trap.kind, trap.callback), (TrapKind::Unreachable, "proxy_on_log"));
        assert!(guest.vm.borrow().is_failed());
        assert_eq!(guest.vm.borrow_mut().streams(), 0);
    }

    fn a_root_that_is_gone_logs_nothing(engine) {
        let guest = engine.guest("on log\n (!say #1)");
        assert_eq!(guest.vm.borrow_mut().end_root(guest.root), Ok(true));
        assert!(log(&guest).is_empty());
    }

    fn a_guest_that_makes_no_stream_context_is_found_out(engine) {
        let guest = engine.guest("on context_create
            (if (local.get $b) (then unreachable))");
        let trap = guest.vm.borrow_mut().try_stream(guest.root, testing::get()).expect_err("a trap");
        assert_eq!(trap.callback, "proxy_on_context_create");
        let guest = engine.guest("on context_create\n (!text {\"create\"})
            on log\n (!text {\"log\"})\non done\n (!text {\"done\"})\non delete\n (!text {\"delete\"})");
        guest.logs();
        assert_eq!(guest.vm.borrow_mut().try_stream(guest.root, testing::get()), Ok(()));
        assert_eq!(guest.logs(), ["create", "done", "delete"]);
        assert_eq!(guest.vm.borrow_mut().streams(), 0);
    }
}
