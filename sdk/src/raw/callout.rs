//! Calls to others.

use super::imports::{
    proxy_grpc_call, proxy_grpc_cancel, proxy_grpc_close, proxy_grpc_send, proxy_grpc_stream,
    proxy_http_call,
};
use crate::pairs::encode_pairs;
use crate::types::Status;

/// Sends an HTTP request to a cluster; the token comes back in
/// `proxy_on_http_call_response`.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// let headers = [(":method", "GET"), (":path", "/"), (":authority", "keys")];
/// let token = raw::http_call("keys", &headers, b"", &[], 1_000)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn http_call<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    upstream: &str,
    headers: &[(N, V)],
    body: &[u8],
    trailers: &[(N, V)],
    timeout_milliseconds: u32,
) -> Result<u32, Status> {
    let (headers, trailers) = (encode_pairs(headers), encode_pairs(trailers));
    let mut token = 0;
    // SAFETY: `upstream` and `body` are live slices, `headers` and `trailers` live until the
    // end of this function, the host only reads them; `token` is writable.
    Status::check(unsafe {
        proxy_http_call(
            upstream.as_ptr(),
            upstream.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            timeout_milliseconds,
            &raw mut token,
        )
    })?;
    Ok(token)
}

/// Sends one gRPC message and expects one; the token comes back in `proxy_on_grpc_receive`
/// or `proxy_on_grpc_close`.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// let none: &[(&str, &str)] = &[];
/// let token = raw::grpc_call(b"authz", "pkg.Authz", "Check", none, b"", 1_000)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn grpc_call<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    upstream: &[u8],
    service: &str,
    method: &str,
    metadata: &[(N, V)],
    message: &[u8],
    timeout_milliseconds: u32,
) -> Result<u32, Status> {
    let metadata = encode_pairs(metadata);
    let mut token = 0;
    // SAFETY: `metadata` lives until the end of this function, the other arguments are live
    // slices, the host only reads them; `token` is writable.
    Status::check(unsafe {
        proxy_grpc_call(
            upstream.as_ptr(),
            upstream.len(),
            service.as_ptr(),
            service.len(),
            method.as_ptr(),
            method.len(),
            metadata.as_ptr(),
            metadata.len(),
            message.as_ptr(),
            message.len(),
            timeout_milliseconds,
            &raw mut token,
        )
    })?;
    Ok(token)
}

/// Opens a gRPC stream.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// let none: &[(&str, &str)] = &[];
/// let token = raw::grpc_stream(b"log", "pkg.Log", "Lines", none)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn grpc_stream<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    upstream: &[u8],
    service: &str,
    method: &str,
    metadata: &[(N, V)],
) -> Result<u32, Status> {
    let metadata = encode_pairs(metadata);
    let mut token = 0;
    // SAFETY: `metadata` lives until the end of this function, the other arguments are live
    // slices, the host only reads them; `token` is writable.
    Status::check(unsafe {
        proxy_grpc_stream(
            upstream.as_ptr(),
            upstream.len(),
            service.as_ptr(),
            service.len(),
            method.as_ptr(),
            method.len(),
            metadata.as_ptr(),
            metadata.len(),
            &raw mut token,
        )
    })?;
    Ok(token)
}

/// Sends a message on a gRPC stream.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// # let token = 6;
/// raw::grpc_send(token, b"a message", false)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn grpc_send(token: u32, message: &[u8], end_of_stream: bool) -> Result<(), Status> {
    // SAFETY: `message` is a live slice the host only reads.
    Status::check(unsafe {
        proxy_grpc_send(
            token,
            message.as_ptr(),
            message.len(),
            u32::from(end_of_stream),
        )
    })
}

/// Resets a gRPC call or stream; nothing more comes from it.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// # let token = 6;
/// raw::grpc_cancel(token)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn grpc_cancel(token: u32) -> Result<(), Status> {
    // SAFETY: no pointer is involved.
    Status::check(unsafe { proxy_grpc_cancel(token) })
}

/// Ends our side of a gRPC stream.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// # let token = 6;
/// raw::grpc_close(token)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn grpc_close(token: u32) -> Result<(), Status> {
    // SAFETY: no pointer is involved.
    Status::check(unsafe { proxy_grpc_close(token) })
}
