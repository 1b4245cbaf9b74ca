//! The compiler's side: a process that has one module to compile, and may not cost more
//! than it is told.
//!
//! A module can be written to cost a compiler gigabytes and minutes, or to meet a mistake
//! of its own. So it runs where nothing else does, and has given up what it does not need
//! before it reads the first byte: memory, time, files, threads, and outliving its parent.

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use clap::Args;
use cofferdam_abi::{Limits, Module};
use rustix::process::{Pid, Resource, Rlimit, Signal};

use super::{MODULE, idle_ticks};
use crate::modules::{Native, NativeConfig};
use crate::telemetry::complain;

/// What the parent asks for, on the command line.
#[derive(Debug, Clone, Args)]
pub struct Task {
    /// The parent's process id
    #[arg(long)]
    parent: i32,
    /// Bytes of memory beyond what the program has at start
    #[arg(long)]
    memory: u64,
    /// Seconds of CPU time
    #[arg(long)]
    cpu: u64,
    /// Count fuel
    #[arg(long)]
    fuel: bool,
    /// Few addresses instead of few instructions
    #[arg(long)]
    compact: bool,
}

/// Compiles the module on standard input. On standard output is either the content of an
/// artifact's file, or, with another exit status, what is wrong with the module.
pub fn run(task: &Task) -> ExitCode {
    if let Err(error) = restrict(task) {
        complain(format_args!("its limits cannot be set: {error}"));
        return ExitCode::FAILURE;
    }
    let mut wasm = Vec::new();
    if let Err(error) = io::stdin().read_to_end(&mut wasm) {
        complain(format_args!("the module cannot be read: {error}"));
        return ExitCode::FAILURE;
    }
    let config = NativeConfig {
        // Of no consequence for the code.
        stack: Limits::default().stack,
        fuel: task.fuel,
        compact: task.compact,
    };
    let compiled = Module::parse(wasm.into())
        .and_then(|module| Native::new(config, &idle_ticks())?.compile(&module));
    let (answer, status) = match compiled {
        Ok(sealed) => (sealed, ExitCode::SUCCESS),
        Err(error) => (error.to_string().into_bytes(), MODULE.into()),
    };
    match io::stdout().write_all(&answer) {
        Ok(()) => status,
        // The parent has gone, or wants it no more.
        Err(_) => ExitCode::FAILURE,
    }
}

fn restrict(task: &Task) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have died before that; then whoever adopts orphans is the parent now.
    if rustix::process::getppid() != Pid::from_raw(task.parent) {
        return Err(io::Error::other("the parent has gone"));
    }
    rustix::thread::set_no_new_privs(true)?;
    // In a small container the system may run out of memory before this does: then it is
    // this that ends, not the proxy.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // What it may write to is what can be bounded, and what memory it takes comes to; what the
    // program has at start is its own affair. Addresses alone cost nothing, and the allocator
    // takes more of them than it uses.
    limit(Resource::Data, task.memory.saturating_add(writable()?), 0)?;
    // At the second limit it would be killed by a signal that says nothing.
    limit(Resource::Cpu, task.cpu, 1)?;
    // No core of somebody's module on the disk, no file at all, and nobody to help.
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
    limit(Resource::Nproc, 0, 0)?;
    // Whoever is served comes first.
    let _ = rustix::process::nice(10);
    Ok(())
}

/// Lowers both limits, the hard one to `grace` above the other; one that is lower already
/// stays.
fn limit(resource: Resource, most: u64, grace: u64) -> io::Result<()> {
    let now = rustix::process::getrlimit(resource);
    let least = |limit: Option<u64>, most| Some(limit.map_or(most, |limit| limit.min(most)));
    let new = Rlimit {
        current: least(now.current, most),
        maximum: least(now.maximum, most.saturating_add(grace)),
    };
    Ok(rustix::process::setrlimit(resource, new)?)
}

/// Bytes this process may write to now.
fn writable() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib.saturating_mul(1024))
        .ok_or_else(|| io::Error::other("/proc/self/status has no VmData"))
}
