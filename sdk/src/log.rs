//! Lines for the host's log.
//!
//! ```
//! use cofferdam_sdk::{debug, warn};
//!
//! let (name, left) = ("x-limit", 3);
//! warn!("{name}: {left} left");
//! debug!("nothing is formatted where the host does not want this level");
//! ```
//! A line below the host's level costs one compare. The level is asked for when a plugin is
//! configured; a host that cannot be asked is sent everything from [`Level::Info`] on.

use std::cell::Cell;
use std::fmt::Arguments;

use crate::raw;
use crate::types::Level;

/// Above [`Level::Critical`]: nothing is wanted.
const OFF: u8 = 6;

thread_local! {
    static LEVEL: Cell<u8> = const { Cell::new(Level::Info as u8) };
}

/// Whether the host wants lines of that level.
///
/// ```
/// use cofferdam_sdk::{Level, log};
///
/// if log::enabled(Level::Debug) {
///     // what is worth computing for the log only
/// }
/// assert!(log::enabled(Level::Error));
/// ```
pub fn enabled(level: Level) -> bool {
    LEVEL.with(|lowest| level as u8 >= lowest.get())
}

/// Lines below `level` are dropped from here on; `None` drops all of them.
///
/// ```
/// use cofferdam_sdk::{Level, log};
///
/// log::set_level(Some(Level::Warn));
/// assert!(!log::enabled(Level::Info));
/// ```
pub fn set_level(level: Option<Level>) {
    LEVEL.with(|lowest| lowest.set(level.map_or(OFF, |level| level as u8)));
}

/// Asks the host which lines it wants.
pub(crate) fn ask_level() {
    if let Ok(level) = raw::log_level() {
        set_level(level);
    }
}

/// Writes a line. The macros ([`info!`](crate::info) and its like) call it where
/// [`enabled`] says so.
///
/// ```
/// use cofferdam_sdk::{Level, log};
///
/// log::write(Level::Info, format_args!("{} bytes", 17));
/// ```
pub fn write(level: Level, line: Arguments<'_>) {
    // Nothing can be done about a log that does not take the line.
    let _ = match line.as_str() {
        Some(text) => raw::log(level, text),
        None => raw::log(level, &line.to_string()),
    };
}

/// Writes a line of a [`Level`](crate::Level) that is a value.
///
/// ```
/// use cofferdam_sdk::{Level, log_at};
///
/// log_at!(Level::Warn, "{} is not a number", "x");
/// ```
#[macro_export]
macro_rules! log_at {
    ($level:expr, $($line:tt)+) => {
        if $crate::log::enabled($level) {
            $crate::log::write($level, ::core::format_args!($($line)+));
        }
    };
}

/// Writes a line of [`Level::Trace`](crate::Level).
///
/// ```
/// cofferdam_sdk::trace!("{} of {}", 1, 2);
/// ```
#[macro_export]
macro_rules! trace {
    ($($line:tt)+) => {
        $crate::log_at!($crate::Level::Trace, $($line)+)
    };
}

/// Writes a line of [`Level::Debug`](crate::Level).
///
/// ```
/// cofferdam_sdk::debug!("{} of {}", 1, 2);
/// ```
#[macro_export]
macro_rules! debug {
    ($($line:tt)+) => {
        $crate::log_at!($crate::Level::Debug, $($line)+)
    };
}

/// Writes a line of [`Level::Info`](crate::Level).
///
/// ```
/// cofferdam_sdk::info!("{} of {}", 1, 2);
/// ```
#[macro_export]
macro_rules! info {
    ($($line:tt)+) => {
        $crate::log_at!($crate::Level::Info, $($line)+)
    };
}

/// Writes a line of [`Level::Warn`](crate::Level).
///
/// ```
/// cofferdam_sdk::warn!("{} of {}", 1, 2);
/// ```
#[macro_export]
macro_rules! warn {
    ($($line:tt)+) => {
        $crate::log_at!($crate::Level::Warn, $($line)+)
    };
}

/// Writes a line of [`Level::Error`](crate::Level).
///
/// ```
/// cofferdam_sdk::error!("{} of {}", 1, 2);
/// ```
#[macro_export]
macro_rules! error {
    ($($line:tt)+) => {
        $crate::log_at!($crate::Level::Error, $($line)+)
    };
}

/// Writes a line of [`Level::Critical`](crate::Level).
///
/// ```
/// cofferdam_sdk::critical!("{} of {}", 1, 2);
/// ```
#[macro_export]
macro_rules! critical {
    ($($line:tt)+) => {
        $crate::log_at!($crate::Level::Critical, $($line)+)
    };
}

/// From here on a panic writes one line: where it was, and what it said. The call ends
/// there; what the host makes of that is the `on_failure` of the filter.
///
/// [`filter`](macro@crate::filter) and [`export`](crate::export) see to it; a module of the raw
/// layer does so at its start:
/// ```standalone_crate
/// cofferdam_sdk::abi!(cofferdam_sdk::log::set_panic_hook);
/// ```
#[cfg(target_arch = "wasm32")]
pub fn set_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        match panic.location() {
            Some(place) => write(
                Level::Critical,
                format_args!("panicked at {}:{}: {message}", place.file(), place.line()),
            ),
            None => write(Level::Critical, format_args!("panicked: {message}")),
        }
    }));
}

/// Off wasm a panic is the test's: this does nothing.
///
/// ```
/// cofferdam_sdk::log::set_panic_hook();
/// ```
#[cfg(not(target_arch = "wasm32"))]
pub const fn set_panic_hook() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_the_level_is_not_even_formatted() {
        struct Never;
        impl std::fmt::Display for Never {
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                panic!("formatted")
            }
        }
        set_level(Some(Level::Error));
        warn!("{Never}");
        set_level(None);
        critical!("{Never}");
        set_level(Some(Level::Info));
    }
}
