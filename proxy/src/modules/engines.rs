//! The engines of the process, each made when it is first needed, and the native code there
//! is for them.
//!
//! Code of one engine cannot run on another, and settings that change code make another
//! engine: how deep the interpreter recurses, what native code is made for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_abi::engine::Code;
use cofferdam_abi::engine::artifact::Artifact;
use cofferdam_abi::{Limits, LoadError};

use super::{Native, NativeConfig, Program, Wasmi};
use crate::artifacts::{Artifacts, Given};
use crate::config::Config;
use crate::host::thread_time;
use crate::ticker;

/// What runs modules.
#[derive(Debug, Default)]
pub(crate) struct Engines {
    no_exec_memory: bool,
    compact: bool,
    /// Without, nothing runs natively.
    artifacts: Option<Arc<Artifacts>>,
    interpreters: Mutex<HashMap<usize, Wasmi>>,
    natives: Mutex<HashMap<NativeConfig, Native>>,
}

/// What native code must be made for under these limits.
pub(crate) const fn native_config(limits: &Limits, compact: bool) -> NativeConfig {
    NativeConfig {
        stack: limits.stack,
        fuel: limits.fuel.is_some(),
        compact,
    }
}

// === impl Engines ===

impl Engines {
    pub(super) fn new(config: &Config, artifacts: Arc<Artifacts>) -> Self {
        Self {
            no_exec_memory: config.no_exec_memory,
            compact: config.compact_memory,
            artifacts: Some(artifacts),
            ..Self::default()
        }
    }

    /// Whether the operator wants no executable memory.
    pub(super) const fn maps_nothing_executable(&self) -> bool {
        self.no_exec_memory
    }

    /// Whether no code may run natively.
    pub(super) const fn is_interpreting(&self) -> bool {
        self.no_exec_memory || self.artifacts.is_none()
    }

    /// What native code must be made for under these limits.
    pub(super) const fn native_config(&self, limits: &Limits) -> NativeConfig {
        native_config(limits, self.compact)
    }

    /// The interpreter whose guests recurse as deep as that much native stack lets them.
    pub(super) fn interpreter(&self, stack: usize) -> Wasmi {
        let mut interpreters = self
            .interpreters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        interpreters
            .entry(stack)
            .or_insert_with(|| Wasmi::new(stack).calibrate(thread_time))
            .clone()
    }

    /// The engine for native code that was made like that.
    pub(super) fn native(&self, config: NativeConfig) -> Result<Native, LoadError> {
        let mut natives = self.natives.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(native) = natives.get(&config) {
            return Ok(native.clone());
        }
        let ticks = ticker::ticks().map_err(|error| {
            LoadError::Module(format!(
                "no native code, which would have no deadlines: {error}"
            ))
        })?;
        let native = Native::new(config, &ticks)?;
        natives.insert(config, native.clone());
        Ok(native)
    }

    /// Native code of a program, which these filters run, where there is any and it may be used.
    pub(super) fn find(&self, program: &Program, filters: &str) -> Option<Arc<dyn Code>> {
        if !program.may_be_native() {
            return None;
        }
        if let Some(code) = program.native_code.get() {
            return Some(code.clone());
        }
        let artifacts = self.artifacts.as_ref()?;
        let native = match self.native(program.native) {
            Ok(native) => native,
            Err(error) => {
                tracing::warn!(filter = %program.name, "{error}");
                return None;
            }
        };
        let given = program.precompiled.as_ref();
        let given = given.map(|code| Given { code, filters });
        let found = artifacts.code(&program.module, &native, &program.compat, given)?;
        Some(program.native_code.get_or_init(|| Arc::from(found)).clone())
    }

    /// Native code that was made just now.
    pub(super) fn load(
        &self,
        program: &Program,
        artifact: &Artifact,
    ) -> Result<Arc<dyn Code>, LoadError> {
        let native = self.native(program.native)?;
        let code = native.load(&program.module, &program.compat, artifact)?;
        Ok(program.native_code.get_or_init(|| Arc::from(code)).clone())
    }
}
