//! Functions that a host offers by name: where there is none of that name, that is an
//! ordinary answer, so one module runs everywhere.

use crate::raw;
use crate::types::Status;

/// Calls a function of the host's; `None` where it has none of that name.
///
/// # Errors
/// What the function makes of the arguments.
///
/// ```no_run
/// use cofferdam_sdk::foreign;
///
/// // Envoy and Cofferdam choose the route anew; elsewhere nothing happens.
/// foreign::call("clear_route_cache", b"")?;
/// if let Some(packed) = foreign::call("compress", b"aaaaaaaaaa")? {
///     cofferdam_sdk::debug!("{} bytes", packed.len());
/// }
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn call(name: &str, arguments: &[u8]) -> Result<Option<Vec<u8>>, Status> {
    match raw::call_foreign_function(name, arguments) {
        Ok(answer) => Ok(Some(answer)),
        Err(Status::NotFound | Status::Unimplemented) => Ok(None),
        Err(status) => Err(status),
    }
}
