//! gRPC calls: one message there, one message or a failure back (section 6.9).

use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::callout::{GrpcCall, TokenKind};
use cofferdam_abi::testing::Guest;
use cofferdam_abi::{GrpcEvent, HttpOutcome, Target, Token, testing};

use super::{Embed, pairs, setup, source};
use crate::guest::{Shape, module};
use crate::world::Look;

/// Tells everything that can happen to a call.
pub(super) const TELL: &str = "
    on grpc_receive_initial_metadata\n (!text {\"initial\"}) (!say (local.get $b)) (!say (local.get $c)) (!value #4 {\"x\"})
    on grpc_receive\n (!text {\"receive\"}) (!say (local.get $b)) (!say (local.get $c)) (!body #5)
    on grpc_receive_trailing_metadata\n (!text {\"trailing\"}) (!say (local.get $b)) (!say (local.get $c)) (!value #5 {\"x\"})
    on grpc_close\n (!text {\"close\"}) (!say (local.get $b)) (!say (local.get $c)) (!status)
";

const CALL: &str = "on tick\n (drop (!grpc_call {\"c\"} {\"s\"} {\"m\"} #0 #0 {\"msg\"} #0 #24))";

fn guest(engine: crate::world::Engine, blocks: &str) -> Guest {
    engine.guest_of(setup(), &source(&format!("{blocks}\n{TELL}")))
}

pub(super) fn tell(guest: &Guest, token: Token, event: GrpcEvent) {
    let told = guest.vm.borrow_mut().grpc_event(token, event);
    told.unwrap_or_else(|trap| panic!("{trap}"));
}

pub(super) fn closed(status: u32, message: &str) -> GrpcEvent {
    GrpcEvent::Closed {
        status,
        message: Bytes::copy_from_slice(message.as_bytes()),
    }
}

pub(super) fn message(text: &str) -> GrpcEvent {
    GrpcEvent::Message(Bytes::copy_from_slice(text.as_bytes()))
}

each_engine! {
    fn the_call_is_as_the_guest_wrote_it(engine) {
        let metadata = pairs(&[("X-Up", "1"), ("x-up", "2"), (":path", "/evil"), ("k-bin", "AA")]);
        let guest = guest(engine, &format!("on tick
            (i32.store #24 #99)
            (!say (!grpc_call {{\"c\"}} {{\"pkg.Service\"}} {{\"Method\"}} {{\"{metadata}\"}} {{\"msg\"}} #250 #24)) (!say (!token))"));
        assert_eq!(guest.tick(), ["0", "5"]);
        let (token, call) = guest.grpc();
        assert_eq!((token.number(), token.kind()), (5, TokenKind::GrpcCall));
        assert_eq!(call, GrpcCall {
            target: Target::Cluster("c".into()),
            authority: None,
            service: "pkg.Service".into(),
            method: "Method".into(),
            metadata: testing::map(&[("x-up", "1"), ("x-up", "2"), ("k-bin", "AA")]),
            message: Some("msg".into()),
            timeout: Some(Duration::from_millis(250)),
        });
    }

    fn no_time_is_no_deadline_and_no_message_is_an_empty_one(engine) {
        let guest = guest(engine, "on tick\n (drop (!grpc_call {\"c\"} {\"s\"} {\"m\"} #0 #0 #0 #0 #0 #24))");
        guest.tick();
        let (_, call) = guest.grpc();
        assert_eq!((call.timeout, call.message), (None, Some(Bytes::new())));
    }

    fn an_answer_is_told_once_and_nothing_else(engine) {
        let guest = guest(engine, CALL);
        guest.tick();
        let (token, _) = guest.grpc();
        tell(&guest, token, GrpcEvent::InitialMetadata(testing::map(&[("x", "1")])));
        tell(&guest, token, message("answer"));
        tell(&guest, token, GrpcEvent::TrailingMetadata(testing::map(&[("x", "1")])));
        assert!(guest.logs().is_empty(), "not before it is known to be a good one");
        tell(&guest, token, closed(0, ""));
        assert_eq!(guest.logs(), ["receive", "5", "6", "answer"]);
        tell(&guest, token, closed(0, ""));
        tell(&guest, token, message("more"));
        assert!(guest.logs().is_empty());
    }

    fn an_empty_answer_is_one(engine) {
        let guest = guest(engine, CALL);
        guest.tick();
        let (token, _) = guest.grpc();
        tell(&guest, token, message(""));
        tell(&guest, token, closed(0, ""));
        assert_eq!(guest.logs(), ["receive", "5", "0", ""]);
    }

    fn a_failure_is_told_with_its_words(engine) {
        let guest = guest(engine, CALL);
        guest.tick();
        let (token, _) = guest.grpc();
        tell(&guest, token, message("half of it"));
        tell(&guest, token, closed(5, "no such thing"));
        assert_eq!(guest.logs(), ["close", "5", "5", "5", "no such thing"]);
        tell(&guest, token, closed(5, "again"));
        assert!(guest.logs().is_empty());
    }

    fn an_end_without_an_answer_is_a_failure(engine) {
        let guest = guest(engine, CALL);
        guest.tick();
        tell(&guest, guest.grpc().0, closed(0, ""));
        assert_eq!(guest.logs(), ["close", "5", "13", "13", ""]);
    }

    fn the_code_of_a_failure_stays_for_calls_of_every_kind(engine) {
        let guest = guest(engine, "on tick\n (!status) (drop (!get))
            (drop (!grpc_call {\"c\"} {\"s\"} {\"m\"} #0 #0 {\"msg\"} #0 #24))
            on http_call_response\n (!status)");
        assert_eq!(guest.tick(), ["0", ""]);
        let tokens = guest.tokens();
        tell(&guest, tokens[1], closed(14, "unreachable"));
        assert_eq!(guest.logs(), ["close", "5", "14", "14", "unreachable"]);
        guest.answer(tokens[0], "fine");
        assert_eq!(guest.logs(), ["14", ""]);
        guest.outcome(tokens[0], HttpOutcome::Reset).expect("no trap");
        assert_eq!(guest.tick(), ["14", ""]);
    }

    fn messages_are_not_readable_elsewhere(engine) {
        let guest = guest(engine, "on tick\n (!say (!get_buffer_bytes #5 #0 #9 @out)) (!say (i32.load #20))
            (!value #4 {\"x\"}) (!value #5 {\"x\"}) (!say (!set_buffer_bytes #5 #0 #0 {\"x\"}))
            (!say (!get_header_map_pairs #4 @out)) (!say (i32.load #20))");
        assert_eq!(guest.tick(), ["0", "0", "2", "2", "2", "0", "0"]);
    }

    fn a_message_can_be_edited_as_in_envoy(engine) {
        let guest = engine.guest_of(setup(), &source(&format!("{CALL}\non grpc_receive
            (!say (!set_buffer_bytes #5 #0 #2 {{\"x\"}})) (!body #5)
            (!say (!set_buffer_bytes #5 #99 #0 {{\"!\"}})) (!body #5) (!body #4) (!value #4 {{\"x\"}})
            (!say (!set_buffer_bytes #4 #0 #0 {{\"x\"}}))")));
        guest.tick();
        let (token, _) = guest.grpc();
        tell(&guest, token, message("answer"));
        tell(&guest, token, closed(0, ""));
        assert_eq!(guest.logs(), ["0", "xswer", "0", "xswer!", "1", "2", "2"]);
    }

    fn closing_a_call_cancels_it(engine) {
        for call in ["grpc_close", "grpc_cancel"] {
            let guest = guest(engine, &format!("{CALL}\non queue_ready\non foreign_function
                on request_headers\n (!say (!{call} #5)) (!say (!{call} #5))"));
            guest.tick();
            let (token, _) = guest.grpc();
            assert_eq!(guest.get(), ["0", "1"], "{call}");
            assert_eq!(guest.asked(), ["1: cancel 5"]);
            tell(&guest, token, message("late"));
            tell(&guest, token, closed(0, ""));
            tell(&guest, token, closed(1, "cancelled"));
            assert!(guest.logs().is_empty());
        }
    }

    fn tokens_of_the_wrong_kind_answer_2_and_unknown_ones_1(engine) {
        let guest = guest(engine, "on tick\n (drop (!get))
            (!say (!grpc_send #4 {\"m\"} #0)) (!say (!grpc_send #5 {\"m\"} #0)) (!say (!grpc_send #7 {\"m\"} #0))
            (!say (!grpc_send #6 {\"m\"} #0)) (!say (!grpc_send #-2 {\"m\"} #0))
            (!say (!grpc_close #4)) (!say (!grpc_close #7)) (!say (!grpc_close #5)) (!say (!grpc_close #6))
            (!say (!grpc_cancel #0)) (!say (!grpc_cancel #7)) (!say (!grpc_cancel #9)) (!say (!grpc_cancel #10))
            (!say (!grpc_send #4 #-1 #9 #0))");
        assert_eq!(guest.tick(), ["2", "2", "2", "1", "1", "2", "2", "1", "1", "2", "2", "1", "1", "6"]);
        assert_eq!(guest.asked(), ["1: http 4"]);
    }

    fn a_refused_call_leaves_the_token_alone(engine) {
        let guest = guest(engine, "on tick\n (i32.store #24 #99)
            (!say (!grpc_call {\"no\"} {\"s\"} {\"m\"} #0 #0 #0 #0 #0 #24)) (!say (!token))
            (!say (!grpc_stream {\"no\"} {\"s\"} {\"m\"} #0 #0 #24)) (!say (!token))
            (!say (!grpc_call {\"no\"} {\"s\"} {\"m\"} #0 #0 #0 #0 #0 #-1))
            (!say (!grpc_call {\"no\"} {\"s\"} {\"m\"} #0 #0 #-1 #5 #0 #24))");
        assert_eq!(guest.tick(), ["4", "99", "4", "99", "4", "6"]);
    }

    fn guests_of_assemblyscript_leave_out_the_metadata(engine) {
        let import = |name: &str, count: usize| {
            format!("(import \"env\" \"proxy_{name}\" (func ${name}_short (param{}) (result i32)))", " i32".repeat(count))
        };
        let blocks = source(&format!("imports\n {} {}\non tick
            (!say (!grpc_call_short {{\"c\"}} {{\"s\"}} {{\"m\"}} {{\"msg\"}} #7 #24)) (!say (!token))
            (!say (!grpc_stream_short {{\"c\"}} {{\"s\"}} {{\"m\"}} #24)) (!say (!token))
            (!say (!grpc_stream_short {{\"no\"}} {{\"s\"}} {{\"m\"}} #24))",
            import("grpc_call", 10), import("grpc_stream", 7)));
        let guest = engine.wat(setup(), &module(&blocks, Shape::default())).expect("loads");
        assert_eq!(guest.tick(), ["0", "5", "0", "6", "4"]);
        let effects = guest.vm.borrow_mut().take_root_effects();
        let calls: Vec<_> = effects.into_iter().map(|effect| match effect {
            cofferdam_abi::RootEffect::Call { call, .. } => match *call {
                cofferdam_abi::Callout::Grpc(call) => (call.service, call.method, call.message, call.timeout),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }).collect();
        assert_eq!(calls, [
            ("s".into(), "m".into(), Some("msg".into()), Some(Duration::from_millis(7))),
            ("s".into(), "m".into(), None, None),
        ]);
    }
}
