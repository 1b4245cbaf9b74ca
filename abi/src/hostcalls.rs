//! The one list of what a guest may import (sections 1.7, 1.8, 2.13, 13).
//!
//! A hostcall is a row in one of the two lists below and a function in `hostcalls/<area>`.
//! The loader expands the lists to check a module's imports, every engine expands them to
//! link them; an engine that forgets one does not compile.

pub(crate) mod buffers;
pub(crate) mod callout;
pub(crate) mod configuration;
pub(crate) mod env;
pub(crate) mod foreign;
pub(crate) mod gateway;
pub(crate) mod headers;
pub(crate) mod later;
pub(crate) mod log;
pub(crate) mod metrics;
mod number;
pub(crate) mod properties;
pub(crate) mod shared_data;
pub(crate) mod shared_queue;
pub(crate) mod stream;
pub(crate) mod wasi;

use crate::error::TrapKind;
use crate::guest::{Failure, GuestCaller, HostTrap, Outcome};
use crate::types::Status;
use crate::version::AbiVersion;

pub(crate) use number::{Hostcall, Hostcalls, is_restrictable, names};

/// Expands `$expand!` with the functions of module `env`:
/// `"name" (parameters) -> result = function, when;`
macro_rules! for_each_env_call {
    ($expand:ident) => {
        $expand! {
            "proxy_log" (level: u32, text: u32, len: u32) -> u32 = log::log, Always;
            "proxy_get_log_level" (out: u32) -> u32 = log::log_level, Running;
            "proxy_get_current_time_nanoseconds" (out: u32) -> u32 = log::current_time, Running;
            "proxy_set_tick_period_milliseconds" (period: u32) -> u32 = stream::set_tick_period, Running;
            "proxy_get_status" (code: u32, text: u32, len: u32) -> u32 = callout::get_status, Running;
            "proxy_get_configuration" (text: u32, len: u32) -> u32 = configuration::get_configuration, Running;
            "proxy_get_property" (path: u32, path_len: u32, value: u32, value_len: u32) -> u32 = properties::get_property, Running;
            "proxy_set_property" (path: u32, path_len: u32, value: u32, value_len: u32) -> u32 = properties::set_property, Running;
            "proxy_get_buffer_bytes" (buffer: u32, start: u32, max: u32, value: u32, value_len: u32) -> u32 = buffers::get_buffer_bytes, Running;
            "proxy_get_buffer_status" (buffer: u32, len: u32, flags: u32) -> u32 = buffers::get_buffer_status, Running;
            "proxy_set_buffer_bytes" (buffer: u32, start: u32, size: u32, value: u32, value_len: u32) -> u32 = buffers::set_buffer_bytes, Running;
            "proxy_get_header_map_size" (map: u32, out: u32) -> u32 = headers::get_map_size, Running;
            "proxy_get_header_map_pairs" (map: u32, value: u32, value_len: u32) -> u32 = headers::get_map_pairs, Running;
            "proxy_set_header_map_pairs" (map: u32, value: u32, value_len: u32) -> u32 = headers::set_map_pairs, Running;
            "proxy_get_header_map_value" (map: u32, key: u32, key_len: u32, value: u32, value_len: u32) -> u32 = headers::get_map_value, Running;
            "proxy_add_header_map_value" (map: u32, key: u32, key_len: u32, value: u32, value_len: u32) -> u32 = headers::add_map_value, Running;
            "proxy_replace_header_map_value" (map: u32, key: u32, key_len: u32, value: u32, value_len: u32) -> u32 = headers::replace_map_value, Running;
            "proxy_remove_header_map_value" (map: u32, key: u32, key_len: u32) -> u32 = headers::remove_map_value, Running;
            "proxy_continue_stream" (stream: u32) -> u32 = stream::continue_stream, Running;
            "proxy_close_stream" (stream: u32) -> u32 = stream::close_stream, Running;
            "proxy_continue_request" () -> u32 = stream::continue_request, Running;
            "proxy_continue_response" () -> u32 = stream::continue_response, Running;
            "proxy_clear_route_cache" () -> u32 = stream::clear_route_cache, Running;
            "proxy_call_foreign_function" (name: u32, name_len: u32, args: u32, args_len: u32, result: u32, result_len: u32) -> u32 = foreign::call_foreign_function, Running;
            "proxy_send_local_response" (code: u32, details: u32, details_len: u32, body: u32, body_len: u32, headers: u32, headers_len: u32, grpc: u32) -> u32 = stream::send_local_response, Running;
            "proxy_set_effective_context" (context: u32) -> u32 = stream::set_effective_context, Running;
            "proxy_done" () -> u32 = stream::done, Running;
            "proxy_get_shared_data" (key: u32, key_len: u32, value: u32, value_len: u32, cas: u32) -> u32 = shared_data::get_shared_data, Running;
            "proxy_set_shared_data" (key: u32, key_len: u32, value: u32, value_len: u32, cas: u32) -> u32 = shared_data::set_shared_data, Running;
            "proxy_register_shared_queue" (name: u32, name_len: u32, out: u32) -> u32 = shared_queue::register_shared_queue, Running;
            "proxy_resolve_shared_queue" (vm_id: u32, vm_id_len: u32, name: u32, name_len: u32, out: u32) -> u32 = shared_queue::resolve_shared_queue, Running;
            "proxy_enqueue_shared_queue" (queue: u32, item: u32, item_len: u32) -> u32 = shared_queue::enqueue_shared_queue, Running;
            "proxy_dequeue_shared_queue" (queue: u32, item: u32, item_len: u32) -> u32 = shared_queue::dequeue_shared_queue, Running;
            "proxy_define_metric" (kind: u32, name: u32, name_len: u32, out: u32) -> u32 = metrics::define_metric, Running;
            "proxy_increment_metric" (metric: u32, by: u64) -> u32 = metrics::increment_metric, Running;
            "proxy_record_metric" (metric: u32, value: u64) -> u32 = metrics::record_metric, Running;
            "proxy_get_metric" (metric: u32, out: u32) -> u32 = metrics::get_metric, Running;
            "proxy_http_call" (upstream: u32, upstream_len: u32, headers: u32, headers_len: u32, body: u32, body_len: u32, trailers: u32, trailers_len: u32, timeout: u32, token: u32) -> u32 = callout::http::http_call, Running;
            "proxy_grpc_call" (upstream: u32, upstream_len: u32, service: u32, service_len: u32, method: u32, method_len: u32, metadata: u32, metadata_len: u32, message: u32, message_len: u32, timeout: u32, token: u32) -> u32 = callout::grpc::grpc_call, Running;
            "proxy_grpc_stream" (upstream: u32, upstream_len: u32, service: u32, service_len: u32, method: u32, method_len: u32, metadata: u32, metadata_len: u32, token: u32) -> u32 = callout::grpc::grpc_stream, Running;
            "proxy_grpc_send" (token: u32, message: u32, message_len: u32, end: u32) -> u32 = callout::grpc::grpc_send, Running;
            "proxy_grpc_cancel" (token: u32) -> u32 = callout::grpc::grpc_cancel, Running;
            "proxy_grpc_close" (token: u32) -> u32 = callout::grpc::grpc_close, Running;
            "proxy_redis_init" (upstream: u32, upstream_len: u32, user: u32, user_len: u32, password: u32, password_len: u32, timeout: u32) -> u32 = callout::redis::redis_init, Running;
            "proxy_redis_call" (upstream: u32, upstream_len: u32, query: u32, query_len: u32, token: u32) -> u32 = callout::redis::redis_call, Running;
            "proxy_inject_encoded_data_to_filter_chain" (body: u32, len: u32, end: u32) -> u32 = gateway::inject, Running;
            "proxy_get_upstream_hosts" (hosts: u32, len: u32) -> u32 = gateway::upstream_hosts, Running;
            "proxy_set_upstream_override_host" (address: u32, len: u32) -> u32 = gateway::override_host, Running;
            "emscripten_notify_memory_growth" (memory: u32) -> () = env::notify_memory_growth, Always;
            "pthread_equal" (a: u32, b: u32) -> u32 = env::pthread_equal, Always;
            "abort" (message: u32, file: u32, line: u32, column: u32) -> () = env::abort, Always;
            "seed" () -> f64 = env::seed, Always;
            "setTempRet0" (value: u32) -> () = env::set_temp_ret0, Always;
            "getTempRet0" () -> u32 = env::get_temp_ret0, Always;
        }
    };
}
pub(crate) use for_each_env_call;

/// Likewise for `wasi_snapshot_preview1` and `wasi_unstable`; results are WASI's errno.
macro_rules! for_each_wasi_call {
    ($expand:ident) => {
        $expand! {
            "fd_write" (fd: u32, iovs: u32, count: u32, out: u32) -> u32 = wasi::fd_write, Always;
            "fd_pwrite" (fd: u32, iovs: u32, count: u32, offset: u64, out: u32) -> u32 = wasi::fd_pwrite, Starting;
            "fd_read" (fd: u32, iovs: u32, count: u32, out: u32) -> u32 = wasi::unsupported_4, Running;
            "fd_pread" (fd: u32, iovs: u32, count: u32, offset: u64, out: u32) -> u32 = wasi::fd_pread, Starting;
            "fd_seek" (fd: u32, offset: u64, whence: u32, out: u32) -> u32 = wasi::fd_seek, Running;
            "fd_close" (fd: u32) -> u32 = wasi::fd_close, Running;
            "fd_fdstat_get" (fd: u32, out: u32) -> u32 = wasi::fd_fdstat_get, Starting;
            "fd_fdstat_set_flags" (fd: u32, flags: u32) -> u32 = wasi::fd_fdstat_set_flags, Starting;
            "fd_fdstat_set_rights" (fd: u32, base: u64, inheriting: u64) -> u32 = wasi::fd_fdstat_set_rights, Starting;
            "fd_filestat_get" (fd: u32, out: u32) -> u32 = wasi::bad_descriptor, Starting;
            "fd_prestat_get" (fd: u32, out: u32) -> u32 = wasi::bad_descriptor, Starting;
            "fd_prestat_dir_name" (fd: u32, path: u32, len: u32) -> u32 = wasi::fd_prestat_dir_name, Starting;
            "fd_filestat_set_size" (fd: u32, size: u64) -> u32 = wasi::fd_filestat_set_size, Starting;
            "fd_filestat_set_times" (fd: u32, accessed: u64, modified: u64, flags: u32) -> u32 = wasi::fd_filestat_set_times, Starting;
            "fd_allocate" (fd: u32, offset: u64, len: u64) -> u32 = wasi::fd_fdstat_set_rights, Starting;
            "fd_datasync" (fd: u32) -> u32 = wasi::fd_sync, Starting;
            "fd_sync" (fd: u32) -> u32 = wasi::fd_sync, Starting;
            "fd_advise" (fd: u32, offset: u64, len: u64, advice: u32) -> u32 = wasi::fd_advise, Starting;
            "fd_tell" (fd: u32, out: u32) -> u32 = wasi::fd_tell, Starting;
            "fd_readdir" (fd: u32, buffer: u32, len: u32, cookie: u64, out: u32) -> u32 = wasi::fd_readdir, Starting;
            "fd_renumber" (from: u32, to: u32) -> u32 = wasi::fd_renumber, Starting;
            "path_open" (fd: u32, dirflags: u32, path: u32, len: u32, oflags: u32, base: u64, inheriting: u64, flags: u32, out: u32) -> u32 = wasi::path_open, Running;
            "path_filestat_get" (fd: u32, flags: u32, path: u32, len: u32, out: u32) -> u32 = wasi::path_5, Starting;
            "path_create_directory" (fd: u32, path: u32, len: u32) -> u32 = wasi::path_3, Starting;
            "path_remove_directory" (fd: u32, path: u32, len: u32) -> u32 = wasi::path_3, Starting;
            "path_unlink_file" (fd: u32, path: u32, len: u32) -> u32 = wasi::path_3, Starting;
            "path_rename" (fd: u32, old: u32, old_len: u32, new_fd: u32, new: u32, new_len: u32) -> u32 = wasi::path_6, Starting;
            "path_filestat_set_times" (fd: u32, flags: u32, path: u32, len: u32, accessed: u64, modified: u64, which: u32) -> u32 = wasi::path_filestat_set_times, Starting;
            "path_link" (fd: u32, flags: u32, old: u32, old_len: u32, new_fd: u32, new: u32, new_len: u32) -> u32 = wasi::path_7, Starting;
            "path_symlink" (old: u32, old_len: u32, fd: u32, new: u32, new_len: u32) -> u32 = wasi::path_5, Starting;
            "path_readlink" (fd: u32, path: u32, len: u32, buffer: u32, buffer_len: u32, out: u32) -> u32 = wasi::path_readlink, Starting;
            "environ_sizes_get" (count: u32, bytes: u32) -> u32 = wasi::environ_sizes_get, Starting;
            "environ_get" (array: u32, buffer: u32) -> u32 = wasi::environ_get, Starting;
            "args_sizes_get" (count: u32, bytes: u32) -> u32 = wasi::args_sizes_get, Starting;
            "args_get" (array: u32, buffer: u32) -> u32 = wasi::args_get, Starting;
            "clock_time_get" (clock: u32, precision: u64, out: u32) -> u32 = wasi::clock_time_get, Always;
            "clock_res_get" (clock: u32, out: u32) -> u32 = wasi::clock_res_get, Starting;
            "random_get" (buffer: u32, len: u32) -> u32 = wasi::random_get, Starting;
            "sched_yield" () -> u32 = wasi::sched_yield, Running;
            "poll_oneoff" (input: u32, output: u32, count: u32, out: u32) -> u32 = wasi::poll_oneoff, Always;
            "proc_exit" (code: u32) -> () = wasi::proc_exit, Always;
            "sock_accept" (fd: u32, flags: u32, out: u32) -> u32 = wasi::sock_accept, Starting;
            "sock_recv" (fd: u32, iovs: u32, count: u32, flags: u32, out: u32, out_flags: u32) -> u32 = wasi::sock_recv, Starting;
            "sock_send" (fd: u32, iovs: u32, count: u32, flags: u32, out: u32) -> u32 = wasi::sock_send, Starting;
            "sock_shutdown" (fd: u32, how: u32) -> u32 = wasi::sock_shutdown, Starting;
        }
    };
}
pub(crate) use for_each_wasi_call;

/// The module names WASI's functions may be imported from.
pub(crate) const WASI_MODULES: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

/// What every hostcall costs, in instructions of a guest.
const COST: u64 = 20;

/// When a hostcall is allowed (sections 1.4 and 1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum When {
    /// Even inside the guest's allocator.
    Always,
    /// From the start function on, not inside the allocator.
    Starting,
    /// Once there is a context, not inside the allocator.
    Running,
}

/// A parameter or result type on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    I32,
    I64,
    F64,
}

/// A function a guest may import.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [Wire],
    pub(crate) result: Option<Wire>,
}

macro_rules! define_signatures {
    ($($name:literal ($($arg:ident: $ty:ident),*) -> $result:tt = $path:path, $when:ident;)*) => {
        &[$(Signature {
            name: $name,
            params: &[$(define_signatures!(@wire $ty)),*],
            result: define_signatures!(@result $result),
        },)*]
    };
    (@wire u32) => { Wire::I32 };
    (@wire u64) => { Wire::I64 };
    (@result u32) => { Some(Wire::I32) };
    (@result f64) => { Some(Wire::F64) };
    (@result ()) => { None };
}

pub(crate) static ENV: &[Signature] = for_each_env_call!(define_signatures);
pub(crate) static WASI: &[Signature] = for_each_wasi_call!(define_signatures);

/// Whether `name`, imported from `env`, belongs to that version of the ABI.
pub(crate) fn belongs_to(name: &str, version: AbiVersion) -> bool {
    match name {
        "proxy_get_configuration"
        | "proxy_continue_request"
        | "proxy_continue_response"
        | "proxy_clear_route_cache" => version == AbiVersion::V0_1_0,
        "proxy_continue_stream" | "proxy_close_stream" => version >= AbiVersion::V0_2_0,
        "proxy_get_log_level" => version >= AbiVersion::V0_2_1,
        "emscripten_notify_memory_growth" | "pthread_equal" | "envoy_resolve_dns" => true,
        _ => name.starts_with("proxy_") && !later::is_extension(name),
    }
}

/// Runs one hostcall, or refuses it where it is not allowed.
pub(crate) fn enter<C: GuestCaller, A: Answer<R>, R: Refusable>(
    caller: &mut C,
    hostcall: &Hostcall,
    call: impl FnOnce(&mut C) -> A,
) -> Result<R, HostTrap> {
    caller.charge(COST)?;
    let state = caller.state();
    let Hostcall { name, when, .. } = *hostcall;
    if (state.starting && when > When::Starting) || (state.allocating && when > When::Always) {
        let place = if state.allocating {
            "its allocator"
        } else {
            "its start function"
        };
        if !state.settings.compat.lenient_start {
            let message = format!("{name} is not allowed inside {place}");
            return Err(HostTrap {
                kind: TrapKind::Hostcall,
                message,
            });
        }
        state.notice(format_args!(
            "{name} called inside {place}: answered as not implemented"
        ));
        return Ok(R::refused(hostcall.unavailable));
    }
    if !state.hostcalls.contains(hostcall.number) {
        state.refuse(name);
        return Ok(R::refused(hostcall.forbidden));
    }
    call(caller).answer()
}

/// What a hostcall's function returns, made into what the wire returns.
pub(crate) trait Answer<R> {
    /// The value for the guest, or the end of its call.
    fn answer(self) -> Result<R, HostTrap>;
}

impl Answer<u32> for Outcome {
    // The one place where a failure becomes a status.
    fn answer(self) -> Result<u32, HostTrap> {
        match self {
            Ok(()) => Ok(Status::Ok as u32),
            Err(Failure::Status(status)) => Ok(status as u32),
            Err(Failure::Trap(trap)) => Err(trap),
        }
    }
}

impl<R> Answer<R> for Result<R, HostTrap> {
    fn answer(self) -> Self {
        self
    }
}

/// Results that can carry a refusal.
pub(crate) trait Refusable {
    /// The refusal's number, where there is room for one.
    fn refused(code: u32) -> Self;
}

impl Refusable for u32 {
    fn refused(code: u32) -> Self {
        code
    }
}

impl Refusable for f64 {
    fn refused(_code: u32) -> Self {
        0.0
    }
}

impl Refusable for () {
    fn refused(_code: u32) -> Self {}
}
