//! `conformance`: the proxy-wasm ABI, case by case, on one host after the other.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use cofferdam_abi::harness::Engine;
use cofferdam_conformance::args::{Args, Opt};
use cofferdam_conformance::suite::driver::abi::Abi;
use cofferdam_conformance::suite::driver::envoy::Envoy;
use cofferdam_conformance::suite::driver::null::Null;
use cofferdam_conformance::suite::driver::proxy::{Artifacts, Code, Proxy};
use cofferdam_conformance::suite::table::{self, COLUMNS, Cell, Cells, OURS};
use cofferdam_conformance::suite::{Case, Driver, compare, generate, read, run};
use cofferdam_conformance::{Error, Result, error, scratch};

const ABOUT: &str = "\
conformance: runs the cases of conformance/cases on hosts, and writes what came of them to
conformance/RESULTS.md. Without options: on all hosts of ours. Exits 1 when one of ours
fails a case (or, with --host null, when a case passes that must not).

  conformance --case E-104            one case (or a group: --case E), nothing written";

const OPTIONS: &[Opt] = &[
    Opt {
        name: "--case",
        value: Some("ID"),
        help: "only this case, its variants, or this group; writes nothing",
    },
    Opt {
        name: "--update",
        value: None,
        help: "with --case: write those cells all the same",
    },
    Opt {
        name: "--host",
        value: Some("NAME"),
        help: "only abi/wasmi, abi/aot, proxy/wasmi, proxy/aot, envoy or null; abi, proxy: both engines",
    },
    Opt {
        name: "--program",
        value: Some("PATH"),
        help: "our proxy (target/debug/cofferdam)",
    },
    Opt {
        name: "--check",
        value: None,
        help: "write nothing; exit 1 where RESULTS.md is not what came of our hosts",
    },
    Opt {
        name: "--records",
        value: None,
        help: "print what guests logged",
    },
];

/// How many programs run cases side by side: most of a case is waiting.
const LANES: usize = 4;

/// How many run them in process, where nothing waits.
const CORES: usize = 2;

fn main() -> ExitCode {
    error::conclude("conformance", conformance())
}

fn conformance() -> Result<u8> {
    let Some(args) = Args::from_env(ABOUT, OPTIONS)? else {
        return Ok(0);
    };
    let cases = all_cases()?;
    let excuses = run::excuses(&cases);
    if !excuses.is_empty() {
        return Err(Error::Failed(excuses.join("\n")));
    }
    let picked: Vec<&Case> = cases
        .iter()
        .filter(|case| {
            args.text("--case")
                .is_none_or(|wanted| is_meant(case, wanted))
        })
        .collect();
    if picked.is_empty() {
        return Err(Error::Usage("there is no such case".to_owned()));
    }
    if args.text("--host") == Some("null") {
        return null(&picked);
    }
    let picked = buildable(picked, args.has("--check"))?;
    let file = scratch::workspace().join("conformance/RESULTS.md");
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    let mut cells = table::read(&committed);
    let ids = |key: &(String, String)| cases.iter().any(|case| case.id == key.0);
    cells.retain(|key, _| ids(key));
    let mut failed = 0;
    for column in hosts(&args)? {
        let start = host(column, &args, &picked)?;
        if args.has("--records") {
            let mut driver = start()?;
            for case in &picked {
                show_records(&mut *driver, case)?;
            }
        }
        let lanes = if column.starts_with("abi") {
            CORES
        } else {
            LANES
        };
        let verdicts = run::side_by_side(&picked, lanes, &start)?;
        for (case, verdict) in picked.iter().zip(&verdicts) {
            failed += tell(column, case, verdict, &mut cells);
        }
    }
    println!("{}", table::summary(&cases, &cells));
    if args.has("--case") && !args.has("--update") {
        return Ok(u8::from(failed > 0));
    }
    let document = table::document(&cases, &cells);
    if !args.has("--check") {
        scratch::write(&file, &document)?;
    } else if document != committed {
        println!("conformance/RESULTS.md is not what came of it: `make conformance` writes it");
        return Ok(1);
    }
    Ok(u8::from(failed > 0))
}

fn all_cases() -> Result<Vec<Case>> {
    let mut cases = read::all(&read::folder())?;
    cases.extend(generate::all());
    cases.sort_by_key(|case| read::order(&case.id));
    if let Some(pair) = cases.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(Error::Failed(format!("{} is there twice", pair[0].id)));
    }
    Ok(cases)
}

fn is_meant(case: &Case, wanted: &str) -> bool {
    let (group, number, _) = read::order(&case.id);
    case.id == wanted || group == wanted || format!("{group}-{number}") == wanted
}

/// The cases whose guests have been built. The others keep the cells they have, unless all
/// must be run.
fn buildable(cases: Vec<&Case>, all: bool) -> Result<Vec<&Case>> {
    let all = all || std::env::var_os("COFFERDAM_REQUIRE_ALL").is_some_and(|value| value == "1");
    let (mut out, mut missing) = (Vec::new(), Vec::new());
    for case in cases {
        match case.missing_guest() {
            None => out.push(case),
            Some(why) => missing.push(format!("{} SKIPPED: {why}", case.id)),
        }
    }
    if all && !missing.is_empty() {
        return Err(Error::Unavailable(missing.join("\n")));
    }
    if !missing.is_empty() {
        println!("{}", missing.join("\n"));
    }
    Ok(out)
}

/// The columns of the hosts asked for; those of ours when none is named.
fn hosts(args: &Args) -> Result<Vec<&'static str>> {
    let Some(asked) = args.text("--host") else {
        return Ok(OURS.to_vec());
    };
    // By a column's name, or by the host's: `abi/aot`, `abi`, `envoy`.
    let meant = |column: &&str| *column == asked || column.split(['/', ' ']).next() == Some(asked);
    let found: Vec<&str> = COLUMNS.into_iter().filter(meant).collect();
    if found.is_empty() {
        return Err(Error::Usage(format!("there is no host {asked:?}")));
    }
    Ok(found)
}

/// Starts drivers of one host.
type Start = Box<dyn Fn() -> Result<Box<dyn Driver>> + Sync>;

/// What starts drivers of a column, once what they share is there.
fn host(column: &str, args: &Args, cases: &[&Case]) -> Result<Start> {
    let default = scratch::target().join("debug/cofferdam");
    let program = args.text("--program").map_or(default, PathBuf::from);
    Ok(match column {
        "abi/wasmi" => Box::new(|| Ok(Box::new(Abi(Engine::Interpreter)))),
        "abi/aot" => Box::new(|| Ok(Box::new(Abi(Engine::Native)))),
        "proxy/wasmi" => proxy(program, Code::Interpreted),
        "proxy/aot" => {
            let artifacts = Artifacts::fill(&program, cases)?;
            proxy(program, Code::Native(Arc::new(artifacts)))
        }
        _ => Box::new(|| Ok(Box::new(Envoy::new()?))),
    })
}

fn proxy(program: PathBuf, code: Code) -> Start {
    Box::new(move || Ok(Box::new(Proxy::new(&program, code.clone())?)))
}

/// Notes what came of a case, and tells what is not as it should be. 1 for a failure of ours.
fn tell(column: &str, case: &Case, verdict: &run::Verdict, cells: &mut Cells) -> usize {
    debug_assert!(COLUMNS.contains(&column));
    cells.insert((case.id.clone(), column.to_owned()), verdict.cell);
    if verdict.cell != Cell::Fail {
        return 0;
    }
    println!("{} on {column}: {}", case.id, case.name);
    for complaint in &verdict.complaints {
        println!("  {complaint}");
    }
    usize::from(OURS.contains(&column))
}

fn show_records(driver: &mut dyn Driver, case: &Case) -> Result<()> {
    for profile in &case.profiles {
        println!("{} in profile {profile}:", case.id);
        let outcome = driver.run(case, *profile)?;
        for record in &outcome.logs {
            println!("  {}", compare::shown(record, case.filters().len() > 1));
        }
        if let Some(why) = outcome.refused {
            println!("  refused: {why}");
        }
    }
    Ok(())
}

/// Only what is marked may pass on a host that does nothing, and it must.
fn null(cases: &[&Case]) -> Result<u8> {
    let (mut wrong, mut marked) = (0, 0);
    for case in cases {
        let passes = run::case(&mut Null, case)?.cell == Cell::Pass;
        marked += usize::from(case.null.is_some());
        if passes != case.null.is_some() {
            wrong += 1;
            let said = if passes {
                "passes on a host that does nothing: it proves nothing"
            } else {
                "is marked as passing on a host that does nothing, and fails there"
            };
            println!("{}: {said}", case.id);
        }
    }
    println!(
        "null: {} cases, {marked} may pass, {wrong} wrong",
        cases.len()
    );
    Ok(u8::from(wrong > 0))
}
