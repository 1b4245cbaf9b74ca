//! `bench-plain`: CPU per request of Cofferdam, the real Envoy and nginx in one run, and
//! with `--idle` what an idle connection costs. The exit status is the verdict.

use std::path::PathBuf;
use std::process::ExitCode;

use cofferdam_conformance::args::{Args, Opt};
use cofferdam_conformance::load::Protocol;
use cofferdam_conformance::plain::{self, Plan};
use cofferdam_conformance::{Error, Result, error, idle, scratch};

const ABOUT: &str = "\
bench-plain: CPU per request of a plain proxy, against Envoy and nginx in the same run.
Exits 0 when Cofferdam's median ratio to Envoy is within its target, 1 when it is not or
the run failed, 69 when a peer cannot be had.";

const OPTIONS: &[Opt] = &[
    Opt {
        name: "--cofferdam",
        value: Some("PATH"),
        help: "the program, built as release",
    },
    Opt {
        name: "--peers-only",
        value: None,
        help: "measure Envoy and nginx alone",
    },
    Opt {
        name: "--slices",
        value: Some("N"),
        help: "interleaved rounds (7); fewer give no verdict",
    },
    Opt {
        name: "--seconds",
        value: Some("N"),
        help: "length of a slice (2)",
    },
    Opt {
        name: "--case",
        value: Some("NAME"),
        help: "h1, h2c or all (all)",
    },
    Opt {
        name: "--idle",
        value: None,
        help: "idle connections instead of load",
    },
];

/// Fewer rounds say too little about the spread for a verdict.
const LEAST_SLICES: usize = 7;

fn main() -> ExitCode {
    error::conclude("bench-plain", run())
}

fn run() -> Result<u8> {
    let Some(args) = Args::from_env(ABOUT, OPTIONS)? else {
        return Ok(0);
    };
    let cofferdam = args.text("--cofferdam").map(PathBuf::from);
    if cofferdam.is_some() == args.has("--peers-only") {
        return Err(Error::Usage(
            "give either --cofferdam PATH or --peers-only".to_owned(),
        ));
    }
    if args.has("--idle") {
        run_idle(cofferdam)
    } else {
        run_load(&args, cofferdam)
    }
}

fn run_load(args: &Args, cofferdam: Option<PathBuf>) -> Result<u8> {
    let cases = match args.text("--case") {
        None | Some("all") => vec![Protocol::Http1, Protocol::Http2],
        Some("h1") => vec![Protocol::Http1],
        Some("h2c") => vec![Protocol::Http2],
        Some(other) => {
            return Err(Error::Usage(format!(
                "--case is h1, h2c or all, not {other}"
            )));
        }
    };
    let plan = Plan {
        slices: args.number("--slices", LEAST_SLICES, 1, 1000)?,
        seconds: args.number("--seconds", 2, 1, 60)?,
        cofferdam,
        cases,
    };
    let report = plain::run(&plan)?;
    print!("{}", report.table());
    let file = scratch::target().join("bench-plain.json");
    scratch::write(&file, &format!("{:#}\n", report.json()))?;
    println!("\nwritten: {}", file.display());
    if plan.slices < LEAST_SLICES {
        println!(
            "no verdict: {} rounds, {LEAST_SLICES} are needed",
            plan.slices
        );
        return Ok(0);
    }
    let mut status = 0;
    for case in &report.cases {
        let Some(ratio) = case.ratio("cofferdam", "envoy") else {
            continue;
        };
        let (target, gate) = (case.target(), case.protocol == Protocol::Http1);
        let kept = ratio.median <= target;
        println!(
            "{}: {:.3} × Envoy, target {target:.2}: {}{}",
            case.title(),
            ratio.median,
            if kept { "kept" } else { "MISSED" },
            if gate { "" } else { " (for information)" },
        );
        if gate && !kept {
            status = 1;
        }
    }
    Ok(status)
}

fn run_idle(cofferdam: Option<PathBuf>) -> Result<u8> {
    let verdict = cofferdam.is_some();
    let results = idle::run(cofferdam)?;
    println!(
        "| proxy, {} idle connections | KiB/connection | context switches/s |",
        idle::CONNECTIONS
    );
    println!("|---|---|---|");
    for result in &results {
        println!(
            "| {} | {:.1} | {:.1} |",
            result.proxy, result.kib_per_connection, result.switches_per_second
        );
    }
    println!(
        "limits: {} KiB, {} switches/s",
        idle::KIB_LIMIT,
        idle::SWITCHES_LIMIT
    );
    Ok(u8::from(verdict && !results.iter().all(idle::Idle::passes)))
}
