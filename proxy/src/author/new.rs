//! `cofferdam new`: a folder with a filter in it that builds, runs and has tests.

mod names;
pub(super) mod sdk;
mod template;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, ValueEnum};

use super::build::{Failure, note};

/// What was typed.
#[derive(Debug, Args)]
pub struct Options {
    /// The filter's name: letters, digits, dashes. It is the folder's, too
    name: String,
    /// What it begins as
    #[arg(long, value_enum, default_value_t = Template::Headers)]
    template: Template,
    /// What it is written in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// Use the guest library in this folder
    #[arg(long, value_name = "DIR", conflicts_with = "registry")]
    sdk_path: Option<PathBuf>,
    /// Use the guest library from the registry: for when it is there
    #[arg(long, hide = true)]
    registry: bool,
}

/// What a filter begins as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// Sets a header each way
    Headers,
    /// Changes the body of a response
    Body,
    /// Asks a service whether a request may pass
    Auth,
    /// Looks at the bytes of a TCP connection
    Tcp,
}

/// What a filter is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Rust with cofferdam-sdk
    Rust,
    /// Rust with the crate proxy-wasm
    ProxyWasm,
    /// Go, with the hostcalls declared in the folder
    Go,
    /// AssemblyScript
    Assemblyscript,
}

/// Makes it, and says what to type next.
///
/// # Errors
/// Why there is none.
pub fn run(options: &Options) -> Result<String, Failure> {
    let name = &options.name;
    check(name)?;
    if matches!(options.lang, Language::Rust | Language::ProxyWasm) {
        names::check(name)?;
    }
    let files = template::files(options.template, options.lang);
    let folder = Path::new(name);
    if folder
        .read_dir()
        .is_ok_and(|mut there| there.next().is_some())
        || folder.is_file()
    {
        let what = format!("{name} is there already; take another name, or another folder");
        return Err(Failure::Unusable(what));
    }
    let library = match options.lang {
        Language::Rust => dependency(options)?,
        _ => String::new(),
    };
    for (file, text) in files {
        let text = text
            .replace("{{name}}", name)
            .replace("{{sdk}}", &library)
            .replace("{{sdk-testing}}", &with_tests(&library));
        let path = folder.join(file);
        let unavailable =
            |error: std::io::Error| Failure::Unavailable(format!("{}: {error}", path.display()));
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(unavailable)?;
        std::fs::write(&path, text).map_err(unavailable)?;
    }
    lock(folder);
    Ok(format!(
        "{name} is ready. Next:\n  cd {name}\n  cofferdam build\n  cofferdam test\n"
    ))
}

/// Crates and files can have that name.
fn check(name: &str) -> Result<(), Failure> {
    let first = name.starts_with(|first: char| first.is_ascii_lowercase());
    let all = name
        .chars()
        .all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || matches!(one, '-' | '_'));
    if first && all && name.len() <= 64 {
        return Ok(());
    }
    let what = format!(
        "{name:?} is no name for a filter; begin with a small letter, then small letters, digits, - and _"
    );
    Err(Failure::Unusable(what))
}

/// The right side of `cofferdam-sdk =` in the manifest.
fn dependency(options: &Options) -> Result<String, Failure> {
    let path = match (&options.sdk_path, options.registry) {
        (_, true) => return Ok(format!("{:?}", env!("CARGO_PKG_VERSION"))),
        (Some(path), _) => {
            let wrong = || {
                let what = format!(
                    "--sdk-path {}: there is no crate cofferdam-sdk",
                    path.display()
                );
                Failure::Unusable(what)
            };
            let manifest = std::fs::read_to_string(path.join("Cargo.toml")).map_err(|_| wrong())?;
            if !manifest.contains("name = \"cofferdam-sdk\"") {
                return Err(wrong());
            }
            path.canonicalize().map_err(|_| wrong())?
        }
        (None, _) => match sdk::unpacked()? {
            Some(path) => path,
            None => return Ok(format!("{:?}", env!("CARGO_PKG_VERSION"))),
        },
    };
    Ok(format!("{{ path = {:?} }}", path.display().to_string()))
}

/// The same with the library's tests.
fn with_tests(library: &str) -> String {
    let from = match library
        .strip_prefix("{ ")
        .and_then(|l| l.strip_suffix(" }"))
    {
        Some(path) => path.to_owned(),
        None => format!("version = {library}"),
    };
    format!("{{ {from}, features = [\"testing\"] }}")
}

/// `Cargo.lock` is there from the beginning, so that building writes nothing beside the
/// source. Where cargo or the registry cannot be had, the first build writes it.
fn lock(folder: &Path) {
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        return;
    }
    note("looking up the crates it depends on");
    for more in [&["--offline"][..], &[]] {
        let mut cargo = Command::new("cargo");
        cargo
            .args(["generate-lockfile", "--quiet", "--manifest-path"])
            .arg(&manifest)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if cargo.status().is_ok_and(|status| status.success()) {
            return;
        }
    }
}
