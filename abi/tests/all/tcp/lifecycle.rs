//! What a filter of a connection is called for, and in which order.

use cofferdam_abi::{Compat, Peer, Way};

use super::{Drive as _, connect, telling};
use crate::world::{Look as _, PRESETS, Setup};

each_engine! {
    fn a_connection_is_new_carries_data_and_ends(engine) {
        let guest = telling(engine, Setup::default(), &[]);
        let mut chain = connect(&[&guest]);
        assert!(chain.is_open());
        assert_eq!(guest.logs().join(" "), "context_create 1 new_connection");
        assert_eq!(chain.client("hello"), ["hello"]);
        assert_eq!(chain.upstream("hi"), ["hi"]);
        assert_eq!(guest.logs().join(" "), "downstream_data 5 0 upstream_data 2 0");
        assert_eq!(chain.end(Peer::Remote), []);
        assert_eq!(
            guest.logs().join(" "),
            "downstream_connection_close 2 done log delete"
        );
        assert_eq!(guest.vm.borrow_mut().streams(), 0);
    }

    fn the_end_of_either_way_is_told_and_the_other_goes_on(engine) {
        let guest = telling(engine, Setup::default(), &[]);
        let mut chain = connect(&[&guest]);
        guest.logs();
        assert_eq!(chain.client_ends(), ["."]);
        assert_eq!(guest.logs().join(" "), "downstream_data 0 1");
        assert!(!chain.wants_more(Way::Request));
        assert!(chain.wants_more(Way::Response));
        assert_eq!(chain.upstream("late"), ["late"]);
        assert_eq!(guest.logs().join(" "), "upstream_data 4 0");
        assert_eq!(chain.upstream_ends(), ["."]);
        assert_eq!(
            guest.logs().join(" "),
            "upstream_data 0 1 upstream_connection_close 0"
        );
        assert_eq!(chain.client("more"), [""; 0], "after its end there is nothing");
        assert_eq!(chain.upstream("more"), [""; 0]);
        assert_eq!(guest.logs(), [""; 0]);
        chain.end(Peer::Local);
        assert_eq!(
            guest.logs().join(" "),
            "downstream_connection_close 1 done log delete"
        );
    }

    fn the_end_comes_once_and_in_this_order_in_every_profile(engine) {
        for preset in PRESETS {
            let guest = telling(engine, Setup::compat(preset), &[("done", "(return #0)")]);
            let mut chain = connect(&[&guest]);
            guest.logs();
            chain.end(Peer::Local);
            chain.end(Peer::Remote);
            assert_eq!(chain.client("x"), [""; 0]);
            drop(chain);
            assert_eq!(
                guest.logs().join(" "),
                "downstream_connection_close 1 done log delete"
            );
        }
    }

    fn a_connection_that_is_dropped_was_closed_here(engine) {
        let guest = telling(engine, Setup::default(), &[]);
        let chain = connect(&[&guest]);
        guest.logs();
        drop(chain);
        assert_eq!(
            guest.logs().join(" "),
            "downstream_connection_close 1 done log delete"
        );
    }

    fn a_close_of_the_upstream_follows_its_end_even_when_that_is_held(engine) {
        let guest = telling(engine, Setup::default(), &[("upstream_data", "(return #1)")]);
        let mut chain = connect(&[&guest]);
        guest.logs();
        assert_eq!(chain.upstream_ends(), [""; 0]);
        assert_eq!(
            guest.logs().join(" "),
            "upstream_data 0 1 upstream_connection_close 0"
        );
    }

    fn filters_see_the_client_in_order_and_the_upstream_in_reverse(engine) {
        let (one, two) = (["new_connection", "downstream_data"], ["upstream_data"]);
        let edit = |buffer: &str, text: &str| {
            format!("(drop (!set_buffer_bytes #{buffer} #0x7fffffff #0 {{\"{text}\"}}))")
        };
        let code = |text: &str| [edit("2", text), edit("3", text)];
        let (a, b) = (code("a"), code("b"));
        let a = telling(engine, Setup::default(), &[(one[1], &a[0]), (two[0], &a[1])]);
        let b = telling(engine, Setup::default(), &[(one[1], &b[0]), (two[0], &b[1])]);
        let mut chain = connect(&[&a, &b]);
        assert_eq!(chain.client("x"), ["xab"]);
        assert_eq!(chain.upstream("y"), ["yba"]);
        a.logs();
        b.logs();
        chain.end(Peer::Remote);
        for guest in [&a, &b] {
            assert_eq!(
                guest.logs().join(" "),
                "downstream_connection_close 2 done log delete"
            );
        }
    }

    fn each_filter_of_a_chain_is_told_of_the_end_in_turn(engine) {
        let guest = telling(engine, Setup::default(), &[]);
        let mut chain = connect(&[&guest, &guest]);
        assert_eq!(
            guest.logs().join(" "),
            "context_create 1 new_connection context_create 1 new_connection"
        );
        assert_eq!(chain.upstream_ends(), ["."]);
        assert_eq!(
            guest.logs().join(" "),
            "upstream_data 0 1 upstream_connection_close 0 upstream_data 0 1 upstream_connection_close 0"
        );
        chain.end(Peer::Remote);
        let end = "downstream_connection_close 2 done log delete";
        assert_eq!(guest.logs().join(" "), format!("{end} {end}"));
    }

    fn a_guest_without_such_callbacks_lets_all_pass(engine) {
        let guest = engine.guest("on log\n(!text {\"log\"})");
        let mut chain = connect(&[&guest]);
        assert!(chain.is_open());
        assert_eq!(chain.client("x"), ["x"]);
        assert_eq!(chain.client_ends(), ["."]);
        assert_eq!(chain.upstream("y"), ["y"]);
        chain.end(Peer::Remote);
        assert_eq!(guest.logs(), ["log"]);
    }

    fn an_older_guest_sees_the_same(engine) {
        let setup = Setup::version("proxy_abi_version_0_1_0");
        let guest = telling(engine, setup, &[]);
        let mut chain = connect(&[&guest]);
        chain.client("abc");
        chain.upstream_ends();
        chain.end(Peer::Remote);
        assert_eq!(
            guest.logs().join(" "),
            "context_create 1 new_connection downstream_data 3 0 upstream_data 0 1 \
             upstream_connection_close 0 downstream_connection_close 2 done log delete"
        );
    }

    fn http_of_the_same_root_is_not_mixed_up(engine) {
        let guest = telling(engine, Setup::compat(Compat::SUPERSET), &[
            ("request_headers", "(!text {\"request_headers\"})"),
        ]);
        let mut chain = connect(&[&guest]);
        let (http, mut tcp) = (guest.chain(), guest.logs());
        tcp.truncate(3);
        assert_eq!(tcp, ["context_create", "1", "new_connection"]);
        assert_eq!(chain.client("x"), ["x"]);
        drop(http);
        assert_eq!(guest.logs().join(" "), "downstream_data 1 0 log done delete");
    }
}
