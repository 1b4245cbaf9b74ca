//! Streams and contexts.

use super::imports::{
    proxy_close_stream, proxy_continue_stream, proxy_done, proxy_send_local_response,
    proxy_set_effective_context,
};
use crate::pairs::encode_pairs;
use crate::types::{Status, StreamType};

/// Resumes what was paused, once the current callback has returned.
///
/// ```no_run
/// use cofferdam_sdk::{StreamType, raw};
///
/// raw::continue_stream(StreamType::HttpRequest)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn continue_stream(stream: StreamType) -> Result<(), Status> {
    // SAFETY: no pointer is involved.
    Status::check(unsafe { proxy_continue_stream(stream as u32) })
}

/// Resets an HTTP stream, or closes a connection.
///
/// ```no_run
/// use cofferdam_sdk::{StreamType, raw};
///
/// raw::close_stream(StreamType::Downstream)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn close_stream(stream: StreamType) -> Result<(), Status> {
    // SAFETY: no pointer is involved.
    Status::check(unsafe { proxy_close_stream(stream as u32) })
}

/// Answers the request from here. `details` goes to the access log; a `grpc_status` turns
/// the answer into one of gRPC where the request was.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// raw::send_local_response(403, "denied", &[("x-why", "no key")], b"no", None)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn send_local_response<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    status: u32,
    details: &str,
    headers: &[(N, V)],
    body: &[u8],
    grpc_status: Option<u32>,
) -> Result<(), Status> {
    let headers = encode_pairs(headers);
    let grpc_status = grpc_status
        .and_then(|code| i32::try_from(code).ok())
        .unwrap_or(-1);
    // SAFETY: `details` and `body` are live slices, `headers` lives until the end of this
    // function; the host only reads them.
    Status::check(unsafe {
        proxy_send_local_response(
            status,
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status,
        )
    })
}

/// Has the calls that follow act on another context, until the current callback returns.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// raw::set_effective_context(7)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn set_effective_context(context: u32) -> Result<(), Status> {
    // SAFETY: no pointer is involved.
    Status::check(unsafe { proxy_set_effective_context(context) })
}

/// Ends a context that had answered "not yet" to `proxy_on_done`.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// raw::done()?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn done() -> Result<(), Status> {
    // SAFETY: no pointer is involved.
    Status::check(unsafe { proxy_done() })
}
