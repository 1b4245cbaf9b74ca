//! What a module imports, and what stands in its place off wasm.

/// Declares the imports on wasm, and on any other target functions of the same names: those
/// of a test's host, or that answer UNIMPLEMENTED and touch nothing.
macro_rules! hostcalls {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        #[cfg(target_arch = "wasm32")]
        #[link(wasm_import_module = "env")]
        unsafe extern "C" {
            $(pub(super) fn $name($($argument: $type),*) -> u32;)*
        }
        $(
            #[cfg(all(not(target_arch = "wasm32"), feature = "testing"))]
            #[allow(clippy::too_many_arguments, reason = "as many as the ABI has")]
            pub(super) unsafe fn $name($($argument: $type),*) -> u32 {
                // SAFETY: the arguments are what this function's caller promises they are.
                unsafe { super::native::call(stringify!($name), &[$($argument.into()),*]) }
            }

            #[cfg(all(not(target_arch = "wasm32"), not(feature = "testing")))]
            #[allow(clippy::too_many_arguments, reason = "as many as the ABI has")]
            pub(super) unsafe fn $name($(_: $type),*) -> u32 {
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
