//! Native code: where it is kept, whose signature it may carry, what making it may cost.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::engine::artifact::PublicKey;

/// Where native code is kept, and whose is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Artifacts {
    /// The folder, where the file names one ([`crate::artifacts::location`] otherwise).
    pub directory: Option<PathBuf>,
    /// Ed25519 keys of operators who may sign [`Precompiled`] code.
    pub trusted_keys: Vec<PublicKey>,
}

/// What compiling one module may cost; past any of these it stays on the interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compiler {
    /// Memory the compiler may take beyond its own program, in bytes. Default 512 MiB.
    pub memory: usize,
    /// CPU time, in whole seconds (rounded up). Default 30 s.
    pub cpu: Duration,
    /// Time by the clock, from start to result. Default 60 s.
    pub wall: Duration,
}

impl Default for Compiler {
    fn default() -> Self {
        Self {
            memory: 512 << 20,
            cpu: Duration::from_secs(30),
            wall: Duration::from_secs(60),
        }
    }
}

/// A module's native code as somebody else made it, and their signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precompiled {
    /// Its file, for messages.
    pub file: PathBuf,
    /// What is in it.
    pub bytes: Bytes,
    /// Ed25519, over all of it.
    pub signature: Bytes,
}
