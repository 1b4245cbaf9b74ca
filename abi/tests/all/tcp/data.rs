//! What a filter may do with the bytes of a connection, and what may be kept.

use cofferdam_abi::{Compat, Way};

use super::{Drive as _, connect, telling};
use crate::world::{Look as _, Setup};

each_engine! {
    fn what_is_paused_is_shown_again_with_what_comes(engine) {
        let hold = "(if (i32.lt_u (local.get $b) #6) (then (return #1)))";
        for (callback, way) in [("downstream_data", Way::Request), ("upstream_data", Way::Response)] {
            let guest = telling(engine, Setup::default(), &[(callback, hold)]);
            let mut chain = connect(&[&guest]);
            guest.logs();
            let mut send = |text| match way {
                Way::Request => chain.client(text),
                Way::Response => chain.upstream(text),
            };
            assert_eq!(send("ab"), [""; 0]);
            assert_eq!(send("cd"), [""; 0]);
            assert_eq!(send("ef"), ["abcdef"]);
            assert_eq!(send("ghijkl"), ["ghijkl"], "what has left is not shown again");
            assert_eq!(
                guest.logs().join(" "),
                format!("{callback} 2 0 {callback} 4 0 {callback} 6 0 {callback} 6 0")
            );
        }
    }

    fn each_way_is_paused_for_itself(engine) {
        let guest = telling(engine, Setup::default(), &[("downstream_data", "(return #1)")]);
        let mut chain = connect(&[&guest]);
        assert_eq!(chain.client("ab"), [""; 0]);
        assert_eq!(chain.upstream("cd"), ["cd"]);
        assert_eq!(chain.out(Way::Request), [""; 0]);
    }

    fn any_answer_but_0_pauses(engine) {
        for answer in ["1", "2", "3", "255", "-1"] {
            let code = format!("(return #{answer})");
            let guest = telling(engine, Setup::default(), &[("downstream_data", &code)]);
            let mut chain = connect(&[&guest]);
            assert_eq!(chain.client("ab"), [""; 0], "{answer}");
        }
    }

    fn a_paused_end_comes_with_all_that_is_held(engine) {
        let hold = "(if (i32.eqz (local.get $c)) (then (return #1)))";
        let guest = telling(engine, Setup::default(), &[("downstream_data", hold)]);
        let mut chain = connect(&[&guest]);
        guest.logs();
        assert_eq!(chain.client("abc"), [""; 0]);
        assert_eq!(chain.client_ends(), ["abc."]);
        assert_eq!(guest.logs().join(" "), "downstream_data 3 0 downstream_data 3 1");
    }

    fn bytes_are_replaced_removed_and_added(engine) {
        for (edit, left) in [
            ("#0 #0x7fffffff {\"new\"}", "new"),
            ("#0 #2 {\"X\"}", "Xc"),
            ("#0 #0 {\"X\"}", "Xabc"),
            ("#3 #0 {\"X\"}", "abcX"),
            ("#0x7fffffff #9 {\"X\"}", "abcX"),
            ("#1 #1 {\"X\"}", "aXc"),
        ] {
            for (callback, buffer) in [("downstream_data", 2), ("upstream_data", 3)] {
                let code = format!("(!say (!set_buffer_bytes #{buffer} {edit}))");
                let guest = telling(engine, Setup::default(), &[(callback, &code)]);
                let mut chain = connect(&[&guest]);
                guest.logs();
                let out = match buffer {
                    2 => chain.client("abc"),
                    _ => chain.upstream("abc"),
                };
                assert_eq!(out, [left], "{edit}");
                assert_eq!(guest.logs().join(" "), format!("{callback} 3 0 0"));
            }
        }
    }

    fn an_edit_in_the_middle_is_a_switch(engine) {
        let code = "(!say (!set_buffer_bytes #2 #1 #1 {\"X\"}))";
        let setup = Setup::compat(Compat::ENVOY);
        let guest = telling(engine, setup, &[("downstream_data", code)]);
        let mut chain = connect(&[&guest]);
        assert_eq!(chain.client("abc"), ["abc"]);
        assert_eq!(guest.logs().last().map(String::as_str), Some("2"));
    }

    fn all_may_be_taken_away(engine) {
        let code = "(drop (!set_buffer_bytes #2 #0 #0x7fffffff #0 #0))";
        let guest = telling(engine, Setup::default(), &[("downstream_data", code)]);
        let mut chain = connect(&[&guest]);
        assert_eq!(chain.client("abc"), [""; 0]);
        assert_eq!(chain.client_ends(), ["."]);
    }

    fn edits_of_what_is_held_last(engine) {
        let code = "(drop (!set_buffer_bytes #2 #0 #0 {\">\"}))
            (if (i32.eqz (local.get $c)) (then (return #1)))";
        let guest = telling(engine, Setup::default(), &[("downstream_data", code)]);
        let mut chain = connect(&[&guest]);
        guest.logs();
        chain.client("a");
        chain.client("b");
        assert_eq!(chain.client_ends(), [">>>ab."]);
        assert_eq!(
            guest.logs().join(" "),
            "downstream_data 1 0 downstream_data 3 0 downstream_data 4 1"
        );
    }

    fn each_buffer_is_there_in_its_own_callback(engine) {
        let look = |buffer: u32| format!(
            "(!say (!get_buffer_bytes #{buffer} #0 #-1 @out)) (!show)
             (!say (!get_buffer_status #{buffer} @out)) (!say (i32.load #16))"
        );
        let both = look(2) + &look(3);
        let guest = telling(engine, Setup::default(), &[
            ("downstream_data", &both),
            ("upstream_data", &both),
        ]);
        let mut chain = connect(&[&guest]);
        guest.logs();
        chain.client("ab");
        assert_eq!(guest.logs()[3..], ["0", "ab", "0", "2", "0", "", "0", "0"]);
        chain.upstream("cde");
        assert_eq!(guest.logs()[3..], ["0", "", "0", "0", "0", "cde", "0", "3"]);
    }

    fn buffers_of_http_are_empty_and_cannot_be_written(engine) {
        let code = "(!say (!get_buffer_bytes #0 #0 #-1 @out)) (!show)
            (!say (!set_buffer_bytes #0 #0 #0 {\"x\"}))
            (!say (!set_buffer_bytes #1 #0 #0 {\"x\"}))
            (!say (!set_buffer_bytes #3 #0 #0 {\"x\"}))";
        let guest = telling(engine, Setup::default(), &[("downstream_data", code)]);
        let mut chain = connect(&[&guest]);
        guest.logs();
        assert_eq!(chain.client("ab"), ["ab"]);
        assert_eq!(guest.logs()[3..], ["0", "", "1", "1", "1"]);
    }

    fn buffers_of_connections_are_empty_in_http(engine) {
        let guest = engine.guest(
            "on request_headers
             (!say (!get_buffer_bytes #2 #0 #-1 @out)) (!show)
             (!say (!set_buffer_bytes #2 #0 #0 {\"x\"}))",
        );
        assert_eq!(guest.get(), ["0", "", "1"]);
    }

    fn bytes_that_are_held_are_seen_and_edited_from_a_timer(engine) {
        let guest = telling(engine, Setup::default(), &[
            ("downstream_data", "(return #1)"),
            ("tick", "(drop (!set_effective_context #2))
                (drop (!get_buffer_bytes #2 #0 #-1 @out)) (!show)
                (!say (!set_buffer_bytes #2 #0x7fffffff #0 {\"!\"}))
                (!say (!continue_stream #2))"),
        ]);
        let mut chain = connect(&[&guest]);
        assert_eq!(chain.client("ab"), [""; 0]);
        assert_eq!(guest.tick(), ["ab", "0", "0"]);
        chain.poll();
        assert_eq!(chain.out(Way::Request), ["ab!"]);
    }

    fn more_than_the_limit_is_not_read_and_harms_nobody(engine) {
        for (callback, way) in [("downstream_data", Way::Request), ("upstream_data", Way::Response)] {
            let hold = "(if (i32.lt_u (local.get $b) #12) (then (return #1)))";
            let guest = telling(engine, Setup::body_limit(8), &[(callback, hold)]);
            let mut chain = connect(&[&guest]);
            let mut send = |text| match way {
                Way::Request => chain.client(text),
                Way::Response => chain.upstream(text),
            };
            assert_eq!(send("12345678"), [""; 0]);
            assert!(chain.wants_more(way), "at the limit, not past it");
            let mut send = |text| match way {
                Way::Request => chain.client(text),
                Way::Response => chain.upstream(text),
            };
            assert_eq!(send("9"), [""; 0]);
            assert!(!chain.wants_more(way));
            assert_eq!(chain.failure(), None);
            let other = if way == Way::Request { Way::Response } else { Way::Request };
            assert!(chain.wants_more(other));
        }
    }

    fn what_has_not_left_keeps_more_from_being_read(engine) {
        let guest = telling(engine, Setup::default(), &[]);
        let mut chain = connect(&[&guest]);
        chain.push(Way::Request, super::chunk("a", false));
        assert!(!chain.wants_more(Way::Request));
        assert_eq!(chain.out(Way::Request), ["a"]);
        assert!(chain.wants_more(Way::Request));
    }
}
