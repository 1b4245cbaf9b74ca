//! Log records and clocks.

use std::time::Duration;

use cofferdam_abi::{Compat, LogLevel, Part, Plugin, Way};

use crate::world::{Look, Setup};

each_engine! {
    fn each_level_has_its_name(engine) {
        let guest = engine.guest("on request_headers
            (drop (!log #0 {\"a\"})) (drop (!log #1 {\"b\"})) (drop (!log #2 {\"c\"}))
            (drop (!log #3 {\"d\"})) (drop (!log #4 {\"e\"})) (drop (!log #5 {\"f\"}))");
        let mut chain = guest.chain();
        chain.push(Way::Request, Part::Headers { end: true });
        assert_eq!(guest.host.take_logs(), [
            "Trace : a", "Debug : b", "Info : c", "Warn : d", "Error : e", "Critical : f",
        ]);
    }

    fn records_carry_the_name_of_their_plugin(engine) {
        let plugin = Plugin { name: "mine".into(), ..Plugin::default() };
        let guest = engine.load(Setup { plugin, ..Setup::default() }, "on tick\n (!say #1)").expect("loads");
        guest.vm.borrow_mut().tick(guest.root).expect("tick");
        assert_eq!(guest.host.take_logs(), ["Info mine: 1"]);
    }

    fn levels_that_do_not_exist_answer_2_even_with_a_bad_range(engine) {
        let guest = engine.guest("on tick
            (!say (!log #6 {\"x\"})) (!say (!log #-1 {\"x\"})) (!say (!log #6 #-1 #-1))");
        assert_eq!(guest.tick(), ["2", "2", "2"]);
    }

    fn a_range_outside_memory_answers_6(engine) {
        let guest = engine.guest("on tick
            (!say (!log #2 #131072 #1)) (!say (!log #2 #131071 #2)) (!say (!log #2 #-1 #1))
            (!say (!log #2 #1 #-1)) (!say (!log #2 #-1 #-1)) (!say (!log #2 #131073 #0))");
        assert_eq!(guest.tick(), ["6"; 6]);
    }

    fn an_empty_message_may_lie_anywhere_in_memory(engine) {
        let guest = engine.guest("on tick
            (!say (!log #2 #0 #0)) (!say (!log #2 #1 #0)) (!say (!log #2 #131072 #0))");
        assert_eq!(guest.tick(), ["", "0", "", "0", "", "0"]);
    }

    fn a_message_need_not_be_text(engine) {
        let guest = engine.guest("on tick\n (!text {\"a\\ff\\00b\"})");
        assert_eq!(guest.tick(), ["a\u{fffd}\0b"]);
    }

    fn records_below_the_level_are_not_sent_and_critical_ones_always(engine) {
        let guest = engine.guest("on tick
            (drop (!log #3 {\"warn\"})) (drop (!log #4 {\"error\"})) (drop (!log #5 {\"critical\"}))");
        guest.host.level.set(LogLevel::Error);
        assert_eq!(guest.tick(), ["error", "critical"]);
        guest.host.level.set(LogLevel::Critical);
        assert_eq!(guest.tick(), ["critical"]);
    }

    fn the_level_can_be_asked_for(engine) {
        let guest = engine.guest("on tick
            (!say (!get_log_level #17)) (!say (i32.load #17))
            (!say (!get_log_level #131069)) (!say (!get_log_level #-1))");
        assert_eq!(guest.tick(), ["0", "0", "6", "6"]);
        guest.host.level.set(LogLevel::Warn);
        assert!(guest.tick().is_empty(), "its records are below the level now");
    }

    fn the_level_is_told_as_its_number(engine) {
        let guest = engine.guest("on tick
            (drop (!get_log_level #16)) (drop (!log #5 (i32.add #16 #0) #1))");
        for (level, number) in [(LogLevel::Trace, "\0"), (LogLevel::Warn, "\u{3}"), (LogLevel::Critical, "\u{5}")] {
            guest.host.level.set(level);
            assert_eq!(guest.tick(), [number]);
        }
    }

    fn the_time_is_the_hosts_in_nanoseconds(engine) {
        let guest = engine.guest("on tick
            (!say (!get_current_time_nanoseconds #19))
            (!say (i32.wrap_i64 (i64.div_u (i64.load #19) (i64.const 1000000000))))
            (!say (i32.wrap_i64 (i64.rem_u (i64.load #19) (i64.const 1000000000))))
            (!say (!get_current_time_nanoseconds #131065))
            (!say (!get_current_time_nanoseconds #-1))");
        guest.host.now.set(Duration::new(1_700_000_000, 5));
        assert_eq!(guest.tick(), ["0", "1700000000", "5", "6", "6"]);
    }

    fn there_is_no_status_of_a_call_yet(engine) {
        let guest = engine.guest("on tick
            (i32.store #24 #99)
            (!say (!get_status #24 @out)) (!say (i32.load #24)) (!say (i32.load #20))
            (i32.store #24 #99)
            (!say (!get_status #24 #-1 #20)) (!say (!get_status #24 #16 #-1)) (!say (i32.load #24))
            (!say (!get_status #-1 @out))");
        assert_eq!(guest.tick(), ["0", "0", "0", "6", "6", "99", "6"]);
    }

    fn what_compilers_import_besides_is_there(engine) {
        let guest = engine.guest("imports
            (import \"env\" \"emscripten_notify_memory_growth\" (func $grown (param i32)))
            (import \"env\" \"pthread_equal\" (func $equal (param i32 i32) (result i32)))
            (import \"env\" \"seed\" (func $seed (result f64)))
            (import \"env\" \"setTempRet0\" (func $set (param i32)))
            (import \"env\" \"getTempRet0\" (func $get (result i32)))
            on tick
            (!grown #0) (!say (!equal #3 #3)) (!say (!equal #3 #4))
            (!say (f64.ge (!seed) (f64.const 0))) (!set #9) (!say (!get))");
        assert_eq!(guest.tick(), ["1", "0", "1", "0"]);
    }

    fn an_abort_is_logged_with_its_text_and_ends_the_call(engine) {
        let guest = engine.guest("imports
            (import \"env\" \"abort\" (func $abort (param i32 i32 i32 i32)))
            raw
            (data (i32.const 512) \"\\04\\00\\00\\00n\\00o\\00\")
            on request_headers
            (!abort #516 #0 #7 #9) (!say #1)");
        let mut chain = guest.chain();
        chain.push(Way::Request, Part::Headers { end: true });
        assert_eq!(guest.host.take_logs(), ["Critical : abort: no at ?:7:9"]);
        let reason = format!("{:?}", chain.failure().expect("a failure").reason);
        assert!(reason.contains("Unreachable") && reason.contains("abort: no"), "{reason}");
    }

    fn an_abort_with_pointers_from_nowhere_ends_the_call_too(engine) {
        for pointers in ["#0 #-1", "#3 #4", "#131072 #131071", "#-1 #-4"] {
            let guest = engine.guest(&format!("imports
                (import \"env\" \"abort\" (func $abort (param i32 i32 i32 i32)))
                on tick
                (!abort {pointers} #7 #9)"));
            guest.vm.borrow_mut().tick(guest.root).expect_err("ends");
        }
    }

    fn proc_exit_ends_the_call_or_returns(engine) {
        let source = "on tick\n (!proc_exit #3) (!say #1)";
        for compat in [Compat::SUPERSET, Compat::SPEC] {
            let guest = engine.load(Setup::compat(compat), source).expect("loads");
            let trap = guest.vm.borrow_mut().tick(guest.root).expect_err("ends");
            assert_eq!(trap.to_string(), "guest exited in proxy_on_tick: proc_exit(3)");
            assert!(guest.vm.borrow().is_failed());
        }
        let guest = engine.load(Setup::compat(Compat::ENVOY), source).expect("loads");
        assert_eq!(guest.tick(), ["1"]);
        assert_eq!(guest.host.notices.borrow()[..], ["proc_exit(3) ignored"]);
    }
}
