//! `cofferdam build`: a crate (or a Go or AssemblyScript package) becomes `NAME.wasm` beside
//! its manifest, ready for a proxy; and nothing else changes outside its target directory.

mod assemblyscript;
mod bindgen;
mod go;
mod rust;
mod summary;
mod toolchain;

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use crate::telemetry;

/// What was typed.
#[derive(Debug, Args)]
pub struct Options {
    /// The folder of the filter: with Cargo.toml, go.mod or package.json
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Leave the module as the compiler made it, even where there is wasm-opt
    #[arg(long)]
    no_wasm_opt: bool,
}

/// Why there is no module.
#[derive(Debug)]
pub enum Failure {
    /// The source is not as it should be.
    Unusable(String),
    /// A program is missing, or a file cannot be written.
    Unavailable(String),
}

/// What was built.
#[derive(Debug)]
pub struct Built {
    /// The module.
    pub file: PathBuf,
    /// What is in it, for people.
    pub summary: String,
}

/// What a language's compiler has left.
struct Made {
    /// The name of the filter.
    name: String,
    /// The module, somewhere in the target directory.
    module: PathBuf,
    /// Folder for what is made on the way.
    scratch: PathBuf,
}

/// Builds the filter in a folder.
///
/// # Errors
/// Why that did not work, and what to do.
pub fn run(options: &Options) -> Result<Built, Failure> {
    make(&options.dir, !options.no_wasm_opt)
}

/// Builds the filter in a folder, as it is built by default.
pub(super) fn folder(dir: &Path) -> Result<Built, Failure> {
    make(dir, true)
}

fn make(dir: &Path, optimise: bool) -> Result<Built, Failure> {
    let there = |name: &str| dir.join(name).is_file();
    let made = if there("Cargo.toml") {
        super::new::sdk::provide(dir)?;
        rust::build(dir)?
    } else if there("go.mod") {
        go::build(dir)?
    } else if there("package.json") {
        assemblyscript::build(dir)?
    } else {
        let message = format!(
            "{}: there is no Cargo.toml, go.mod or package.json; give the folder of a filter, or make one with `cofferdam new`",
            dir.display()
        );
        return Err(Failure::Unusable(message));
    };
    let compiled = read(&made.module)?;
    let small = match optimise {
        true => optimised(&made)?,
        false => None,
    };
    let summary = |bytes: &[u8], optimised: bool| {
        let compiled = compiled.len();
        summary::text(&made.name, bytes, optimised.then_some(compiled))
    };
    // An optimiser that makes of a good module a bad one is no reason to have none.
    let (bytes, text) = match small.map(|small| (summary(&small, true), small)) {
        Some((Ok(text), small)) => (small, Ok(text)),
        _ => {
            let text = summary(&compiled, false);
            (compiled.clone(), text)
        }
    };
    // Whatever is wrong with it: a file that no proxy takes is worth less than none.
    let text = text.map_err(|problem| Failure::Unusable(explain(dir, problem)))?;
    let file = dir.join(format!("{}.wasm", made.name));
    put(&file, &bytes)?;
    Ok(Built {
        file,
        summary: text,
    })
}

/// What is wrong with a module, and where imports come from that no proxy has.
fn explain(dir: &Path, problem: String) -> String {
    if !problem.contains("__wbindgen") && !problem.contains("__wbg") {
        return problem;
    }
    match bindgen::culprits(dir) {
        Ok(culprits) if !culprits.is_empty() => format!("{problem}\n{}", culprits.join("\n")),
        _ => format!(
            "{problem}\na dependency was built for browsers: `cargo tree --target {} -i wasm-bindgen -e features` shows which",
            toolchain::TARGET
        ),
    }
}

/// The same by wasm-opt, where there is one and it can read it.
fn optimised(made: &Made) -> Result<Option<Vec<u8>>, Failure> {
    if !toolchain::have("wasm-opt") {
        return Ok(None);
    }
    let out = made.scratch.join("optimised.wasm");
    let status = Command::new("wasm-opt")
        .args([
            "-Os",
            "--all-features",
            "--strip-debug",
            "--strip-producers",
        ])
        .arg(&made.module)
        .arg("-o")
        .arg(&out)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => read(&out).map(Some),
        _ => {
            note("wasm-opt cannot read this module (an old one?): left as the compiler made it");
            Ok(None)
        }
    }
}

/// Written aside and renamed, so that a proxy that reads it meanwhile reads one or the other.
fn put(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if std::fs::read(file).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let aside = file.with_extension(format!("wasm.{}", std::process::id()));
    std::fs::write(&aside, bytes)
        .and_then(|()| std::fs::rename(&aside, file))
        .map_err(|error| {
            let _ = std::fs::remove_file(&aside);
            Failure::Unavailable(format!("{}: {error}", file.display()))
        })
}

/// The target directory of what is no crate.
fn scratch(dir: &Path) -> Result<PathBuf, Failure> {
    let folder = dir.join("target").join("cofferdam");
    let made = std::fs::create_dir_all(&folder).and_then(|()| folder.canonicalize());
    made.map_err(|error| Failure::Unavailable(format!("{}: {error}", folder.display())))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file)
        .map_err(|error| Failure::Unavailable(format!("{}: {error}", file.display())))
}

/// Runs a compiler. On a terminal it shows its progress; elsewhere nothing is seen of it
/// unless it fails.
fn compile(command: &mut Command) -> Result<(), Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let missing = |error: std::io::Error| Failure::Unavailable(format!("{program}: {error}"));
    command.stdin(Stdio::null());
    let (fine, said) = if std::io::stderr().is_terminal() {
        // Its output is progress, too: results are on our own standard output.
        let status = command.stdout(Stdio::null()).status().map_err(missing)?;
        (status.success(), String::new())
    } else {
        let output = command.output().map_err(missing)?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.success(), said)
    };
    match fine {
        true => Ok(()),
        false => Err(Failure::Unusable(format!("{said}{program} has failed"))),
    }
}

/// What a program says, or nothing if it fails.
fn ask(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// A word about what takes long, for whoever watches.
pub(super) fn note(text: &str) {
    if std::io::stderr().is_terminal() {
        telemetry::complain(text);
    }
}
