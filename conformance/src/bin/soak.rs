//! `soak`: whether a proxy that runs for long keeps to its memory. The exit status is the
//! verdict.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cofferdam_conformance::args::{Args, Opt};
use cofferdam_conformance::{Error, Result, error, soak};

const ABOUT: &str = "\
soak: memory of one proxy after ten thousand streams, twenty thousand callouts and a thousand
crashes of a filter. Exits 0 when none of them left more than a twentieth behind, 1 when one
did or the run failed, 69 when a guest is not built.";

const OPTIONS: &[Opt] = &[
    Opt {
        name: "--cofferdam",
        value: Some("PATH"),
        help: "the program",
    },
    Opt {
        name: "--reload",
        value: Some("SECONDS"),
        help: "instead: another configuration ten times a second under load, for so long",
    },
    Opt {
        name: "--long",
        value: Some("SECONDS"),
        help: "instead: nginx, h2load, a chain of filters, a hundred reloads and one upgrade in so long",
    },
    Opt {
        name: "--upgrade",
        value: Some("SECONDS"),
        help: "instead: another process takes over once a second under load, for so long",
    },
    Opt {
        name: "--ending",
        value: Some("SECONDS"),
        help: "instead: SIGTERM once a second under load, for so long",
    },
    Opt {
        name: "--promote",
        value: Some("SECONDS"),
        help: "instead: modules never seen before, one after the other under load, for so long",
    },
    Opt {
        name: "--train",
        value: Some("SECONDS"),
        help: "instead: traffic of every kind, each for so long; what `make release` is built by",
    },
    Opt {
        name: "--flood",
        value: None,
        help: "instead: floods of HTTP/2 frames, and how long another client waits meanwhile",
    },
    Opt {
        name: "--idle",
        value: None,
        help: "instead: what ten thousand idle connections take",
    },
];

/// What takes as long as one likes.
type Form = fn(&Path, u64) -> Result<bool>;

fn main() -> ExitCode {
    error::conclude("soak", run())
}

fn run() -> Result<u8> {
    let Some(args) = Args::from_env(ABOUT, OPTIONS)? else {
        return Ok(0);
    };
    let program = args.text("--cofferdam").map(PathBuf::from);
    let program = program.ok_or_else(|| Error::Usage("give --cofferdam PATH".to_owned()))?;
    if args.has("--flood") {
        return Ok(u8::from(!soak::flood::run(&program)?));
    }
    if args.has("--idle") {
        return Ok(u8::from(!soak::idle::run(&program, soak::idle::MANY)?));
    }
    let seconds = |option: &str| -> Result<Option<u64>> {
        let Some(text) = args.text(option) else {
            return Ok(None);
        };
        let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
        let usage = || Error::Usage(format!("give {option} whole seconds"));
        seconds.ok_or_else(usage).map(Some)
    };
    let forms: [(&str, Form); 6] = [
        ("--reload", soak::reload::run),
        ("--upgrade", soak::upgrade::run),
        ("--ending", soak::ending::run),
        ("--promote", soak::promote::run),
        ("--long", soak::long::run),
        ("--train", soak::train::run),
    ];
    let mut asked = Vec::new();
    for (option, run) in forms {
        asked.extend(seconds(option)?.map(|seconds| (run, seconds)));
    }
    let kept = match asked[..] {
        [] => soak::run(&program)?,
        [(run, seconds)] => run(&program, seconds)?,
        _ => {
            let one = "give one of --reload, --upgrade, --ending, --promote, --long and --train";
            return Err(Error::Usage(one.to_owned()));
        }
    };
    Ok(u8::from(!kept))
}
