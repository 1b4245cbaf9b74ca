//! A crate in Rust.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::toolchain::Toolchain;
use super::{Failure, Made, compile, note};

/// What cargo knows of the crate in a folder.
pub(super) struct Crate {
    /// Its name as written: dashes are kept.
    name: String,
    /// The name of its library, without dashes.
    library: String,
    manifest: PathBuf,
    target: PathBuf,
}

pub(super) fn build(dir: &Path) -> Result<Made, Failure> {
    let this = describe(dir)?;
    let toolchain = Toolchain::find()?;
    if let Some(remark) = toolchain.remark() {
        note(remark);
    }
    let (mut cargo, out) = toolchain.cargo_build(&this.manifest, &this.target);
    compile(&mut cargo)?;
    Ok(Made {
        module: out.join(format!("{}.wasm", this.library)),
        scratch: out,
        name: this.name,
    })
}

fn describe(dir: &Path) -> Result<Crate, Failure> {
    let manifest = dir.join("Cargo.toml");
    let metadata = metadata(&manifest, &["--no-deps"])?;
    let manifest = manifest.canonicalize().unwrap_or(manifest);
    let wrong = |what: &str| Failure::Unusable(format!("{}: {what}", manifest.display()));
    let same = |package: &&Value| {
        let path = package["manifest_path"].as_str().map(Path::new);
        path.is_some_and(|path| path == manifest)
    };
    let packages = metadata["packages"].as_array();
    let Some(package) = packages.into_iter().flatten().find(same) else {
        return Err(wrong(
            "this is a workspace; give the folder of one of its crates",
        ));
    };
    let library = package["targets"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|target| {
            let kinds = target["crate_types"].as_array();
            kinds.into_iter().flatten().any(|kind| kind == "cdylib")
        });
    let Some(library) = library else {
        let what = "this crate makes no module; write `[lib]` and `crate-type = [\"cdylib\"]` below it (with \"lib\" beside it, `cargo test` finds its tests, too)";
        return Err(wrong(what));
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(Crate {
        name: text(&package["name"]),
        library: text(&library["name"]).replace('-', "_"),
        target: PathBuf::from(text(&metadata["target_directory"])),
        manifest,
    })
}

/// What `cargo metadata` says.
///
/// # Errors
/// Cargo is not there, or does not like the manifest.
pub(super) fn metadata(manifest: &Path, more: &[&str]) -> Result<Value, Failure> {
    let mut command = Command::new("cargo");
    command
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .args(more);
    let output = command.output().map_err(|error| {
        Failure::Unavailable(format!(
            "cargo: {error}; it comes with Rust: https://rustup.rs"
        ))
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::Unusable(said.trim().to_owned()));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Failure::Unavailable(format!("cargo metadata: {error}")))
}
