//! Shared data and queues.

use alloc::vec::Vec;

use super::imports::{
    proxy_dequeue_shared_queue, proxy_enqueue_shared_queue, proxy_get_shared_data,
    proxy_register_shared_queue, proxy_resolve_shared_queue, proxy_set_shared_data,
};
use super::value::Value;
use crate::types::Status;

/// A shared value and its version.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// let (value, version) = raw::shared_data("key")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn shared_data(key: &str) -> Result<(Vec<u8>, u32), Status> {
    let (mut value, mut cas) = (Value::none(), 0);
    // SAFETY: `key` is a live slice the host reads; all three places are writable; all
    // outlive the call.
    Status::check(unsafe {
        proxy_get_shared_data(
            key.as_ptr(),
            key.len(),
            &raw mut value.data,
            &raw mut value.size,
            &raw mut cas,
        )
    })?;
    Ok((value.take(), cas))
}

/// Stores a shared value if its version is still `cas`; 0 stores it in any case.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// let (_, version) = raw::shared_data("key")?;
/// raw::set_shared_data("key", b"new", version)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn set_shared_data(key: &str, value: &[u8], cas: u32) -> Result<(), Status> {
    // SAFETY: both are live slices the host only reads.
    Status::check(unsafe {
        proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas)
    })
}

/// Makes a queue, whose items are announced to this root context.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// let queue = raw::register_shared_queue("lines")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn register_shared_queue(name: &str) -> Result<u32, Status> {
    let mut queue = 0;
    // SAFETY: `name` is a live slice the host reads; `queue` is writable.
    Status::check(unsafe {
        proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut queue)
    })?;
    Ok(queue)
}

/// Finds a queue of a VM; an empty id is this VM's.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// let queue = raw::resolve_shared_queue("", "lines")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn resolve_shared_queue(vm_id: &str, name: &str) -> Result<u32, Status> {
    let mut queue = 0;
    // SAFETY: both are live slices the host reads; `queue` is writable.
    Status::check(unsafe {
        proxy_resolve_shared_queue(
            vm_id.as_ptr(),
            vm_id.len(),
            name.as_ptr(),
            name.len(),
            &raw mut queue,
        )
    })?;
    Ok(queue)
}

/// Puts an item at the end of a queue.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// # let queue = 1;
/// raw::enqueue_shared_queue(queue, b"one")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn enqueue_shared_queue(queue: u32, item: &[u8]) -> Result<(), Status> {
    // SAFETY: `item` is a live slice the host only reads.
    Status::check(unsafe { proxy_enqueue_shared_queue(queue, item.as_ptr(), item.len()) })
}

/// Takes the first item of a queue; [`Status::Empty`] when there is none.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// # let queue = 1;
/// let item = raw::dequeue_shared_queue(queue)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn dequeue_shared_queue(queue: u32) -> Result<Vec<u8>, Status> {
    let mut value = Value::none();
    // SAFETY: both places are writable and outlive the call.
    Status::check(unsafe {
        proxy_dequeue_shared_queue(queue, &raw mut value.data, &raw mut value.size)
    })?;
    Ok(value.take())
}
