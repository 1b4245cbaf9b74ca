//! Native code (wasmtime): made ahead of time, loaded from an [`Artifact`].
//!
//! Time is bounded by epochs ([`Ticks`]): a call that outlasts its limit by the ticks is
//! looked at, once a tick, by the thread's CPU clock, as the interpreter's calls are. No
//! `async`, no pooling, guard pages kept, images copied on write. Compiling takes a hundred
//! milliseconds and as many megabytes, so it is for another process ([`Native::compile`]).

#[path = "caller.rs"]
#[allow(clippy::duplicate_mod, reason = "one text for both engines")]
mod caller;
#[path = "exports.rs"]
#[allow(clippy::duplicate_mod, reason = "one text for both engines")]
mod exports;
mod fingerprint;
mod instance;
#[path = "link.rs"]
#[allow(clippy::duplicate_mod, reason = "one text for both engines")]
mod link;
mod service;

use std::sync::Arc;

use self::instance::Data;
use crate::engine::artifact::Artifact;
use crate::engine::ticks::Ticks;
use crate::engine::{Code, Instance, Tier};
use crate::error::LoadError;
use crate::guest::HostTrap;
use crate::limits::FUEL_PER_MS;
use crate::module::{Module, Shape};
use crate::state::HostState;
// What `exports` and `link` are written for.
use ::wasmtime as backend;
use backend::{
    Config, Engine, FuncType, InstancePre, Linker, ModuleVersionStrategy, Store, TypedFunc,
    ValType, WasmBacktraceDetails, WasmParams, WasmResults,
};
use rustix::io::Errno;

/// What all code of one engine has in common. Code of another cannot run on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NativeConfig {
    /// Bytes of native stack a guest may use, nested calls included. A thread that runs
    /// guests needs a megabyte more.
    pub stack: usize,
    /// Fuel is counted: slower, and only for a quota ([`crate::Limits::fuel`]).
    pub fuel: bool,
    /// Few addresses instead of few instructions: memories are 64 MiB of address space and
    /// each access is compared with their end. For processes under RLIMIT_AS.
    pub compact: bool,
}

/// An engine for native code with its settings.
#[derive(Debug, Clone)]
pub struct Native {
    engine: Engine,
    config: NativeConfig,
    ticks: Arc<Ticks>,
    service_per_ms: u64,
    /// A call that has used up its service may have more as long as its time is not over.
    clocked: bool,
}

/// A module as native code, linked.
struct NativeCode {
    linked: InstancePre<Data>,
    shape: Shape,
    native: Native,
}

// === impl Native ===

impl Native {
    /// An engine whose epochs `ticks` moves on.
    ///
    /// # Errors
    /// When this machine or process does not allow it.
    pub fn new(config: NativeConfig, ticks: &Arc<Ticks>) -> Result<Self, LoadError> {
        let engine = Engine::new(&settings(config))
            .map_err(|error| LoadError::Module(format!("no native code here: {error:#}")))?;
        ticks.add(&engine);
        Ok(Self {
            engine,
            config,
            ticks: ticks.clone(),
            service_per_ms: FUEL_PER_MS,
            clocked: true,
        })
    }

    /// Sets how much the host may do for a guest per millisecond of its time, in
    /// instructions: what bounds the records and effects one call leaves behind. For tests that
    /// must not depend on a clock: else [`crate::Host::cpu_time`] says whether there is more.
    #[must_use]
    pub const fn with_service_per_ms(mut self, instructions: u64) -> Self {
        self.service_per_ms = instructions;
        self.clocked = false;
        self
    }

    /// What code must have been made for to run here: this format, wasmtime's version, the
    /// processor and its features, and those settings that change code.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        fingerprint::of(self.config)
    }

    /// Makes native code of a module, as the content of an artifact's file. Takes a
    /// microsecond and more for each byte of code, and memory without a bound of ours: for
    /// a process that has one.
    ///
    /// # Errors
    /// When the module is invalid or too much for the compiler.
    #[cfg(feature = "compiler")]
    pub fn compile(&self, module: &Module) -> Result<Vec<u8>, LoadError> {
        module.validate()?;
        let code = self
            .engine
            .precompile_module(&module.bytes)
            .map_err(|error| LoadError::Module(format!("{error:#}")))?;
        Ok(super::artifact::seal(
            &code,
            &module.digest,
            self.fingerprint(),
        ))
    }

    /// Loads native code of `module`: `artifact` must have been checked against its digest
    /// and this engine's [fingerprint](Native::fingerprint).
    ///
    /// # Errors
    /// When wasmtime finds it made for another engine, or an import is missing.
    pub fn load(
        &self,
        module: &Module,
        compat: &crate::Compat,
        artifact: &Artifact,
    ) -> Result<Box<dyn Code>, LoadError> {
        let problem = |error: backend::Error| unusable(&error);
        let compiled = artifact.module(&self.engine).map_err(problem)?;
        let mut linker = Linker::<Data>::new(&self.engine);
        linker.allow_shadowing(true);
        for import in &module.imports {
            link::define::<false>(&mut linker, import)?;
        }
        Ok(Box::new(NativeCode {
            linked: linker.instantiate_pre(&compiled).map_err(problem)?,
            shape: module.shape(compat),
            native: self.clone(),
        }))
    }
}

/// Why a module cannot be loaded or instantiated here.
fn unusable(error: &backend::Error) -> LoadError {
    let cause = error.root_cause().downcast_ref::<Errno>();
    let problem = format!("{error:#}");
    match cause {
        Some(&Errno::NOMEM) => LoadError::NoRoom(problem),
        _ => LoadError::Module(problem),
    }
}

fn settings(native: NativeConfig) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(native.fuel)
        .max_wasm_stack(native.stack)
        // There is none, but it is compared with the other.
        .async_stack_size(native.stack)
        // What a crash tells the author of a filter.
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        // Nobody unwinds guests but wasmtime, which follows frame pointers.
        .native_unwind_info(false);
    // The default tells major versions apart only, and a miscompilation is mended in a patch.
    let version = ModuleVersionStrategy::Custom(fingerprint::version());
    // Fails for texts of more than 255 bytes only.
    let _ = config.module_version(version);
    // Results that the specification leaves open are those of the interpreter, everywhere.
    config.relaxed_simd_deterministic(true);
    #[cfg(feature = "compiler")]
    config
        .cranelift_opt_level(backend::OptLevel::Speed)
        // Three nanoseconds for each operation on floats, and none for any other.
        .cranelift_nan_canonicalization(true);
    if native.compact {
        config
            .memory_reservation(64 << 20)
            .memory_reservation_for_growth(0)
            .memory_guard_size(0)
            .guard_before_linear_memory(false);
    }
    config
}

// === impl NativeCode ===

impl Code for NativeCode {
    fn instantiate(
        &self,
        state: HostState,
        limits: &crate::Limits,
    ) -> Result<Box<dyn Instance>, LoadError> {
        let started = instance::start(&self.linked, &self.shape, &self.native, state, limits)?;
        Ok(Box::new(started))
    }

    fn engine(&self) -> &'static str {
        "wasmtime"
    }

    fn tier(&self) -> Tier {
        Tier::Native
    }
}

impl std::fmt::Debug for NativeCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NativeCode")
            .field("native", &self.native)
            .finish_non_exhaustive()
    }
}

fn enter<P: WasmParams, R: WasmResults>(
    func: &TypedFunc<P, R>,
    store: &mut Store<Data>,
    params: P,
) -> Result<R, backend::Error> {
    func.call(store, params)
}

fn fail(trap: HostTrap) -> backend::Error {
    backend::Error::new(trap)
}

fn func_type(
    linker: &Linker<Data>,
    params: impl ExactSizeIterator<Item = ValType>,
    results: impl ExactSizeIterator<Item = ValType>,
) -> FuncType {
    FuncType::new(linker.engine(), params, results)
}
