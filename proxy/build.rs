//! Puts the sources of the guest library into the binary, for `cofferdam new`: until the crates
//! are published, a new filter depends on them by a path. Where they are not beside this crate
//! (it was packaged by itself), there are none, and `new` writes versions.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What a filter is built of, and what its tests need.
const CRATES: [&str; 3] = ["sdk", "sdk/macros", "abi"];

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = here.parent().unwrap_or(&here);
    let mut files = Vec::new();
    for name in CRATES {
        collect(&root.join(name), &mut files)?;
    }
    let mut list = String::from("static FILES: &[(&str, &str)] = &[\n");
    for file in &files {
        let name = file.strip_prefix(root).unwrap_or(file).to_string_lossy();
        if file.ends_with("Cargo.toml") {
            let manifest = sections(&fs::read_to_string(file)?, |section| {
                !["[[test", "[[example", "[[bench", "[dev-dependencies"]
                    .iter()
                    .any(|begin| section.starts_with(begin))
            });
            let _ = writeln!(list, "    ({name:?}, {manifest:?}),");
        } else {
            let _ = writeln!(list, "    ({name:?}, include_str!({file:?})),");
        }
    }
    if !files.is_empty() {
        let manifest = root.join("Cargo.toml");
        println!("cargo::rerun-if-changed={}", manifest.display());
        let workspace = workspace(&fs::read_to_string(manifest)?);
        let _ = writeln!(list, "    (\"Cargo.toml\", {workspace:?}),");
    }
    list.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("sources.rs"), list)
}

/// The manifest of a crate and all it is compiled from, in the order of names.
fn collect(of: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let manifest = of.join("Cargo.toml");
    if !manifest.is_file() {
        return Ok(());
    }
    println!("cargo::rerun-if-changed={}", manifest.display());
    println!("cargo::rerun-if-changed={}", of.join("src").display());
    files.push(manifest);
    let mut folders = vec![of.join("src")];
    while let Some(folder) = folders.pop() {
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<_>>()?;
        paths.sort();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    Ok(())
}

/// Of the manifest at the root what the host crate inherits from it.
fn workspace(manifest: &str) -> String {
    let inherited = sections(manifest, |section| section.starts_with("[workspace."));
    format!(
        "[workspace]\nresolver = \"3\"\nmembers = [\"abi\"]\nexclude = [\"sdk\"]\n\n{inherited}"
    )
}

/// A manifest's sections that are to stay. Tests are not carried, and a manifest that names a
/// test which is not there is refused.
fn sections(manifest: &str, stays: impl Fn(&str) -> bool) -> String {
    let mut stay = stays("");
    let mut out = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            stay = stays(line);
        }
        if stay {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}
