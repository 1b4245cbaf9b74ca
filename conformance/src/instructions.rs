//! Instruction counts under callgrind, held against a stored baseline.
//!
//! Time on a shared machine swings by tens of per cent, instruction counts by one in a
//! billion, so this is what a change can be gated on. A program is run twice with
//! different amounts of work and the difference is divided by the extra work: start-up
//! costs cancel out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::scratch::{self, Scratch};
use crate::{Error, Result, process, tool};

/// Longest a program may take under callgrind.
const LIMIT: Duration = Duration::from_secs(600);

/// Two runs of one program.
#[derive(Debug, Clone)]
pub struct Measure {
    /// The program.
    pub program: PathBuf,
    /// Arguments of the run with less work.
    pub less: Vec<String>,
    /// Arguments of the run with more work.
    pub more: Vec<String>,
    /// How many operations the second run does beyond the first.
    pub count: u64,
}

impl Measure {
    /// Instructions for each operation.
    ///
    /// # Errors
    /// valgrind cannot be had, or the program fails.
    pub fn run(&self) -> Result<f64> {
        if !self.program.is_file() {
            let program = self.program.display();
            return Err(Error::Usage(format!(
                "{program} is not a program; build it first"
            )));
        }
        let valgrind = tool::find("valgrind", "valgrind")?;
        let scratch = Scratch::new("instructions")?;
        let less = collect(&valgrind, &self.program, &self.less, &scratch)?;
        let more = collect(&valgrind, &self.program, &self.more, &scratch)?;
        if more < less {
            return Err(Error::Failed(format!(
                "the second run took fewer instructions ({more}) than the first ({less}); \
                 it must have more work"
            )));
        }
        Ok((more - less) as f64 / self.count as f64)
    }
}

/// The stored figures, by name.
#[derive(Debug)]
pub struct Baseline {
    file: PathBuf,
    figures: Map<String, Value>,
}

impl Baseline {
    /// Reads a file of figures; a file that is not there yet is an empty one.
    ///
    /// # Errors
    /// The file cannot be read or is not a JSON object.
    pub fn read(file: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "{}".to_owned(),
            Err(error) => return Err(Error::failed(file.display(), error)),
        };
        let figures =
            serde_json::from_str(&text).map_err(|error| Error::failed(file.display(), error))?;
        Ok(Self {
            file: file.to_path_buf(),
            figures,
        })
    }

    /// The stored figure.
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.get(name)?.as_f64()
    }

    /// Replaces a figure and writes the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn update(&mut self, name: &str, figure: f64) -> Result<()> {
        // A tenth of an instruction is beyond what means anything; keep diffs readable.
        let rounded = (figure * 10.0).round() / 10.0;
        self.figures.insert(name.to_owned(), json!(rounded));
        scratch::write(
            &self.file,
            &format!("{:#}\n", Value::Object(self.figures.clone())),
        )
    }
}

/// By how many per cent a figure is above its baseline (negative: below).
pub fn above(figure: f64, baseline: f64) -> f64 {
    (figure / baseline - 1.0) * 100.0
}

fn collect(valgrind: &Path, program: &Path, arguments: &[String], to: &Scratch) -> Result<u64> {
    // The option takes its value with `=` only.
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(to.path().join("callgrind.out"));
    let mut command = Command::new(valgrind);
    command
        .arg("--tool=callgrind")
        .arg(out)
        .arg(program)
        .args(arguments);
    let done = process::run(command, LIMIT)?;
    match parse(&done.stderr) {
        Some(count) if done.success => Ok(count),
        _ => Err(Error::failed(program.display(), done.stderr.trim())),
    }
}

/// The sum callgrind prints at its end: `==PID== Collected : 1234`.
fn parse(stderr: &str) -> Option<u64> {
    let line = stderr
        .lines()
        .rev()
        .find(|line| line.contains("Collected"))?;
    line.rsplit_once(':')?
        .1
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrind_is_read() {
        let text = "==7== Events    : Ir\n==7== Collected : 216793\n==7== \n";
        assert_eq!(parse(text), Some(216_793));
        assert_eq!(parse("valgrind: no such program"), None);
    }

    #[test]
    fn a_baseline_is_kept_by_name() {
        let scratch = Scratch::new("unit-baseline").unwrap();
        let file = scratch.path().join("instructions.json");
        let mut baseline = Baseline::read(&file).unwrap();
        assert_eq!(baseline.figure("hook"), None);
        baseline.update("hook", 1000.04).unwrap();
        baseline.update("request", 52_000.0).unwrap();
        let again = Baseline::read(&file).unwrap();
        assert_eq!(again.figure("hook"), Some(1000.0));
        assert!((above(1031.0, 1000.0) - 3.1).abs() < 1e-9);
        scratch::write(&file, "[]").unwrap();
        assert!(Baseline::read(&file).is_err());
    }
}
