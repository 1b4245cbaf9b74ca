//! What of WebAssembly modules may use: what every engine runs, so that a module that is
//! moved from one to the other goes on as before.

use wasmparser::{Validator, WasmFeatures};

use super::{Entry, Module};
use crate::callbacks::Callback;
use crate::compat::Compat;
use crate::error::LoadError;

/// WebAssembly 2.0 without references to the host's objects, tail calls, constant
/// expressions, relaxed SIMD. Not exceptions, threads, 64-bit or several memories, garbage
/// collection.
const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::EXTENDED_CONST);

/// What an engine looks for in a module.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) entry: Entry,
    pub(crate) allocator: Option<&'static str>,
    /// With the number of parameters each has.
    pub(crate) callbacks: Vec<(Callback, usize)>,
}

impl Module {
    /// Checks every function of the module.
    ///
    /// # Errors
    /// When it is invalid, or uses what not every engine has; says what and where.
    pub fn validate(&self) -> Result<(), LoadError> {
        Validator::new_with_features(FEATURES)
            .validate_all(&self.bytes)
            .map(drop)
            .map_err(|error| LoadError::Module(error.to_string()))
    }

    /// Bytes of its code section, which is what compiling takes time for.
    #[must_use]
    pub fn code_size(&self) -> usize {
        let code = self.sections().find(|(name, _)| *name == "code");
        code.map_or(0, |(_, size)| size)
    }

    pub(crate) fn shape(&self, compat: &Compat) -> Shape {
        Shape {
            entry: self.entry,
            allocator: self.allocator(compat),
            callbacks: self
                .callbacks
                .iter()
                .map(|callback| (*callback, self.params(*callback)))
                .collect(),
        }
    }
}
