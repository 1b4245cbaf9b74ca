//! The seam between the host and what runs a guest's code.
//!
//! An engine compiles a module into [`Code`], which workers share, and makes instances of
//! it, each owned by one worker. Calls go out through [`Instance`]; calls come in through
//! the hostcall lists, monomorphised for the engine's own caller. One virtual call per
//! callback is all the dispatch there is.

#[cfg(feature = "wasmtime")]
pub mod artifact;
#[cfg(feature = "wasmtime")]
pub mod ticks;
#[cfg(feature = "wasmi")]
mod trim;
#[cfg(feature = "wasmi")]
pub mod wasmi;
#[cfg(feature = "wasmtime")]
pub mod wasmtime;

use std::time::Duration;

use crate::callbacks::Callback;
use crate::error::{LoadError, Trap};
use crate::state::{HostState, Turn};

/// How a module's code is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// Instruction by instruction: at once, slowly, without executable memory.
    Interpreter,
    /// As machine code that was made ahead of time.
    Native,
}

/// What a call into an instance took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Fuel, in the engine's own units; 0 where none is counted.
    pub fuel: u64,
    /// Ticks of the engine's clock that fell into the call; 0 on the interpreter.
    pub ticks: u32,
    /// Time, in the unit that [`Instance::units`] counts it in: fuel on the interpreter; on
    /// the hot tier nanoseconds, 0 if no tick fell into the call, and right in the mean.
    pub time: u64,
}

/// A compiled module, ready to be instantiated on any worker.
pub trait Code: Send + Sync + std::fmt::Debug {
    /// Makes an instance around `state` and runs the module's own start (section 1.4).
    ///
    /// # Errors
    /// When an import is missing, memory is refused, or the start function traps.
    fn instantiate(
        &self,
        state: HostState,
        limits: &crate::Limits,
    ) -> Result<Box<dyn Instance>, LoadError>;

    /// The name of the engine, for people.
    fn engine(&self) -> &'static str;

    /// How it runs.
    fn tier(&self) -> Tier;
}

/// A running module: one guest memory, one thread.
pub trait Instance {
    /// Calls the export whose turn it is, with the `i32` arguments it takes in the module's
    /// version; surplus ones are left out. The result is 0 for exports that return nothing.
    /// `spent` is what it took, whatever came of it.
    ///
    /// The host's state knows whose turn it is from then on, until the call has ended well.
    ///
    /// # Errors
    /// When the guest traps or runs past a limit: then its turn is not
    /// [over](HostState::finish) yet. The instance can still be called, but its memory is as
    /// the guest left it.
    fn call(&mut self, turn: Turn, args: &[u32; 5], spent: &mut Spent) -> Result<u32, Box<Trap>>;

    /// What that much time is in [`Spent::time`].
    fn units(&self, time: Duration) -> u64;

    /// The next call may take that much time at most, in [`Spent::time`], where that is less
    /// than its limit.
    fn shorten(&mut self, time: u64);

    /// The fuel that the module's own start took, where that is counted.
    fn start_fuel(&self) -> u64 {
        0
    }

    /// Whether the module exports it.
    fn exports(&self, callback: Callback) -> bool;

    /// The host's side of the VM.
    fn state(&mut self) -> &mut HostState;

    /// Linear memory, as it is between two calls.
    fn memory(&self) -> &[u8];

    /// Gives back what the guest's start has left untouched, where the engine holds any.
    fn trim(&mut self) {}
}

// === impl Tier ===

impl Tier {
    /// Its name in configuration, metrics and log lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interpreter => "interpreter",
            Self::Native => "aot",
        }
    }
}
