//! The seven header-map calls.

use cofferdam_abi::{Chain, Compat, Way, testing};

use crate::world::{Drive, Engine, Look, PRESETS, Setup, show};

/// What a guest logs while it sees `testing::get`'s headers, and what they are then.
fn headers(engine: Engine, setup: Setup, code: &str) -> (Vec<String>, Vec<String>) {
    let guest = engine
        .load(setup, &format!("on request_headers\n {code}"))
        .expect("loads");
    let mut chain = guest.chain();
    assert_eq!(chain.headers(Way::Request, true), ["headers."]);
    assert_eq!(chain.failure(), None);
    (guest.logs(), chain.request())
}

/// [`headers`] of the default preset, with the status of one change; headers from the
/// fifth on.
fn changed(engine: Engine, change: &str) -> (String, Vec<String>) {
    let (logs, map) = headers(engine, Setup::default(), &format!("(!say (!{change}))"));
    (logs.join(" "), map[4..].to_vec())
}

const PAIRS: &str = "\\02\\00\\00\\00\\03\\00\\00\\00\\01\\00\\00\\00\\01\\00\\00\\00\\00\\00\\00\\00X-B\\001\\00c\\00\\00";

each_engine! {
    fn pairs_are_exact_to_the_byte(engine) {
        let guest = engine.guest("on request_headers
            (!say (!get_header_map_pairs #0 @out)) (!show)");
        let map = testing::map(&[(":path", "/"), ("x", "yz")]);
        let exchange = cofferdam_abi::Exchange::new(map, Box::new(())).share();
        let mut chain = Chain::begin(exchange, [guest.handle()], false);
        chain.headers(Way::Request, true);
        assert_eq!(guest.logs()[1],
            "\u{2}\0\0\0\u{5}\0\0\0\u{1}\0\0\0\u{1}\0\0\0\u{2}\0\0\0:path\0/\0x\0yz\0");
    }

    fn the_number_of_headers_counts_every_entry(engine) {
        let (logs, _) = headers(engine, Setup::default(),
            "(!say (local.get $b)) (!say (local.get $c))
             (drop (!get_header_map_pairs #0 @out)) (!say (i32.load (i32.load #16)))
             (!say (!get_header_map_size #0 #24)) (!say (i32.load #24))");
        // Lengths of all names and values: 10+4 5+9 7+3 7+4 3+1 3+1.
        assert_eq!(logs, ["6", "1", "6", "0", "57"]);
    }

    fn names_are_found_in_any_case_and_the_first_value_counts(engine) {
        let (logs, _) = headers(engine, Setup::default(),
            "(!say (!get_header_map_value #0 {\"X-A\"} @out)) (!show)
             (!say (!get_header_map_value #0 {\":Path\"} @out)) (!show)");
        assert_eq!(logs, ["0", "1", "0", "/path?q=1"]);
    }

    fn host_is_another_name_of_the_authority(engine) {
        let (logs, map) = headers(engine, Setup::default(),
            "(!say (!get_header_map_value #0 {\"Host\"} @out)) (!show)
             (!say (!replace_header_map_value #0 {\"host\"} {\"b\"}))
             (!say (!add_header_map_value #0 {\"host\"} {\"c\"}))");
        assert_eq!((logs.len(), &logs[0][..], &logs[2][..]), (4, "0", "0"));
        assert!(map.contains(&":authority: b,c".to_owned()), "{map:?}");
        assert!(!map.iter().any(|entry| entry.starts_with("host")), "{map:?}");
    }

    fn a_missing_name_answers_1_and_touches_nothing(engine) {
        let (logs, _) = headers(engine, Setup::default(),
            "(i32.store #16 #98) (i32.store #20 #99)
             (!say (!get_header_map_value #0 {\"nope\"} @out)) (!say (i32.load #16)) (!say (i32.load #20))
             (!say (!get_header_map_value #0 {\"nope\"} #-1 #-1)) (!say (!get_header_map_value #0 #0 #0 @out))");
        assert_eq!(logs, ["1", "98", "99", "1", "1"]);
    }

    fn a_missing_name_is_an_empty_value_in_0_1_0(engine) {
        let (logs, _) = headers(engine, Setup::version("proxy_abi_version_0_1_0"),
            "(i32.store #16 #98) (i32.store #20 #99)
             (!say (!get_header_map_value #0 {\"nope\"} @out)) (!say (i32.load #16)) (!say (i32.load #20))");
        assert_eq!(logs, ["0", "0", "0"]);
    }

    fn an_empty_value_is_pointer_0_and_length_0(engine) {
        let (logs, _) = headers(engine, Setup::default(),
            "(i32.store #16 #98) (i32.store #20 #99)
             (!say (!add_header_map_value #0 {\"e\"} #0 #0))
             (!say (!get_header_map_value #0 {\"e\"} @out)) (!say (i32.load #16)) (!say (i32.load #20))");
        assert_eq!(logs, ["0", "0", "0", "0"]);
    }

    fn changes_follow_the_table(engine) {
        for (change, map) in [
            ("add_header_map_value #0 {\"X-A\"} {\"3\"}", &["x-a: 1", "x-a: 2", "x-a: 3"][..]),
            ("add_header_map_value #0 {\"New\"} {\"v\"}", &["x-a: 1", "x-a: 2", "new: v"]),
            ("replace_header_map_value #0 {\"X-A\"} {\"3\"}", &["x-a: 3"]),
            ("replace_header_map_value #0 {\"NEW\"} {\"v\"}", &["x-a: 1", "x-a: 2", "new: v"]),
            ("remove_header_map_value #0 {\"X-A\"}", &[]),
            ("remove_header_map_value #0 {\"nope\"}", &["x-a: 1", "x-a: 2"]),
        ] {
            let (status, after) = changed(engine, change);
            assert_eq!((&status[..], &after[..]), ("0", &map.iter().map(|m| (*m).to_owned()).collect::<Vec<_>>()[..]));
        }
    }

    fn pseudo_headers_can_be_rewritten_and_stay_in_front(engine) {
        let (logs, map) = headers(engine, Setup::default(),
            "(!say (!replace_header_map_value #0 {\":path\"} {\"/new\"}))
             (!say (!replace_header_map_value #0 {\":authority\"} {\"other\"}))
             (!say (!remove_header_map_value #0 {\":scheme\"}))
             (!say (!add_header_map_value #0 {\":scheme\"} {\"https\"}))
             (!say (!add_header_map_value #0 {\":method\"} {\"PUT\"}))");
        assert_eq!(logs, ["0"; 5]);
        assert_eq!(map, [":authority: other", ":path: /new", ":method: GET,PUT", ":scheme: https", "x-a: 1", "x-a: 2"]);
    }

    fn setting_pairs_replaces_everything_and_keeps_their_order(engine) {
        let guest = engine.guest(&format!("on request_headers\n (!say (!set_header_map_pairs #0 {{\"{PAIRS}\"}}))"));
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        assert_eq!(guest.logs(), ["0"]);
        assert_eq!(chain.request(), ["x-b: 1", "c: "]);
    }

    fn every_form_of_no_pairs_empties_the_map(engine) {
        for form in ["#0 #0", "#131072 #0", "{\"\\00\\00\\00\\00\"}", "{\"\\00\"}"] {
            let (logs, map) = headers(engine, Setup::default(), &format!("(!say (!set_header_map_pairs #0 {form}))"));
            assert_eq!((&logs[..], &map[..]), (&["0".to_owned()][..], &[][..]), "{form}");
        }
    }

    fn malformed_pairs_answer_0_and_leave_or_wipe_the_map(engine) {
        for bad in [
            "\\01\\00", "\\01\\00\\00\\00", "\\01\\00\\00\\00\\01\\00\\00\\00", "\\ff\\ff\\ff\\ff\\00\\00\\00\\00",
            "\\01\\00\\00\\00\\01\\00\\00\\00\\01\\00\\00\\00a\\00b",
            "\\01\\00\\00\\00\\01\\00\\00\\00\\01\\00\\00\\00a\\00b\\01",
            "\\01\\00\\00\\00\\01\\00\\00\\00\\01\\00\\00\\00ab\\00\\00",
            "\\01\\00\\00\\00\\01\\00\\00\\00\\01\\00\\00\\00a\\00b\\00\\00",
            "\\01\\00\\00\\00\\ff\\ff\\ff\\ff\\01\\00\\00\\00a\\00b\\00",
            "\\01\\04\\00\\00",
        ] {
            for (compat, left) in [(Compat::SUPERSET, 6), (Compat::ENVOY, 0), (Compat::SPEC, 6)] {
                let code = format!("(!say (!set_header_map_pairs #0 {{\"{bad}\"}}))");
                let (logs, map) = headers(engine, Setup::compat(compat), &code);
                assert_eq!((&logs[..], map.len()), (&["0".to_owned()][..], left), "{bad}");
            }
        }
    }

    fn pairs_past_the_limits_are_malformed(engine) {
        // 1025 empty pairs, 1024 of them, and more than a mebibyte of one.
        for (count, length, kept) in [(1025, 4 + 1025 * 10, "6"), (1024, 4 + 1024 * 10, "1024"), (1, 1_048_577, "6")] {
            let (logs, map) = headers(engine, Setup::default(), &format!(
                "(drop (memory.grow #20)) (i32.store #200000 #{count})
                 (if (i32.eq #{count} #1) (then (i32.store #200008 #{})))
                 (!say (!set_header_map_pairs #0 #200000 #{length}))", length - 14));
            assert_eq!((&logs[..], &map.len().to_string()[..]), (&["0".to_owned()][..], kept));
        }
    }

    fn maps_past_7_do_not_exist(engine) {
        for map in ["#8", "#-1"] {
            let (logs, _) = headers(engine, Setup::default(), &format!(
                "(!say (!get_header_map_size {map} #-1)) (!say (!get_header_map_pairs {map} #-1 #-1))
                 (!say (!set_header_map_pairs {map} #-1 #-1)) (!say (!get_header_map_value {map} #-1 #-1 #-1 #-1))
                 (!say (!add_header_map_value {map} #-1 #-1 #-1 #-1))
                 (!say (!replace_header_map_value {map} #-1 #-1 #-1 #-1))
                 (!say (!remove_header_map_value {map} #-1 #-1))"));
            assert_eq!(logs, ["2"; 7]);
        }
    }

    fn maps_that_are_not_there_have_no_pairs_and_answer_2(engine) {
        for map in 1..8 {
            let (logs, _) = headers(engine, Setup::default(), &format!(
                "(i32.store #16 #9) (i32.store #20 #9)
                 (!say (!get_header_map_pairs #{map} @out)) (!say (i32.load #16)) (!say (i32.load #20))
                 (!say (!get_header_map_size #{map} #24)) (!say (!get_header_map_value #{map} {{\"a\"}} @out))
                 (!say (!add_header_map_value #{map} {{\"a\"}} {{\"b\"}}))
                 (!say (!replace_header_map_value #{map} {{\"a\"}} {{\"b\"}}))
                 (!say (!remove_header_map_value #{map} {{\"a\"}})) (!say (!set_header_map_pairs #{map} #0 #0))"));
            assert_eq!(logs, ["0", "0", "0", "2", "2", "2", "2", "2", "2"], "map {map}");
        }
    }

    fn a_root_has_no_maps(engine) {
        let guest = engine.guest("on tick
            (!say (!get_header_map_pairs #0 @out)) (!say (!get_header_map_value #0 {\"a\"} @out))
            (!say (!add_header_map_value #0 {\"a\"} {\"b\"}))");
        assert_eq!(guest.tick(), ["0", "2", "2"]);
    }

    fn request_headers_in_the_response_are_readable_but_for_envoy(engine) {
        for (compat, status) in [(Compat::SUPERSET, "0"), (Compat::ENVOY, "2"), (Compat::SPEC, "0")] {
            let guest = engine.load(Setup::compat(compat), "on request_headers
                on response_headers
                (!say (!get_header_map_value #0 {\"x-a\"} @out)) (!say (!add_header_map_value #0 {\"x\"} {\"y\"}))
                (!say (!replace_header_map_value #2 {\":status\"} {\"418\"}))").expect("loads");
            let mut chain = guest.chain();
            chain.headers(Way::Request, true);
            chain.respond(true);
            assert_eq!(guest.logs(), [status, "2", "0"]);
            assert_eq!(chain.response(), [":status: 418", "x-up: u"]);
        }
    }

    fn held_request_headers_stay_writable(engine) {
        for compat in PRESETS {
            let guest = engine.load(Setup::compat(compat), "on request_headers\n (return #1)
                on tick
                (drop (!set_effective_context #2))
                (!say (!replace_header_map_value #0 {\":path\"} {\"/held\"}))
                (!say (!continue_stream #0))").expect("loads");
            let mut chain = guest.chain();
            chain.headers(Way::Request, true);
            assert_eq!(guest.tick(), ["0", "0"]);
            chain.poll();
            assert_eq!(chain.out(Way::Request), ["headers."]);
            assert_eq!(chain.request()[1], ":path: /held");
        }
    }

    fn request_maps_go_at_once_when_the_stream_is_continued(engine) {
        for (compat, status) in [(Compat::SUPERSET, "0"), (Compat::ENVOY, "2"), (Compat::SPEC, "0")] {
            for stream in ["#0", "#1"] {
                let (logs, _) = headers(engine, Setup::compat(compat), &format!(
                    "(!say (!continue_stream {stream})) (!say (!get_header_map_value #0 {{\"x-a\"}} @out))
                     (!say (!add_header_map_value #0 {{\"x\"}} {{\"y\"}}))"));
                assert_eq!(logs, ["0", status, "2"]);
            }
        }
    }

    fn maps_are_read_only_at_the_end(engine) {
        for compat in PRESETS {
            let guest = engine.load(Setup::compat(compat), "on request_headers\non log
                (!say (!get_header_map_value #0 {\"x-a\"} @out)) (!say (!get_header_map_value #2 {\"x-up\"} @out))
                (!say (!get_header_map_value #0 {\"nope\"} @out)) (!say (!get_header_map_value #1 {\"nope\"} @out))
                (!say (!add_header_map_value #0 {\"x\"} {\"y\"})) (!say (!replace_header_map_value #2 {\"x\"} {\"y\"}))
                (!say (!remove_header_map_value #2 {\"x-up\"})) (!say (!set_header_map_pairs #0 #0 #0))
                (!say (!get_header_map_size #2 #24))").expect("loads");
            let mut chain = guest.chain();
            chain.headers(Way::Request, true);
            chain.respond(true);
            chain.end();
            assert_eq!(guest.logs(), ["0", "0", "1", "1", "2", "2", "2", "2", "2"]);
        }
    }

    fn trailers_are_readable_and_writable_in_their_callback(engine) {
        let guest = engine.guest("on request_trailers
            (!say (local.get $b)) (!say (!get_header_map_value #1 {\"t\"} @out)) (!show)
            (!say (!add_header_map_value #1 {\"u\"} {\"2\"}))
            on response_trailers
            (!say (local.get $b)) (!say (!remove_header_map_value #3 {\"t\"}))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        assert_eq!(chain.trailers(Way::Request, &[("t", "1")]), ["trailers"]);
        chain.respond(false);
        assert_eq!(chain.trailers(Way::Response, &[("t", "1"), ("v", "3")]), ["trailers"]);
        assert_eq!(guest.logs(), ["1", "0", "1", "0", "2", "0"]);
        assert_eq!(show(chain.exchange().borrow().request_trailers.as_ref()), ["t: 1", "u: 2"]);
        assert_eq!(show(chain.exchange().borrow().response_trailers.as_ref()), ["v: 3"]);
    }

    fn trailers_can_be_made_at_the_end_of_a_body_and_not_before(engine) {
        for (way, map, callback) in [(Way::Request, 1, "request_body"), (Way::Response, 3, "response_body")] {
            let guest = engine.guest(&format!("on {callback}
                (!say (!get_header_map_value #{map} {{\"t\"}} @out))
                (!say (!add_header_map_value #{map} {{\"t\"}} {{\"1\"}}))
                (!say (!get_header_map_value #{map} {{\"t\"}} @out))"));
            let mut chain = guest.chain();
            chain.headers(Way::Request, way == Way::Response);
            if way == Way::Response {
                chain.respond(false);
            }
            assert_eq!(chain.data(way, "a", false), ["data:a"]);
            assert_eq!(chain.data(way, "b", true), ["data:b", "trailers"]);
            assert_eq!(guest.logs(), ["2", "2", "2", "2", "0", "0"]);
        }
    }

    fn asking_for_the_size_of_trailers_makes_none_that_are_sent(engine) {
        let guest = engine.guest("on request_body\n (!say (!get_header_map_size #1 #24)) (!say (i32.load #24))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        assert_eq!(chain.data(Way::Request, "a", true), ["data:a."]);
        assert_eq!(guest.logs(), ["0", "0"]);
    }

    fn values_are_bytes_whatever_they_are(engine) {
        let (logs, map) = headers(engine, Setup::default(),
            "(!say (!add_header_map_value #0 {\"n\"} {\"a\\00b\\ff\"}))
             (!say (!get_header_map_value #0 {\"n\"} @out)) (!show) (!say (i32.load #20))");
        assert_eq!(logs, ["0", "0", "a\0b\u{fffd}", "4"]);
        assert_eq!(map[6], "n: a\0b\u{fffd}");
    }

    fn bad_pointers_answer_6_and_change_nothing(engine) {
        let (logs, map) = headers(engine, Setup::default(),
            "(!say (!add_header_map_value #0 #-1 #1 {\"v\"})) (!say (!add_header_map_value #0 {\"k\"} #131071 #2))
             (!say (!replace_header_map_value #0 #131072 #1 {\"v\"})) (!say (!replace_header_map_value #0 {\"k\"} #1 #-1))
             (!say (!remove_header_map_value #0 #1 #-1)) (!say (!set_header_map_pairs #0 #-1 #4))
             (!say (!get_header_map_value #0 #-1 #1 @out)) (!say (!get_header_map_value #0 {\"x-a\"} #-1 #20))
             (!say (!get_header_map_value #0 {\"x-a\"} #16 #131069)) (!say (!get_header_map_pairs #0 #-1 #20))
             (!say (!get_header_map_pairs #2 #-1 #20)) (!say (!get_header_map_size #0 #131069))");
        assert_eq!(logs, ["6"; 12]);
        assert_eq!(map.len(), 6);
    }

    fn output_pointers_may_be_equal_or_overlap(engine) {
        let (logs, _) = headers(engine, Setup::default(),
            "(!say (!get_header_map_value #0 {\":path\"} #17 #17)) (!say (i32.load #17))
             (!say (!get_header_map_value #0 {\":path\"} #17 #19)) (!say (i32.load #19))
             (!say (!get_header_map_value #0 #4096 #1 #4096 #4100))");
        assert_eq!(logs, ["0", "9", "0", "9", "1"]);
    }
}
