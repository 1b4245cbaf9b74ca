//! `RESULTS.md`: where each host stands, case by case. Only ever generated.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::case::{Case, Profile};

/// The columns, in their order.
pub const COLUMNS: [&str; 5] = [
    "abi/wasmi",
    "abi/aot",
    "proxy/wasmi",
    "proxy/aot",
    "envoy 1.40.0",
];

/// Columns that are ours: a `fail` in one of them is a defect.
pub const OURS: [&str; 4] = ["abi/wasmi", "abi/aot", "proxy/wasmi", "proxy/aot"];

/// Most cells of ours that may say `differs` or `n/a`.
pub const MOST_EXCEPTIONS: usize = 15;

/// How a host stands with a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// As the case expects.
    Pass,
    /// Not so.
    Fail,
    /// Otherwise on purpose.
    Differs,
    /// Cannot be asked.
    NotApplicable,
    /// Has not been run.
    NotRun,
}

/// Cells by case and column.
pub type Cells = BTreeMap<(String, String), Cell>;

// === impl Cell ===

impl Cell {
    const ALL: [Self; 5] = [
        Self::Pass,
        Self::Fail,
        Self::Differs,
        Self::NotApplicable,
        Self::NotRun,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Differs => "differs",
            Self::NotApplicable => "n/a",
            Self::NotRun => "-",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cell| cell.word() == word)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What a case has to say for a column, by its name or by the host's: `abi` and `proxy` are
/// both their engines.
#[must_use]
pub fn excuse<'a>(excuses: &'a BTreeMap<String, String>, column: &str) -> Option<&'a String> {
    let host = column.split('/').next().unwrap_or(column);
    excuses.get(column).or_else(|| excuses.get(host))
}

/// The whole file.
#[must_use]
pub fn document(cases: &[Case], cells: &Cells) -> String {
    let mut out = String::from(
        "# Conformance\n\n\
         Written by `make conformance` and `make conformance-envoy`; not by hand. What a case \
         is, and what\nthe words mean: `conformance/README.md`. In our columns a case has \
         passed in every profile that\nis named; on Envoy it was run once.\n\n",
    );
    let _ = writeln!(
        out,
        "| ID | section | profile | {} | note |\n{}|",
        COLUMNS.join(" | "),
        "|---".repeat(COLUMNS.len() + 4)
    );
    for case in cases {
        let _ = write!(
            out,
            "| {} | {} | {} |",
            case.id,
            case.section,
            profiles(case)
        );
        for column in COLUMNS {
            let _ = write!(out, " {} |", cell(cells, &case.id, column));
        }
        let _ = writeln!(out, " {} |", note(case));
    }
    let _ = writeln!(out, "\n{}", summary(cases, cells));
    out
}

/// Counts per column, as a table.
#[must_use]
pub fn summary(cases: &[Case], cells: &Cells) -> String {
    let mut out = format!("{} cases:\n\n| column |", cases.len());
    for kind in Cell::ALL {
        let _ = write!(out, " {kind} |");
    }
    let _ = write!(out, "\n{}|", "|---".repeat(Cell::ALL.len() + 1));
    for column in COLUMNS {
        let _ = write!(out, "\n| {column} |");
        for kind in Cell::ALL {
            let same = |case: &&Case| cell(cells, &case.id, column) == kind;
            let _ = write!(out, " {} |", cases.iter().filter(same).count());
        }
    }
    out
}

/// The cells of a document that was written by [`document`], with the columns of its day:
/// those there are no more are left out.
#[must_use]
pub fn read(text: &str) -> Cells {
    let mut cells = Cells::new();
    let mut columns: Vec<Option<&str>> = Vec::new();
    for line in text.lines() {
        let mut words = line.trim_matches('|').split('|').map(str::trim);
        let id = words.next().unwrap_or_default();
        if id == "ID" {
            let known = |word| COLUMNS.into_iter().find(|column| *column == word);
            columns = words.skip(2).map(known).collect();
        } else if id.contains('-') && !id.starts_with('-') {
            for (column, word) in columns.iter().zip(words.skip(2)) {
                if let (Some(column), Some(cell)) = (column, Cell::parse(word)) {
                    cells.insert((id.to_owned(), (*column).to_owned()), cell);
                }
            }
        }
    }
    cells
}

/// One cell.
#[must_use]
pub fn cell(cells: &Cells, id: &str, column: &str) -> Cell {
    let key = (id.to_owned(), column.to_owned());
    cells.get(&key).copied().unwrap_or(Cell::NotRun)
}

fn profiles(case: &Case) -> String {
    if Profile::all()
        .iter()
        .all(|profile| case.profiles.contains(profile))
    {
        return "all".to_owned();
    }
    let names: Vec<&str> = case.profiles.iter().map(|profile| profile.name()).collect();
    names.join(" ")
}

/// What the case says of itself and of the hosts it excuses.
fn note(case: &Case) -> String {
    let mut parts = vec![case.name.clone()];
    let excused = [&case.differs, &case.not_applicable];
    for (column, reason) in excused.into_iter().flatten() {
        parts.push(format!("{column}: {reason}"));
    }
    if !case.note.is_empty() {
        parts.push(case.note.clone());
    }
    parts.join("; ").replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Filter;

    #[test]
    fn what_is_written_is_read_again() {
        let case = |id: &str| {
            Case::generated(
                id.to_owned(),
                "a | b".to_owned(),
                "2",
                vec![Filter::guest("")],
            )
        };
        let cases = [case("A-1"), case("K-269.proxy_log")];
        let mut cells = Cells::new();
        for (index, kind) in Cell::ALL.into_iter().enumerate() {
            let (id, column) = (&cases[index % 2].id, COLUMNS[index % COLUMNS.len()]);
            cells.insert((id.clone(), column.to_owned()), kind);
        }
        let text = document(&cases, &cells);
        let again = read(&text);
        for case in &cases {
            for column in COLUMNS {
                assert_eq!(
                    cell(&again, &case.id, column),
                    cell(&cells, &case.id, column),
                    "{text}"
                );
            }
        }
        assert_eq!(document(&cases, &again), text);
    }

    #[test]
    fn a_column_keeps_its_cells_when_others_come_and_go() {
        let old = "| ID | section | profile | gone | envoy 1.40.0 | note |\n\
                   |---|---|---|---|---|---|\n\
                   | A-1 | 2 | all | fail | differs | a - b |\n\n\
                   | column | pass |\n|---|---|\n| envoy 1.40.0 | 7 |\n";
        let cells = read(old);
        assert_eq!(cells.len(), 1, "{cells:?}");
        assert_eq!(cell(&cells, "A-1", "envoy 1.40.0"), Cell::Differs);
    }
}
