//! What was measured: rows of cells, one cell for each program, every sample kept.
//!
//! This is `bench.json` as it is written and read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::verdict::Verdict;
use crate::stats::Summary;
use crate::{Error, Result, scratch};

/// Everything one run measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Where and how.
    pub about: About,
    /// The figures, in the order of the table.
    pub rows: Vec<Row>,
    /// What they say of the targets.
    pub verdicts: Vec<Verdict>,
}

/// The conditions of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct About {
    /// The day, `2026-11-21`.
    pub date: String,
    /// What was typed.
    pub command: String,
    /// Processor model and number of processors.
    pub cpu: String,
    /// Load average of the last minute before the run.
    pub load_before: String,
    /// The same at its end.
    pub load_after: String,
    /// Rounds.
    pub slices: usize,
    /// Seconds under load in a round, for each program and case.
    pub seconds: u32,
    /// Every program that took part, and its version.
    pub versions: BTreeMap<String, String>,
}

/// Which program, and for ours on which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Column {
    /// Cofferdam, filters as native code; also Cofferdam without filters.
    Hot,
    /// Cofferdam, filters on the interpreter.
    Cold,
    /// The real Envoy.
    Envoy,
    /// nginx, which has no filters.
    Nginx,
}

/// One line of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// What verdicts call it: `transform5.cpu`.
    pub id: String,
    /// The case in a few words.
    pub case: String,
    /// What is counted, with its unit.
    pub unit: String,
    /// What each program showed.
    pub cells: BTreeMap<Column, Cell>,
}

/// One program's samples, one for each round, in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cell {
    /// Their middle and their spread.
    #[serde(flatten)]
    pub summary: Summary,
    /// All of them.
    pub samples: Vec<f64>,
}

/// A row while it is named, and not yet measured.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// As [`Row::id`].
    pub id: &'a str,
    /// As [`Row::case`].
    pub case: &'a str,
    /// As [`Row::unit`].
    pub unit: &'a str,
}

// === impl Report ===

impl Report {
    /// One without figures.
    pub const fn new(about: About) -> Self {
        Self {
            about,
            rows: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    /// The file of the last whole run, which is kept with the code: there once there was one.
    pub fn stored() -> PathBuf {
        scratch::workspace().join("conformance/benches/bench.json")
    }

    /// What was written to a file.
    ///
    /// # Errors
    /// It cannot be read, or is no report.
    pub fn read(file: &Path) -> Result<Self> {
        let failed = |error: &dyn std::fmt::Display| Error::failed(file.display(), error);
        let text = std::fs::read_to_string(file).map_err(|error| failed(&error))?;
        serde_json::from_str(&text).map_err(|error| failed(&error))
    }

    /// Adds one sample; the row is made where it is not there yet.
    pub fn add(&mut self, named: Named<'_>, column: Column, sample: f64) {
        let index = self.rows.iter().position(|row| row.id == named.id);
        let index = index.unwrap_or_else(|| {
            self.rows.push(Row {
                id: named.id.to_owned(),
                case: named.case.to_owned(),
                unit: named.unit.to_owned(),
                cells: BTreeMap::new(),
            });
            self.rows.len() - 1
        });
        let Some(row) = self.rows.get_mut(index) else {
            return;
        };
        let mut samples = row
            .cells
            .remove(&column)
            .map_or_else(Vec::new, |cell| cell.samples);
        samples.push(sample);
        if let Some(summary) = Summary::of(samples.iter().copied()) {
            row.cells.insert(column, Cell { summary, samples });
        }
    }

    /// The samples of one program in one row; none where it was not measured.
    pub fn samples(&self, id: &str, column: Column) -> &[f64] {
        let row = self.rows.iter().find(|row| row.id == id);
        row.and_then(|row| row.cells.get(&column))
            .map_or(&[], |cell| &cell.samples)
    }
}

impl Row {
    /// One program's figures over another's, round by round.
    pub fn ratio(&self, column: Column, to: Column) -> Option<Summary> {
        let (ours, theirs) = (self.cells.get(&column)?, self.cells.get(&to)?);
        ratio(&ours.samples, &theirs.samples)
    }
}

/// Ratios round by round, reduced. Where the number of rounds differs, or something is
/// divided by nothing, that of the medians.
pub fn ratio(ours: &[f64], theirs: &[f64]) -> Option<Summary> {
    if ours.len() == theirs.len() && theirs.iter().all(|&sample| sample > 0.0) {
        return Summary::of(ours.iter().zip(theirs).map(|(a, b)| a / b));
    }
    let (ours, theirs) = (
        Summary::of(ours.iter().copied())?,
        Summary::of(theirs.iter().copied())?,
    );
    (theirs.median > 0.0).then(|| Summary::of([ours.median / theirs.median]))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut report = Report::new(About::default());
        let named = Named {
            id: "plain.cpu",
            case: "no filter",
            unit: "CPU µs/request",
        };
        // A machine twice as slow in round two changes nothing.
        for sample in [10.0, 20.0, 12.0] {
            report.add(named, Column::Hot, sample);
        }
        for sample in [40.0, 80.0, 40.0] {
            report.add(named, Column::Envoy, sample);
        }
        let ratio = report.rows[0].ratio(Column::Hot, Column::Envoy).unwrap();
        assert_eq!((ratio.min, ratio.median, ratio.max), (0.25, 0.25, 0.3));
        assert!(report.rows[0].ratio(Column::Cold, Column::Envoy).is_none());
        assert_eq!(report.samples("plain.cpu", Column::Hot).len(), 3);
        assert!(report.samples("plain.rss", Column::Hot).is_empty());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut report = Report::new(About::default());
        let named = Named {
            id: "a",
            case: "b",
            unit: "c",
        };
        report.add(named, Column::Nginx, 1.5);
        let text = serde_json::to_string(&report).unwrap();
        let again: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(again.samples("a", Column::Nginx), [1.5]);
        assert!(text.contains(r#""nginx":{"median":1.5"#), "{text}");
    }

    #[test]
    fn nothing_is_divided_by_zero() {
        assert!(ratio(&[1.0], &[0.0]).is_none());
        assert_eq!(ratio(&[1.0, 3.0, 5.0], &[6.0]).unwrap().median, 0.5);
    }
}
