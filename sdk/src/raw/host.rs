//! What a host is asked and told beside its streams: log, time, status.

use alloc::vec::Vec;

use super::imports::{
    proxy_get_current_time_nanoseconds, proxy_get_log_level, proxy_get_status, proxy_log,
    proxy_set_tick_period_milliseconds,
};
use super::value::Value;
use crate::types::{Level, Status};

/// Writes a line to the host's log.
///
/// ```no_run
/// use cofferdam_sdk::{Level, raw};
///
/// raw::log(Level::Info, "hello")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn log(level: Level, message: &str) -> Result<(), Status> {
    // SAFETY: pointer and length are those of a live slice, which the host only reads.
    Status::check(unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) })
}

/// The host's level: lines below it are dropped. `None`: it logs nothing.
///
/// ```no_run
/// use cofferdam_sdk::{Level, raw};
///
/// let wants_debug = raw::log_level()?.is_some_and(|level| level <= Level::Debug);
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn log_level() -> Result<Option<Level>, Status> {
    let mut level = 0;
    // SAFETY: `level` is writable and outlives the call.
    Status::check(unsafe { proxy_get_log_level(&raw mut level) })?;
    Ok(Level::from_number(level))
}

/// Wall-clock time, nanoseconds since the epoch.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// let seconds = raw::current_time_nanoseconds()? / 1_000_000_000;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn current_time_nanoseconds() -> Result<u64, Status> {
    let mut time = 0;
    // SAFETY: `time` is writable and outlives the call.
    Status::check(unsafe { proxy_get_current_time_nanoseconds(&raw mut time) })?;
    Ok(time)
}

/// Has `proxy_on_tick` called every so many milliseconds on the root context; 0 stops it.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// raw::set_tick_period(1_000)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn set_tick_period(milliseconds: u32) -> Result<(), Status> {
    // SAFETY: no pointer is involved.
    Status::check(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
}

/// Code and message of the last HTTP or gRPC event of the root context.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// let (code, message) = raw::status()?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn status() -> Result<(u32, Vec<u8>), Status> {
    let (mut code, mut message) = (0, Value::none());
    // SAFETY: all three places are writable and outlive the call.
    Status::check(unsafe {
        proxy_get_status(&raw mut code, &raw mut message.data, &raw mut message.size)
    })?;
    Ok((code, message.take()))
}
