//! Making native code, one module at a time, in a process of its own.
//!
//! [`Compilers`] is a queue and the one thread that works it off; the thread is there once
//! there is work, sleeps without a time limit between, and lives as long as the process (a
//! child asks to die with the thread that made it). Nobody waits: who submits a module is
//! called back from that thread.

#[cfg(feature = "compiler")]
pub mod child;
pub mod command;
mod failure;
#[cfg(feature = "compiler")]
mod parent;
#[cfg(feature = "compiler")]
mod queue;

use std::sync::Arc;

use cofferdam_abi::Module;
use cofferdam_abi::engine::artifact::Artifact;
#[cfg(feature = "compiler")]
use cofferdam_abi::engine::ticks::Ticks;

use crate::artifacts::Artifacts;
use crate::config::Compiler;
use crate::modules::{Native, NativeConfig};

pub(crate) use failure::Failure;

/// A module to be compiled.
#[cfg_attr(
    not(feature = "compiler"),
    expect(dead_code, reason = "without a compiler only its name is told")
)]
pub(crate) struct Job {
    /// Of whom the log speaks: the filter's name and the module's file.
    pub(crate) name: String,
    pub(crate) module: Arc<Module>,
    /// For which engine, and its settings.
    pub(crate) native: Native,
    pub(crate) config: NativeConfig,
    /// Called once, from another thread. What kept it from being compiled has been logged.
    pub(crate) done: Box<dyn FnOnce(Result<Artifact, Failure>) + Send>,
}

/// Exit status of the child when the module is at fault (EX_DATAERR).
#[cfg(feature = "compiler")]
const MODULE: u8 = 65;

/// Compiles on request, one module at a time.
#[derive(Debug)]
pub(crate) struct Compilers {
    #[cfg(feature = "compiler")]
    queue: queue::Queue,
    #[cfg(not(feature = "compiler"))]
    said: std::sync::Once,
}

/// What a child has made: whole, and of that module.
#[cfg(feature = "compiler")]
fn checked(sealed: Vec<u8>, module: &Module, native: &Native) -> Result<Artifact, Failure> {
    Artifact::compiled(sealed, &module.digest, native.fingerprint())
        .map_err(|error| Failure::Crashed(format!("of its result, {error}")))
}

/// For an engine that only compiles.
#[cfg(feature = "compiler")]
fn idle_ticks() -> Arc<Ticks> {
    Ticks::new(std::time::Duration::from_millis(10))
}

// === impl Compilers ===

#[cfg(feature = "compiler")]
impl Compilers {
    /// What is made is kept in `artifacts`, where there is room.
    pub(crate) fn new(artifacts: Arc<Artifacts>, limits: Compiler) -> Self {
        Self {
            queue: queue::Queue::new(artifacts, limits),
        }
    }

    /// Compiles it when its turn has come; a module that has failed since the last
    /// [`Compilers::reloaded`] fails at once.
    pub(crate) fn submit(&self, job: Job) {
        self.queue.submit(job);
    }

    /// Something has been loaded anew: what has failed may be tried again.
    pub(crate) fn reloaded(&self) {
        self.queue.forget();
    }

    /// Ends what is under way, and takes no more: the proxy is ending.
    pub(crate) fn close(&self) {
        self.queue.close();
    }
}

#[cfg(not(feature = "compiler"))]
impl Compilers {
    /// Takes modules, and compiles none.
    pub(crate) fn new(_artifacts: Arc<Artifacts>, _limits: Compiler) -> Self {
        Self {
            said: std::sync::Once::new(),
        }
    }

    /// Says once that there is no compiler.
    pub(crate) fn submit(&self, job: Job) {
        self.said.call_once(|| {
            tracing::warn!(
                "{}: {}; modules without native code in the cache stay on the interpreter: fill it with `cofferdam compile` of a build that has one",
                job.name,
                Failure::NoCompiler
            );
        });
        (job.done)(Err(Failure::NoCompiler));
    }

    /// Nothing to be tried again.
    pub(crate) fn reloaded(&self) {}

    /// Nothing is under way.
    pub(crate) fn close(&self) {}
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("name", &self.name)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
