//! One error type for all commands, because what matters is only who has to act:
//! the person typing (64), the person owning the machine (69), or the one reading
//! the result (1).

use std::fmt;
use std::process::ExitCode;

/// What went wrong, by who can put it right.
#[derive(Debug)]
pub enum Error {
    /// The command line asks for something that cannot be done.
    Usage(String),
    /// A program this machine lacks and that could not be installed; says what to do.
    Unavailable(String),
    /// The run itself failed: a peer died, a load had errors, a file could not be written.
    Failed(String),
}

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure of the run, with the system's reason behind it.
    pub fn failed(what: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self::Failed(format!("{what}: {reason}"))
    }

    /// The exit status this error ends a command with (sysexits: 64 usage, 69 unavailable).
    pub fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Unavailable(_) => 69,
            Self::Failed(_) => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Unavailable(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

/// Ends a command: prints the error under the command's name and picks the exit status.
pub fn conclude(command: &str, outcome: Result<u8>) -> ExitCode {
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("{command}: {error}");
            ExitCode::from(error.status())
        }
    }
}
