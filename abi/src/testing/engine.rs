//! The engines, as tests run guests on them.

#[cfg(feature = "compiler")]
use std::sync::{Arc, OnceLock};
#[cfg(feature = "compiler")]
use std::time::Duration;

use crate::engine::Code;
use crate::engine::wasmi::Wasmi;
use crate::error::LoadError;
use crate::module::Module;
use crate::plugin::VmSettings;

/// Little, so that what must come to an end does so soon.
const FUEL_PER_MS: u64 = 20_000;

/// What runs a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The interpreter, with a fixed rate of fuel: what it does depends on no clock.
    Wasmi,
    /// Native code, made here and now. A thread ticks for it once a millisecond.
    #[cfg(feature = "compiler")]
    Wasmtime,
}

impl Engine {
    /// Code of `module` on this engine.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(
        self,
        module: &Module,
        settings: &VmSettings,
    ) -> Result<Box<dyn Code>, LoadError> {
        match self {
            Self::Wasmi => Wasmi::new(settings.limits.stack)
                .with_fuel_per_ms(FUEL_PER_MS)
                .compile(module, &settings.compat),
            #[cfg(feature = "compiler")]
            Self::Wasmtime => {
                use crate::engine::artifact::Artifact;
                use crate::engine::wasmtime::{Native, NativeConfig};
                let config = NativeConfig {
                    stack: settings.limits.stack,
                    fuel: settings.limits.fuel.is_some(),
                    compact: false,
                };
                let native = Native::new(config, ticks())?.with_service_per_ms(FUEL_PER_MS);
                let file = native.compile(module)?;
                let artifact = Artifact::compiled(file, &module.digest, native.fingerprint())
                    .map_err(|error| LoadError::Module(error.to_string()))?;
                native.load(module, &settings.compat, &artifact)
            }
        }
    }
}

/// Ticks for every native engine of the process, for as long as it lives.
#[cfg(feature = "compiler")]
fn ticks() -> &'static Arc<crate::engine::ticks::Ticks> {
    static TICKS: OnceLock<Arc<crate::engine::ticks::Ticks>> = OnceLock::new();
    TICKS.get_or_init(|| {
        let ticks = crate::engine::ticks::Ticks::new(Duration::from_millis(1));
        let ticked = ticks.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(ticked.period());
                ticked.tick();
            }
        });
        ticks
    })
}
