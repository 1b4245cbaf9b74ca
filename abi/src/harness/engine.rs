//! The engines, as those run guests on them who test: with the same limits, and with one rate
//! between time and fuel on every machine.

use crate::engine::Code;
use crate::engine::wasmi::Wasmi;
use crate::{LoadError, Module, VmSettings};

/// What a millisecond is worth, in instructions of a guest.
pub const FUEL_PER_MS: u64 = 200_000;

/// What runs a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The interpreter.
    Interpreter,
    /// Native code, made here and now.
    #[cfg(feature = "compiler")]
    Native,
}

// === impl Engine ===

impl Engine {
    /// All there are in this build.
    pub const ALL: &'static [Self] = &[
        Self::Interpreter,
        #[cfg(feature = "compiler")]
        Self::Native,
    ];

    /// Its name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interpreter => "wasmi",
            #[cfg(feature = "compiler")]
            Self::Native => "native",
        }
    }

    /// Code of a module. Native code is made once for each module, and kept.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn code(self, module: &Module, settings: &VmSettings) -> Result<Box<dyn Code>, LoadError> {
        match self {
            Self::Interpreter => Wasmi::new(settings.limits.stack)
                .with_fuel_per_ms(FUEL_PER_MS)
                .compile(module, &settings.compat),
            #[cfg(feature = "compiler")]
            Self::Native => native::kept(module, settings),
        }
    }

    /// Code of a module on the interpreter, which counts what goes over the border between
    /// host and guest: for [`Metered`](super::Metered), whose calls then say so.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn counting(module: &Module, settings: &VmSettings) -> Result<Box<dyn Code>, LoadError> {
        Wasmi::new(settings.limits.stack)
            .with_fuel_per_ms(FUEL_PER_MS)
            .counting()
            .compile(module, &settings.compat)
    }

    /// Code of a module that will not be seen again.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn code_once(
        self,
        module: &Module,
        settings: &VmSettings,
    ) -> Result<Box<dyn Code>, LoadError> {
        match self {
            Self::Interpreter => self.code(module, settings),
            #[cfg(feature = "compiler")]
            Self::Native => native::load(module, settings, native::engine()?.compile(module)?),
        }
    }
}

#[cfg(feature = "compiler")]
mod native {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    use super::FUEL_PER_MS;
    use crate::engine::Code;
    use crate::engine::artifact::Artifact;
    use crate::engine::ticks::Ticks;
    use crate::engine::wasmtime::{Native, NativeConfig};
    use crate::{LoadError, Module, VmSettings};

    /// What native code is made for.
    const CONFIG: NativeConfig = NativeConfig {
        stack: 512 << 10,
        fuel: false,
        compact: false,
    };

    /// Native code by its module's digest: many cases share a module.
    type Made = Mutex<HashMap<[u8; 32], Arc<[u8]>>>;

    pub(super) fn kept(module: &Module, settings: &VmSettings) -> Result<Box<dyn Code>, LoadError> {
        static MADE: OnceLock<Made> = OnceLock::new();
        let made = MADE.get_or_init(Made::default);
        let kept = || made.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept().get(&module.digest).cloned();
        let file = match known {
            Some(file) => file,
            None => {
                let file: Arc<[u8]> = engine()?.compile(module)?.into();
                kept().insert(module.digest, file.clone());
                file
            }
        };
        load(module, settings, file.to_vec())
    }

    pub(super) fn load(
        module: &Module,
        settings: &VmSettings,
        file: Vec<u8>,
    ) -> Result<Box<dyn Code>, LoadError> {
        let native = engine()?;
        let artifact = Artifact::compiled(file, &module.digest, native.fingerprint())
            .map_err(|error| LoadError::Module(error.to_string()))?;
        native.load(module, &settings.compat, &artifact)
    }

    /// One engine for the whole process, and a thread that ticks for it.
    pub(super) fn engine() -> Result<Native, LoadError> {
        static ENGINE: OnceLock<Result<Native, LoadError>> = OnceLock::new();
        let start = || {
            let ticks = Ticks::new(Duration::from_millis(1));
            let native = Native::new(CONFIG, &ticks)?.with_service_per_ms(FUEL_PER_MS);
            std::thread::spawn(move || {
                loop {
                    std::thread::sleep(ticks.period());
                    ticks.tick();
                }
            });
            Ok(native)
        };
        ENGINE.get_or_init(start).clone()
    }
}
