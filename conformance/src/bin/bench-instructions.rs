//! `bench-instructions`: instructions of one operation under callgrind, on either engine,
//! gated on a stored baseline.

use std::path::PathBuf;
use std::process::ExitCode;

use cofferdam_conformance::args::{Args, Opt};
use cofferdam_conformance::instructions::{Baseline, Measure, above};
use cofferdam_conformance::{Result, error, scratch};

const ABOUT: &str = "\
bench-instructions: runs each program twice under callgrind, with less and with more work, and
prints the instructions of one operation. Exits 1 when one is above its baseline by more than
--limit per cent, or has none; 69 without valgrind.";

const OPTIONS: &[Opt] = &[
    Opt {
        name: "--examples",
        value: Some("DIR"),
        help: "where the programs are (target/quick-release/examples)",
    },
    Opt {
        name: "--only",
        value: Some("NAME"),
        help: "one figure alone, as the baseline calls it",
    },
    Opt {
        name: "--baseline",
        value: Some("FILE"),
        help: "stored figures (conformance/benches/baseline.json)",
    },
    Opt {
        name: "--limit",
        value: Some("PERCENT"),
        help: "how far above the baseline is too far (2)",
    },
    Opt {
        name: "--update",
        value: None,
        help: "store the figures as the baseline",
    },
];

/// A figure: its name, the program, what follows the number of operations, and the two
/// numbers.
struct Figure(&'static str, &'static str, &'static str, [u64; 2]);

/// `hook` is one exchange through a header filter's hooks without a proxy around it,
/// `request` the whole of one through the proxy, `chain` the same with five filters in their
/// own VMs. A cold figure comes before its hot one.
const FIGURES: [Figure; 5] = [
    Figure("hook/cold", "hook", "wasmi", [1_000, 11_000]),
    Figure("hook/hot", "hook", "wasmtime", [1_000, 11_000]),
    Figure("request/cold", "request", "interpreter", [200, 1_200]),
    Figure("request/hot", "request", "aot", [200, 1_200]),
    Figure("chain/hot", "request", "aot 5", [200, 1_200]),
];

fn main() -> ExitCode {
    error::conclude("bench-instructions", run())
}

fn run() -> Result<u8> {
    let Some(args) = Args::from_env(ABOUT, OPTIONS)? else {
        return Ok(0);
    };
    let examples = args.text("--examples").map_or_else(
        || scratch::target().join("quick-release/examples"),
        PathBuf::from,
    );
    let file = args.text("--baseline").map_or_else(
        || scratch::workspace().join("conformance/benches/baseline.json"),
        PathBuf::from,
    );
    let limit = args.number("--limit", 2.0, 0.0, 1000.0)?;
    let mut baseline = Baseline::read(&file)?;
    let mut status = 0;
    let mut cold = f64::INFINITY;
    for Figure(name, program, arguments, [less, more]) in FIGURES {
        if args.text("--only").is_some_and(|only| only != name) {
            continue;
        }
        let words = |count: u64| {
            let count = std::iter::once(count.to_string());
            count
                .chain(arguments.split(' ').map(str::to_owned))
                .collect()
        };
        let measure = Measure {
            program: examples.join(program),
            less: words(less),
            more: words(more),
            count: more - less,
        };
        let figure = measure.run()?;
        if name.ends_with("/hot") && figure >= cold {
            println!("{name}: {figure:.1} instructions, as many as cold: no native code ran");
            status = 1;
            continue;
        }
        cold = if name.ends_with("/cold") {
            figure
        } else {
            f64::INFINITY
        };
        if args.has("--update") {
            println!(
                "{name}: {figure:.1} instructions, stored in {}",
                file.display()
            );
            baseline.update(name, figure)?;
        } else if let Some(stored) = baseline.figure(name) {
            let percent = above(figure, stored);
            let word = if percent > limit { "TOO MANY" } else { "kept" };
            println!(
                "{name}: {figure:.1} instructions, {percent:+.2} % (at most +{limit} %): {word}"
            );
            status |= u8::from(percent > limit);
        } else {
            println!("{name}: {figure:.1} instructions, and no baseline; --update stores one");
            status = 1;
        }
    }
    Ok(status)
}
