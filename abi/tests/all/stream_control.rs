//! What return values and `proxy_continue_stream`, `proxy_close_stream` do to a stream.

use cofferdam_abi::testing::Guest;
use cofferdam_abi::{Chain, FailureReason, Way};

use crate::world::{Drive, Engine, Look, Setup};

/// A guest whose header callback answers that number, and logs what else it is called for.
fn answering(engine: Engine, setup: Setup, answer: &str) -> (Guest, Chain) {
    let guest = engine
        .load(
            setup,
            &format!(
                "on request_headers
        (!text {{\"headers\"}}) (return #{answer})
        on request_body
        (!text {{\"body\"}}) (!say (local.get $b)) (!say (local.get $c))
        on request_trailers
        (!text {{\"trailers\"}})
        on tick
        (drop (!set_effective_context #2)) (!say (!continue_stream #0))"
            ),
        )
        .expect("loads");
    let chain = guest.chain();
    (guest, chain)
}

/// A guest whose body callback answers that number before the end of the body.
fn buffering(engine: Engine, setup: Setup, way: Way, answer: u32) -> (Guest, Chain) {
    let name = if way == Way::Request {
        "request"
    } else {
        "response"
    };
    let guest = engine
        .load(
            setup,
            &format!(
                "on {name}_body
        (!say (local.get $b)) (if (i32.eqz (local.get $c)) (then (return #{answer})))"
            ),
        )
        .expect("loads");
    let mut chain = guest.chain();
    chain.headers(Way::Request, way == Way::Response);
    if way == Way::Response {
        chain.respond(false);
    }
    (guest, chain)
}

each_engine! {
    fn headers_answered_0_or_2_go_on(engine) {
        for answer in ["0", "2"] {
            let (guest, mut chain) = answering(engine, Setup::default(), answer);
            assert_eq!(chain.headers(Way::Request, false), ["headers"]);
            assert_eq!(chain.data(Way::Request, "a", true), ["data:a."]);
            assert_eq!(guest.logs(), ["headers", "body", "1", "1"]);
        }
    }

    fn headers_answered_otherwise_hold_everything(engine) {
        for answer in ["1", "3", "4", "5", "255", "-1"] {
            let (guest, mut chain) = answering(engine, Setup::default(), answer);
            assert!(chain.headers(Way::Request, false).is_empty());
            assert!(chain.data(Way::Request, "abc", false).is_empty());
            assert!(chain.data(Way::Request, "def", false).is_empty());
            assert!(chain.data(Way::Request, "", true).is_empty());
            assert_eq!(guest.logs(), ["headers"], "nothing more is shown after {answer}");
            assert_eq!(guest.tick(), ["0"]);
            chain.poll();
            assert_eq!(chain.out(Way::Request), ["headers", "data:abcdef."]);
            assert_eq!(guest.logs(), ["body", "6", "1"], "one piece, with its end");
        }
    }

    fn what_is_resumed_before_its_end_goes_on_in_pieces(engine) {
        let (guest, mut chain) = answering(engine, Setup::default(), "1");
        chain.headers(Way::Request, false);
        chain.data(Way::Request, "abc", false);
        guest.tick();
        chain.poll();
        assert_eq!(chain.out(Way::Request), ["headers", "data:abc"]);
        assert_eq!(chain.data(Way::Request, "de", true), ["data:de."]);
        assert_eq!(guest.logs(), ["body", "3", "0", "body", "2", "1"]);
    }

    fn a_request_without_body_is_resumed_without_a_body(engine) {
        for setup in [Setup::default(), Setup::real_stop()] {
            let (guest, mut chain) = answering(engine, setup, "1");
            assert!(chain.headers(Way::Request, true).is_empty());
            guest.tick();
            chain.poll();
            assert_eq!(chain.out(Way::Request), ["headers."]);
            assert!(guest.logs().is_empty(), "there is no body to be shown");
        }
    }

    fn trailers_of_a_held_stream_come_after_its_body(engine) {
        let (guest, mut chain) = answering(engine, Setup::default(), "1");
        chain.headers(Way::Request, false);
        chain.data(Way::Request, "abc", false);
        assert!(chain.trailers(Way::Request, &[("t", "1")]).is_empty());
        guest.tick();
        chain.poll();
        assert_eq!(chain.out(Way::Request), ["headers", "data:abc", "trailers"]);
        assert_eq!(guest.logs(), ["body", "3", "0", "trailers"]);
    }

    fn trailers_of_a_held_stream_without_a_body_come_alone(engine) {
        let (guest, mut chain) = answering(engine, Setup::default(), "1");
        chain.headers(Way::Request, false);
        chain.trailers(Way::Request, &[("t", "1")]);
        guest.tick();
        chain.poll();
        assert_eq!(chain.out(Way::Request), ["headers", "trailers"]);
        assert_eq!(guest.logs(), ["trailers"]);
    }

    fn held_headers_with_3_fail_past_the_limit_and_with_4_stop_reading(engine) {
        let (_guest, mut chain) = answering(engine, Setup::body_limit(10), "3");
        chain.headers(Way::Request, false);
        chain.data(Way::Request, "0123456789", false);
        assert!(chain.failure().is_none() && chain.wants_more(Way::Request));
        chain.data(Way::Request, "x", false);
        assert_eq!(chain.failure().expect("failed").reason, FailureReason::TooLarge(Way::Request));
        assert_eq!(chain.out(Way::Response), ["headers", "data:Payload Too Large."]);
        assert_eq!(chain.response()[0], ":status: 413");
        assert!(chain.request_is_closed());

        let (guest, mut chain) = answering(engine, Setup::body_limit(10), "4");
        chain.headers(Way::Request, false);
        chain.data(Way::Request, "0123456789", false);
        assert!(chain.wants_more(Way::Request));
        chain.data(Way::Request, "0123456789", false);
        assert!(!chain.wants_more(Way::Request), "past its watermark");
        assert!(chain.wants_more(Way::Response), "the other way is free");
        guest.tick();
        chain.poll();
        assert_eq!(chain.out(Way::Request), ["headers", "data:01234567890123456789"]);
        assert!(chain.failure().is_none() && chain.wants_more(Way::Request));
    }

    fn a_real_stop_holds_headers_only(engine) {
        let (guest, mut chain) = answering(engine, Setup::real_stop(), "1");
        assert!(chain.headers(Way::Request, false).is_empty());
        assert_eq!(chain.data(Way::Request, "abc", false), ["headers", "data:abc"]);
        assert_eq!(chain.data(Way::Request, "", true), ["data:."]);
        assert_eq!(guest.logs(), ["headers", "body", "3", "0", "body", "0", "1"]);
    }

    fn a_real_stop_is_let_go_by_trailers_too(engine) {
        let (guest, mut chain) = answering(engine, Setup::real_stop(), "1");
        chain.headers(Way::Request, false);
        assert_eq!(chain.trailers(Way::Request, &[("t", "1")]), ["headers", "trailers"]);
        assert_eq!(guest.logs(), ["headers", "trailers"]);
    }

    fn a_real_stop_of_other_numbers_holds_everything(engine) {
        let (guest, mut chain) = answering(engine, Setup::real_stop(), "3");
        chain.headers(Way::Request, false);
        assert!(chain.data(Way::Request, "abc", true).is_empty());
        assert_eq!(guest.logs(), ["headers"]);
    }

    fn a_real_stop_buffers_a_body_until_it_is_resumed(engine) {
        let guest = engine.load(Setup::real_stop(), "on request_headers\n (return #1)
            on request_body\n (!say (local.get $b)) (return #1)
            on tick\n (drop (!set_effective_context #2)) (drop (!continue_stream #0))").expect("loads");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        assert!(chain.data(Way::Request, "ab", false).is_empty());
        assert!(chain.data(Way::Request, "cd", true).is_empty());
        assert_eq!(guest.logs(), ["2", "4"]);
        guest.tick();
        chain.poll();
        assert_eq!(chain.out(Way::Request), ["headers", "data:abcd."]);
        assert!(guest.logs().is_empty(), "what was shown is not shown again");
    }

    fn body_answered_1_is_kept_and_shown_again(engine) {
        let (guest, mut chain) = buffering(engine, Setup::default(), Way::Request, 1);
        assert!(chain.data(Way::Request, "11111", false).is_empty());
        assert!(chain.data(Way::Request, "22222", false).is_empty());
        assert_eq!(chain.data(Way::Request, "33333", true), ["data:111112222233333."]);
        assert_eq!(guest.logs(), ["5", "10", "15"]);
    }

    fn body_answered_2_is_kept_and_not_shown_again(engine) {
        let (guest, mut chain) = buffering(engine, Setup::default(), Way::Request, 2);
        chain.data(Way::Request, "11111", false);
        chain.data(Way::Request, "22222", false);
        chain.data(Way::Request, "33333", false);
        assert_eq!(chain.data(Way::Request, "", true), ["data:111112222233333."]);
        assert_eq!(guest.logs(), ["5", "5", "5", "0"]);
    }

    fn body_answered_3_or_more_is_dropped(engine) {
        for answer in [3, 4, 99, u32::MAX] {
            let (guest, mut chain) = buffering(engine, Setup::default(), Way::Request, answer);
            chain.data(Way::Request, "11111", false);
            chain.data(Way::Request, "22222", false);
            assert_eq!(chain.data(Way::Request, "", true), ["data:."], "answer {answer}");
            assert_eq!(guest.logs(), ["5", "5", "0"]);
        }
    }

    fn a_kept_body_past_the_limit_fails_with_1_and_stops_reading_with_2(engine) {
        for (way, status) in [(Way::Request, ":status: 413"), (Way::Response, ":status: 200")] {
            let (_guest, mut chain) = buffering(engine, Setup::body_limit(10), way, 1);
            chain.data(way, "0123456789", false);
            assert!(chain.failure().is_none());
            chain.data(way, "x", false);
            assert_eq!(chain.failure().expect("failed").reason, FailureReason::TooLarge(way));
            assert_eq!(chain.response()[0], status);
            assert_eq!(chain.is_reset(), way == Way::Response, "headers have left");

            let (_guest, mut chain) = buffering(engine, Setup::body_limit(10), way, 2);
            chain.data(way, "0123456789", false);
            assert!(chain.wants_more(way));
            chain.data(way, "x", false);
            assert!(!chain.wants_more(way) && chain.failure().is_none());
            assert_eq!(chain.data(way, "", true), ["data:0123456789x."]);
            assert!(chain.wants_more(way));
        }
    }

    fn a_response_kept_past_the_limit_is_500_while_its_headers_are_held(engine) {
        let guest = engine.load(Setup { plugin: cofferdam_abi::Plugin {
            allow_on_headers_stop_iteration: true, body_limit: 4, ..Default::default() }, ..Setup::default() },
            "on request_headers\non response_headers\n (return #1)\non response_body\n (return #1)").expect("loads");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert!(chain.respond(false).is_empty());
        assert_eq!(chain.data(Way::Response, "12345", false), ["headers", "data:Internal Server Error."]);
        assert_eq!(chain.response()[0], ":status: 500");
        assert!(chain.data(Way::Response, "more", true).is_empty());
    }

    fn trailers_wait_when_told_to(engine) {
        for answer in ["1", "2", "255"] {
            let guest = engine.guest(&format!("on request_trailers\n (return #{answer})
                on tick\n (drop (!set_effective_context #2)) (drop (!continue_stream #0))"));
            let mut chain = guest.chain();
            chain.headers(Way::Request, false);
            assert_eq!(chain.data(Way::Request, "a", false), ["data:a"]);
            assert!(chain.trailers(Way::Request, &[("t", "1")]).is_empty());
            guest.tick();
            chain.poll();
            assert_eq!(chain.out(Way::Request), ["trailers"]);
        }
    }

    fn a_kept_body_goes_when_its_trailers_may(engine) {
        let (guest, mut chain) = buffering(engine, Setup::default(), Way::Response, 1);
        assert!(chain.data(Way::Response, "ab", false).is_empty());
        assert_eq!(chain.trailers(Way::Response, &[("t", "1")]), ["data:ab", "trailers"]);
        assert_eq!(guest.logs(), ["2"]);
    }

    fn a_kept_body_is_let_go_by_continue(engine) {
        let guest = engine.guest("on request_body\n (return #1)
            on tick\n (drop (!set_effective_context #2)) (drop (!continue_stream #0))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        chain.data(Way::Request, "ab", false);
        guest.tick();
        chain.poll();
        assert_eq!(chain.out(Way::Request), ["data:ab"]);
        assert!(chain.data(Way::Request, "cd", true).is_empty(), "and held again");
        guest.tick();
        chain.poll();
        assert_eq!(chain.out(Way::Request), ["data:cd."]);
    }

    fn continue_inside_the_callback_beats_its_answer(engine) {
        let guest = engine.guest("on request_headers\n (!say (!continue_stream #0)) (return #1)
            on request_body\n (!say (!continue_stream #0)) (return #1)
            on response_headers\n (!say (!continue_stream #1)) (return #1)");
        let mut chain = guest.chain();
        assert_eq!(chain.headers(Way::Request, false), ["headers"]);
        assert_eq!(chain.data(Way::Request, "a", true), ["data:a."]);
        assert_eq!(chain.respond(true), ["headers."]);
        assert_eq!(guest.logs(), ["0", "0", "0"]);
    }

    fn the_continue_calls_of_0_1_0_do_the_same_with_and_without_a_result(engine) {
        for (ty, call) in [("(result i32)", "(drop (!now))"), ("", "(!now)")] {
            for (name, way) in [("request", Way::Request), ("response", Way::Response)] {
                let guest = engine.load(Setup::version("proxy_abi_version_0_1_0"), &format!("imports
                    (import \"env\" \"proxy_continue_{name}\" (func $now {ty}))
                    on {name}_headers\n {call} (return #1)")).expect("loads");
                let mut chain = guest.chain();
                let out = chain.headers(Way::Request, true);
                let out = if way == Way::Request { out } else { chain.respond(true) };
                assert_eq!(out, ["headers."], "{name} {ty}");
            }
        }
    }

    fn continue_knows_its_streams(engine) {
        let code = "(!say (!continue_stream #0)) (!say (!continue_stream #1)) (!say (!continue_stream #2))
            (!say (!continue_stream #3)) (!say (!continue_stream #4)) (!say (!continue_stream #-1))";
        let guest = engine.guest(&format!("on tick\n {code}\non request_headers\n {code}"));
        assert_eq!(guest.tick(), ["0", "0", "0", "12", "2", "2"]);
        assert_eq!(guest.get(), ["0", "0", "0", "12", "2", "2"]);
    }

    fn continue_when_nothing_waits_changes_nothing(engine) {
        let guest = engine.guest("on request_body\n (!say (local.get $b)) (drop (!continue_stream #0)) (drop (!continue_stream #1))");
        let mut chain = guest.chain();
        assert_eq!(chain.headers(Way::Request, false), ["headers"]);
        assert_eq!(chain.data(Way::Request, "a", false), ["data:a"]);
        assert_eq!(chain.data(Way::Request, "b", true), ["data:b."]);
        chain.poll();
        assert!(chain.out(Way::Request).is_empty());
        assert_eq!(guest.logs(), ["1", "1"]);
    }

    fn close_resets_the_stream_whatever_the_callback_answers(engine) {
        for (stream, answer) in [("0", "0"), ("1", "0"), ("0", "1"), ("1", "1")] {
            let guest = engine.guest(&format!("on request_headers
                (!say (!close_stream #{stream})) (return #{answer})\non request_body\n (!say #9)"));
            let mut chain = guest.chain();
            assert!(chain.headers(Way::Request, false).is_empty());
            assert!(chain.is_reset() && chain.request_is_closed());
            assert_eq!(chain.details().map(|details| &details[..]), Some(&b"wasm_close_stream"[..]));
            assert!(chain.data(Way::Request, "x", true).is_empty());
            assert!(chain.respond(true).is_empty());
            assert_eq!(guest.logs(), ["0"]);
        }
    }

    fn close_knows_its_streams(engine) {
        let guest = engine.guest("on tick
            (!say (!close_stream #0)) (!say (!close_stream #1)) (!say (!close_stream #2))
            (!say (!close_stream #3)) (!say (!close_stream #4)) (!say (!close_stream #-1))");
        assert_eq!(guest.tick(), ["0", "0", "0", "0", "2", "2"]);
    }

    fn closing_a_connection_that_is_none_does_nothing(engine) {
        let guest = engine.guest("on request_body\n (!say (!close_stream #2)) (!say (!close_stream #3))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        chain.data(Way::Request, "x", true);
        assert!(!chain.is_reset());
    }

    fn asking_ten_thousand_times_is_asking_once(engine) {
        let guest = engine.guest("on request_headers
            (local $n i32)
            (loop $again
                (drop (!continue_stream #0)) (drop (!continue_stream #1))
                (local.set $n (i32.add (local.get $n) #1))
                (br_if $again (i32.lt_u (local.get $n) #10000)))
            (return #1)
            on tick
            (local $n i32)
            (drop (!set_effective_context #2))
            (loop $again
                (drop (!continue_stream #0)) (drop (!close_stream #0))
                (local.set $n (i32.add (local.get $n) #1))
                (br_if $again (i32.lt_u (local.get $n) #10000)))");
        let mut chain = guest.chain();
        assert_eq!(chain.headers(Way::Request, true), ["headers."]);
        guest.tick();
        let pending = format!("{:?}", chain.exchange().borrow());
        assert_eq!(pending.matches("Continue(").count(), 1, "{pending}");
        assert_eq!(pending.matches("Close(").count(), 1);
    }
}
