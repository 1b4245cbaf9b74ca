//! `cofferdam test`: cases written in files, run against a filter on each engine.
//!
//! Two forms of file: our own ([`yaml`]), and the cases of Google's Service Extensions plugin
//! tester, read as they are ([`textproto`]). Either becomes [`Suite`]s of cases that know
//! their lines, so that what fails is told with file and line.

mod compare;
mod exchange;
mod fields;
pub(super) mod module;
mod phases;
pub(super) mod said;
mod suite;
mod textproto;
mod yaml;

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;

use self::suite::{Body, Named, Suite};
pub(super) use self::suite::{Cluster, Filter};
use crate::config::Diagnostic;
use cofferdam_abi::harness::Engine;

/// What was typed.
#[derive(Debug, Args)]
pub struct Options {
    /// Files of cases: YAML, or the textproto of Google's plugin tester (.textpb, .textproto)
    #[arg(value_name = "FILE", default_value = "tests.yaml")]
    files: Vec<PathBuf>,
    /// The filter, whatever the files say
    #[arg(long, value_name = "FILE.wasm")]
    filter: Option<PathBuf>,
    /// Its configuration for textproto files, instead of theirs
    #[arg(long, value_name = "FILE")]
    configuration: Option<PathBuf>,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Run on this engine alone; all by default
    #[arg(long, value_name = "ENGINE", value_parser = names_of_engines())]
    engine: Vec<String>,
    /// Show what the filter logged in cases that passed, too
    #[arg(long)]
    logs: bool,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Cases that did what they were to do, on each engine.
    pub passed: usize,
    /// Those that did not.
    pub failed: usize,
}

/// What was seen of a case: nothing wrong, or all that was, in lines that begin with
/// `FILE:LINE:`.
#[derive(Debug, Default)]
struct Verdict {
    wrong: Vec<String>,
    /// What filter and host said meanwhile.
    said: Vec<String>,
}

/// Runs the cases of all files and tells `say` of each, line by line.
///
/// # Errors
/// What is wrong with the files; nothing has run then.
pub fn run(options: &Options, mut say: impl FnMut(&str)) -> Result<Tally, Vec<String>> {
    let engines = engines(&options.engine);
    let mut problems = Vec::new();
    let mut suites = Vec::new();
    for file in &options.files {
        match read(file, options) {
            Ok(suite) => suites.push(suite),
            Err(wrong) => problems.extend(wrong.iter().map(ToString::to_string)),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let problems = nothing(&suites, options.case.as_deref());
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut tally = Tally::default();
    for suite in &suites {
        run_suite(suite, &engines, options, &mut tally, &mut say)?;
    }
    say(&format!("{} passed, {} failed", tally.passed, tally.failed));
    Ok(tally)
}

/// What a file of cases says of all of them: for a proxy that is to run the same filter.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    pub(super) configuration: String,
    pub(super) hold_headers: bool,
    pub(super) clusters: Vec<Cluster>,
}

/// Whoever answers callouts as the clusters of a file do.
pub(super) fn peers(clusters: Vec<Cluster>) -> Box<dyn cofferdam_abi::harness::Peers> {
    exchange::peers(clusters)
}

/// Reads them from a YAML file of cases.
///
/// # Errors
/// All that is wrong with it.
pub(super) fn surroundings(file: &str, bytes: &[u8]) -> Result<Surroundings, Vec<Diagnostic>> {
    let suite = yaml::read(file, bytes)?;
    Ok(Surroundings {
        configuration: String::from_utf8_lossy(&suite.shared.configuration).into_owned(),
        hold_headers: suite.shared.hold_headers,
        clusters: suite.clusters,
    })
}

/// The cases of a file that were asked for: those with `part` in their names, or all.
fn wanted<'s>(suite: &'s Suite, part: Option<&'s str>) -> impl Iterator<Item = &'s Named> {
    let has = move |name: &str| part.is_none_or(|part| name.contains(part));
    suite.cases.iter().filter(move |case| has(&case.name))
}

/// Where nothing would be run: that is a mistake, not a success.
fn nothing(suites: &[Suite], part: Option<&str>) -> Vec<String> {
    let empty = suites.iter().filter(|suite| suite.cases.is_empty());
    let mut problems: Vec<String> = empty
        .map(|suite| format!("{}: there are no cases in it", suite.file))
        .collect();
    let mut picked = suites.iter().flat_map(|suite| wanted(suite, part));
    if let (Some(part), true, None) = (part, problems.is_empty(), picked.next()) {
        let all = suites.iter().flat_map(|suite| &suite.cases);
        let names: Vec<String> = all.map(|case| format!("  {}", case.name)).collect();
        problems.push(format!(
            "--case {part}: no case has that in its name; there are\n{}",
            names.join("\n")
        ));
    }
    problems
}

fn run_suite(
    suite: &Suite,
    engines: &[Engine],
    options: &Options,
    tally: &mut Tally,
    say: &mut impl FnMut(&str),
) -> Result<(), Vec<String>> {
    let missing = "build the filter, or name it with --filter";
    let module = module::read(&suite.filter, missing).map_err(|problem| vec![problem])?;
    say(&format!("{}: {}", suite.file, suite.filter.display()));
    for case in wanted(suite, options.case.as_deref()) {
        for engine in engines {
            let verdict = match &case.body {
                Body::Exchanges(case) => exchange::run(case, &module, *engine),
                Body::Phases(case) => phases::run(case, &module, *engine),
            };
            let (word, count) = match verdict.wrong.is_empty() {
                true => ("ok  ", &mut tally.passed),
                false => ("FAIL", &mut tally.failed),
            };
            *count += 1;
            let place = format!("{}:{}", suite.file, case.line);
            say(&format!(
                "  {word} {:8} {} ({place})",
                engine.name(),
                case.name
            ));
            let failed = !verdict.wrong.is_empty();
            let wrong = verdict.wrong.iter().flat_map(|text| text.lines());
            for line in said::collapsed(wrong.map(str::to_owned)) {
                say(&format!("       {line}"));
            }
            if options.logs || failed {
                let said = verdict.said.iter();
                said.for_each(|line| say(&format!("       | {line}")));
            }
        }
    }
    Ok(())
}

/// Of those in this build; help and complaints name them.
fn names_of_engines() -> PossibleValuesParser {
    PossibleValuesParser::new(Engine::ALL.iter().map(|engine| engine.name()))
}

fn engines(names: &[String]) -> Vec<Engine> {
    let wanted =
        |engine: &Engine| names.is_empty() || names.iter().any(|name| name == engine.name());
    Engine::ALL.iter().copied().filter(wanted).collect()
}

fn read(file: &Path, options: &Options) -> Result<Suite, Vec<Diagnostic>> {
    let shown = file.display().to_string();
    let bytes = std::fs::read(file).map_err(|error| {
        vec![Diagnostic {
            file: shown.clone(),
            line: 1,
            column: 1,
            path: "$".to_owned(),
            what: format!("cannot be read: {error}"),
            help: "check its name and permissions, or give another file of cases".to_owned(),
        }]
    })?;
    let textproto = file.extension().is_some_and(|ending| {
        ["textpb", "textproto", "txtpb", "pbtxt"]
            .iter()
            .any(|one| ending == *one)
    });
    let mut suite = match textproto {
        true => textproto::read(&shown, &bytes, options.configuration.as_deref())?,
        false => yaml::read(&shown, &bytes)?,
    };
    if let Some(filter) = &options.filter {
        suite.filter.clone_from(filter);
    }
    if suite.filter.as_os_str().is_empty() {
        suite.filter = module::beside(file).map_err(|what| {
            vec![Diagnostic {
                file: shown,
                line: 1,
                column: 1,
                path: "$".to_owned(),
                what,
                help: "name the filter: `filter: FILE.wasm` (in a textproto file `env { wasm_path }`), or --filter".to_owned(),
            }]
        })?;
    }
    Ok(suite)
}
