//! What a guest sees of an HTTP callout that failed (section 6.8).

use cofferdam_abi::{Compat, HttpOutcome};

use super::{Embed, setup, setup_of, source};
use crate::world::{Drive, Look};

const TELL: &str = "on tick\n (drop (!get))
    on http_call_response
    (!say (local.get $c)) (!say (local.get $d)) (!say (local.get $e))
    (!value #6 {\":status\"}) (!value #6 {\"content-type\"}) (!value #6 {\"content-length\"})
    (!body #4) (!status)";

fn failures() -> [(HttpOutcome, &'static str, &'static str, &'static str); 4] {
    [
        (
            HttpOutcome::Timeout,
            "504",
            "upstream request timeout",
            "timeout",
        ),
        (
            HttpOutcome::NoEndpoint,
            "503",
            "no healthy upstream",
            "no healthy upstream",
        ),
        (
            HttpOutcome::ConnectFailed("refused".into()),
            "503",
            "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure",
            "refused",
        ),
        (
            HttpOutcome::Disconnected,
            "503",
            "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
            "reset",
        ),
    ]
}

each_engine! {
    fn failures_before_headers_look_like_answers_of_envoy(engine) {
        for compat in [Compat::SUPERSET, Compat::ENVOY] {
            for (outcome, status, body, reason) in failures() {
                let guest = engine.guest_of(setup_of(compat), &source(TELL));
                guest.tick();
                guest.outcome(guest.tokens()[0], outcome).expect("no trap");
                let length = body.len().to_string();
                assert_eq!(guest.logs(), ["3", &length, "0", status, "text/plain", &length, body, "11", reason]);
            }
        }
    }

    fn what_was_measured_of_envoy_has_these_lengths(engine) {
        let guest = engine.guest_of(setup(), &source("on tick\n (drop (!get))\non http_call_response\n (!say (local.get $d))"));
        for (outcome, length) in [(HttpOutcome::Timeout, "24"), (HttpOutcome::ConnectFailed(String::new()), "98")] {
            guest.tick();
            guest.outcome(guest.tokens()[0], outcome).expect("no trap");
            assert_eq!(guest.logs(), [length]);
        }
    }

    fn by_the_specification_they_have_no_headers(engine) {
        for (outcome, _, _, reason) in failures() {
            let guest = engine.guest_of(setup_of(Compat::SPEC), &source(TELL));
            guest.tick();
            guest.outcome(guest.tokens()[0], outcome).expect("no trap");
            assert_eq!(guest.logs(), ["0", "0", "0", "2", "2", "2", "1", "11", reason]);
        }
    }

    fn an_answer_that_breaks_off_has_none_under_any_preset(engine) {
        for compat in [Compat::SUPERSET, Compat::ENVOY, Compat::SPEC] {
            let guest = engine.guest_of(setup_of(compat), &source(TELL));
            guest.tick();
            guest.outcome(guest.tokens()[0], HttpOutcome::Reset).expect("no trap");
            assert_eq!(guest.logs(), ["0", "0", "0", "2", "2", "2", "1", "11", "reset"]);
        }
    }

    fn the_code_of_a_reset_stays_and_its_words_do_not(engine) {
        let guest = engine.guest_of(setup(), &source("on tick\n (!status) (drop (!get))
            on http_call_response\n (!status)"));
        assert_eq!(guest.tick(), ["0", ""]);
        guest.outcome(guest.tokens()[0], HttpOutcome::Reset).expect("no trap");
        assert_eq!(guest.logs(), ["11", "reset"]);
        assert_eq!(guest.tick(), ["11", ""]);
        guest.answer(guest.tokens()[0], "fine");
        assert_eq!(guest.logs(), ["11", ""], "of the last failure, as in Envoy");
    }

    fn the_code_of_an_answer_made_here_does_not_stay(engine) {
        let guest = engine.guest_of(setup(), &source("on tick\n (!status) (drop (!get))
            on http_call_response\n (!status)"));
        guest.tick();
        guest.outcome(guest.tokens()[0], HttpOutcome::Timeout).expect("no trap");
        assert_eq!(guest.logs(), ["11", "timeout"]);
        assert_eq!(guest.tick(), ["0", ""]);
        let guest = engine.guest_of(setup_of(Compat::SPEC), &source("on tick\n (!status) (drop (!get))"));
        guest.tick();
        guest.outcome(guest.tokens()[0], HttpOutcome::Timeout).expect("no trap");
        assert_eq!(guest.tick(), ["11", ""]);
    }

    fn each_root_has_a_status_of_its_own(engine) {
        let guest = engine.guest_of(setup(), &source("on tick\n (!status) (drop (!get))"));
        let other = guest.vm.borrow_mut().create_root(guest.plugin.clone()).expect("root");
        guest.tick();
        guest.outcome(guest.tokens()[0], HttpOutcome::Reset).expect("no trap");
        assert_eq!(guest.tick(), ["11", ""]);
        guest.vm.borrow_mut().tick(other).expect("no trap");
        assert_eq!(guest.logs(), ["0", ""]);
    }

    fn streams_are_told_the_status_of_their_root(engine) {
        let guest = engine.guest_of(setup(), &source("on tick\n (drop (!get))\non request_headers\n (!status)"));
        guest.tick();
        guest.outcome(guest.tokens()[0], HttpOutcome::Reset).expect("no trap");
        assert_eq!(guest.get(), ["11", ""]);
    }

    fn a_crash_over_an_answer_fails_the_vm_and_whom_it_holds(engine) {
        let guest = engine.guest_of(setup(), &source("on request_headers\n (drop (!get)) (return #1)
            on http_call_response\n (!status) unreachable"));
        let mut chain = guest.chain();
        assert!(chain.headers(cofferdam_abi::Way::Request, true).is_empty());
        let (token, _) = guest.http();
        let trap = guest.outcome(token, HttpOutcome::Reset).expect_err("a trap");
        assert_eq!(trap.callback, "proxy_on_http_call_response");
        assert!(guest.vm.borrow().is_failed());
        chain.poll();
        assert_eq!(chain.response()[0], ":status: 503");
        assert!(chain.failure().is_some());
        assert_eq!(guest.logs(), ["11", "reset"]);
        guest.outcome(token, HttpOutcome::Reset).expect("it is not told twice");
    }

    fn answers_still_come_to_a_vm_that_crashed_elsewhere(engine) {
        let guest = engine.guest_of(setup(), &source("on request_headers\n (drop (!get)) (return #1)
            on http_call_response\n (!body #4) (drop (!set_effective_context #2)) (drop (!continue_stream #0))
            on response_headers\n unreachable
            on request_body\n unreachable"));
        let mut chain = guest.chain();
        assert!(chain.headers(cofferdam_abi::Way::Request, true).is_empty());
        let (token, _) = guest.http();
        let mut crashing = guest.chain();
        crashing.headers(cofferdam_abi::Way::Request, true);
        guest.answer(guest.tokens()[0], "for the second");
        // The second stream is still held; the first is let go.
        chain.poll();
        assert_eq!(chain.out(cofferdam_abi::Way::Request), ["headers."]);
        chain.respond(true);
        assert!(guest.vm.borrow().is_failed());
        guest.answer(token, "for the first");
        assert_eq!(guest.logs(), ["for the second", "for the first"]);
    }
}
