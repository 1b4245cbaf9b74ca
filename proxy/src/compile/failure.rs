//! Why a module has no native code, in words for the log.

use std::fmt;
use std::time::Duration;

use crate::config::yaml::{duration_text, size_text};

/// Why a module was not compiled. It goes on on the interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "compiler"),
    expect(dead_code, reason = "without a compiler there is one way to fail")
)]
pub(crate) enum Failure {
    /// The compiler does not take it.
    Module(String),
    /// It took more memory than that, in bytes.
    Memory(usize),
    /// It took more CPU time than that.
    Cpu(Duration),
    /// It took longer than that.
    Wall(Duration),
    /// The compiler ended in another way: what it said, or how.
    Crashed(String),
    /// The compiler could not be run.
    Unavailable(String),
    /// It has failed before, and nothing has been loaded since.
    Again,
    /// The proxy is ending.
    Ending,
    /// This program was built without.
    #[cfg(not(feature = "compiler"))]
    NoCompiler,
}

// === impl Failure ===

impl Failure {
    /// Whether it is the module that was too much for a bound.
    #[cfg(feature = "compiler")]
    pub(crate) const fn is_limit(&self) -> bool {
        matches!(self, Self::Memory(_) | Self::Cpu(_) | Self::Wall(_))
    }

    /// Whether trying again would end alike.
    #[cfg(feature = "compiler")]
    pub(super) const fn is_final(&self) -> bool {
        self.is_limit() || matches!(self, Self::Module(_) | Self::Crashed(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(why) => write!(f, "the compiler refuses it: {why}"),
            Self::Memory(limit) => write!(
                f,
                "compiling it takes more than the {} of `compiler.memory`: raise that, or split the module",
                size_text(*limit as u64)
            ),
            Self::Cpu(limit) => write!(
                f,
                "compiling it takes more CPU time than the {} of `compiler.cpu`: raise that, or split the module",
                duration_text(*limit)
            ),
            Self::Wall(limit) => write!(
                f,
                "compiling it takes longer than the {} of `compiler.wall`: raise that, or give the machine less to do",
                duration_text(*limit)
            ),
            Self::Crashed(how) => write!(f, "the compiler failed: {how}"),
            Self::Unavailable(why) => write!(f, "the compiler cannot be run: {why}"),
            Self::Again => f.write_str("it has failed before"),
            Self::Ending => f.write_str("the proxy is ending"),
            #[cfg(not(feature = "compiler"))]
            Self::NoCompiler => f.write_str(
                "this program was built without its compiler (Cargo feature `compiler`)",
            ),
        }
    }
}

impl std::error::Error for Failure {}
