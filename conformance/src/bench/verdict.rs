//! The targets, and whether they are met.
//!
//! A target is a number that a figure must not exceed, nearly always a ratio to Envoy doing
//! the same in the same rounds. Some are required. Of the others two rows may be missed, by
//! at most a quarter each.

use serde::{Deserialize, Serialize};

use super::report::{Column, Report, ratio};
use crate::stats::Summary;

use Column::{Cold, Envoy, Hot, Nginx};

/// Rows that are not required and may yet be missed.
const MISSES: usize = 2;
/// How far one may be missed, as a multiple of its target.
const FAR: f64 = 1.25;

/// One figure held against its target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verdict {
    /// The row of the targets it belongs to; a row is missed if one of its figures is.
    pub row: String,
    /// What it is.
    pub figure: String,
    /// The most it may be, in `unit`.
    pub target: f64,
    /// `× Envoy`, or a unit.
    pub unit: String,
    /// What it is; `None` if it was not measured.
    pub measured: Option<f64>,
    /// Whether missing it fails the run whatever else is met.
    pub required: bool,
}

/// What a run comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All that must be is met.
    Kept,
    /// It is not, and why.
    Missed(Vec<String>),
}

/// How a figure is taken from a report.
enum Figure {
    /// A program's figures in a row over another's.
    Ratio(&'static str, Column, Column),
    /// What five filters of a kind add over none, over what they add in Envoy.
    Added(&'static str, Column),
    /// A program's figure itself.
    Own(&'static str, Column),
    /// The same, where more is better: what is missing to 100.
    Lacking(&'static str, Column),
}

/// (row, figure, how, target, unit, required)
type Target = (&'static str, &'static str, Figure, f64, &'static str, bool);

const ENVOY: &str = "× Envoy";

/// ENGINE and host targets, in the order of the document that set them.
const TARGETS: [Target; 27] = {
    use Figure::{Added, Lacking, Own, Ratio};
    [
        (
            "plain proxy",
            "CPU",
            Ratio("plain.cpu", Hot, Envoy),
            0.40,
            ENVOY,
            true,
        ),
        (
            "plain proxy",
            "CPU",
            Ratio("plain.cpu", Hot, Nginx),
            1.35,
            "× nginx",
            true,
        ),
        (
            "h2c",
            "CPU",
            Ratio("h2c.cpu", Hot, Envoy),
            0.45,
            ENVOY,
            false,
        ),
        (
            "transform, whole proxy",
            "one",
            Ratio("transform1.cpu", Hot, Envoy),
            0.40,
            ENVOY,
            true,
        ),
        (
            "transform, whole proxy",
            "five",
            Ratio("transform5.cpu", Hot, Envoy),
            0.40,
            ENVOY,
            true,
        ),
        (
            "added by one filter, hot",
            "transform",
            Added("transform", Hot),
            0.30,
            ENVOY,
            true,
        ),
        (
            "added by one filter, hot",
            "noop",
            Added("noop", Hot),
            0.25,
            ENVOY,
            false,
        ),
        (
            "added by one filter, hot",
            "hello",
            Added("hello", Hot),
            0.45,
            ENVOY,
            false,
        ),
        (
            "16 KiB bodies",
            "rewritten",
            Ratio("rewrite.cpu", Hot, Envoy),
            0.60,
            ENVOY,
            true,
        ),
        (
            "16 KiB bodies",
            "replaced",
            Ratio("replace.cpu", Hot, Envoy),
            0.45,
            ENVOY,
            true,
        ),
        (
            "added by one filter, cold",
            "noop",
            Added("noop", Cold),
            0.5,
            ENVOY,
            false,
        ),
        (
            "added by one filter, cold",
            "transform",
            Added("transform", Cold),
            1.7,
            ENVOY,
            false,
        ),
        (
            "start, ten modules",
            "CPU, cached",
            Ratio("start10.warm.cpu", Hot, Envoy),
            0.03,
            ENVOY,
            true,
        ),
        (
            "start, ten modules",
            "CPU, never seen",
            Ratio("start10.empty.cpu", Hot, Envoy),
            0.10,
            ENVOY,
            true,
        ),
        (
            "memory",
            "RSS with one filter",
            Ratio("transform1.rss", Hot, Envoy),
            0.25,
            ENVOY,
            true,
        ),
        (
            "memory",
            "a further VM, cold",
            Ratio("vm.rss", Cold, Envoy),
            1.0 / 28.0,
            ENVOY,
            true,
        ),
        (
            "memory",
            "a further VM, hot",
            Ratio("vm.rss", Hot, Envoy),
            1.0 / 50.0,
            ENVOY,
            true,
        ),
        (
            "idle connections",
            "HTTP/1.1",
            Own("idle.http1", Hot),
            14.0,
            "KiB",
            false,
        ),
        (
            "idle connections",
            "HTTP/2",
            Own("idle.http2", Hot),
            26.0,
            "KiB",
            false,
        ),
        // One switch in five seconds: the look itself may be one.
        (
            "idle sidecar",
            "wake-ups",
            Own("idle.wakeups", Hot),
            0.2,
            "1/s",
            false,
        ),
        // The default of `limits.callback`, and two ticks of 10 ms.
        (
            "runaway guest",
            "ended after, hot",
            Own("runaway.ended", Hot),
            120.0,
            "ms",
            false,
        ),
        (
            "runaway guest",
            "ended after, cold",
            Own("runaway.ended", Cold),
            120.0,
            "ms",
            false,
        ),
        (
            "runaway guest",
            "others wait, hot",
            Own("runaway.others", Hot),
            120.0,
            "ms",
            false,
        ),
        (
            "runaway guest",
            "others wait, cold",
            Own("runaway.others", Cold),
            120.0,
            "ms",
            false,
        ),
        (
            "after a trap",
            "next requests lost",
            Lacking("trap.served", Hot),
            0.0,
            "%",
            false,
        ),
        (
            "after a trap",
            "VM replaced, hot",
            Own("trap.whole", Hot),
            0.5,
            "ms",
            false,
        ),
        (
            "after a trap",
            "VM replaced, cold",
            Own("trap.whole", Cold),
            0.5,
            "ms",
            false,
        ),
    ]
};

/// Holds a report against every target.
pub fn judge(report: &Report) -> Vec<Verdict> {
    let verdict = |(row, figure, how, target, unit, required): &Target| Verdict {
        row: (*row).to_owned(),
        figure: (*figure).to_owned(),
        target: *target,
        unit: (*unit).to_owned(),
        measured: how.of(report),
        required: *required,
    };
    TARGETS.iter().map(verdict).collect()
}

/// What verdicts come to. A figure that was not measured is one that is missed.
pub fn outcome(verdicts: &[Verdict]) -> Outcome {
    let mut reasons = Vec::new();
    let mut rows: Vec<&str> = Vec::new();
    for verdict in verdicts.iter().filter(|verdict| !verdict.is_met()) {
        let name = format!("{}, {}", verdict.row, verdict.figure);
        if verdict.measured.is_none() {
            reasons.push(format!("{name}: not measured"));
        } else if verdict.required {
            reasons.push(format!("{name}: required"));
        } else if verdict.is_far() {
            reasons.push(format!("{name}: missed by more than a quarter"));
        }
        if !verdict.required && !rows.contains(&verdict.row.as_str()) {
            rows.push(&verdict.row);
        }
    }
    if rows.len() > MISSES {
        reasons.push(format!("{} rows missed: {}", rows.len(), rows.join("; ")));
    }
    if reasons.is_empty() {
        return Outcome::Kept;
    }
    Outcome::Missed(reasons)
}

// === impl Verdict ===

impl Verdict {
    /// Whether the target is kept.
    pub fn is_met(&self) -> bool {
        self.measured
            .is_some_and(|measured| measured <= self.target)
    }

    /// Whether it is missed by more than may be.
    pub fn is_far(&self) -> bool {
        self.measured
            .is_none_or(|measured| measured > self.target * FAR)
    }
}

// === impl Figure ===

impl Figure {
    fn of(&self, report: &Report) -> Option<f64> {
        let own = |id: &str, column| {
            let samples = report.samples(id, column).iter().copied();
            Some(Summary::of(samples)?.median)
        };
        match *self {
            Self::Ratio(id, column, to) => {
                Some(ratio(report.samples(id, column), report.samples(id, to))?.median)
            }
            Self::Added(guest, column) => {
                let ours = added(report, guest, column)?;
                Some(ratio(&ours, &added(report, guest, Envoy)?)?.median)
            }
            Self::Own(id, column) => own(id, column),
            Self::Lacking(id, column) => Some(100.0 - own(id, column)?),
        }
    }
}

/// What one of five filters adds to a request, in µs, round by round.
pub(super) fn added(report: &Report, guest: &str, column: Column) -> Option<Vec<f64>> {
    // Without filters there are no tiers.
    let plain = if column == Cold { Hot } else { column };
    let five = report.samples(&format!("{guest}5.cpu"), column);
    let none = report.samples("plain.cpu", plain);
    let added: Vec<f64> = five
        .iter()
        .zip(none)
        .map(|(five, none)| (five - none) / 5.0)
        .collect();
    (!added.is_empty()).then_some(added)
}

#[cfg(test)]
mod tests;
