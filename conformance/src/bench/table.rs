//! A report as the one table, and its verdicts, in Markdown.

use super::report::{Column, Report, Row};
use super::verdict::{Outcome, Verdict, added, outcome};
use crate::stats::Summary;

const COLUMNS: [Column; 4] = [Column::Hot, Column::Cold, Column::Envoy, Column::Nginx];
const HEAD: &str = "\
| case | | ours, hot | ours, cold | Envoy | nginx | hot / Envoy | cold / Envoy |
|---|---|---|---|---|---|---|---|
";

// === impl Report ===

impl Report {
    /// All figures: medians, with the least and the greatest of the rounds.
    pub fn table(&self) -> String {
        let mut text = HEAD.to_owned();
        for row in &self.rows {
            text.push_str(&line(row));
        }
        for guest in ["noop", "transform", "hello"] {
            text.push_str(&self.added(guest).unwrap_or_default());
        }
        text
    }

    /// What is measured, and where.
    pub fn conditions(&self) -> String {
        let about = &self.about;
        let versions: Vec<String> = about
            .versions
            .iter()
            .map(|(name, version)| format!("{name}: {version}"))
            .collect();
        format!(
            "{}, {}; {} rounds of {} s; load average {} before, {} after.\n{}\n`{}`\n",
            about.date,
            about.cpu,
            about.slices,
            about.seconds,
            about.load_before,
            about.load_after,
            versions.join("; "),
            about.command
        )
    }

    /// Each target whose figure was measured, and whether it is met.
    pub fn judgement(&self) -> String {
        let mut text = "| target | at most | measured | |\n|---|---|---|---|\n".to_owned();
        for verdict in &self.verdicts {
            text.push_str(&judged(verdict).unwrap_or_default());
        }
        text
    }

    /// What the verdicts come to.
    pub fn conclusion(&self) -> String {
        let mut text = String::new();
        match outcome(&self.verdicts) {
            Outcome::Kept => text.push_str("All that must be is met.\n"),
            Outcome::Missed(reasons) => {
                for reason in reasons {
                    text.push_str(&format!("MISSED: {reason}\n"));
                }
            }
        }
        text
    }

    fn added(&self, guest: &str) -> Option<String> {
        let of = |column| Summary::of(added(self, guest, column)?);
        let cells = [Column::Hot, Column::Cold, Column::Envoy].map(|column| show(of(column)));
        let ratio = |column| {
            let (ours, theirs) = (
                added(self, guest, column)?,
                added(self, guest, Column::Envoy)?,
            );
            super::report::ratio(&ours, &theirs)
        };
        of(Column::Envoy)?;
        Some(format!(
            "| added by one of five {guest} | CPU µs/request | {} | – | {} | {} |\n",
            cells.join(" | "),
            show(ratio(Column::Hot)),
            show(ratio(Column::Cold))
        ))
    }
}

fn line(row: &Row) -> String {
    let cells = COLUMNS.map(|column| show(row.cells.get(&column).map(|cell| cell.summary)));
    format!(
        "| {} | {} | {} | {} | {} |\n",
        row.case,
        row.unit,
        cells.join(" | "),
        show(row.ratio(Column::Hot, Column::Envoy)),
        show(row.ratio(Column::Cold, Column::Envoy))
    )
}

fn judged(verdict: &Verdict) -> Option<String> {
    let Verdict {
        row,
        figure,
        target,
        unit,
        measured,
        required,
    } = verdict;
    let measured = number((*measured)?);
    let required = if *required { ", required" } else { "" };
    let word = if verdict.is_met() { "met" } else { "MISSED" };
    let target = number(*target);
    let line = format!("| {row}: {figure} | {target} {unit} | {measured} | {word}{required} |\n");
    Some(line)
}

fn show(summary: Option<Summary>) -> String {
    summary.map_or_else(
        || "–".to_owned(),
        |Summary { median, min, max }| {
            if (min, max) == (median, median) {
                return number(median);
            }
            format!("{} ({}–{})", number(median), number(min), number(max))
        },
    )
}

/// Three figures are what a measurement is worth.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{About, Named};

    #[test]
    fn a_program_that_was_not_measured_leaves_its_cells_empty() {
        let mut report = Report::new(About::default());
        let named = Named {
            id: "plain.cpu",
            case: "no filter",
            unit: "CPU µs/request",
        };
        for (ours, theirs) in [(10.0, 40.0), (20.0, 80.0), (12.0, 40.0)] {
            report.add(named, Column::Hot, ours);
            report.add(named, Column::Envoy, theirs);
        }
        let expected = "| no filter | CPU µs/request | 12.0 (10.0–20.0) | – | 40.0 (40.0–80.0) | – \
                        | 0.25 (0.25–0.30) | – |\n";
        assert!(report.table().ends_with(expected), "{}", report.table());
    }

    #[test]
    fn numbers_have_three_figures() {
        let shown = [123.4, 12.34, 1.234, 0.1234, 0.0123, 0.0].map(number);
        assert_eq!(shown, ["123", "12.3", "1.23", "0.12", "0.0123", "0"]);
    }
}
