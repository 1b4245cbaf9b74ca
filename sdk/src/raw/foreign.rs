//! Foreign functions.

use alloc::vec::Vec;

use super::imports::proxy_call_foreign_function;
use super::value::Value;
use crate::types::Status;

/// Calls a function of this host by its name.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// let packed = raw::call_foreign_function("compress", b"aaaa")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn call_foreign_function(name: &str, arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let mut value = Value::none();
    // SAFETY: both are live slices the host reads; both places are writable; all outlive the
    // call.
    Status::check(unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            arguments.as_ptr(),
            arguments.len(),
            &raw mut value.data,
            &raw mut value.size,
        )
    })?;
    Ok(value.take())
}
