//! Buffers.

use alloc::vec::Vec;

use super::imports::{proxy_get_buffer_bytes, proxy_get_buffer_status, proxy_set_buffer_bytes};
use super::value::Value;
use crate::types::{BufferType, Status};

/// At most `max` bytes of a buffer from `start` on; `usize::MAX` is all of them.
///
/// ```no_run
/// use cofferdam_sdk::{BufferType, raw};
///
/// let body = raw::buffer(BufferType::RequestBody, 0, usize::MAX)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn buffer(buffer: BufferType, start: usize, max: usize) -> Result<Vec<u8>, Status> {
    let mut value = Value::none();
    // SAFETY: both places are writable and outlive the call.
    Status::check(unsafe {
        proxy_get_buffer_bytes(
            buffer as u32,
            start,
            max,
            &raw mut value.data,
            &raw mut value.size,
        )
    })?;
    Ok(value.take())
}

/// Length and flags of a buffer.
///
/// ```no_run
/// use cofferdam_sdk::{BufferType, raw};
///
/// let (size, _flags) = raw::buffer_status(BufferType::RequestBody)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn buffer_status(buffer: BufferType) -> Result<(usize, u32), Status> {
    let (mut size, mut flags) = (0, 0);
    // SAFETY: both places are writable and outlive the call.
    Status::check(unsafe {
        proxy_get_buffer_status(buffer as u32, &raw mut size, &raw mut flags)
    })?;
    Ok((size, flags))
}

/// Puts `value` in place of `length` bytes of a buffer at `start`. A start at or behind the
/// end appends, `0, 0` prepends.
///
/// ```no_run
/// use cofferdam_sdk::{BufferType, raw};
///
/// raw::set_buffer(BufferType::RequestBody, 0, usize::MAX, b"another body")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn set_buffer(
    buffer: BufferType,
    start: usize,
    length: usize,
    value: &[u8],
) -> Result<(), Status> {
    // SAFETY: `value` is a live slice the host only reads.
    Status::check(unsafe {
        proxy_set_buffer_bytes(buffer as u32, start, length, value.as_ptr(), value.len())
    })
}
