//! Every hostcall of ABI 0.2.1, as a safe function that returns a [`Result`].
//!
//! `unsafe` is here and in what this module is made of. Each wrapper lends the host slices that outlive
//! the call and places for what it hands back; a value comes back in memory the host asked
//! [`allocate`] for, and is taken over as a `Vec`.

// Longer than 600 lines: one wrapper for each hostcall, in one file so that `unsafe` is in one file.

#![expect(
    unsafe_code,
    reason = "the border to the host; every block says why it holds"
)]

#[cfg(all(feature = "small-heap", target_os = "wasi"))]
mod environment;
#[cfg(any(test, all(feature = "small-heap", target_arch = "wasm32")))]
mod heap;
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
mod native;

use alloc::alloc::{Layout, alloc};
use alloc::vec::Vec;
use core::ptr::null_mut;

use crate::pairs::{Pairs, decode_pairs, encode_pairs};
use crate::types::{BufferType, Level, MapType, MetricType, Status, StreamType};

/// Declares the imports on wasm, and on any other target functions of the same names: those
/// of a test's host, or that answer UNIMPLEMENTED and touch nothing.
macro_rules! hostcalls {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        #[cfg(target_arch = "wasm32")]
        #[link(wasm_import_module = "env")]
        unsafe extern "C" {
            $(fn $name($($argument: $type),*) -> u32;)*
        }
        $(
            #[cfg(all(not(target_arch = "wasm32"), feature = "testing"))]
            #[allow(clippy::too_many_arguments, reason = "as many as the ABI has")]
            unsafe fn $name($($argument: $type),*) -> u32 {
                // SAFETY: the arguments are what this function's caller promises they are.
                unsafe { native::call(stringify!($name), &[$($argument.into()),*]) }
            }

            #[cfg(all(not(target_arch = "wasm32"), not(feature = "testing")))]
            #[allow(clippy::too_many_arguments, reason = "as many as the ABI has")]
            unsafe fn $name($(_: $type),*) -> u32 {
                12
            }
        )*
    };
}

hostcalls! {
    proxy_log(level: u32, message: *const u8, size: usize);
    proxy_get_log_level(level: *mut u32);
    proxy_get_current_time_nanoseconds(time: *mut u64);
    proxy_set_tick_period_milliseconds(period: u32);
    proxy_get_status(code: *mut u32, message: *mut *mut u8, size: *mut usize);
    proxy_get_property(path: *const u8, path_size: usize, value: *mut *mut u8, size: *mut usize);
    proxy_set_property(path: *const u8, path_size: usize, value: *const u8, size: usize);
    proxy_get_buffer_bytes(
        buffer: u32, start: usize, max: usize, value: *mut *mut u8, size: *mut usize);
    proxy_get_buffer_status(buffer: u32, size: *mut usize, flags: *mut u32);
    proxy_set_buffer_bytes(buffer: u32, start: usize, length: usize, value: *const u8, size: usize);
    proxy_get_header_map_size(map: u32, size: *mut usize);
    proxy_get_header_map_pairs(map: u32, pairs: *mut *mut u8, size: *mut usize);
    proxy_set_header_map_pairs(map: u32, pairs: *const u8, size: usize);
    proxy_get_header_map_value(
        map: u32, name: *const u8, name_size: usize, value: *mut *mut u8, size: *mut usize);
    proxy_add_header_map_value(
        map: u32, name: *const u8, name_size: usize, value: *const u8, size: usize);
    proxy_replace_header_map_value(
        map: u32, name: *const u8, name_size: usize, value: *const u8, size: usize);
    proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize);
    proxy_continue_stream(stream: u32);
    proxy_close_stream(stream: u32);
    proxy_send_local_response(
        status: u32, details: *const u8, details_size: usize, body: *const u8, body_size: usize,
        headers: *const u8, headers_size: usize, grpc_status: i32);
    proxy_set_effective_context(context: u32);
    proxy_done();
    proxy_http_call(
        upstream: *const u8, upstream_size: usize, headers: *const u8, headers_size: usize,
        body: *const u8, body_size: usize, trailers: *const u8, trailers_size: usize,
        timeout: u32, token: *mut u32);
    proxy_grpc_call(
        upstream: *const u8, upstream_size: usize, service: *const u8, service_size: usize,
        method: *const u8, method_size: usize, metadata: *const u8, metadata_size: usize,
        message: *const u8, message_size: usize, timeout: u32, token: *mut u32);
    proxy_grpc_stream(
        upstream: *const u8, upstream_size: usize, service: *const u8, service_size: usize,
        method: *const u8, method_size: usize, metadata: *const u8, metadata_size: usize,
        token: *mut u32);
    proxy_grpc_send(token: u32, message: *const u8, size: usize, end_of_stream: u32);
    proxy_grpc_cancel(token: u32);
    proxy_grpc_close(token: u32);
    proxy_get_shared_data(
        key: *const u8, key_size: usize, value: *mut *mut u8, size: *mut usize, cas: *mut u32);
    proxy_set_shared_data(key: *const u8, key_size: usize, value: *const u8, size: usize, cas: u32);
    proxy_register_shared_queue(name: *const u8, size: usize, queue: *mut u32);
    proxy_resolve_shared_queue(
        vm: *const u8, vm_size: usize, name: *const u8, size: usize, queue: *mut u32);
    proxy_enqueue_shared_queue(queue: u32, value: *const u8, size: usize);
    proxy_dequeue_shared_queue(queue: u32, value: *mut *mut u8, size: *mut usize);
    proxy_define_metric(kind: u32, name: *const u8, size: usize, metric: *mut u32);
    proxy_increment_metric(metric: u32, offset: i64);
    proxy_record_metric(metric: u32, value: u64);
    proxy_get_metric(metric: u32, value: *mut u64);
    proxy_call_foreign_function(
        name: *const u8, name_size: usize, arguments: *const u8, arguments_size: usize,
        result: *mut *mut u8, size: *mut usize);
}

// === memory that changes hands ===

/// Memory for a value of `size` bytes from the host; null when there is none, or for a size
/// of 0. [`abi!`](crate::abi) exports this as `proxy_on_memory_allocate`.
///
/// ```
/// let block = cofferdam_sdk::raw::allocate(16);
/// assert!(!block.is_null());
/// ```
pub fn allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size) {
        Ok(layout) if size > 0 => {
            // SAFETY: the layout's size is not zero, by the guard of this arm.
            unsafe { alloc(layout) }
        }
        _ => null_mut(),
    }
}

/// Sets up the C library on a WASI target. [`abi!`](crate::abi) calls it from `_initialize`;
/// a reference to it also keeps the linker from wrapping every export in a set-up of its own.
///
/// ```
/// cofferdam_sdk::raw::call_constructors(); // nothing to do off wasm
/// ```
pub fn call_constructors() {
    #[cfg(target_os = "wasi")]
    {
        unsafe extern "C" {
            fn __wasm_call_ctors();
        }
        // SAFETY: the linker provides it, it takes nothing, and `_initialize` runs once.
        unsafe { __wasm_call_ctors() };
    }
}

/// Where the host puts a value: a block from [`allocate`] and its size.
struct Value {
    data: *mut u8,
    size: usize,
}

impl Value {
    const fn none() -> Self {
        Self {
            data: null_mut(),
            size: 0,
        }
    }

    /// The value a successful hostcall put here; an empty one comes without a block.
    fn take(self) -> Vec<u8> {
        if self.data.is_null() || self.size == 0 {
            return Vec::new();
        }
        // SAFETY: the ABI has the host call the allocator with exactly the size it then
        // reports, fill that block and give up the pointer: it comes from `allocate`, whose
        // layout (`size` bytes, alignment 1) is the one `Vec<u8>` frees, and has one owner.
        unsafe { Vec::from_raw_parts(self.data, self.size, self.size) }
    }
}

// === log and time ===

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

// === properties ===

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

// === buffers ===

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

// === header maps ===

/// The size of a map, as the host counts it.
///
/// ```no_run
/// use cofferdam_sdk::{MapType, raw};
///
/// let bytes = raw::header_map_size(MapType::RequestHeaders)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn header_map_size(map: MapType) -> Result<usize, Status> {
    let mut size = 0;
    // SAFETY: `size` is writable and outlives the call.
    Status::check(unsafe { proxy_get_header_map_size(map as u32, &raw mut size) })?;
    Ok(size)
}

/// Every entry of a map.
///
/// ```no_run
/// use cofferdam_sdk::{MapType, raw};
///
/// for (name, value) in raw::headers(MapType::RequestHeaders)? { /* … */ }
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn headers(map: MapType) -> Result<Pairs, Status> {
    let mut value = Value::none();
    // SAFETY: both places are writable and outlive the call.
    Status::check(unsafe {
        proxy_get_header_map_pairs(map as u32, &raw mut value.data, &raw mut value.size)
    })?;
    decode_pairs(&value.take())
}

/// Replaces a whole map.
///
/// ```no_run
/// use cofferdam_sdk::{MapType, raw};
///
/// raw::set_headers(MapType::ResponseTrailers, &[("x-sum", "17")])?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn set_headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    map: MapType,
    pairs: &[(N, V)],
) -> Result<(), Status> {
    let pairs = encode_pairs(pairs);
    // SAFETY: `pairs` lives until the end of this function; the host only reads it.
    Status::check(unsafe { proxy_set_header_map_pairs(map as u32, pairs.as_ptr(), pairs.len()) })
}

/// The first value under a name; names are compared without case.
///
/// ```no_run
/// use cofferdam_sdk::{MapType, raw};
///
/// let path = raw::header(MapType::RequestHeaders, ":path")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn header(map: MapType, name: &str) -> Result<Vec<u8>, Status> {
    let mut value = Value::none();
    // SAFETY: `name` is a live slice the host reads; both places are writable; all outlive
    // the call.
    Status::check(unsafe {
        proxy_get_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            &raw mut value.data,
            &raw mut value.size,
        )
    })?;
    Ok(value.take())
}

/// Adds an entry and keeps those of the same name.
///
/// ```no_run
/// use cofferdam_sdk::{MapType, raw};
///
/// raw::add_header(MapType::ResponseHeaders, "set-cookie", b"a=1")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn add_header(map: MapType, name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: both are live slices the host only reads.
    Status::check(unsafe {
        proxy_add_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Leaves one entry of this name, with this value.
///
/// ```no_run
/// use cofferdam_sdk::{MapType, raw};
///
/// raw::replace_header(MapType::RequestHeaders, "x-a", b"1")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn replace_header(map: MapType, name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: both are live slices the host only reads.
    Status::check(unsafe {
        proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Removes every entry of this name; none is fine too.
///
/// ```no_run
/// use cofferdam_sdk::{MapType, raw};
///
/// raw::remove_header(MapType::ResponseHeaders, "server")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn remove_header(map: MapType, name: &str) -> Result<(), Status> {
    // SAFETY: `name` is a live slice the host only reads.
    Status::check(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

// === streams and contexts ===

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

// === calls to others ===

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

// === shared data and queues ===

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

// === metrics ===

/// The id of the metric with this name, made if need be.
///
/// ```no_run
/// use cofferdam_sdk::{MetricType, raw};
///
/// let denied = raw::define_metric(MetricType::Counter, "denied")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn define_metric(kind: MetricType, name: &str) -> Result<u32, Status> {
    let mut metric = 0;
    // SAFETY: `name` is a live slice the host reads; `metric` is writable.
    Status::check(unsafe {
        proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut metric)
    })?;
    Ok(metric)
}

/// Adds to a counter or a gauge.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// # let denied = 4;
/// raw::increment_metric(denied, 1)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn increment_metric(metric: u32, offset: i64) -> Result<(), Status> {
    // SAFETY: no pointer is involved.
    Status::check(unsafe { proxy_increment_metric(metric, offset) })
}

/// Sets a gauge, adds to a counter, samples a histogram.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// # let size = 6;
/// raw::record_metric(size, 512)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn record_metric(metric: u32, value: u64) -> Result<(), Status> {
    // SAFETY: no pointer is involved.
    Status::check(unsafe { proxy_record_metric(metric, value) })
}

/// The value of a counter or a gauge.
///
/// ```no_run
/// use cofferdam_sdk::raw;
///
/// # let denied = 4;
/// let so_far = raw::metric(denied)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn metric(metric: u32) -> Result<u64, Status> {
    let mut value = 0;
    // SAFETY: `value` is writable and outlives the call.
    Status::check(unsafe { proxy_get_metric(metric, &raw mut value) })?;
    Ok(value)
}

// === foreign functions ===

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_from_the_allocator_becomes_a_vec() {
        let data = allocate(3);
        assert!(!data.is_null());
        // SAFETY: the block is 3 bytes long and ours.
        unsafe { data.copy_from_nonoverlapping(b"abc".as_ptr(), 3) };
        assert_eq!(Value { data, size: 3 }.take(), b"abc");
    }

    #[test]
    fn nothing_and_too_much_are_null() {
        assert!(allocate(0).is_null());
        assert!(allocate(usize::MAX).is_null());
        assert!(Value::none().take().is_empty());
    }

    #[test]
    fn off_wasm_every_call_says_so() {
        let none: &[(&str, &str)] = &[];
        assert_eq!(log(Level::Info, "x"), Err(Status::Unimplemented));
        assert_eq!(headers(MapType::RequestHeaders), Err(Status::Unimplemented));
        assert_eq!(
            send_local_response(403, "", none, b"", None),
            Err(Status::Unimplemented)
        );
        assert_eq!(
            http_call("c", none, b"", none, 1),
            Err(Status::Unimplemented)
        );
        assert_eq!(metric(1), Err(Status::Unimplemented));
    }
}
