//! Metrics without a guest.

use super::*;

const MANY: usize = 1_000;

#[test]
fn numbers_tell_the_kind_and_go_up_by_four() {
    let metrics = Metrics::default();
    let mut vm = Defined::default();
    let mut define = |kind, name: &str| vm.define(&metrics, (kind, name.as_bytes()), "p", MANY);
    assert_eq!(define(MetricKind::Counter, "a"), Ok(4));
    assert_eq!(define(MetricKind::Gauge, "b"), Ok(5));
    assert_eq!(define(MetricKind::Histogram, "c"), Ok(6));
    assert_eq!(define(MetricKind::Counter, "d"), Ok(8));
    assert_eq!(define(MetricKind::Counter, "a"), Ok(12), "another number");
}

#[test]
fn one_name_is_one_metric_and_two_kinds_are_two() {
    let metrics = Metrics::default();
    let (mut one, mut other) = (Defined::default(), Defined::default());
    for vm in [&mut one, &mut other] {
        let _ = vm.define(&metrics, (MetricKind::Counter, b"n"), "p", MANY);
        let _ = vm.define(&metrics, (MetricKind::Gauge, b"n"), "p", MANY);
    }
    one.get(4).expect("there").record(3);
    other.get(4).expect("there").record(4);
    assert_eq!(one.get(4).and_then(Metric::value), Some(7));
    assert_eq!(one.get(5).and_then(Metric::value), Some(0));
    assert_eq!(metrics.guests().len(), 2);
}

#[test]
fn numbers_that_were_never_given_are_of_nothing() {
    let metrics = Metrics::default();
    let mut vm = Defined::default();
    let _ = vm.define(&metrics, (MetricKind::Gauge, b"n"), "p", MANY);
    for number in [0, 1, 2, 3, 4, 6, 7, 8, 9, u32::MAX, u32::MAX - 2] {
        assert!(vm.get(number).is_none(), "{number}");
    }
    assert!(vm.get(5).is_some());
}

#[test]
fn past_the_bound_known_names_have_their_first_number() {
    let metrics = Metrics::default();
    let mut vm = Defined::default();
    for name in 0..10_u8 {
        assert!(
            vm.define(&metrics, (MetricKind::Counter, &[name]), "p", 10)
                .is_ok()
        );
    }
    assert_eq!(
        vm.define(&metrics, (MetricKind::Counter, &[10]), "p", 10),
        Err(TooMany)
    );
    assert_eq!(
        vm.define(&metrics, (MetricKind::Counter, &[2]), "p", 10),
        Ok(12)
    );
    assert_eq!(
        vm.define(&metrics, (MetricKind::Gauge, &[2]), "p", 10),
        Err(TooMany)
    );
    assert_eq!(
        metrics.guests().len(),
        10,
        "what is refused is not there either"
    );
}

#[test]
fn vms_that_come_and_go_cannot_define_without_end() {
    let metrics = Metrics::default();
    let mut defined = 0;
    for vm in 0..10_u8 {
        let mut it = Defined::default();
        for name in 0..10_u8 {
            let name = [vm, name];
            defined += usize::from(
                it.define(&metrics, (MetricKind::Counter, &name), "p", 25)
                    .is_ok(),
            );
        }
    }
    assert_eq!(defined, 25);
    let mut other = Defined::default();
    assert_eq!(
        other.define(&metrics, (MetricKind::Counter, b"x"), "another", 25),
        Ok(4)
    );
}

#[test]
fn counters_go_up_only_and_gauges_wherever() {
    let counter = Metric::new(MetricKind::Counter, Bytes::new());
    assert!(counter.increment(2));
    assert!(!counter.increment(0) && !counter.increment(-1));
    counter.record(5);
    assert_eq!(counter.value(), Some(7));
    let gauge = Metric::new(MetricKind::Gauge, Bytes::new());
    assert!(gauge.increment(2) && gauge.increment(0) && gauge.increment(-3));
    assert_eq!(gauge.value(), Some(u64::MAX));
    gauge.record(9);
    assert_eq!(gauge.value(), Some(9));
    let histogram = Metric::new(MetricKind::Histogram, Bytes::new());
    assert!(!histogram.increment(1));
    assert_eq!(histogram.value(), None);
}

#[test]
fn the_hosts_counters_are_one_for_equal_labels() {
    let metrics = Metrics::default();
    let a = metrics.counter("c", "Help.", &[("l", "1")]);
    let b = metrics.counter("c", "Help.", &[("l", "2")]);
    metrics.counter("c", "Help.", &[("l", "1")]).add(2);
    assert_eq!((a.value(), b.value()), (2, 0));
    assert_eq!(metrics.host().len(), 2);
}
