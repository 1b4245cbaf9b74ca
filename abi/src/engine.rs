//! The seam between the host and what runs a guest's code.
//!
//! An engine compiles a module into [`Code`], which workers share, and makes instances of
//! it, each owned by one worker. Calls go out through [`Instance`]; calls come in through
//! the hostcall lists, monomorphised for the engine's own caller. One virtual call per
//! callback is all the dispatch there is.

#[cfg(feature = "wasmi")]
pub mod wasmi;

use crate::callbacks::Callback;
use crate::error::{LoadError, Trap};
use crate::state::HostState;

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
}

/// A running module: one guest memory, one thread.
pub trait Instance {
    /// Calls an export with the `i32` arguments it takes in the module's version; surplus
    /// ones are left out. The result is 0 for exports that return nothing.
    ///
    /// # Errors
    /// When the guest traps or runs past a limit. The instance can still be called, but
    /// its memory is as the guest left it.
    fn call(&mut self, callback: Callback, args: [u32; 5]) -> Result<u32, Trap>;

    /// Whether the module exports it.
    fn exports(&self, callback: Callback) -> bool;

    /// The host's side of the VM.
    fn state(&mut self) -> &mut HostState;

    /// Bytes of linear memory now.
    fn memory_size(&self) -> usize;
}
