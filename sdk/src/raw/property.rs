//! Properties.

use alloc::vec::Vec;

use super::imports::{proxy_get_property, proxy_set_property};
use super::value::Value;
use crate::types::Status;

/// The property at `path`, whose parts are joined by zero bytes (`b"request\0path"`).
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// let path = raw::property(b"request\0path")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn property(path: &[u8]) -> Result<Vec<u8>, Status> {
    let mut value = Value::none();
    // SAFETY: `path` is a live slice the host reads; both places are writable; all outlive
    // the call.
    Status::check(unsafe {
        proxy_get_property(
            path.as_ptr(),
            path.len(),
            &raw mut value.data,
            &raw mut value.size,
        )
    })?;
    Ok(value.take())
}

/// Keeps `value` under `path` for the rest of the stream.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// raw::set_property(b"consumer", b"alice")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn set_property(path: &[u8], value: &[u8]) -> Result<(), Status> {
    // SAFETY: both are live slices the host only reads.
    Status::check(unsafe {
        proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len())
    })
}
