//! The two engines, as the suite and the fuzzer run guests on them: with the same limits, and
//! with one rate between time and fuel on every machine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use cofferdam_abi::engine::Code;
use cofferdam_abi::engine::artifact::Artifact;
use cofferdam_abi::engine::ticks::Ticks;
use cofferdam_abi::engine::wasmi::Wasmi;
use cofferdam_abi::engine::wasmtime::{Native, NativeConfig};
use cofferdam_abi::{LoadError, Module, VmSettings};

/// What a millisecond is worth.
pub const FUEL_PER_MS: u64 = 200_000;

/// What native code is made for.
const NATIVE: NativeConfig = NativeConfig {
    stack: 512 << 10,
    fuel: false,
    compact: false,
};

/// What runs a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The interpreter.
    Interpreter,
    /// Native code, made here and now.
    Native,
}

/// Native code by its module's digest: many cases, and all profiles, share modules.
type Made = Mutex<HashMap<[u8; 32], Arc<[u8]>>>;

// === impl Engine ===

impl Engine {
    /// Code of a module. Native code is made once for each module, and kept.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn code(self, module: &Module, settings: &VmSettings) -> Result<Box<dyn Code>, LoadError> {
        static MADE: OnceLock<Made> = OnceLock::new();
        if self == Self::Interpreter {
            return interpreter(settings).compile(module, &settings.compat);
        }
        let made = MADE.get_or_init(Made::default);
        let kept = || made.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept().get(&module.digest).cloned();
        let file = match known {
            Some(file) => file,
            None => {
                let file: Arc<[u8]> = native()?.compile(module)?.into();
                kept().insert(module.digest, file.clone());
                file
            }
        };
        load(module, settings, file.to_vec())
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
            Self::Native => load(module, settings, native()?.compile(module)?),
        }
    }
}

fn interpreter(settings: &VmSettings) -> Wasmi {
    Wasmi::new(settings.limits.stack).with_fuel_per_ms(FUEL_PER_MS)
}

fn load(module: &Module, settings: &VmSettings, file: Vec<u8>) -> Result<Box<dyn Code>, LoadError> {
    let native = native()?;
    let artifact = Artifact::compiled(file, &module.digest, native.fingerprint())
        .map_err(|error| LoadError::Module(error.to_string()))?;
    native.load(module, &settings.compat, &artifact)
}

/// One engine for the whole process, and a thread that ticks for it.
fn native() -> Result<Native, LoadError> {
    static NATIVE_ENGINE: OnceLock<Result<Native, LoadError>> = OnceLock::new();
    let start = || {
        let ticks = Ticks::new(Duration::from_millis(1));
        let native = Native::new(NATIVE, &ticks)?.with_service_per_ms(FUEL_PER_MS);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(ticks.period());
                ticks.tick();
            }
        });
        Ok(native)
    };
    NATIVE_ENGINE.get_or_init(start).clone()
}
