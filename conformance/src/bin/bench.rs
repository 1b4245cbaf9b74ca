//! `bench`: every figure this project claims, beside Envoy's and nginx's of the same run. The
//! exit status is the verdict.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cofferdam_conformance::args::{Args, Opt};
use cofferdam_conformance::bench::report::Report;
use cofferdam_conformance::bench::verdict::{Outcome, outcome};
use cofferdam_conformance::bench::{self, LEAST_SLICES, Plan, ROWS, costs, readme};
use cofferdam_conformance::{Error, Result, error, scratch};

const ABOUT: &str = "\
bench: CPU, latency and memory of Cofferdam (hot and cold), the real Envoy and nginx in one run.
Writes conformance/benches/bench.json when everything was measured often enough, otherwise
target/bench.json. Exits 1 when a required target is missed, more than two others are, or one
by more than a quarter; 69 when a peer cannot be had. A part of the rows gives no verdict.";

const OPTIONS: &[Opt] = &[
    Opt {
        name: "--proxy",
        value: Some("PATH"),
        help: "the program (target/release/cofferdam)",
    },
    Opt {
        name: "--rows",
        value: Some("A,B"),
        help: "what is measured (everything); --list names them",
    },
    Opt {
        name: "--slices",
        value: Some("N"),
        help: "interleaved rounds (7); fewer give no verdict",
    },
    Opt {
        name: "--slice-seconds",
        value: Some("N"),
        help: "length of a slice under load (2)",
    },
    Opt {
        name: "--list",
        value: None,
        help: "print the rows there are",
    },
    Opt {
        name: "--filters-table",
        value: None,
        help: "measure the ready-made filters instead, and write filters/COSTS.md",
    },
    Opt {
        name: "--readme",
        value: None,
        help: "print the README's figures from the stored bench.json",
    },
];

fn main() -> ExitCode {
    error::conclude("bench", run())
}

fn run() -> Result<u8> {
    let Some(args) = Args::from_env(ABOUT, OPTIONS)? else {
        return Ok(0);
    };
    if args.has("--list") {
        for (name, what) in ROWS {
            println!("{name:<12} {what}");
        }
        return Ok(0);
    }
    let stored = Report::stored();
    if args.has("--readme") {
        print!("{}", readme::markdown(&Report::read(&stored)?));
        return Ok(0);
    }
    let rows = args.text("--rows").unwrap_or_default();
    let rows = rows.split(',').filter(|row| !row.is_empty());
    let plan = Plan {
        slices: args.number("--slices", LEAST_SLICES, 1, 1000)?,
        seconds: args.number("--slice-seconds", 2, 1, 60)?,
        proxy: args.text("--proxy").map_or_else(
            || scratch::target().join("release/cofferdam"),
            PathBuf::from,
        ),
        rows: rows.map(str::to_owned).collect(),
        command: std::env::var("COFFERDAM_BENCH_COMMAND")
            .unwrap_or_else(|_| std::env::args().collect::<Vec<_>>().join(" ")),
    };
    if args.has("--filters-table") {
        let table = costs::run(&plan)?;
        print!("{table}");
        scratch::write(&costs::file(), &table)?;
        return Ok(0);
    }
    plan.check()?;
    let report = bench::run(&plan)?;
    println!("{}\n{}", report.conditions(), report.table());
    let file = if plan.is_whole() {
        stored
    } else {
        scratch::target().join("bench.json")
    };
    write(&report, &file)?;
    println!("{}\nwritten: {}", report.judgement(), file.display());
    if !plan.is_whole() {
        println!("no verdict: that takes every row and {LEAST_SLICES} rounds");
        return Ok(0);
    }
    print!("{}", report.conclusion());
    Ok(u8::from(outcome(&report.verdicts) != Outcome::Kept))
}

fn write(report: &Report, file: &Path) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(|error| Error::failed(folder.display(), error))?;
    }
    let text = serde_json::to_string_pretty(report)
        .map_err(|error| Error::failed(file.display(), error))?;
    scratch::write(file, &format!("{text}\n"))
}
