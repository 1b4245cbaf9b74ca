//! `bench-instructions`: instructions of one operation under callgrind, gated on a
//! stored baseline.

use std::path::PathBuf;
use std::process::ExitCode;

use cofferdam_conformance::args::{Args, Opt};
use cofferdam_conformance::instructions::{Baseline, Measure, above};
use cofferdam_conformance::{Result, error, scratch};

const ABOUT: &str = "\
bench-instructions: runs a program twice under callgrind, with less and with more work,
and prints the instructions of one operation. Exits 1 when that is above the baseline by
more than --limit per cent, or when there is no baseline; 69 without valgrind.

  bench-instructions --name hook --program target/quick-release/examples/hook \\
      --args-a \"1000\" --args-b \"11000\" --count 10000";

const OPTIONS: &[Opt] = &[
    Opt {
        name: "--name",
        value: Some("NAME"),
        help: "the figure's name in the baseline (the program's)",
    },
    Opt {
        name: "--program",
        value: Some("PATH"),
        help: "the program to measure",
    },
    Opt {
        name: "--args-a",
        value: Some("WORDS"),
        help: "arguments for less work",
    },
    Opt {
        name: "--args-b",
        value: Some("WORDS"),
        help: "arguments for more work",
    },
    Opt {
        name: "--count",
        value: Some("N"),
        help: "how many operations more that is",
    },
    Opt {
        name: "--baseline",
        value: Some("FILE"),
        help: "stored figures (conformance/benches/baseline.json)",
    },
    Opt {
        name: "--limit",
        value: Some("PERCENT"),
        help: "how far above the baseline is too far (3)",
    },
    Opt {
        name: "--update",
        value: None,
        help: "store this figure as the baseline",
    },
];

fn main() -> ExitCode {
    error::conclude("bench-instructions", run())
}

fn run() -> Result<u8> {
    let Some(args) = Args::from_env(ABOUT, OPTIONS)? else {
        return Ok(0);
    };
    let words = |name| -> Result<Vec<String>> {
        Ok(args
            .required(name)?
            .split_whitespace()
            .map(str::to_owned)
            .collect())
    };
    let measure = Measure {
        program: PathBuf::from(args.required("--program")?),
        less: words("--args-a")?,
        more: words("--args-b")?,
        count: {
            args.required("--count")?;
            args.number("--count", 1, 1, u64::MAX)?
        },
    };
    let limit = args.number("--limit", 3.0, 0.0, 1000.0)?;
    let name = args
        .text("--name")
        .map_or_else(|| measure.program_name(), str::to_owned);
    let file = args.text("--baseline").map_or_else(
        || scratch::workspace().join("conformance/benches/baseline.json"),
        PathBuf::from,
    );
    let mut baseline = Baseline::read(&file)?;
    let figure = measure.run()?;
    println!("{name}: {figure:.1} instructions");
    if args.has("--update") {
        baseline.update(&name, figure)?;
        println!("stored in {}", file.display());
        return Ok(0);
    }
    let Some(stored) = baseline.figure(&name) else {
        println!(
            "no baseline for {name} in {}; store it with --update",
            file.display()
        );
        return Ok(1);
    };
    let percent = above(figure, stored);
    println!("baseline {stored:.1}, {percent:+.2} %, limit +{limit} %");
    Ok(u8::from(percent > limit))
}
