//! Verdicts over reports made by hand: what may be missed, what may be lacking.

use super::*;
use crate::bench::report::{About, Named};

fn verdict(row: &str, measured: Option<f64>, required: bool) -> Verdict {
    Verdict {
        row: row.to_owned(),
        figure: String::new(),
        target: 0.4,
        unit: "× Envoy".to_owned(),
        measured,
        required,
    }
}

#[test]
fn two_rows_may_be_missed_by_a_little() {
    let kept = |row| verdict(row, Some(0.4), true);
    let little = |row| verdict(row, Some(0.5), false);
    assert_eq!(
        outcome(&[kept("a"), little("b"), little("c")]),
        Outcome::Kept
    );
    // Figures of one row are one miss.
    assert_eq!(
        outcome(&[little("b"), little("b"), little("c")]),
        Outcome::Kept
    );
    let fails = |verdicts: &[Verdict]| outcome(verdicts) != Outcome::Kept;
    assert!(fails(&[little("b"), little("c"), little("d")]));
    assert!(fails(&[verdict("a", Some(0.401), true)]));
    assert!(fails(&[verdict("b", Some(0.51), false)]));
    assert!(fails(&[verdict("b", None, false)]));
}

#[test]
fn what_a_filter_adds_is_a_difference_within_a_round() {
    let mut report = Report::new(About::default());
    let mut add = |id, column, sample| {
        let named = Named {
            id,
            case: "",
            unit: "",
        };
        report.add(named, column, sample);
    };
    for (slow, ours, theirs) in [(1.0, 15.0, 70.0), (2.0, 15.0, 70.0), (1.0, 20.0, 65.0)] {
        add("plain.cpu", Hot, 10.0 * slow);
        add("plain.cpu", Envoy, 40.0 * slow);
        add("noop5.cpu", Hot, ours * slow);
        add("noop5.cpu", Cold, 4.0 * ours * slow);
        add("noop5.cpu", Envoy, theirs * slow);
    }
    // (15 - 10) over (70 - 40), whatever the machine does.
    let hot = Figure::Added("noop", Hot).of(&report).unwrap();
    assert!((hot - 5.0 / 30.0).abs() < 1e-9, "{hot}");
    let cold = Figure::Added("noop", Cold).of(&report).unwrap();
    assert!((cold - 50.0 / 30.0).abs() < 1e-9, "{cold}");
    assert!(Figure::Added("hello", Hot).of(&report).is_none());
    let judged = judge(&report);
    assert_eq!(judged.len(), TARGETS.len());
    assert!(judged.iter().any(|verdict| verdict.is_met()));
}

#[test]
fn what_is_lacking_is_held_against_none() {
    let mut report = Report::new(About::default());
    let named = Named {
        id: "trap.served",
        case: "",
        unit: "",
    };
    report.add(named, Hot, 0.0);
    let how = Figure::Lacking("trap.served", Hot);
    assert_eq!(how.of(&report), Some(100.0));
}
