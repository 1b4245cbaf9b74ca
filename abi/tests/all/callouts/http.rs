//! What an HTTP callout sends, how it is refused, and what its answer looks like.

use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::callout::{HttpCall, TokenKind};
use cofferdam_abi::{Compat, HttpOutcome, Target, testing};

use super::{Embed, pairs, setup, setup_of, source};
use crate::world::{Look, PRESETS};

/// A call on tick with these arguments, whose status and token are said.
fn tick(arguments: &str) -> String {
    source(&format!(
        "on tick\n (i32.store #24 #99) (!say (!http_call {arguments} #24)) (!say (i32.load #24))"
    ))
}

each_engine! {
    fn the_request_is_as_the_guest_wrote_it(engine) {
        let headers = pairs(&[("X-Two", "1"), (":path", "/p?q"), ("host", "api"), ("x-two", "2"),
            (":method", "POST"), ("content-length", "99")]);
        let trailers = pairs(&[("X-T", "t")]);
        let source = tick(&format!("{{\"c\"}} {{\"{headers}\"}} {{\"body\"}} {{\"{trailers}\"}} #1500"));
        let guest = engine.guest_of(setup(), &source);
        assert_eq!(guest.tick(), ["0", "4"]);
        let (token, call) = guest.http();
        assert_eq!((token.number(), token.kind()), (4, TokenKind::Http));
        assert_eq!(call, HttpCall {
            target: Target::Cluster("c".into()),
            headers: testing::map(&[(":path", "/p?q"), (":authority", "api"), (":method", "POST"),
                ("x-two", "1"), ("x-two", "2"), ("content-length", "4")]),
            body: "body".into(),
            trailers: Some(testing::map(&[("x-t", "t")])),
            timeout: Some(Duration::from_millis(1500)),
        });
    }

    fn nothing_more_than_asked_for_is_sent(engine) {
        let guest = engine.guest_of(setup(), &tick("{\"c\"} {\"GET\"} #0 #0 #0 #0 #0"));
        assert_eq!(guest.tick(), ["0", "4"]);
        let (_, call) = guest.http();
        assert_eq!(call, HttpCall {
            target: Target::Cluster("c".into()),
            headers: testing::map(&[(":method", "GET"), (":path", "/"), (":authority", "a")]),
            body: Bytes::new(),
            trailers: None,
            timeout: None,
        });
    }

    fn a_length_without_a_body_is_left_out(engine) {
        for (given, left) in [("7", None), ("x", None), ("0", Some("0"))] {
            let headers = pairs(&[(":path", "/"), (":authority", "api"), (":method", "PUT"), ("content-length", given)]);
            let guest = engine.guest_of(setup(), &tick(&format!("{{\"c\"}} {{\"{headers}\"}} #0 #0 #0 #0 #0")));
            guest.tick();
            let (_, call) = guest.http();
            assert_eq!(call.headers.get(b"content-length"), left.map(Bytes::from).as_ref());
        }
    }

    fn what_lacks_a_part_answers_2_and_token_0(engine) {
        let all = [(":method", "GET"), (":path", "/"), (":authority", "a")];
        for compat in PRESETS {
            for missing in all {
                let some: Vec<_> = all.into_iter().filter(|pair| *pair != missing).collect();
                let guest = engine.guest_of(setup_of(compat), &tick(&format!("{{\"c\"}} {{\"{}\"}} #0 #0 #0 #0 #0", pairs(&some))));
                assert_eq!(guest.tick(), ["2", "0"], "{missing:?}");
                assert!(guest.asked().is_empty());
            }
            for bad in [
                "{\"c\"} #0 #0 #0 #0 #0 #0 #0",
                "{\"c\"} {\"no pairs\"} #0 #0 #0 #0 #0",
                "{\"other\"} {\"GET\"} #0 #0 #0 #0 #0",
                "{\"C\"} {\"GET\"} #0 #0 #0 #0 #0",
                "#0 #0 {\"GET\"} #0 #0 #0 #0 #0",
                "{\"\\ff\\fe\"} {\"GET\"} #0 #0 #0 #0 #0",
                "{\"c\"} {\"GET\"} #0 #0 #0 #0 #-1",
                "{\"c\"} {\"GET\"} #0 #0 #0 #0 #0x80000000",
            ] {
                let guest = engine.guest_of(setup_of(compat), &tick(bad));
                assert_eq!(guest.tick(), ["2", "0"], "{bad}");
                assert!(guest.asked().is_empty(), "{bad}");
            }
        }
    }

    fn malformed_trailers_are_none_and_noted(engine) {
        let guest = engine.guest_of(setup(), &tick("{\"c\"} {\"GET\"} #0 #0 {\"what\"} #0"));
        assert_eq!(guest.tick(), ["0", "4"]);
        assert_eq!(guest.http().1.trailers, None);
        assert!(guest.host.notices.borrow()[0].contains("trailers of a callout: malformed"));
    }

    fn pointers_come_before_meaning_and_the_token_before_all_of_that(engine) {
        // Every other argument is wrong, too.
        let guest = engine.guest_of(setup(), &tick("{\"other\"} #-1 #5 #0 #0 #0 #0 #-1"));
        assert_eq!(guest.tick(), ["6", "99"], "the token is left alone");
        let guest = engine.guest_of(setup(), &source(
            "on tick\n (!say (!http_call {\"other\"} #0 #0 #0 #0 #0 #0 #-1 #-2))"));
        assert_eq!(guest.tick(), ["6"]);
        assert!(guest.asked().is_empty());
    }

    fn the_longest_time_there_is_can_be_asked_for(engine) {
        let guest = engine.guest_of(setup(), &tick("{\"c\"} {\"GET\"} #0 #0 #0 #0 #0x7fffffff"));
        assert_eq!(guest.tick(), ["0", "4"]);
        assert_eq!(guest.http().1.timeout, Some(Duration::from_millis(0x7fff_ffff)));
    }

    fn tokens_are_numbered_by_kind(engine) {
        let guest = engine.guest_of(setup(), &source("on tick
            (drop (!get)) (!say (!token)) (drop (!get)) (!say (!token))
            (drop (!grpc_call {\"c\"} #0 #0 #0 #0 #0 #0 #0 #0 #0 #24)) (!say (!token))
            (drop (!grpc_stream {\"c\"} #0 #0 #0 #0 #0 #0 #24)) (!say (!token))
            (drop (!grpc_call {\"c\"} #0 #0 #0 #0 #0 #0 #0 #0 #0 #24)) (!say (!token))
            (drop (!redis_init {\"c\"} #0 #0 #0 #0 #0)) (drop (!redis_call {\"c\"} {\"q\"} #24)) (!say (!token))
            (drop (!get)) (!say (!token))"));
        assert_eq!(guest.tick(), ["4", "8", "5", "6", "9", "7", "12"]);
    }

    fn an_answer_is_read_inside_its_callback(engine) {
        let guest = engine.guest_of(setup(), &source("on tick\n (!say (!get))
            on http_call_response
            (!say (local.get $a)) (!say (local.get $b)) (!say (local.get $c)) (!say (local.get $d)) (!say (local.get $e))
            (!value #6 {\":STATUS\"}) (!value #6 {\"x-up\"}) (!value #6 {\"none\"}) (!value #7 {\"t\"})
            (!body #4)
            (!say (!get_buffer_bytes #4 #1 #3 @out)) (!show)
            (!say (!get_buffer_status #4 @out)) (!say (i32.load #16)) (!say (i32.load #20))
            (!status)"));
        guest.tick();
        let (token, _) = guest.http();
        let outcome = HttpOutcome::Response {
            headers: testing::map(&[(":status", "201"), ("x-up", "u"), ("x-up", "v")]),
            body: "hello".into(),
            trailers: Some(testing::map(&[("t", "1"), ("t2", "2")])),
        };
        guest.outcome(token, outcome).expect("no trap");
        assert_eq!(guest.logs(), ["1", "4", "3", "5", "2", "201", "u", "1", "1", "hello",
            "0", "ell", "0", "5", "0", "0", ""]);
    }

    fn outside_it_there_is_nothing_to_read(engine) {
        let outside = "(!value #6 {\":status\"}) (!value #7 {\"t\"}) (!body #4)
            (!say (!get_buffer_status #4 @out)) (!say (!get_header_map_pairs #6 @out)) (!show)";
        let guest = engine.guest_of(setup(), &source(&format!("on tick\n {outside} (drop (!get))
            on http_call_response\n (!text {{\"inside\"}})")));
        let none = ["2", "2", "1", "1", "0", ""];
        assert_eq!(guest.tick(), none);
        guest.answer(guest.tokens()[0], "x");
        assert_eq!(guest.logs(), ["inside"]);
        assert_eq!(guest.tick(), none);
    }

    fn an_answer_without_trailers_has_none(engine) {
        let guest = engine.guest_of(setup(), &source("on tick\n (drop (!get))
            on http_call_response\n (!say (local.get $e)) (!value #7 {\"t\"})
            (!say (!get_header_map_pairs #7 @out)) (!say (i32.load #20))"));
        guest.tick();
        guest.answer(guest.tokens()[0], "");
        assert_eq!(guest.logs(), ["0", "2", "0", "0"]);
    }

    fn nothing_of_an_answer_can_be_changed(engine) {
        for compat in PRESETS {
            let guest = engine.guest_of(setup_of(compat), &source("on tick\n (drop (!get))
                on http_call_response
                (!say (!add_header_map_value #6 {\"x\"} {\"y\"})) (!say (!replace_header_map_value #6 {\"x-up\"} {\"y\"}))
                (!say (!remove_header_map_value #7 {\"x\"})) (!say (!set_header_map_pairs #7 #0 #0))
                (!say (!get_header_map_size #6 #16)) (!say (!set_buffer_bytes #4 #0 #0 {\"x\"}))
                (!value #6 {\"x-up\"})"));
            guest.tick();
            guest.answer(guest.tokens()[0], "b");
            assert_eq!(guest.logs(), ["2", "2", "2", "2", "2", "2", "u"]);
        }
    }

    fn all_pairs_of_an_answer_come_in_order(engine) {
        let guest = engine.guest_of(setup(), &source("on tick\n (drop (!get))
            on http_call_response\n (drop (!get_header_map_pairs #6 @out)) (!say (i32.load #20)) (!show)"));
        guest.tick();
        guest.answer(guest.tokens()[0], "b");
        let text = "\u{2}\0\0\0\u{7}\0\0\0\u{3}\0\0\0\u{4}\0\0\0\u{1}\0\0\0:status\x00200\0x-up\0u\0";
        assert_eq!(guest.logs(), [text.len().to_string(), text.to_owned()]);
    }

    fn answers_come_in_any_order_each_to_its_token(engine) {
        let guest = engine.guest_of(setup(), &source("on tick\n (drop (!get)) (drop (!get)) (drop (!get))
            on http_call_response\n (!say (local.get $b)) (!body #4)"));
        guest.tick();
        let tokens = guest.tokens();
        for (index, body) in [(2, "third"), (0, "first"), (1, "second")] {
            guest.answer(tokens[index], body);
        }
        assert_eq!(guest.logs(), ["12", "third", "4", "first", "8", "second"]);
    }

    fn a_second_answer_is_dropped(engine) {
        let guest = engine.guest_of(setup(), &source("on tick\n (drop (!get))
            on http_call_response\n (!text {\"answer\"})"));
        guest.tick();
        let token = guest.tokens()[0];
        guest.answer(token, "b");
        guest.answer(token, "b");
        guest.vm.borrow_mut().redis_response(token, None).expect("no trap");
        assert_eq!(guest.logs(), ["answer"]);
    }

    fn a_guest_without_the_callback_may_call_all_the_same(engine) {
        let guest = engine.guest_of(setup(), &source("on tick\n (!say (!get)) (!say (!token))"));
        assert_eq!(guest.tick(), ["0", "4"]);
        guest.answer(guest.tokens()[0], "b");
        assert_eq!(guest.tick(), ["0", "8"]);
    }

    fn a_missing_header_is_empty_to_the_oldest_guests(engine) {
        let guest = engine.guest_of(super::setup_version("proxy_abi_version_0_1_0"), &source("on tick\n (drop (!get))
            on http_call_response\n (!value #6 {\"none\"})"));
        guest.tick();
        guest.answer(guest.tokens()[0], "b");
        assert_eq!(guest.logs(), [""]);
    }

    fn start_functions_cannot_call(engine) {
        let start = "raw\n (func (export \"_initialize\") (!say (!get)))";
        let guest = engine.guest_of(setup(), &source(start));
        assert_eq!(guest.logs(), ["12"]);
        assert!(guest.asked().is_empty());
        let refused = engine.load(setup_of(Compat::ENVOY), &source(start));
        assert!(refused.is_err_and(|error| error.to_string().contains("proxy_http_call is not allowed")));
    }
}
