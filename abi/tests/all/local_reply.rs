//! Answers made by guests.

use cofferdam_abi::testing::{self, Guest};
use cofferdam_abi::{Chain, LocalReply, Way};

use crate::world::{Drive, Engine, Look, Setup};

const REPLY: &str = "(!say (!send_local_response #403 {\"why not\"} {\"no\"} #0 #0 #-1))";
const EMPTY: &str = "(!say (!send_local_response #204 #0 #0 #0 #0 #0 #0 #-1))";

const WATCH: &str = "
    on response_headers
    (!text {\"headers\"}) (!say (local.get $c))
    on response_body
    (!text {\"body\"}) (!say (local.get $b)) (!say (local.get $c))
    on log
    (!text {\"log\"})";

fn replying(engine: Engine, callback: &str, reply: &str, answer: u32) -> Guest {
    engine.guest(&format!(
        "on {callback}\n {reply} (return #{answer}) {WATCH}"
    ))
}

/// The answer to a request with this content type, by these arguments behind the body.
fn answer(engine: Engine, content_type: &str, arguments: &str) -> (Vec<String>, Vec<String>) {
    let guest = engine.guest(&format!(
        "on request_headers\n (drop (!send_local_response {arguments}))"
    ));
    let exchange = testing::get();
    let ty = bytes::Bytes::copy_from_slice(content_type.as_bytes());
    if let Some(map) = &mut exchange.borrow_mut().request_headers {
        map.add(b"content-type", ty);
    }
    let mut chain = Chain::begin(exchange, [guest.handle()], false);
    chain.headers(Way::Request, true);
    (chain.out(Way::Response), chain.response())
}

each_engine! {
    fn a_reply_to_request_headers_keeps_the_request_here(engine) {
        for value in [0, 1, 3] {
            let guest = replying(engine, "request_headers", REPLY, value);
            let mut chain = guest.chain();
            assert!(chain.headers(Way::Request, false).is_empty(), "answer {value} does not count");
            assert!(chain.request_is_closed() && chain.response_is_local());
            assert!(chain.data(Way::Request, "late", true).is_empty());
            assert_eq!(chain.out(Way::Response), ["headers", "data:no."]);
            assert_eq!(chain.response(), [":status: 403", "content-length: 2", "content-type: text/plain"]);
            assert_eq!(chain.details().map(|text| &text[..]), Some(&b"why_not"[..]));
            chain.end();
            assert_eq!(guest.logs(), ["0", "headers", "0", "body", "2", "1", "log"]);
        }
    }

    fn an_answer_without_body_ends_with_its_headers(engine) {
        let guest = replying(engine, "request_headers", EMPTY, 1);
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert_eq!(chain.out(Way::Response), ["headers."]);
        assert_eq!(chain.response(), [":status: 204"]);
        assert_eq!(guest.logs(), ["0", "headers", "1"]);
    }

    fn the_first_of_two_answers_counts(engine) {
        let guest = replying(engine, "request_headers", &format!("{REPLY} {EMPTY}"), 0);
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert_eq!(chain.out(Way::Response), ["headers", "data:no."]);
        assert!(!chain.is_reset());
        assert_eq!(guest.logs()[..2], ["0", "0"]);
    }

    fn headers_are_added_and_the_content_type_is_theirs(engine) {
        let pairs = "{\"\\04\\00\\00\\00\\03\\00\\00\\00\\01\\00\\00\\00\\03\\00\\00\\00\\01\\00\\00\\00\\0c\\00\\00\\00\\01\\00\\00\\00\\07\\00\\00\\00\\03\\00\\00\\00X-A\\001\\00x-a\\002\\00Content-Type\\00c\\00:status\\00200\\00\"}";
        let (out, headers) = answer(engine, "text/plain", &format!("#401 #0 #0 {{\"b\"}} {pairs} #-1"));
        assert_eq!(out, ["headers", "data:b."]);
        assert_eq!(headers, [":status: 401", "content-length: 1", "content-type: c", "x-a: 1", "x-a: 2"]);
    }

    fn malformed_headers_are_left_out(engine) {
        let (_, headers) = answer(engine, "text/plain", "#401 #0 #0 #0 #0 {\"\\01\\00\"} #-1");
        assert_eq!(headers, [":status: 401"]);
    }

    fn codes_nobody_can_send_become_500(engine) {
        for (code, status) in [("0", 500), ("99", 500), ("101", 500), ("199", 500), ("200", 200), ("599", 599), ("600", 500), ("1000", 500), ("-1", 500)] {
            let (out, headers) = answer(engine, "text/plain", &format!("#{code} #0 #0 #0 #0 #0 #0 #-1"));
            assert_eq!(out, ["headers."]);
            assert_eq!(headers, [format!(":status: {status}")]);
        }
    }

    fn answers_to_grpc_are_headers_alone(engine) {
        for (grpc, status) in [("5", "5"), ("0", "0"), ("16", "16"), ("17", "7"), ("-1", "7"), ("-2", "7")] {
            let (out, headers) = answer(engine, "application/grpc", &format!("#403 #0 #0 {{\"no way\"}} #0 #0 #{grpc}"));
            assert_eq!(out, ["headers."]);
            assert_eq!(headers, [":status: 200".to_owned(), "content-type: application/grpc".to_owned(),
                format!("grpc-status: {status}"), "grpc-message: no way".to_owned()]);
        }
    }

    fn what_only_begins_like_grpc_is_answered_as_any_other_request(engine) {
        for (kind, status) in [("application/grpc", 200), ("application/grpc+proto", 200), ("application/grpc-web", 403),
            ("application/grpc;x", 403), ("Application/grpc", 403), ("application/gr", 403)] {
            let (_, headers) = answer(engine, kind, "#403 #0 #0 #0 #0 #0 #0 #-1");
            assert_eq!(headers[0], format!(":status: {status}"), "{kind}");
        }
    }

    fn the_grpc_status_of_other_requests_is_ignored(engine) {
        let (_, headers) = answer(engine, "text/plain", "#403 #0 #0 #0 #0 #0 #0 #5");
        assert_eq!(headers, [":status: 403"]);
    }

    fn bad_pointers_answer_6_and_nothing_is_sent(engine) {
        let guest = engine.guest("on request_headers
            (!say (!send_local_response #403 #-1 #1 #0 #0 #0 #0 #-1))
            (!say (!send_local_response #403 #0 #0 #131071 #2 #0 #0 #-1))
            (!say (!send_local_response #403 #0 #0 #0 #0 #1 #-1 #-1))");
        let mut chain = guest.chain();
        assert_eq!(chain.headers(Way::Request, true), ["headers."]);
        assert_eq!(guest.logs(), ["6", "6", "6"]);
        assert!(!chain.response_is_local());
    }

    fn a_root_that_answers_answers_nobody(engine) {
        let guest = engine.guest(&format!("on tick\n {REPLY}\non vm_start\n {REPLY}"));
        assert_eq!(guest.logs(), ["0"]);
        assert_eq!(guest.tick(), ["0"]);
    }

    fn a_reply_to_a_request_body_takes_the_request_back(engine) {
        let guest = replying(engine, "request_body", REPLY, 0);
        let mut chain = guest.chain();
        assert_eq!(chain.headers(Way::Request, false), ["headers"]);
        assert!(chain.data(Way::Request, "a", false).is_empty());
        assert!(chain.request_is_closed() && !chain.is_reset());
        assert_eq!(chain.out(Way::Response), ["headers", "data:no."]);
        assert!(chain.data(Way::Request, "b", true).is_empty());
        assert!(chain.respond(true).is_empty(), "what the upstream says now is too late");
        assert_eq!(guest.logs(), ["0", "headers", "0", "body", "2", "1"]);
    }

    fn a_reply_to_request_trailers_too(engine) {
        let guest = replying(engine, "request_trailers", REPLY, 0);
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        chain.data(Way::Request, "a", false);
        assert!(chain.trailers(Way::Request, &[("t", "1")]).is_empty());
        assert_eq!(chain.out(Way::Response), ["headers", "data:no."]);
    }

    fn a_reply_to_response_headers_takes_their_place_and_is_not_shown(engine) {
        for value in [0, 1] {
            let guest = engine.guest(&format!("on request_headers\non response_headers\n (!say #8) {REPLY} (return #{value})
                on response_body\n (!say #9)"));
            let mut chain = guest.chain();
            chain.headers(Way::Request, true);
            assert_eq!(chain.respond(false), ["headers", "data:no."]);
            assert_eq!(chain.response()[0], ":status: 403");
            assert!(chain.data(Way::Response, "upstream's", true).is_empty());
            assert_eq!(guest.logs(), ["8", "0"], "called once, and for no body");
        }
    }

    fn a_reply_to_a_response_body_needs_headers_that_are_still_here(engine) {
        let guest = engine.load(Setup::real_stop(), &format!("on request_headers\non response_headers\n (return #1)
            on response_body\n {REPLY} (return #0)")).expect("loads");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert!(chain.respond(false).is_empty());
        assert_eq!(chain.data(Way::Response, "a", false), ["headers", "data:no."]);
        assert_eq!(chain.response()[0], ":status: 403");
        assert!(!chain.is_reset());

        let guest = replying(engine, "response_trailers", REPLY, 0);
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert_eq!(chain.respond(false), ["headers"]);
        assert!(chain.trailers(Way::Response, &[("t", "1")]).is_empty());
        assert!(chain.is_reset(), "nothing else can be said any more");
        assert_eq!(chain.response()[0], ":status: 200");
    }

    fn a_reply_to_a_response_body_whose_headers_have_left_resets(engine) {
        let guest = engine.guest(&format!("on request_headers\non response_body\n {REPLY} (return #0)"));
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        chain.respond(false);
        assert!(chain.data(Way::Response, "a", false).is_empty());
        assert!(chain.is_reset());
        assert!(chain.data(Way::Response, "b", true).is_empty());
        assert_eq!(guest.logs(), ["0"]);
    }

    fn a_reply_after_everything_has_left_is_nothing(engine) {
        let guest = engine.guest(&format!("on request_headers\non tick\n (drop (!set_effective_context #2)) {REPLY}"));
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert_eq!(chain.respond(true), ["headers."]);
        assert_eq!(guest.tick(), ["0"]);
        chain.poll();
        assert!(!chain.is_reset() && !chain.response_is_local());
        assert!(chain.out(Way::Response).is_empty());
    }

    fn a_timer_can_answer_a_stream_that_is_held(engine) {
        let guest = engine.guest(&format!("on request_headers\n (return #1)
            on request_body\n (!say #9)
            on tick\n (!say (!set_effective_context #2)) {REPLY} {WATCH}"));
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        assert_eq!(guest.tick(), ["0", "0"]);
        // What arrives before anybody has polled comes too late as well.
        assert!(chain.data(Way::Request, "late", true).is_empty());
        assert_eq!(chain.out(Way::Response), ["headers", "data:no."]);
        assert_eq!(guest.logs(), ["headers", "0", "body", "2", "1"]);
    }

    fn a_filter_may_edit_and_hold_its_own_answer(engine) {
        let guest = engine.guest(&format!("on request_headers\n {REPLY}
            on response_headers\n (!say (!replace_header_map_value #2 {{\":status\"}} {{\"429\"}})) (return #1)
            on response_body\n (!say (!set_buffer_bytes #1 #0 #-1 {{\"edited\"}}))
            on tick\n (drop (!set_effective_context #2)) (drop (!continue_stream #1))"));
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert!(chain.out(Way::Response).is_empty());
        guest.tick();
        chain.poll();
        assert_eq!(chain.out(Way::Response), ["headers", "data:edited."]);
        assert_eq!(chain.response()[0], ":status: 429");
        assert!(chain.changed_body(Way::Response));
    }

    fn an_answer_of_the_embedder_is_shown_to_those_who_saw_the_request(engine) {
        let guest = engine.guest(&format!("on request_headers\n {WATCH}"));
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        chain.reply(&LocalReply { status: 503, grpc_status: -1, ..LocalReply::default() });
        assert_eq!(chain.out(Way::Response), ["headers."]);
        assert_eq!(guest.logs(), ["headers", "1"]);

        let mut chain = guest.chain();
        chain.reply(&LocalReply { status: 400, grpc_status: -1, ..LocalReply::default() });
        assert_eq!(chain.out(Way::Response), ["headers."]);
        chain.end();
        assert_eq!(guest.logs(), ["log"], "this one was never shown a request");
    }

    fn an_answer_of_the_embedder_does_not_replace_a_filters(engine) {
        let guest = engine.guest(&format!("on request_headers\n {REPLY}\non response_headers\n (return #1)
            on tick\n (drop (!set_effective_context #2)) (drop (!continue_stream #1))"));
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        chain.reply(&LocalReply { status: 504, grpc_status: -1, ..LocalReply::default() });
        assert!(chain.out(Way::Response).is_empty());
        guest.tick();
        chain.poll();
        assert_eq!(chain.out(Way::Response), ["headers", "data:no."]);
        assert_eq!(chain.response()[0], ":status: 403");
    }

    fn an_upstream_that_breaks_off_resets_what_has_begun_and_replaces_what_has_not(engine) {
        let reply = LocalReply { status: 502, grpc_status: -1, ..LocalReply::default() };
        let guest = engine.guest("on request_headers\non response_headers\n (return #1)");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        chain.respond(false);
        chain.reply(&reply);
        assert_eq!(chain.out(Way::Response), ["headers."]);
        assert_eq!(chain.response()[0], ":status: 502");

        let guest = engine.guest("on request_headers\n");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        chain.respond(false);
        chain.reply(&reply);
        assert!(chain.is_reset());
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        chain.respond(true);
        chain.reply(&reply);
        assert!(!chain.is_reset(), "all has been said");
    }
}
