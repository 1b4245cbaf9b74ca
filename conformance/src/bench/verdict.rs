//! The targets, and whether they are met.
//!
//! A target is a number that a figure must not exceed, nearly always a ratio to Envoy doing
//! the same in the same rounds. Some are required. Of the others two rows may be missed, by
//! at most a quarter each.

use serde::{Deserialize, Serialize};

use super::report::{Column, Report, ratio};
use crate::stats::Summary;

use Column::{Cold, Envoy, Hot};

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

mod targets;

use targets::{Figure, TARGETS, Target};

/// Holds a report against every target.
pub fn judge(report: &Report) -> Vec<Verdict> {
    let verdict = |target: &Target| {
        let (row, figure) = target.name.split_once(": ").unwrap_or((target.name, ""));
        Verdict {
            row: row.to_owned(),
            figure: figure.to_owned(),
            target: target.most,
            unit: target.unit.to_owned(),
            measured: target.figure.of(report),
            required: target.required,
        }
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
