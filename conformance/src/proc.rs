//! What the kernel knows about a process and everything below it: CPU time, memory,
//! context switches, read from `/proc`.
//!
//! CPU comes from `schedstat` (nanoseconds), which a slice of two seconds needs: the 10 ms
//! ticks of `stat` carry a per cent of rounding. But `schedstat` forgets a thread when it
//! ends, and a proxy with a thread for each connection would look free; `stat` keeps it,
//! so both are read and `stat` wins when it knows of much more.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::{Error, Result};

/// A counter for each thread of a process tree at one moment.
#[derive(Debug, Clone, Default)]
pub struct Counters(BTreeMap<u32, u64>);

impl Counters {
    /// How much was added since `earlier`. A thread born in between counts from zero;
    /// one that ended in between is lost.
    pub fn since(&self, earlier: &Self) -> u64 {
        self.0
            .iter()
            .map(|(id, now)| now.saturating_sub(earlier.0.get(id).copied().unwrap_or(0)))
            .sum()
    }
}

/// CPU time of a process tree at one moment.
#[derive(Debug, Clone)]
pub struct Cpu {
    /// Nanoseconds of each living thread.
    threads: Counters,
    /// Nanoseconds of each process, ended threads and children included, in whole ticks.
    processes: Counters,
}

impl Cpu {
    /// Nanoseconds spent since `earlier`.
    pub fn since(&self, earlier: &Self) -> u64 {
        let living = self.threads.since(&earlier.threads);
        let all = self.processes.since(&earlier.processes);
        if all > living + 4 * TICK { all } else { living }
    }

    /// Nanoseconds since the beginning, threads that have ended included: of a start, say,
    /// where they are much of it, so whichever count is higher.
    pub fn whole(&self) -> u64 {
        let none = Counters::default();
        self.threads.since(&none).max(self.processes.since(&none))
    }
}

/// CPU time of every thread of `pid` and its descendants.
///
/// # Errors
/// The process is gone, or the kernel keeps no `schedstat`.
pub fn cpu(pid: u32) -> Result<Cpu> {
    let threads = threads(pid, "schedstat", |text| {
        text.split_whitespace().next()?.parse().ok()
    })?;
    let processes = tree(pid)
        .into_iter()
        .filter_map(|id| Some((id, ticks(id)? * TICK)));
    Ok(Cpu {
        threads,
        processes: Counters(processes.collect()),
    })
}

/// Nanoseconds of one tick: Linux shows 100 to a second whatever it runs on.
const TICK: u64 = 10_000_000;

/// Context switches, voluntary and not, of every thread of `pid` and its descendants.
///
/// # Errors
/// The process is gone.
pub fn switches(pid: u32) -> Result<Counters> {
    threads(pid, "status", |text| {
        let voluntary = field(text, "voluntary_ctxt_switches")?;
        Some(voluntary + field(text, "nonvoluntary_ctxt_switches")?)
    })
}

/// Resident memory in KiB of the largest process among `pid` and its descendants.
///
/// Not the sum: nginx's master and worker share most of their pages, and a sum would count
/// them twice.
///
/// # Errors
/// The process is gone.
pub fn rss_kib(pid: u32) -> Result<u64> {
    let resident = |member: u32| {
        let status = fs::read_to_string(format!("/proc/{member}/status")).ok()?;
        field(&status, "VmRSS")
    };
    let largest = tree(pid).into_iter().filter_map(resident).max();
    largest.ok_or_else(|| Error::Failed(format!("process {pid} is gone")))
}

/// Memory of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident, in KiB.
    pub rss_kib: u64,
    /// Mapped or reserved, in KiB.
    pub address_space_kib: u64,
}

/// Memory of a process, its descendants apart.
///
/// # Errors
/// The process is gone.
pub fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    match (field(&status, "VmRSS"), field(&status, "VmSize")) {
        (Some(rss_kib), Some(address_space_kib)) => Ok(Memory {
            rss_kib,
            address_space_kib,
        }),
        _ => Err(Error::Failed(format!("process {pid} is gone"))),
    }
}

/// A process and all its descendants, parents before children.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if let Some(parent) = parent(id) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut members = vec![pid];
    let mut next = 0;
    while let Some(member) = members.get(next).copied() {
        members.extend(children.remove(&member).into_iter().flatten());
        next += 1;
    }
    members
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    field(&status, "Uid") == Some(0)
}

/// The soft limit of open files of this process.
pub fn open_file_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))?;
    match line.split_whitespace().nth(3)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn threads(pid: u32, file: &str, read: fn(&str) -> Option<u64>) -> Result<Counters> {
    let mut counters = BTreeMap::new();
    for member in tree(pid) {
        let tasks = PathBuf::from(format!("/proc/{member}/task"));
        for entry in fs::read_dir(&tasks).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // A thread may end between the listing and the reading.
            let text = fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            if let Some(value) = read(&text) {
                counters.insert(id, value);
            }
        }
    }
    if counters.is_empty() {
        return Err(Error::Failed(format!(
            "nothing to read in /proc/{pid}/task/*/{file}: the process is gone, or the kernel \
             does not keep it"
        )));
    }
    Ok(Counters(counters))
}

fn parent(pid: u32) -> Option<u32> {
    u32::try_from(stat(pid)?.get(1).copied()?).ok()
}

/// User and system time of a process and of the children it waited for.
fn ticks(pid: u32) -> Option<u64> {
    Some(stat(pid)?.get(11..15)?.iter().sum())
}

/// The numbers of `stat` from the state on (itself, and what is negative, as 0).
fn stat(pid: u32) -> Option<Vec<u64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, blanks and parentheses included.
    let (_, rest) = stat.rsplit_once(')')?;
    let numbers = rest
        .split_whitespace()
        .map(|word| word.parse().unwrap_or(0));
    Some(numbers.collect())
}

fn field(status: &str, name: &str) -> Option<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_figures_can_be_read() {
        let pid = std::process::id();
        assert!(rss_kib(pid).unwrap() > 100);
        let memory = memory(pid).unwrap();
        assert!(memory.address_space_kib > memory.rss_kib && memory.rss_kib > 100);
        assert!(tree(pid).contains(&pid));
        let before = cpu(pid).unwrap();
        let mut x = 1_u64;
        for i in 0..5_000_000_u64 {
            x = std::hint::black_box(x.wrapping_mul(31).wrapping_add(i));
        }
        assert!(cpu(pid).unwrap().since(&before) > 0);
        assert!(cpu(pid).unwrap().whole() > 0);
        switches(pid).unwrap();
        assert!(open_file_limit().unwrap() > 3);
    }

    #[test]
    fn threads_that_ended_are_counted() {
        let before = cpu(std::process::id()).unwrap();
        let spin = || {
            let own = || fs::read_to_string("/proc/thread-self/schedstat").unwrap();
            while own().split(' ').next().unwrap().parse::<u64>().unwrap() < 20 * TICK {}
        };
        std::thread::spawn(spin).join().unwrap();
        assert!(cpu(std::process::id()).unwrap().since(&before) >= 18 * TICK);
    }

    #[test]
    fn threads_born_later_count_from_zero() {
        let before = Counters(BTreeMap::from([(1, 10), (2, 5)]));
        let after = Counters(BTreeMap::from([(1, 15), (3, 7)]));
        assert_eq!(after.since(&before), 12);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "nonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t5\n";
        assert_eq!(field(text, "voluntary_ctxt_switches"), Some(5));
        assert_eq!(field(text, "ctxt"), None);
    }
}
