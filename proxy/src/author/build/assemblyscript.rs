//! A package in AssemblyScript, by the compiler that its `package.json` names.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Failure, Made, compile, note, toolchain};

pub(super) fn build(dir: &Path) -> Result<Made, Failure> {
    for program in ["node", "npm"] {
        if !toolchain::have(program) {
            let what = format!("{program} is not installed; get Node.js from https://nodejs.org");
            return Err(Failure::Unavailable(what));
        }
    }
    let manifest = dir.join("package.json");
    let wrong = |what: String| Failure::Unusable(format!("{}: {what}", manifest.display()));
    let text = std::fs::read(&manifest).map_err(|error| wrong(error.to_string()))?;
    let json: Value = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let Some(name) = json["name"]
        .as_str()
        .filter(|name| !name.contains(['/', '\\']))
    else {
        return Err(wrong("it has no `name` that could be a file's".to_owned()));
    };
    let scratch = super::scratch(dir)?;
    install(dir, &scratch, &text)?;
    // The compiler finds packages below the folder it runs in, and they are in this one.
    copy(&dir.join("assembly"), &scratch.join("assembly"))
        .map_err(|error| wrong(format!("assembly: {error}")))?;
    let mut command = Command::new("node");
    command
        .current_dir(&scratch)
        .args([
            "node_modules/assemblyscript/bin/asc.js",
            "assembly/index.ts",
        ])
        .args(["--outFile", "compiled.wasm", "--optimize"])
        .args([
            "--config",
            "node_modules/@assemblyscript/wasi-shim/asconfig.json",
        ])
        .args(["--use", "abort=abort_proc_exit"]);
    compile(&mut command)?;
    Ok(Made {
        name: name.to_owned(),
        module: scratch.join("compiled.wasm"),
        scratch,
    })
}

/// A folder as it is now: what is no more in `from` is no more in `to`.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if to.is_dir() {
        std::fs::remove_dir_all(to)?;
    }
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Packages, into the target directory: nothing else is written beside the source.
fn install(dir: &Path, scratch: &Path, manifest: &[u8]) -> Result<(), Failure> {
    let lock = std::fs::read(dir.join("package-lock.json")).ok();
    let wanted = [manifest, lock.as_deref().unwrap_or_default()].concat();
    let mark = scratch.join("installed");
    if std::fs::read(&mark).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    let write = |name: &str, bytes: &[u8]| {
        let file = scratch.join(name);
        std::fs::write(&file, bytes)
            .map_err(|error| Failure::Unavailable(format!("{}: {error}", file.display())))
    };
    write("package.json", manifest)?;
    if let Some(lock) = &lock {
        write("package-lock.json", lock)?;
    }
    note("npm install");
    let mut command = Command::new("npm");
    command.current_dir(scratch).args([
        if lock.is_some() { "ci" } else { "install" },
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--loglevel=error",
    ]);
    compile(&mut command)?;
    write("installed", &wanted)
}
