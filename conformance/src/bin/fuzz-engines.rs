//! `fuzz-engines`: the interpreter and native code, held against each other on random
//! guests. The exit status is the verdict.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cofferdam_conformance::args::{Args, Opt};
use cofferdam_conformance::differential::{Story, Verdict};
use cofferdam_conformance::{Error, Result, error, scratch};

const ABOUT: &str = "\
fuzz-engines: random guests and random events, on the interpreter and as native code; everything
that can be seen must be the same. Exits 0 when it was, 1 when it was not: then the seed is
printed, and a module by wasm-smith is left in target/fuzz-engines/SEED.wasm.

  fuzz-engines --seed 4711            that story alone";

const OPTIONS: &[Opt] = &[
    Opt {
        name: "--seconds",
        value: Some("N"),
        help: "how long (30)",
    },
    Opt {
        name: "--seeds",
        value: Some("N"),
        help: "this many stories, however long they take",
    },
    Opt {
        name: "--from",
        value: Some("SEED"),
        help: "the first seed (0)",
    },
    Opt {
        name: "--seed",
        value: Some("SEED"),
        help: "one story, told in full",
    },
    Opt {
        name: "--module",
        value: Some("FILE"),
        help: "with --seed: the same events, this module instead; to make a finding smaller",
    },
    Opt {
        name: "--corpus",
        value: Some("DIR"),
        help: "first what the fuzz targets found: files in DIR/events and DIR/hostcalls",
    },
];

/// Stories side by side.
const LANES: usize = 2;

/// Where one in so many stories is excused, little is compared.
const MOST_EXCUSED: usize = 50;

/// What came of all stories.
#[derive(Debug, Default)]
struct Sum {
    same: usize,
    lines: usize,
    calls: usize,
    traps: usize,
    modules: usize,
    excused: usize,
    refused: usize,
    different: Vec<String>,
}

fn main() -> ExitCode {
    error::conclude("fuzz-engines", run())
}

fn run() -> Result<u8> {
    let Some(args) = Args::from_env(ABOUT, OPTIONS)? else {
        return Ok(0);
    };
    if args.has("--seed") {
        let seed = args.number("--seed", 0, 0, u64::MAX)?;
        let mut story = Story::of(seed);
        match args.text("--module") {
            Some(file) => story.module = Some(read(Path::new(file))?),
            None => keep(seed, &story)?,
        }
        let verdict = judge(&story);
        match &verdict {
            Verdict::Different(why) => println!("seed {seed}: the engines differ {why}"),
            other => println!("seed {seed}: {other:?}"),
        }
        return Ok(u8::from(matches!(verdict, Verdict::Different(_))));
    }
    let sum = Mutex::new(Sum::default());
    if let Some(folder) = args.text("--corpus") {
        for (kind, ordinary) in [("events", false), ("hostcalls", true)] {
            for file in files(&Path::new(folder).join(kind))? {
                let input = read(&file)?;
                let story = Story::found(input, ordinary);
                note(&sum, &story, judge(&story), &file.display().to_string());
            }
        }
    }
    let from = args.number("--from", 0, 0, u64::MAX)?;
    let most = args.number("--seeds", u64::MAX, 1, u64::MAX)?;
    let seconds = if args.has("--seeds") {
        u64::MAX
    } else {
        args.number("--seconds", 30, 1, 86_400)?
    };
    let (next, start) = (AtomicU64::new(0), Instant::now());
    let lane = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= most || start.elapsed() >= Duration::from_secs(seconds) {
            return Ok::<(), Error>(());
        }
        let seed = from.wrapping_add(number);
        let story = Story::of(seed);
        let verdict = judge(&story);
        if matches!(verdict, Verdict::Different(_)) {
            keep(seed, &story)?;
        }
        if note(&sum, &story, verdict, &format!("seed {seed}")) > 20 {
            return Ok(());
        }
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        let ended: Vec<Result<()>> = lanes
            .into_iter()
            .map(|lane| {
                lane.join()
                    .unwrap_or_else(|_| Err(Error::Failed("a lane crashed".to_owned())))
            })
            .collect();
        ended.into_iter().collect::<Result<()>>()
    })?;
    let sum = sum
        .into_inner()
        .map_err(|_| Error::Failed("a lane crashed".to_owned()))?;
    Ok(u8::from(!verdict(&sum)))
}

/// A host that panics is what a fuzzer looks for, too: the seed must be told.
fn judge(story: &Story) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| story.judge()))
        .unwrap_or_else(|_| Verdict::Different("because the host panicked".to_owned()))
}

/// Counts a story; the number of differences so far.
fn note(sum: &Mutex<Sum>, story: &Story, verdict: Verdict, name: &str) -> usize {
    // A lane that panicked is told of when it is joined.
    let mut sum = sum
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    match verdict {
        Verdict::Same {
            lines,
            calls,
            traps,
        } => {
            sum.same += 1;
            sum.modules += usize::from(story.module.is_some());
            sum.lines += lines;
            sum.calls += calls;
            sum.traps += traps;
        }
        Verdict::Excused(_) => sum.excused += 1,
        Verdict::Refused(_) => sum.refused += 1,
        Verdict::Different(why) => {
            println!("{name}: the engines differ {why}\n");
            sum.different.push(name.to_owned());
        }
    }
    sum.different.len()
}

fn verdict(sum: &Sum) -> bool {
    let Sum {
        same,
        lines,
        calls,
        traps,
        modules,
        excused,
        refused,
        different,
    } = sum;
    println!(
        "{same} stories are the same on both engines ({modules} of them random modules): {lines} \
         lines, {calls} calls or more, {traps} traps; {excused} up to where time or stack ran out, \
         {refused} refused by both, {} different",
        different.len()
    );
    for name in different {
        println!("different: {name}");
    }
    let excusable = excused.saturating_mul(MOST_EXCUSED) <= same + excused;
    if !excusable {
        println!("more than one in {MOST_EXCUSED} could not be compared to its end");
    }
    // Nothing compared proves nothing.
    different.is_empty() && excusable && *modules > 0 && *traps > 0
}

/// Leaves a module where it can be looked at.
fn keep(seed: u64, story: &Story) -> Result<()> {
    if let Some(module) = &story.module {
        let folder = scratch::target().join("fuzz-engines");
        let file = folder.join(format!("{seed}.wasm"));
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&file, module))
            .map_err(|error| Error::failed(file.display(), error))?;
        println!("its module: {}", file.display());
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| Error::failed(file.display(), error))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Error::failed(folder.display(), error);
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()
        .map_err(failed)?;
    files.sort();
    Ok(files)
}
