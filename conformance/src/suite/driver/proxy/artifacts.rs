//! Native code of all modules of some cases, made before any of them is run: a proxy finds
//! it there from its first request on, as it would in an image that somebody has filled.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process;
use crate::scratch::Scratch;
use crate::suite::case::{Case, Filter};
use crate::{Error, Result};

/// How many compile side by side: it is all CPU.
const COMPILERS: usize = 2;

/// How long one of them may take for its part.
const LIMIT: Duration = Duration::from_secs(900);

/// The exit status that says that the machine, or the program, could not.
const UNAVAILABLE: i32 = 69;

/// A directory of artifacts; it goes when this is dropped.
#[derive(Debug)]
pub struct Artifacts {
    scratch: Scratch,
}

// === impl Artifacts ===

impl Artifacts {
    /// Has `program` compile what these cases run. What is no module has no code, and that is
    /// for its case to see.
    ///
    /// # Errors
    /// The program cannot compile here, or made nothing at all.
    pub fn fill(program: &Path, cases: &[&Case]) -> Result<Self> {
        let scratch = Scratch::new("artifacts")?;
        let modules = scratch.dir("modules")?;
        let mut seen = HashSet::new();
        let mut files: Vec<PathBuf> = Vec::new();
        for case in cases {
            let first = case.filters().iter().map(Filter::module);
            let later = case.reloads().map(|reload| case.reloaded(reload));
            for wasm in first.chain(later).flatten() {
                let file = modules.join(format!("{}.wasm", files.len()));
                if !seen.contains(&wasm) {
                    std::fs::write(&file, &wasm)
                        .map_err(|error| Error::failed(file.display(), error))?;
                    files.push(file);
                    seen.insert(wasm);
                }
            }
        }
        let artifacts = Self { scratch };
        let part = files.len().div_ceil(COMPILERS).max(1);
        let made: Result<Vec<usize>> = std::thread::scope(|scope| {
            let compile = |files| artifacts.compile(program, files);
            let parts: Vec<_> = files
                .chunks(part)
                .map(|files| scope.spawn(move || compile(files)))
                .collect();
            let crashed = |_| Err(Error::Failed("a compiler's thread crashed".to_owned()));
            parts
                .into_iter()
                .map(|part| part.join().unwrap_or_else(crashed))
                .collect()
        });
        let made: usize = made?.into_iter().sum();
        println!("native code: {made} of {} modules", files.len());
        Ok(artifacts)
    }

    /// Where they are.
    pub(super) fn directory(&self) -> PathBuf {
        self.scratch.path().join("native")
    }

    /// How many of these could be compiled.
    fn compile(&self, program: &Path, files: &[PathBuf]) -> Result<usize> {
        let mut command = Command::new(program);
        command
            .args(["--log", "error", "compile", "--directory"])
            .arg(self.directory())
            .args(files);
        let done = process::run(command, LIMIT)?;
        if done.code == Some(UNAVAILABLE) {
            return Err(Error::Failed(format!("cofferdam compile: {}", done.stderr)));
        }
        // A line for each that is done.
        Ok(done.stdout.lines().count())
    }
}
