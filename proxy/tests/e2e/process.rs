//! Processes as `/proc` shows them.

use std::time::{Duration, Instant};

use crate::support::LONGEST;

/// Asks until there is an answer.
pub(crate) fn within<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LONGEST;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < until, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The fields of `/proc/PID/stat`; its name, which may hold anything, is one `x`.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, after) = (text.split_once('(')?.0, text.rsplit_once(')')?.1);
    let fields = format!("{before}x{after}");
    Some(fields.split_whitespace().map(ToOwned::to_owned).collect())
}

pub(crate) fn nice(pid: u32) -> Option<i32> {
    stat(pid)?.get(18)?.parse().ok()
}

pub(crate) fn child_of(parent: u32) -> Option<u32> {
    let pids = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parent = parent.to_string();
    pids.find(|pid| stat(*pid).is_some_and(|fields| fields[3] == parent))
}

/// Whether it has ended, reaped or not: who reaps an orphan may take its time.
pub(crate) fn is_gone(pid: u32) -> bool {
    stat(pid).is_none_or(|fields| fields[2] == "Z" || fields[2] == "X")
}
