//! What native code must have been made for.
//!
//! wasmtime compares all of it when it loads code, but only then, and a build without its
//! compiler cannot ask for it before. This is the same in short, for the name of a file: so
//! that two machines, or two versions, that share a directory do not undo each other's work.

use sha2::{Digest as _, Sha256};

use super::NativeConfig;
use crate::engine::artifact::FORMAT;

/// wasmtime's, of which the crate tells no more than the major number.
const WASMTIME: &str = "48.0.8";

/// What is written into the code itself, and compared by wasmtime.
pub(super) fn version() -> String {
    format!("cofferdam {FORMAT}, wasmtime {WASMTIME}")
}

pub(super) fn of(config: NativeConfig) -> u64 {
    let NativeConfig {
        // Only compared when it is reached.
        stack: _,
        fuel,
        compact,
    } = config;
    let digest = Sha256::new()
        .chain_update(version())
        .chain_update([u8::from(fuel), u8::from(compact)])
        .chain_update(std::env::consts::ARCH)
        .chain_update([0])
        .chain_update(std::env::consts::OS)
        .chain_update([0])
        .chain_update(features())
        .finalize();
    digest
        .first_chunk::<8>()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// What the compiler would use of this processor.
#[cfg(target_arch = "x86_64")]
fn features() -> Vec<u8> {
    macro_rules! detect {
        ($($feature:tt),*) => {
            vec![$(u8::from(std::arch::is_x86_feature_detected!($feature))),*]
        };
    }
    detect!(
        "sse3",
        "ssse3",
        "sse4.1",
        "sse4.2",
        "popcnt",
        "avx",
        "avx2",
        "fma",
        "bmi1",
        "bmi2",
        "avx512bitalg",
        "avx512dq",
        "avx512vl",
        "avx512vbmi",
        "avx512f",
        "lzcnt",
        "cmpxchg16b"
    )
}

/// What the compiler would use of this processor.
#[cfg(target_arch = "aarch64")]
fn features() -> Vec<u8> {
    macro_rules! detect {
        ($($feature:tt),*) => {
            vec![$(u8::from(std::arch::is_aarch64_feature_detected!($feature))),*]
        };
    }
    detect!("lse", "paca", "fp16")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<u8> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_built() {
        let lock = include_str!("../../../../Cargo.lock");
        assert!(
            lock.contains(&format!("name = \"wasmtime\"\nversion = \"{WASMTIME}\"\n")),
            "WASMTIME must be what Cargo.lock has"
        );
    }

    /// wasmtime's own word on which engines may share code.
    #[cfg(feature = "compiler")]
    fn compatible(config: NativeConfig) -> u64 {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let engine = wasmtime::Engine::new(&super::super::settings(config)).expect("an engine");
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    #[cfg(feature = "compiler")]
    #[test]
    fn it_tells_apart_what_wasmtime_does() {
        let mut configs = Vec::new();
        for stack in [1 << 16, 1 << 19] {
            for (fuel, compact) in [(false, false), (false, true), (true, false), (true, true)] {
                configs.push(NativeConfig {
                    stack,
                    fuel,
                    compact,
                });
            }
        }
        for one in &configs {
            for other in &configs {
                let same = compatible(*one) == compatible(*other);
                assert_eq!(of(*one) == of(*other), same, "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn what_changes_code_changes_it() {
        let config = NativeConfig {
            stack: 1 << 19,
            fuel: false,
            compact: false,
        };
        let fuel = NativeConfig {
            fuel: true,
            ..config
        };
        let compact = NativeConfig {
            compact: true,
            ..config
        };
        let stack = NativeConfig {
            stack: 1 << 20,
            ..config
        };
        assert_eq!(of(config), of(stack));
        assert_ne!(of(config), of(fuel));
        assert_ne!(of(config), of(compact));
        assert_ne!(of(fuel), of(compact));
    }
}
