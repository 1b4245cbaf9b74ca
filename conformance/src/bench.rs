//! `make bench`: what this proxy costs beside the real Envoy doing the same with the same
//! `.wasm`, and beside nginx as the floor, in one run on one machine.
//!
//! Shared machines drift by more than the difference between two builds. So what is compared
//! is measured in turns (every program once per round, in a rotating order), ratios are taken
//! within a round, and a verdict is about ratios and memory, hardly ever about a time.

use std::path::PathBuf;

use crate::{Error, Result};

pub mod costs;
pub mod readme;
pub mod report;
pub mod verdict;

mod about;
mod cases;
pub(crate) mod idle;
mod memory;
mod probe;
mod runaway;
mod slices;
mod startup;
mod table;
mod trap;
mod world;

use report::Report;
use world::World;

/// Rounds that a verdict needs: fewer say too little about the spread.
pub const LEAST_SLICES: usize = 7;

/// How much to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Rounds.
    pub slices: usize,
    /// Length of one slice under load, in seconds.
    pub seconds: u32,
    /// This project's program.
    pub proxy: PathBuf,
    /// Names of [`ROWS`]; empty for all of them.
    pub rows: Vec<String>,
    /// The command line, for the record.
    pub command: String,
}

/// What can be measured alone, and what it is.
pub const ROWS: [(&str, &str); 13] = [
    ("plain", "no filter, HTTP/1.1"),
    ("noop", "a filter that does nothing, once and five times"),
    (
        "transform",
        "three request headers and one of the response changed",
    ),
    ("hello", "every request header logged, one set"),
    ("body", "bodies of 16 KiB replaced both ways"),
    ("h2c", "no filter, HTTP/2 from the client"),
    ("filters", "CPU at 1, 10 and 50 filters"),
    ("routes", "CPU at 1 and 1,000 routes"),
    (
        "idle",
        "idle connections: CPU beside them, memory, wake-ups",
    ),
    ("startup", "start with 1, 10 and 50 different modules"),
    ("memory", "memory of a further VM"),
    ("trap", "time to replace a VM after a trap"),
    ("runaway", "what a looping guest costs other streams"),
];

// === impl Plan ===

impl Plan {
    /// Whether everything is measured, often enough for a verdict.
    pub fn is_whole(&self) -> bool {
        self.rows.is_empty() && self.slices >= LEAST_SLICES
    }

    /// Makes sure that the rows asked for exist.
    ///
    /// # Errors
    /// One does not.
    pub fn check(&self) -> Result<()> {
        let known = |row: &&String| ROWS.iter().any(|(name, _)| name == row);
        match self.rows.iter().find(|row| !known(row)) {
            None => Ok(()),
            Some(row) => {
                let names: Vec<&str> = ROWS.iter().map(|(name, _)| *name).collect();
                let names = names.join(", ");
                Err(Error::Usage(format!("no row {row}; there are {names}")))
            }
        }
    }

    fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| wanted == row)
    }
}

/// Measures what the plan asks for, and judges it.
///
/// # Errors
/// A peer or a guest cannot be had, a program dies, or a single request fails where none may.
pub fn run(plan: &Plan) -> Result<Report> {
    let world = World::new(plan)?;
    let mut report = Report::new(about::about(plan)?);
    for family in cases::families(plan) {
        slices::run(&world, plan, &family, &mut report)?;
    }
    type Section = fn(&World, &Plan, &mut Report) -> Result<()>;
    let sections: [(&str, Section); 5] = [
        ("idle", idle::run),
        ("startup", startup::run),
        ("memory", memory::run),
        ("trap", trap::run),
        ("runaway", runaway::run),
    ];
    for (name, section) in sections {
        if plan.wants(name) {
            eprintln!("{name}");
            section(&world, plan, &mut report)?;
        }
    }
    report.about.load_after = about::load();
    report.verdicts = verdict::judge(&report);
    Ok(report)
}
