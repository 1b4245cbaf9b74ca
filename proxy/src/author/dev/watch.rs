//! Builds again when something was saved, and has the proxy take the new module.
//!
//! Files are looked at now and then: that needs no library, works on every file system, and
//! costs nothing worth mentioning for the few files of a filter.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::process::{Signal, getpid, kill_process};

use super::setup::Plan;
use crate::author::build::{self, Failure};

/// How often.
const PERIOD: Duration = Duration::from_millis(300);

/// Watches on a thread of its own, which ends with the process.
pub(super) fn start(plan: Plan, say: Arc<dyn Fn(&str) + Send + Sync>) {
    std::thread::spawn(move || watch(&plan, &*say));
}

fn watch(plan: &Plan, say: &dyn Fn(&str)) {
    let mut sources = plan.source.as_deref().map(newest);
    let mut module = modified(&plan.module);
    loop {
        std::thread::sleep(PERIOD);
        if let Some(dir) = &plan.source {
            let now = newest(dir);
            if sources != Some(now) {
                sources = Some(now);
                rebuild(dir, say);
            }
        }
        let now = modified(&plan.module);
        if now.is_some() && now != module {
            module = now;
            say("the new module takes over");
            // Once its listeners listen, the proxy watches this signal; and they do.
            if let Err(error) = kill_process(getpid(), Signal::HUP) {
                say(&format!("the proxy cannot be told: {error}"));
            }
        }
    }
}

fn rebuild(dir: &Path, say: &dyn Fn(&str)) {
    say("saved: building");
    match build::folder(dir) {
        Ok(built) => say(built.summary.lines().next().unwrap_or_default()),
        Err(Failure::Unusable(what) | Failure::Unavailable(what)) => {
            what.lines().for_each(say);
            say("the filter stays as it was");
        }
    }
}

/// The newest change below a folder, of what is source: no results, nothing hidden. With how
/// many files there are, since one that goes changes no other.
fn newest(dir: &Path) -> (Option<SystemTime>, usize) {
    let mut newest = None;
    let mut count = 0;
    let mut folders: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let path = entry.path();
            if name.starts_with('.') || name == "target" || name == "node_modules" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if !name.contains(".wasm") && name != "Cargo.lock" && name != "tests.yaml" {
                newest = newest.max(modified(&path));
                count += 1;
            }
        }
    }
    (newest, count)
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).ok()?.modified().ok()
}
