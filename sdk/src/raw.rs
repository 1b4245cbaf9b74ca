//! Every hostcall of ABI 0.2.1, as a safe function that returns a [`Result`].
//!
//! `unsafe` is in what this module is made of, and nowhere else in the crate. Each wrapper
//! lends the host slices that outlive the call and places for what it hands back; a value
//! comes back in memory the host asked [`allocate`] for, and is taken over as a `Vec`.

#![expect(
    unsafe_code,
    reason = "the border to the host; every block says why it holds"
)]

mod buffer;
mod callout;
#[cfg(all(feature = "small-heap", target_os = "wasi"))]
mod environment;
mod foreign;
mod header;
#[cfg(any(test, all(feature = "small-heap", target_arch = "wasm32")))]
mod heap;
mod host;
mod imports;
mod metric;
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
mod native;
mod property;
mod shared;
mod stream;
mod value;

pub use buffer::{buffer, buffer_status, set_buffer};
pub use callout::{grpc_call, grpc_cancel, grpc_close, grpc_send, grpc_stream, http_call};
pub use foreign::call_foreign_function;
pub use header::{
    add_header, header, header_map_size, headers, remove_header, replace_header, set_headers,
};
pub use host::{current_time_nanoseconds, log, log_level, set_tick_period, status};
pub use metric::{define_metric, increment_metric, metric, record_metric};
pub use property::{property, set_property};
pub use shared::{
    dequeue_shared_queue, enqueue_shared_queue, register_shared_queue, resolve_shared_queue,
    set_shared_data, shared_data,
};
pub use stream::{close_stream, continue_stream, done, send_local_response, set_effective_context};
pub use value::{allocate, call_constructors};

#[cfg(test)]
mod tests {
    use super::value::Value;
    use super::*;
    use crate::types::{Level, MapType, Status};

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
