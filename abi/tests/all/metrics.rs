//! Metrics (section 2.10; cases 234 to 240).

use std::sync::Arc;

use cofferdam_abi::Shared;
use cofferdam_abi::shared::MetricKind;

use crate::world::{Look, Setup};

/// `$def` defines and says status and number; `$add`, `$set` and `$value` say what they
/// are answered, `$value` the low half of the value too.
const LIBRARY: &str = "raw
    (func $def (param $kind i32) (param $name i32) (param $len i32)
        (i32.store #24 #0)
        (!say (!define_metric (local.get $kind) (local.get $name) (local.get $len) #24))
        (!say (i32.load #24)))
    (func $add (param $id i32) (param $by i64) (!say (!increment_metric (local.get $id) (local.get $by))))
    (func $set (param $id i32) (param $to i64) (!say (!record_metric (local.get $id) (local.get $to))))
    (func $value (param $id i32) (local $status i32)
        (local.set $status (!get_metric (local.get $id) #33))
        (!say (local.get $status))
        (if (i32.eqz (local.get $status)) (then (!say (i32.wrap_i64 (i64.load #33))))))
";

fn source(on_tick: &str) -> String {
    format!("{LIBRARY}on tick\n {on_tick}")
}

each_engine! {
    fn numbers_tell_the_kind_and_go_up_by_four(engine) {
        let guest = engine.guest(&source("
            (!def #0 {\"c\"}) (!def #1 {\"g\"}) (!def #2 {\"h\"}) (!def #0 {\"d\"}) (!def #1 {\"i\"})"));
        assert_eq!(guest.tick(), ["0", "4", "0", "5", "0", "6", "0", "8", "0", "9"]);
    }

    fn a_kind_that_does_not_exist_answers_2_after_a_bad_name(engine) {
        let guest = engine.guest(&source("
            (!def #3 {\"c\"}) (!def #-1 {\"c\"}) (!say (!define_metric #3 #-1 #-1 #-1))"));
        assert_eq!(guest.tick(), ["2", "0", "2", "0", "6"]);
    }

    fn a_counter_goes_up_and_nowhere_else(engine) {
        let guest = engine.guest(&source("(!def #0 {\"c\"})
            (!add #4 (i64.const 3)) (!value #4) (!add #4 (i64.const 0)) (!add #4 (i64.const -1)) (!value #4)"));
        assert_eq!(guest.tick(), ["0", "4", "0", "0", "3", "2", "2", "0", "3"]);
    }

    fn recording_a_counter_adds(engine) {
        let guest = engine.guest(&source("(!def #0 {\"c\"})
            (!set #4 (i64.const 12)) (!set #4 (i64.const 5)) (!set #4 (i64.const 0)) (!value #4)"));
        assert_eq!(guest.tick(), ["0", "4", "0", "0", "0", "0", "17"]);
    }

    fn a_gauge_goes_both_ways_and_is_set(engine) {
        let guest = engine.guest(&source("(!def #1 {\"g\"})
            (!add #5 (i64.const 7)) (!add #5 (i64.const -3)) (!add #5 (i64.const 0)) (!value #5)
            (!set #5 (i64.const 40)) (!value #5)"));
        assert_eq!(guest.tick(), ["0", "5", "0", "0", "0", "0", "4", "0", "0", "40"]);
    }

    fn values_have_64_bits(engine) {
        let guest = engine.guest("on tick
            (drop (!define_metric #1 {\"g\"} #24))
            (drop (!record_metric #5 (i64.const -2)))
            (drop (!get_metric #5 #32))
            (!say (i64.eq (i64.load #32) (i64.const -2)))");
        assert_eq!(guest.tick(), ["1"]);
    }

    fn a_histogram_is_recorded_only(engine) {
        let guest = engine.guest(&source("(!def #2 {\"h\"})
            (!set #6 (i64.const 7)) (!set #6 (i64.const 1000)) (!add #6 (i64.const 1)) (!value #6)"));
        assert_eq!(guest.tick(), ["0", "6", "0", "0", "2", "2"]);
        let metrics = guest.host.shared.metrics().guests();
        let histogram = metrics[0].histogram().expect("is one");
        assert_eq!((histogram.sum(), histogram.counts().iter().sum::<u64>()), (1007, 2));
    }

    fn numbers_of_nothing_answer_1_or_2_by_their_kind(engine) {
        let guest = engine.guest(&source("
            (!add #4 (i64.const 1)) (!add #5 (i64.const 1)) (!add #6 (i64.const 1)) (!add #7 (i64.const 1))
            (!add #4 (i64.const -1)) (!add #0 (i64.const 1)) (!add #-1 (i64.const 1))
            (!text {\"set\"})
            (!set #4 (i64.const 1)) (!set #5 (i64.const 1)) (!set #6 (i64.const 1)) (!set #7 (i64.const 1))
            (!text {\"value\"})
            (!value #4) (!value #5) (!value #6) (!value #7) (!value #0)"));
        assert_eq!(guest.tick(), [
            "1", "1", "2", "2", "1", "1", "2",
            "set", "1", "1", "1", "1",
            "value", "1", "1", "2", "2", "1",
        ]);
    }

    fn defining_a_name_again_gives_another_number_for_the_same_metric(engine) {
        let guest = engine.guest(&source("
            (!def #0 {\"c\"}) (!add #4 (i64.const 24)) (!def #0 {\"c\"}) (!value #8)
            (!add #8 (i64.const 1)) (!value #4)"));
        assert_eq!(guest.tick(), ["0", "4", "0", "0", "8", "0", "24", "0", "0", "25"]);
    }

    fn one_name_of_two_kinds_is_two_metrics(engine) {
        let guest = engine.guest(&source("
            (!def #0 {\"n\"}) (!def #1 {\"n\"}) (!add #4 (i64.const 3)) (!value #5)"));
        assert_eq!(guest.tick(), ["0", "4", "0", "5", "0", "0", "0"]);
    }

    fn all_vms_of_all_vm_ids_and_threads_count_together(engine) {
        let shared = Arc::new(Shared::default());
        let count = source("(!def #0 {\"c\"}) (!add #4 (i64.const 5))");
        std::thread::scope(|scope| {
            for vm_id in ["one", "two", "two"] {
                let (shared, count) = (shared.clone(), &count);
                scope.spawn(move || {
                    let mut setup = Setup { shared: Some(shared), ..Setup::default() };
                    setup.settings.vm_id = vm_id.into();
                    assert_eq!(engine.guest_of(setup, count).tick(), ["0", "4", "0"]);
                });
            }
        });
        let metrics = shared.metrics().guests();
        assert_eq!(metrics.len(), 1);
        assert_eq!(metrics[0].name(), b"c");
        assert_eq!(metrics[0].kind(), MetricKind::Counter);
        assert_eq!(metrics[0].value(), Some(15));
    }

    fn metrics_without_end_answer_10_and_known_ones_go_on(engine) {
        let mut setup = Setup::default();
        setup.settings.limits.metrics = 2;
        let guest = engine.guest_of(setup, &source("
            (!def #0 {\"a\"}) (!def #0 {\"b\"}) (!def #0 {\"c\"}) (!def #0 {\"b\"})
            (!add #8 (i64.const 1)) (!value #8)"));
        assert_eq!(guest.tick(), ["0", "4", "0", "8", "10", "0", "0", "8", "0", "0", "1"]);
        assert_eq!(guest.host.notices.borrow().len(), 1);
    }

    fn a_name_may_be_long_but_not_too_long(engine) {
        let guest = engine.guest(&source("(!def #0 #0 #4096) (!def #0 #0 #4097) (!def #0 #0 #0)"));
        assert_eq!(guest.tick(), ["0", "4", "10", "0", "0", "8"]);
    }

    fn a_number_that_cannot_be_told_is_not_given(engine) {
        let guest = engine.guest(&source("(!say (!define_metric #0 {\"a\"} #-1)) (!def #0 {\"b\"})"));
        assert_eq!(guest.tick(), ["6", "0", "4"]);
        assert_eq!(guest.host.shared.metrics().guests().len(), 1);
    }

    fn definitions_are_good_in_streams_and_outlive_them(engine) {
        let guest = engine.guest(&format!("{LIBRARY}
            on request_headers\n (!def #0 {{\"c\"}}) (!add #4 (i64.const 1))
            on tick\n (!value #4)"));
        assert_eq!(guest.get(), ["0", "4", "0"]);
        assert_eq!(guest.tick(), ["0", "1"]);
    }
}
