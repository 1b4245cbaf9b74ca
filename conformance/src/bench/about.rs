//! Where a run took place: machine, versions, load.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Plan;
use super::report::About;
use crate::peer::envoy;
use crate::{Result, process, scratch, tool};

/// The conditions of a run that begins now.
///
/// # Errors
/// A program whose version is asked for cannot be had.
pub(super) fn about(plan: &Plan) -> Result<About> {
    let nginx = tool::find("nginx", "nginx-light")?;
    let wrk = tool::find("wrk", "wrk")?;
    let h2load = tool::find("h2load", "nghttp2-client")?;
    let rustc = PathBuf::from("rustc");
    let versions = [
        ("cofferdam", &plan.proxy, "--version"),
        ("nginx", &nginx, "-v"),
        ("wrk", &wrk, "-v"),
        ("h2load", &h2load, "--version"),
        ("rustc", &rustc, "--version"),
    ];
    let mut versions: BTreeMap<String, String> = versions
        .into_iter()
        .map(|(name, program, option)| (name.to_owned(), said(program, &[option])))
        .collect();
    versions.insert("envoy".to_owned(), envoy::VERSION.to_owned());
    versions.insert("kernel".to_owned(), read("/proc/sys/kernel/osrelease"));
    versions.insert("commit".to_owned(), commit());
    Ok(About {
        date: said(Path::new("date"), &["-u", "+%Y-%m-%d"]),
        command: plan.command.clone(),
        cpu: cpu(),
        load_before: load(),
        load_after: String::new(),
        slices: plan.slices,
        seconds: plan.seconds,
        versions,
    })
}

/// The load average of the last minute.
pub(super) fn load() -> String {
    let text = read("/proc/loadavg");
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn cpu() -> String {
    let info = read("/proc/cpuinfo");
    let models: Vec<&str> = info
        .lines()
        .filter(|line| line.starts_with("model name"))
        .filter_map(|line| Some(line.split_once(':')?.1.trim()))
        .collect();
    let model = models.first().copied().unwrap_or("unknown");
    format!("{} × {model}", models.len())
}

/// What the checkout is, `+` behind it where it has been edited.
fn commit() -> String {
    let root = scratch::workspace();
    let root = root.display().to_string();
    let git = |words: &[&str]| said(Path::new("git"), &[&["-C", &root], words].concat());
    let edited = !git(&["status", "--porcelain", "--untracked-files=no"]).is_empty();
    let edited = if edited { "+" } else { "" };
    format!("{}{edited}", git(&["rev-parse", "--short=12", "HEAD"]))
}

fn read(file: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.trim().to_owned()
}

/// The first line a program prints; some print their version as an error.
fn said(program: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    let Ok(done) = process::run(command, Duration::from_secs(10)) else {
        return String::new();
    };
    let text = if done.stdout.trim().is_empty() {
        done.stderr
    } else {
        done.stdout
    };
    text.lines().next().unwrap_or_default().trim().to_owned()
}
