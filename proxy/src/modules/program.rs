//! A module as some plugins run it: what it has cost so far, and what that earns it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cofferdam_abi::engine::{Code, Tier};
use cofferdam_abi::tier::{Choice, Decision, Facts};
use cofferdam_abi::{AbiVersion, Callback, Compat, LoadError, Module};

use super::{Engines, NativeConfig};
use crate::config::{PluginConfig, Precompiled, TierUp};

/// How much the interpreter may spend in a VM before that is added up: a shared counter is
/// touched about a thousand times a second at most.
const CHUNK: Duration = Duration::from_millis(1);

/// A module with the settings that its code depends on.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) module: Arc<Module>,
    pub(super) compat: Compat,
    pub(super) native: NativeConfig,
    stack: usize,
    /// Only for messages: one of the plugins that run it.
    pub(super) name: String,
    choice: Choice,
    /// Nothing may run natively.
    interpreting: bool,
    pub(super) precompiled: Option<Precompiled>,
    interpreted: OnceLock<Arc<dyn Code>>,
    /// Its native code, once there is any: plugins that share a program share its pages.
    pub(super) native_code: OnceLock<Arc<dyn Code>>,
    /// What a millisecond of the interpreter is in its fuel; 0 while it has no code.
    fuel_per_ms: AtomicU64,
    /// What the interpreter has spent in it, in nanoseconds.
    spent: AtomicU64,
    /// Its native code has been asked for.
    asked: AtomicBool,
    /// The compiler has given it up.
    refused: AtomicBool,
}

/// What plugins must have in common to run one program.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// A file is read once, so its bytes are at one place: that is their name here.
    wasm: (usize, usize),
    stack: usize,
    fuel: bool,
    spec_allocator_first: bool,
    engine: Choice,
    tier_up: TierUp,
    /// Its signed native code, by its file.
    precompiled: Option<PathBuf>,
}

// === impl Key ===

impl Key {
    pub(super) fn of(plugin: &PluginConfig) -> Self {
        Self {
            wasm: (plugin.wasm.as_ptr().addr(), plugin.wasm.len()),
            stack: plugin.limits.stack,
            fuel: plugin.limits.fuel.is_some(),
            spec_allocator_first: plugin.compat.spec_allocator_first,
            engine: plugin.engine,
            tier_up: plugin.tier_up,
            precompiled: plugin.precompiled.as_ref().map(|given| given.file.clone()),
        }
    }
}

// === impl Program ===

impl Program {
    pub(super) fn new(module: Module, plugin: &PluginConfig, engines: &Engines) -> Self {
        Self {
            module: Arc::new(module),
            compat: plugin.compat,
            native: engines.native_config(&plugin.limits),
            stack: plugin.limits.stack,
            name: plugin.name.clone(),
            choice: plugin.engine,
            interpreting: engines.is_interpreting(),
            precompiled: plugin.precompiled.clone(),
            interpreted: OnceLock::new(),
            native_code: OnceLock::new(),
            fuel_per_ms: AtomicU64::new(0),
            spent: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        }
    }

    pub(crate) fn version(&self) -> AbiVersion {
        self.module.version
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        self.module.digest
    }

    /// Its code on the interpreter.
    pub(super) fn interpreted(&self, engines: &Engines) -> Result<Arc<dyn Code>, LoadError> {
        if let Some(code) = self.interpreted.get() {
            return Ok(code.clone());
        }
        let engine = engines.interpreter(self.stack);
        self.fuel_per_ms
            .store(engine.fuel_per_ms().max(1), Ordering::Relaxed);
        let code = Arc::from(engine.compile(&self.module, &self.compat)?);
        Ok(self.interpreted.get_or_init(|| code).clone())
    }

    /// Whether native code of it may be run at all.
    pub(super) fn may_be_native(&self) -> bool {
        self.facts(true).decide() == Decision::Native
    }

    /// Whether this program can make native code.
    pub(super) const fn has_compiler(&self) -> bool {
        cfg!(feature = "compiler")
    }

    /// What is to be done before anything is served by it.
    pub(super) fn starts_with(&self) -> Decision {
        let facts = Facts {
            starting: true,
            ..self.facts(false)
        };
        facts.decide()
    }

    /// What the policy is asked with; `artifact` says whether there is native code.
    pub(super) fn facts(&self, artifact: bool) -> Facts {
        Facts {
            choice: self.choice,
            no_exec_memory: self.interpreting,
            artifact,
            compiler: self.has_compiler(),
            refused: self.refused.load(Ordering::Relaxed),
            starting: false,
            spent: Duration::from_nanos(self.spent.load(Ordering::Relaxed)),
            code: self.module.code_size(),
            bodies: [Callback::RequestBody, Callback::ResponseBody]
                .into_iter()
                .any(|callback| self.module.exports_callback(callback)),
        }
    }

    /// How much fuel a VM of that code spends before anybody wants to know; never, where
    /// nothing can come of it.
    pub(crate) fn watch(&self, code: &dyn Code) -> u64 {
        if code.tier() == Tier::Native || !self.has_compiler() || !self.may_be_native() {
            return u64::MAX;
        }
        let per_ms = self.fuel_per_ms.load(Ordering::Relaxed).max(1);
        let millis = u64::try_from(CHUNK.as_millis()).unwrap_or(1);
        per_ms.saturating_mul(millis)
    }

    /// The interpreter has spent so much fuel in it. True once: when that has earned it its
    /// compiler.
    pub(super) fn spend(&self, fuel: u64) -> bool {
        let per_ms = self.fuel_per_ms.load(Ordering::Relaxed).max(1);
        let nanos = u128::from(fuel) * 1_000_000 / u128::from(per_ms);
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.spent.fetch_add(nanos, Ordering::Relaxed);
        !self.asked.load(Ordering::Relaxed)
            && self.facts(false).decide() == Decision::Compile
            && self.ask()
    }

    /// Its native code is to be made; false where somebody else has seen to that.
    pub(super) fn ask(&self) -> bool {
        !self.asked.swap(true, Ordering::Relaxed)
    }

    /// The compiler, or what it made, is no good.
    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Whatever was wrong may have been mended.
    pub(super) fn reconsider(&self) {
        if self.refused.swap(false, Ordering::Relaxed) {
            self.asked.store(false, Ordering::Relaxed);
        }
    }
}
