//! Bodies and configurations as buffers.

use cofferdam_abi::testing::Guest;
use cofferdam_abi::{Compat, Way};

use crate::guest::Shape;
use crate::world::{Drive, Engine, Look, PRESETS, Setup};

/// What a guest logs while a request's body is `hello`, and what goes on.
fn body(engine: Engine, setup: Setup, code: &str) -> (Vec<String>, String) {
    let guest = engine
        .load(setup, &format!("on request_body\n {code}"))
        .expect("loads");
    let mut chain = guest.chain();
    chain.headers(Way::Request, false);
    let out = chain.data(Way::Request, "hello", true).join(" ");
    assert_eq!(chain.failure(), None);
    (guest.logs(), out)
}

/// [`body`] with one edit, told by its status.
fn edited(engine: Engine, compat: Compat, edit: &str) -> (String, String) {
    let code = format!("(!say (!set_buffer_bytes #0 {edit}))");
    let (logs, out) = body(engine, Setup::compat(compat), &code);
    (logs.join(" "), out)
}

fn ok(out: &str) -> (String, String) {
    ("0".to_owned(), out.to_owned())
}

fn ticks(guest: &Guest, code_logs: &[&str]) {
    assert_eq!(guest.tick(), code_logs);
}

each_engine! {
    fn all_of_a_body_can_be_read(engine) {
        let (logs, out) = body(engine, Setup::default(),
            "(!say (local.get $b)) (!say (local.get $c))
             (!say (!get_buffer_bytes #0 #0 #-1 @out)) (!show)
             (!say (!get_buffer_bytes #0 #0 #0x7fffffff @out)) (!show)");
        assert_eq!(logs, ["5", "1", "0", "hello", "0", "hello"]);
        assert_eq!(out, "data:hello.");
    }

    fn a_part_of_a_body_is_exact(engine) {
        let (logs, _) = body(engine, Setup::default(),
            "(drop (!get_buffer_bytes #0 #1 #3 @out)) (!show)
             (drop (!get_buffer_bytes #0 #4 #9 @out)) (!show)
             (drop (!get_buffer_bytes #0 #2 #-1 @out)) (!show)");
        assert_eq!(logs, ["ell", "o", "llo"]);
    }

    fn nothing_is_pointer_0_and_length_0(engine) {
        for range in ["#5 #1", "#999 #1", "#-1 #-1", "#0 #0", "#3 #0"] {
            let (logs, _) = body(engine, Setup::default(), &format!(
                "(i32.store #16 #9) (i32.store #20 #9)
                 (!say (!get_buffer_bytes #0 {range} @out)) (!say (i32.load #16)) (!say (i32.load #20))"));
            assert_eq!(logs, ["0", "0", "0"], "{range}");
        }
    }

    fn buffers_past_8_do_not_exist(engine) {
        let guest = engine.guest("on tick
            (!say (!get_buffer_bytes #9 #0 #1 @out)) (!say (!get_buffer_bytes #-1 #0 #1 #-1 #-1))
            (!say (!get_buffer_status #9 @out)) (!say (!get_buffer_status #-1 #-1 #-1))
            (!say (!set_buffer_bytes #9 #0 #0 #0 #0)) (!say (!set_buffer_bytes #-1 #0 #0 #-1 #-1))");
        ticks(&guest, &["2"; 6]);
    }

    fn buffers_outside_their_callback_are_empty_or_not_found(engine) {
        for (buffer, status) in [(0, "0"), (1, "0"), (2, "0"), (3, "0"), (4, "1"), (5, "0"), (6, "0"), (7, "1"), (8, "1")] {
            let guest = engine.guest(&format!("on tick
                (!say (!get_buffer_bytes #{buffer} #0 #-1 @out)) (!say (!get_buffer_status #{buffer} @out))
                on request_headers
                (!say (!get_buffer_bytes #{buffer} #0 #-1 @out)) (!say (!get_buffer_status #{buffer} @out))
                on log
                (!say (!get_buffer_bytes #{buffer} #0 #-1 @out))"));
            ticks(&guest, &[status, status]);
            assert_eq!(guest.get(), [status, status, status], "buffer {buffer}");
        }
    }

    fn a_status_is_a_length_and_no_flags(engine) {
        let (logs, _) = body(engine, Setup::default(),
            "(i32.store #17 #9) (i32.store #21 #9)
             (!say (!get_buffer_status #0 #17 #21)) (!say (i32.load #17)) (!say (i32.load #21))
             (!say (!get_buffer_status #1 #17 #21)) (!say (i32.load #17))
             (i32.store #17 #9) (!say (!get_buffer_status #0 #17 #-1)) (!say (i32.load #17))
             (!say (!get_buffer_status #0 #-1 #21)) (!say (!get_buffer_status #0 #131069 #21))");
        assert_eq!(logs, ["0", "5", "0", "0", "0", "6", "9", "6", "6"]);
    }

    fn read_only_buffers_cannot_be_set(engine) {
        let (logs, out) = body(engine, Setup::default(),
            "(!say (!set_buffer_bytes #4 #0 #0 {\"x\"})) (!say (!set_buffer_bytes #5 #0 #0 {\"x\"}))
             (!say (!set_buffer_bytes #6 #0 #0 {\"x\"})) (!say (!set_buffer_bytes #7 #0 #0 {\"x\"}))
             (!say (!set_buffer_bytes #8 #0 #0 {\"x\"}))");
        assert_eq!(logs, ["2"; 5]);
        assert_eq!(out, "data:hello.");
    }

    fn buffers_that_are_not_there_cannot_be_set(engine) {
        let set = "(!say (!set_buffer_bytes #0 #0 #0 {\"x\"})) (!say (!set_buffer_bytes #1 #0 #0 {\"x\"}))
            (!say (!set_buffer_bytes #2 #0 #0 {\"x\"})) (!say (!set_buffer_bytes #3 #0 #0 {\"x\"}))";
        let guest = engine.guest(&format!("on tick\n {set}\non request_headers\n {set}"));
        ticks(&guest, &["1"; 4]);
        assert_eq!(guest.get(), ["1"; 4]);
    }

    fn edits_follow_the_table_under_every_preset(engine) {
        for compat in PRESETS {
            for (edit, out) in [
                ("#0 #0 {\"X\"}", "data:Xhello."),
                ("#0 #2 {\"X\"}", "data:Xllo."),
                ("#0 #5 {\"X\"}", "data:X."),
                ("#0 #0x7fffffff {\"X\"}", "data:X."),
                ("#0 #-1 {\"X\"}", "data:X."),
                ("#0 #-1 #0 #0", "data:."),
                ("#0 #0 #0 #0", "data:hello."),
                ("#5 #0 {\"X\"}", "data:helloX."),
                ("#5 #9 {\"X\"}", "data:helloX."),
                ("#0x7fffffff #0 {\"X\"}", "data:helloX."),
                ("#-1 #-1 {\"X\"}", "data:helloX."),
            ] {
                assert_eq!(edited(engine, compat, edit), ok(out), "{edit}");
            }
        }
    }

    fn an_edit_in_the_middle_splices_or_answers_2(engine) {
        for compat in [Compat::SUPERSET, Compat::SPEC] {
            assert_eq!(edited(engine, compat, "#2 #0 {\"X\"}"), ok("data:heXllo."));
            assert_eq!(edited(engine, compat, "#2 #2 {\"X\"}"), ok("data:heXo."));
            assert_eq!(edited(engine, compat, "#1 #-1 {\"X\"}"), ok("data:hX."));
        }
        let refused = ("2".to_owned(), "data:hello.".to_owned());
        assert_eq!(edited(engine, Compat::ENVOY, "#2 #0 {\"X\"}"), refused);
        assert_eq!(edited(engine, Compat::ENVOY, "#4 #1 {\"X\"}"), refused);
    }

    fn an_edit_with_a_bad_pointer_answers_6_and_changes_nothing(engine) {
        for data in ["#131072 #1", "#-1 #1", "#1 #-1", "#131071 #2"] {
            let edit = format!("#0 #-1 {data}");
            let refused = ("6".to_owned(), "data:hello.".to_owned());
            assert_eq!(edited(engine, Compat::SUPERSET, &edit), refused);
        }
    }

    fn an_empty_body_can_be_filled_from_any_start(engine) {
        for start in ["#0", "#2", "#0x7fffffff"] {
            let guest = engine.guest(&format!(
                "on request_body\n (!say (!set_buffer_bytes #0 {start} #0 {{\"new\"}}))"));
            let mut chain = guest.chain();
            chain.headers(Way::Request, false);
            assert_eq!(chain.data(Way::Request, "", true), ["data:new."]);
            assert_eq!(guest.logs(), ["0"]);
        }
    }

    fn bad_output_pointers_answer_6_without_an_allocation(engine) {
        let (logs, _) = body(engine, Setup::default(),
            "(global.set $h (global.get $heap))
             (!say (!get_buffer_bytes #0 #0 #-1 #-1 #20)) (!say (!get_buffer_bytes #0 #0 #-1 #16 #-1))
             (!say (!get_buffer_bytes #0 #0 #-1 #131069 #20)) (!say (!get_buffer_bytes #0 #0 #0 #-1 #-1))
             (!say (i32.sub (global.get $heap) (global.get $h)))");
        assert_eq!(logs, ["6", "6", "6", "6", "0"]);
    }

    fn an_allocator_that_answers_nonsense_means_6_and_harms_nobody(engine) {
        for pointer in ["#0", "#-1", "#131072", "#131068", "#0x80000000"] {
            let source = format!("raw
                (func (export \"malloc\") (param i32) (result i32) {pointer})
                on request_body
                (i32.store #16 #99)
                (!say (!get_buffer_bytes #0 #0 #-1 @out)) (!say (i32.load #16))");
            let shape = Shape { allocator: "", ..Shape::default() };
            let guest = engine.load(Setup { shape, ..Setup::default() }, &source).expect("loads");
            let mut chain = guest.chain();
            chain.headers(Way::Request, false);
            assert_eq!(chain.data(Way::Request, "hello", true), ["data:hello."]);
            assert_eq!(guest.logs(), ["6", "99"], "allocator answers {pointer}");
        }
    }

    fn the_allocator_is_asked_for_exactly_the_size_and_never_for_0(engine) {
        let shape = Shape { allocator: "", ..Shape::default() };
        let guest = engine.load(Setup { shape, ..Setup::default() }, "raw
            (func (export \"proxy_on_memory_allocate\") (param $size i32) (result i32)
                (!say (local.get $size)) (!allocate (local.get $size)))
            on request_body
            (drop (!get_buffer_bytes #0 #0 #-1 @out)) (drop (!get_buffer_bytes #0 #1 #2 @out))
            (drop (!get_buffer_bytes #0 #9 #2 @out)) (drop (!get_buffer_bytes #6 #0 #-1 @out))
            (drop (!get_header_map_pairs #2 @out)) (drop (!get_header_map_value #0 {\"x-a\"} @out))")
            .expect("loads");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        chain.data(Way::Request, "hello", true);
        assert_eq!(guest.logs(), ["5", "2", "1"]);
    }

    fn an_allocator_may_grow_memory_in_between(engine) {
        let guest = engine.guest("on request_body
            (!say (!get_buffer_bytes #0 #0 #-1 @out)) (!say (memory.size))
            (!say (i32.load8_u (i32.add (i32.load #16) #299999)))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        chain.data(Way::Request, &"z".repeat(300_000), true);
        assert_eq!(guest.logs(), ["0", "6", "122"]);
    }

    fn output_pointers_may_be_beyond_the_memory_there_was_at_first(engine) {
        let guest = engine.guest("on request_body
            (drop (memory.grow #1))
            (!say (!get_buffer_bytes #0 #0 #-1 #131073 #196604)) (!say (i32.load #196604))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        chain.data(Way::Request, "hello", true);
        assert_eq!(guest.logs(), ["0", "5"]);
    }

    fn a_buffered_body_is_shown_whole_each_time(engine) {
        let guest = engine.guest("on request_body
            (!say (local.get $b)) (!say (local.get $c))
            (drop (!get_buffer_bytes #0 #0 #-1 @out)) (!show)
            (return (i32.eqz (local.get $c)))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        assert!(chain.data(Way::Request, "11111", false).is_empty());
        assert!(chain.data(Way::Request, "22222", false).is_empty());
        assert!(chain.data(Way::Request, "33333", false).is_empty());
        assert_eq!(chain.data(Way::Request, "", true), ["data:111112222233333."]);
        assert_eq!(guest.logs(), [
            "5", "0", "11111", "10", "0", "1111122222",
            "15", "0", "111112222233333", "15", "1", "111112222233333",
        ]);
    }

    fn edits_are_kept_between_callbacks(engine) {
        let guest = engine.guest("on response_body
            (drop (!get_buffer_bytes #1 #0 #-1 @out)) (!show)
            (drop (!set_buffer_bytes #1 #0 #1 {\"<>\"}))
            (return (i32.eqz (local.get $c)))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, true);
        chain.respond(false);
        assert!(chain.data(Way::Response, "ab", false).is_empty());
        assert!(chain.data(Way::Response, "cd", false).is_empty());
        assert_eq!(chain.data(Way::Response, "ef", true), ["data:<>>>bcdef."]);
        assert_eq!(guest.logs(), ["ab", "<>bcd", "<>>bcdef"]);
        assert!(chain.changed_body(Way::Response));
        assert!(!chain.changed_body(Way::Request));
    }

    fn a_held_body_can_be_read_and_edited_from_elsewhere(engine) {
        let guest = engine.guest("on request_headers\n (return #1)
            on tick
            (drop (!set_effective_context #2))
            (drop (!get_buffer_bytes #0 #0 #-1 @out)) (!show)
            (!say (!set_buffer_bytes #0 #0 #-1 {\"other\"}))
            on request_body\n (!say (local.get $b))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        chain.data(Way::Request, "hel", false);
        chain.data(Way::Request, "lo", false);
        assert_eq!(guest.tick(), ["hello", "0"]);
        chain.data(Way::Request, "!", true);
        assert!(guest.logs().is_empty(), "no body callback while headers are held");
    }

    fn a_body_hidden_by_watermark_and_emptied_from_elsewhere_breaks_nothing(engine) {
        let guest = engine.guest("on request_body
            (!say (local.get $b)) (drop (!get_buffer_bytes #0 #0 #-1 @out)) (!show)
            (drop (!set_buffer_bytes #0 #0 #1 {\"X\"}))
            (return (i32.mul #2 (i32.eqz (local.get $c))))
            on tick
            (drop (!set_effective_context #2)) (!say (!set_buffer_bytes #0 #0 #-1 #0 #0))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        chain.data(Way::Request, "0123456789", false);
        assert_eq!(guest.logs(), ["10", "0123456789"]);
        assert_eq!(guest.tick(), ["0"]);
        assert_eq!(chain.data(Way::Request, "abc", true), ["data:Xbc."]);
        assert_eq!(guest.logs(), ["3", "abc"]);
    }

    fn a_chunk_nobody_touches_is_passed_on_as_it_came(engine) {
        let guest = engine.guest("on request_body\n (!say (local.get $b))");
        let mut chain = guest.chain();
        chain.headers(Way::Request, false);
        assert_eq!(chain.data(Way::Request, "a", false), ["data:a"]);
        assert_eq!(chain.data(Way::Request, "b", true), ["data:b."]);
        assert!(!chain.changed_body(Way::Request));
        assert!(chain.sees_body(Way::Request) && !chain.sees_body(Way::Response));
    }
}
