//! What can go wrong, by whose fault it is.

use std::fmt;

use crate::engine::Tier;
use crate::limits::Limit;

/// A module that cannot be used, or a VM that could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadError {
    /// The bytes are no module this host can run.
    Module(String),
    /// The process has no addresses left for what the module needs: its memory (4 GiB of them
    /// on [`Tier::Native`], unless it is compact), or its code.
    NoRoom(String),
    /// An import this host does not offer, or offers with another type.
    Import {
        /// `module.name`.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An export with another type than the ABI gives it.
    Export {
        /// Its name.
        name: String,
        /// Its type and the type it must have.
        problem: String,
    },
    /// The guest crashed while it was started.
    Trapped(Trap),
    /// The guest crashed when it was given its first stream.
    NoStreams(Trap),
    /// `proxy_on_vm_start` answered false.
    VmStartRefused,
    /// `proxy_on_configure` answered false.
    ConfigurationRefused,
}

/// The end of one call into a guest, before its return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trap {
    /// Why.
    pub kind: TrapKind,
    /// The export that was being run.
    pub callback: &'static str,
    /// What the engine or the host said.
    pub message: String,
    /// How the guest was run.
    pub tier: Tier,
    /// Functions of the guest that were running, innermost first, by the names the module
    /// gives them and, where it carries DWARF, file and line. Empty on an engine that does
    /// not keep them.
    pub frames: Vec<String>,
}

/// Why a call ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrapKind {
    /// It ran longer than its limit.
    Deadline,
    /// Its memory, or what the host keeps for it, would have outgrown its limit.
    Memory,
    /// A table would have outgrown its limit.
    Table,
    /// The callbacks of one stream together ran longer than its limit.
    StreamCpu,
    /// It used up its quota of fuel.
    Fuel,
    /// It recursed deeper than its limit.
    Stack,
    /// It called `proc_exit`.
    Exit,
    /// `abort()`, a panic, or another `unreachable`.
    Unreachable,
    /// It left its memory or a table, divided by zero, or the like.
    Fault,
    /// It used a hostcall where that ends the call.
    Hostcall,
    /// Another VM has taken its place, and the time to finish on this one was over.
    Replaced,
}

// === impl TrapKind ===

impl TrapKind {
    /// A word for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Unreachable => "unreachable",
            Self::Fault => "fault",
            Self::Hostcall => "hostcall",
            Self::Replaced => "replaced",
            _ => match self.limit() {
                Some(limit) => limit.as_str(),
                None => "other",
            },
        }
    }

    /// The limit that was passed, if it was one.
    #[must_use]
    pub const fn limit(self) -> Option<Limit> {
        Some(match self {
            Self::Deadline => Limit::Callback,
            Self::StreamCpu => Limit::StreamCpu,
            Self::Fuel => Limit::Fuel,
            Self::Memory => Limit::Memory,
            Self::Table => Limit::Table,
            Self::Stack => Limit::Stack,
            Self::Exit | Self::Unreachable | Self::Fault | Self::Hostcall | Self::Replaced => {
                return None;
            }
        })
    }
}

// === impl LoadError ===

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(problem) => write!(f, "not a usable module: {problem}"),
            Self::NoRoom(problem) => {
                write!(f, "no room in the address space of this process: {problem}")
            }
            Self::Import { name, problem } => write!(f, "import {name}: {problem}"),
            Self::Export { name, problem } => write!(f, "export {name}: {problem}"),
            Self::Trapped(trap) => write!(f, "crashed while starting: {trap}"),
            Self::NoStreams(trap) => write!(f, "it makes no stream contexts: {trap}"),
            Self::VmStartRefused => f.write_str("proxy_on_vm_start refused its configuration"),
            Self::ConfigurationRefused => {
                f.write_str("proxy_on_configure refused its configuration")
            }
        }
    }
}

impl std::error::Error for LoadError {}

impl From<Trap> for LoadError {
    fn from(trap: Trap) -> Self {
        Self::Trapped(trap)
    }
}

impl From<Box<Trap>> for LoadError {
    fn from(trap: Box<Trap>) -> Self {
        Self::from(*trap)
    }
}

/// On the data path traps are boxed: what a call answers must stay small.
impl From<Box<Self>> for Trap {
    fn from(trap: Box<Self>) -> Self {
        *trap
    }
}

// === impl Trap ===

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: {}", self.kind, self.callback, self.message)
    }
}

impl std::error::Error for Trap {}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadline => "time limit exceeded",
            Self::Memory => "memory limit exceeded",
            Self::Table => "table limit exceeded",
            Self::StreamCpu => "time limit of the stream exceeded",
            Self::Fuel => "fuel quota used up",
            Self::Stack => "stack limit exceeded",
            Self::Exit => "guest exited",
            Self::Unreachable => "guest aborted",
            Self::Fault => "guest fault",
            Self::Hostcall => "forbidden hostcall",
            Self::Replaced => "VM replaced",
        })
    }
}
