//! Holding a connection, letting it go, closing it.

use cofferdam_abi::tcp::Closing;
use cofferdam_abi::{Peer, Way};

use super::{Drive as _, connect, telling};
use crate::world::{Look as _, Setup};

const CONTINUE: &str = "(drop (!set_effective_context #2)) (!say (!continue_stream #2))";

each_engine! {
    fn what_is_paused_goes_on_from_a_timer(engine) {
        let guest = telling(engine, Setup::default(), &[
            ("downstream_data", "(return #1)"),
            ("tick", CONTINUE),
        ]);
        let mut chain = connect(&[&guest]);
        guest.logs();
        chain.client("ab");
        chain.client("cd");
        chain.client_ends();
        assert_eq!(
            guest.logs().join(" "),
            "downstream_data 2 0 downstream_data 4 0 downstream_data 4 1"
        );
        assert_eq!(guest.tick(), ["0"]);
        chain.poll();
        assert_eq!(chain.out(Way::Request), ["abcd."]);
        assert_eq!(guest.logs(), [""; 0], "it is not shown again");
        assert_eq!(guest.tick(), ["0"], "once more is harmless");
        chain.poll();
        assert_eq!(chain.out(Way::Request), [""; 0]);
    }

    fn what_is_asked_in_the_callback_beats_its_answer(engine) {
        let code = "(!say (!continue_stream #2)) (return #1)";
        let guest = telling(engine, Setup::default(), &[("downstream_data", code)]);
        let mut chain = connect(&[&guest]);
        assert_eq!(chain.client("ab"), ["ab"]);
        assert!(guest.logs().ends_with(&["0".to_owned()]));
    }

    fn what_the_upstream_sent_is_not_resumed_but_shown_again(engine) {
        let guest = telling(engine, Setup::default(), &[
            ("upstream_data", "(if (i32.lt_u (local.get $b) #3) (then (return #1)))"),
            ("tick", "(drop (!set_effective_context #2))
                (!say (!continue_stream #3)) (!say (!continue_stream #2))"),
        ]);
        let mut chain = connect(&[&guest]);
        assert_eq!(chain.upstream("ab"), [""; 0]);
        assert_eq!(guest.tick(), ["12", "0"]);
        chain.poll();
        assert_eq!(chain.out(Way::Response), [""; 0]);
        assert_eq!(chain.upstream("c"), ["abc"]);
    }

    fn stream_types_are_checked(engine) {
        let code = "(!say (!continue_stream #0)) (!say (!continue_stream #1))
            (!say (!continue_stream #2)) (!say (!continue_stream #3))
            (!say (!continue_stream #4)) (!say (!close_stream #4)) (return #0)";
        let guest = telling(engine, Setup::default(), &[("downstream_data", code)]);
        let mut chain = connect(&[&guest]);
        guest.logs();
        assert_eq!(chain.client("ab"), ["ab"]);
        assert_eq!(guest.logs()[3..], ["0", "0", "0", "12", "2", "2"]);
        assert_eq!(chain.closing(), None);
    }

    fn a_held_connection_is_not_open_and_shows_no_data(engine) {
        let guest = telling(engine, Setup::default(), &[
            ("new_connection", "(return #1)"),
            ("tick", CONTINUE),
        ]);
        let mut chain = connect(&[&guest]);
        assert!(!chain.is_open());
        assert!(!chain.wants_more(Way::Request));
        assert_eq!(chain.client("early"), [""; 0]);
        assert_eq!(guest.logs().join(" "), "context_create 1 new_connection");
        guest.tick();
        chain.poll();
        assert!(chain.is_open());
        assert_eq!(guest.logs().join(" "), "downstream_data 5 0");
        assert_eq!(chain.out(Way::Request), ["early"]);
    }

    fn the_next_filter_sees_a_connection_once_it_is_let_go(engine) {
        let first = telling(engine, Setup::default(), &[
            ("new_connection", "(return #1)"),
            ("tick", CONTINUE),
        ]);
        let second = telling(engine, Setup::default(), &[
            ("new_connection", "(return #1)"),
            ("tick", CONTINUE),
        ]);
        let mut chain = connect(&[&first, &second]);
        assert_eq!(second.logs(), [""; 0]);
        first.tick();
        chain.poll();
        assert!(!chain.is_open());
        assert_eq!(second.logs().join(" "), "context_create 1 new_connection");
        assert_eq!(chain.client("x"), [""; 0]);
        assert_eq!(first.logs().join(" "), "downstream_data 1 0");
        second.tick();
        chain.poll();
        assert!(chain.is_open());
        assert_eq!(second.logs().join(" "), "downstream_data 1 0");
        assert_eq!(chain.out(Way::Request), ["x"]);
        drop(chain);
        assert!(first.logs().ends_with(&["delete".to_owned()]));
        assert!(second.logs().ends_with(&["delete".to_owned()]));
    }

    fn a_filter_that_never_saw_the_connection_hears_nothing_of_its_end(engine) {
        let first = telling(engine, Setup::default(), &[("new_connection", "(return #1)")]);
        let second = telling(engine, Setup::default(), &[]);
        let mut chain = connect(&[&first, &second]);
        chain.end(Peer::Remote);
        assert!(first.logs().ends_with(&["delete".to_owned()]));
        assert_eq!(second.logs(), [""; 0]);
    }

    fn closing_either_side_closes_after_what_may_leave(engine) {
        for side in ["2", "3"] {
            let code = format!(
                "(if (i32.eq (local.get $b) #3) (then (!say (!close_stream #{side}))))"
            );
            let guest = telling(engine, Setup::default(), &[("upstream_data", &code)]);
            let mut chain = connect(&[&guest]);
            chain.push(Way::Request, super::chunk("up", false));
            chain.push(Way::Response, super::chunk("ab", false));
            guest.logs();
            chain.push(Way::Response, super::chunk("cde", false));
            assert_eq!(guest.logs().join(" "), "upstream_data 3 0 0");
            assert_eq!(chain.closing(), Some(Closing::ByFilter));
            assert_eq!(chain.out(Way::Response), ["ab"], "what came before is flushed");
            assert_eq!(chain.out(Way::Request), [""; 0]);
            assert!(!chain.wants_more(Way::Request) && !chain.wants_more(Way::Response));
            assert_eq!(chain.upstream("more"), [""; 0]);
            assert_eq!(guest.logs(), [""; 0]);
            assert_eq!(chain.failure(), None);
            chain.end(Peer::Local);
            assert_eq!(
                guest.logs().join(" "),
                "downstream_connection_close 1 done log delete"
            );
        }
    }

    fn a_filter_that_closes_lets_nothing_through(engine) {
        let code = "(drop (!close_stream #2)) (return #0)";
        let guest = telling(engine, Setup::default(), &[("downstream_data", code)]);
        let next = telling(engine, Setup::default(), &[]);
        let mut chain = connect(&[&guest, &next]);
        next.logs();
        assert_eq!(chain.client("evil"), [""; 0]);
        assert_eq!(next.logs(), [""; 0]);
        assert_eq!(chain.closing(), Some(Closing::ByFilter));
    }

    fn a_close_in_new_connection_keeps_the_next_from_seeing_it(engine) {
        let code = "(drop (!close_stream #2)) (return #0)";
        let guest = telling(engine, Setup::default(), &[("new_connection", code)]);
        let next = telling(engine, Setup::default(), &[]);
        let chain = connect(&[&guest, &next]);
        assert_eq!(chain.closing(), Some(Closing::ByFilter));
        assert_eq!(next.logs(), [""; 0]);
    }

    fn a_connection_is_closed_from_a_timer_and_from_another_one(engine) {
        let guest = telling(engine, Setup::default(), &[
            ("tick", "(!say (!set_effective_context #2)) (!say (!close_stream #2))"),
        ]);
        let mut chain = connect(&[&guest]);
        guest.logs();
        assert_eq!(guest.tick(), ["0", "0"]);
        chain.poll();
        assert_eq!(chain.closing(), Some(Closing::ByFilter));
        chain.end(Peer::Local);
        guest.logs();
        assert_eq!(guest.tick(), ["2", "0"], "it is gone: nothing happens");
    }

    fn what_is_for_http_does_nothing_to_a_connection(engine) {
        let code = "(!say (!close_stream #0)) (!say (!close_stream #1))
            (!say (!send_local_response #403 {\"no\"} {\"no\"} #0 #0 #-1))
            (!say (!get_header_map_value #0 {\":path\"} @out))
            (!say (!get_header_map_pairs #0 @out)) (!say (i32.load #20))
            (!say (!add_header_map_value #2 {\"a\"} {\"b\"}))";
        let guest = telling(engine, Setup::default(), &[("downstream_data", code)]);
        let mut chain = connect(&[&guest]);
        guest.logs();
        assert_eq!(chain.client("ab"), ["ab"]);
        assert_eq!(guest.logs()[3..], ["0", "0", "0", "2", "0", "0", "2"]);
        assert_eq!(chain.closing(), None);
        assert_eq!(chain.upstream("cd"), ["cd"]);
    }

    fn what_is_for_connections_does_nothing_to_http(engine) {
        let guest = engine.guest(
            "on request_headers
             (!say (!close_stream #2)) (!say (!close_stream #3)) (!say (!continue_stream #2))",
        );
        let mut chain = guest.chain();
        chain.push(Way::Request, cofferdam_abi::Part::Headers { end: true });
        assert_eq!(guest.logs(), ["0", "0", "0"]);
        assert!(chain.has_output(Way::Request), "the request goes on");
        assert!(!chain.is_reset());
    }

    fn properties_of_a_connection_have_no_request(engine) {
        let mut code = String::new();
        for path in ["request\\00headers", "request\\00path", "request", "response\\00code", "mine"] {
            code.push_str(&format!("(!say (!get_property {{\"{path}\"}} @out))"));
        }
        code.push_str("(!say (!set_property {\"mine\"} {\"yes\"}))");
        code.push_str("(!say (!get_property {\"mine\"} @out)) (!show)");
        code.push_str("(!say (!get_property {\"plugin_name\"} @out))");
        let guest = telling(engine, Setup::default(), &[("new_connection", &code)]);
        let next = telling(engine, Setup::default(), &[
            ("new_connection", "(!say (!get_property {\"mine\"} @out)) (!show)"),
        ]);
        let _chain = connect(&[&guest, &next]);
        assert_eq!(
            guest.logs()[3..],
            ["1", "1", "1", "1", "1", "0", "0", "yes", "0"]
        );
        assert_eq!(next.logs()[3..], ["0", "yes"]);
    }
}
