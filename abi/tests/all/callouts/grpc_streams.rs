//! gRPC streams: both sides send, and each closes for itself (section 6.9).

use cofferdam_abi::testing::{self, Guest};
use cofferdam_abi::{GrpcEvent, Target, Token};

use super::grpc::{TELL, closed, message, tell};
use super::{Embed, setup, source};
use crate::world::{Engine, Look};

const OPEN: &str = "on tick\n (drop (!grpc_stream {\"c\"} {\"s\"} {\"m\"} #0 #0 #24))";

/// A guest with an open stream, and the stream's token. `on_request` is what a request has
/// it do.
fn open(engine: Engine, on_request: &str) -> (Guest, Token) {
    let blocks = format!("{OPEN}\non request_headers\n {on_request}\n{TELL}");
    let guest = engine.guest_of(setup(), &source(&blocks));
    guest.tick();
    let (token, _) = guest.grpc();
    (guest, token)
}

each_engine! {
    fn a_stream_is_opened_without_a_message(engine) {
        let guest = engine.guest_of(setup(), &source(OPEN));
        guest.tick();
        let (token, call) = guest.grpc();
        assert_eq!(token.number(), 6);
        assert_eq!((call.target, call.message, call.timeout), (Target::Cluster("c".into()), None, None));
        assert_eq!((&call.service[..], &call.method[..]), (&b"s"[..], &b"m"[..]));
    }

    fn everything_is_told_in_order(engine) {
        let (guest, token) = open(engine, "");
        tell(&guest, token, GrpcEvent::InitialMetadata(testing::map(&[(":status", "200"), ("x", "first")])));
        tell(&guest, token, message("one"));
        tell(&guest, token, message("two!"));
        tell(&guest, token, GrpcEvent::TrailingMetadata(testing::map(&[("x", "last")])));
        tell(&guest, token, closed(0, ""));
        assert_eq!(guest.logs(), [
            "initial", "6", "2", "first",
            "receive", "6", "3", "one",
            "receive", "6", "4", "two!",
            "trailing", "6", "1", "last",
            "close", "6", "0", "0", "",
        ]);
    }

    fn a_refusal_of_headers_alone_has_empty_initial_metadata(engine) {
        let (guest, token) = open(engine, "");
        tell(&guest, token, GrpcEvent::InitialMetadata(testing::map(&[])));
        tell(&guest, token, GrpcEvent::TrailingMetadata(testing::map(&[("grpc-status", "7"), ("x", "y")])));
        tell(&guest, token, closed(7, "not you"));
        assert_eq!(guest.logs(), ["initial", "6", "0", "1", "trailing", "6", "2", "y", "close", "6", "7", "7", "not you"]);
    }

    fn metadata_cannot_be_changed_and_each_is_there_for_itself(engine) {
        let look = "(!value #4 {\"x\"}) (!value #5 {\"x\"}) (!say (!add_header_map_value #4 {\"x\"} {\"y\"}))
            (!say (!remove_header_map_value #5 {\"x\"})) (!say (!get_header_map_size #4 #16))";
        let guest = engine.guest_of(setup(), &source(&format!("{OPEN}
            on grpc_receive_initial_metadata\n {look}\non grpc_receive_trailing_metadata\n {look}\non grpc_receive\n {look}\non grpc_close\n {look}")));
        guest.tick();
        let (token, _) = guest.grpc();
        tell(&guest, token, GrpcEvent::InitialMetadata(testing::map(&[("x", "1")])));
        assert_eq!(guest.logs(), ["1", "2", "2", "2", "2"]);
        tell(&guest, token, message("m"));
        assert_eq!(guest.logs(), ["2", "2", "2", "2", "2"]);
        tell(&guest, token, GrpcEvent::TrailingMetadata(testing::map(&[("x", "1")])));
        assert_eq!(guest.logs(), ["2", "1", "2", "2", "2"]);
        tell(&guest, token, closed(0, ""));
        assert_eq!(guest.logs(), ["2", "2", "2", "2", "2"]);
    }

    fn messages_go_out_until_the_last(engine) {
        let (guest, _) = open(engine, "(!say (!grpc_send #6 {\"one\"} #0)) (!say (!grpc_send #6 #0 #0 #0))
            (!say (!grpc_send #6 {\"two\"} #7)) (!say (!grpc_send #6 {\"three\"} #0)) (!say (!grpc_close #6))");
        assert_eq!(guest.get(), ["0", "0", "0", "0", "0"]);
        assert_eq!(guest.asked(), ["1: send 6 one", "1: send 6 ", "1: send 6 two."], "closed once only");
        assert!(guest.host.notices.borrow()[0].contains("the message is dropped"));
    }

    fn closing_is_half_of_it(engine) {
        let (guest, token) = open(engine, "(!say (!grpc_close #6)) (!say (!grpc_close #6)) (!say (!grpc_send #6 {\"late\"} #0))");
        assert_eq!(guest.get(), ["0", "0", "0"]);
        assert_eq!(guest.asked(), ["1: half-close 6"]);
        tell(&guest, token, message("still"));
        assert_eq!(guest.logs(), ["receive", "6", "5", "still"]);
        tell(&guest, token, closed(0, ""));
        assert_eq!(guest.logs(), ["close", "6", "0", "0", ""]);
        assert_eq!(guest.get(), ["1", "1", "1"], "forgotten, once both sides have closed");
    }

    fn after_the_remote_side_it_lives_until_it_is_closed_here(engine) {
        let (guest, token) = open(engine, "(!say (!grpc_send #6 {\"late\"} #0)) (!say (!grpc_close #6)) (!say (!grpc_close #6))");
        tell(&guest, token, closed(3, "bad"));
        guest.logs();
        assert_eq!(guest.get(), ["0", "0", "1"]);
        assert!(guest.asked().is_empty(), "there is nothing left to do");
        tell(&guest, token, message("ghost"));
        assert!(guest.logs().is_empty());
    }

    fn the_last_message_is_not_yet_a_close(engine) {
        let (guest, token) = open(engine, "(!say (!grpc_send #6 {\"last\"} #1)) (!say (!grpc_close #6))");
        tell(&guest, token, closed(0, ""));
        guest.logs();
        assert_eq!(guest.get(), ["0", "0"]);
        assert!(guest.asked().is_empty());
        assert_eq!(guest.get(), ["1", "1"]);
    }

    fn closing_inside_the_last_callback_forgets_it(engine) {
        let guest = engine.guest_of(setup(), &source(&format!("{OPEN}\non grpc_close\n (!say (!grpc_close #6)) (!say (!grpc_close #6))")));
        guest.tick();
        tell(&guest, guest.grpc().0, closed(0, ""));
        assert_eq!(guest.logs(), ["0", "1"]);
    }

    fn a_cancelled_stream_is_silent(engine) {
        let (guest, token) = open(engine, "(!say (!grpc_cancel #6)) (!say (!grpc_cancel #6)) (!say (!grpc_close #6)) (!say (!grpc_send #6 {\"m\"} #0))");
        tell(&guest, token, message("before"));
        guest.logs();
        assert_eq!(guest.get(), ["0", "1", "1", "1"]);
        assert_eq!(guest.asked(), ["1: cancel 6"]);
        for event in [GrpcEvent::InitialMetadata(testing::map(&[])), message("m"), GrpcEvent::TrailingMetadata(testing::map(&[])), closed(1, "cancelled")] {
            tell(&guest, token, event);
        }
        assert!(guest.logs().is_empty());
    }

    fn a_stream_may_be_cancelled_while_it_speaks(engine) {
        let guest = engine.guest_of(setup(), &source(&format!("{OPEN}\non grpc_receive\n (!body #5) (!say (!grpc_cancel (local.get $b))) (!body #5)")));
        guest.tick();
        let (token, _) = guest.grpc();
        tell(&guest, token, message("one"));
        tell(&guest, token, message("two"));
        assert_eq!(guest.logs(), ["one", "0", "one"]);
        assert_eq!(guest.asked(), ["1: cancel 6"]);
    }

    fn cancelling_what_the_remote_side_has_closed_asks_for_nothing(engine) {
        let (guest, token) = open(engine, "(!say (!grpc_cancel #6)) (!say (!grpc_cancel #6))");
        tell(&guest, token, closed(0, ""));
        guest.logs();
        assert_eq!(guest.get(), ["0", "1"]);
        assert!(guest.asked().is_empty());
    }

    fn what_is_asked_in_one_callback_stays_in_order(engine) {
        let guest = engine.guest_of(setup(), &source("on tick
            (drop (!grpc_stream {\"c\"} {\"s\"} {\"m\"} #0 #0 #24)) (drop (!grpc_send (!token) {\"a\"} #0))
            (drop (!grpc_stream {\"c\"} {\"s\"} {\"m\"} #0 #0 #24)) (drop (!grpc_send #6 {\"b\"} #1))
            (drop (!grpc_send (!token) {\"c\"} #0)) (drop (!grpc_cancel (!token)))"));
        guest.tick();
        // Nobody has heard of the one that was given up.
        assert_eq!(guest.asked(), ["1: stream 6", "1: send 6 a", "1: send 6 b."]);
    }
}
