//! The hostcall lists, expanded for an engine.
//!
//! This file is a module of each engine's. wasmi and wasmtime name their `Linker`, `Caller`
//! and `Val` alike, but share no trait: `backend` is the one crate or the other, and what
//! differs between them is `fail` and `func_type`, beside it.

#![allow(
    clippy::useless_conversion,
    reason = "wasmi's linker has an error of its own, wasmtime's has not"
)]

use super::backend::{Caller, Error, Linker, Val, ValType};
use super::{Data, fail, func_type};
use crate::error::LoadError;
#[cfg(feature = "harness")]
use crate::guest::GuestCaller as _;
use crate::guest::{Failure, Outcome};
#[cfg(feature = "harness")]
use crate::harness::border;
use crate::hostcalls::{
    self, Hostcall, When, buffers, callout, configuration, env, foreign, gateway, headers, later,
    log, metrics, properties, shared_data, shared_queue, stream, wasi,
};
use crate::module::{Import, Support, lacks_metadata, may_return_nothing};
use crate::types::Status;

macro_rules! define_env {
    ($($name:literal ($($arg:ident: $ty:ident),*) -> $result:tt = $path:path, $when:ident;)*) => {
        fn define_env<const COUNTED: bool>(
            linker: &mut Linker<Data>,
            import: &Import,
        ) -> Option<Result<(), Error>> {
            match import.name.as_str() {
                $($name => Some(linker.func_wrap(
                    "env",
                    $name,
                    |mut caller: Caller<'_, Data> $(, $arg: $ty)*| -> Result<$result, Error> {
                        const CALL: Hostcall = Hostcall::env($name, When::$when);
                        let done = hostcalls::enter(&mut caller, &CALL, |caller| $path(caller $(, $arg)*))
                            .map_err(fail);
                        if COUNTED {
                            counted(&mut caller, $name, &[$((stringify!($arg), u64::from($arg))),*], &done);
                        }
                        done
                    },
                ).map(drop).map_err(Error::from)),)*
                _ => None,
            }
        }
    };
}
hostcalls::for_each_env_call!(define_env);

macro_rules! define_wasi {
    ($($name:literal ($($arg:ident: $ty:ident),*) -> $result:tt = $path:path, $when:ident;)*) => {
        fn define_wasi<const COUNTED: bool>(
            linker: &mut Linker<Data>,
            import: &Import,
        ) -> Option<Result<(), Error>> {
            match import.name.as_str() {
                $($name => Some(linker.func_wrap(
                    &import.module,
                    $name,
                    |mut caller: Caller<'_, Data> $(, $arg: $ty)*| -> Result<$result, Error> {
                        const CALL: Hostcall = Hostcall::wasi($name, When::$when);
                        let done = hostcalls::enter(&mut caller, &CALL, |caller| $path(caller $(, $arg)*))
                            .map_err(fail);
                        if COUNTED {
                            counted(&mut caller, $name, &[$((stringify!($arg), u64::from($arg))),*], &done);
                        }
                        done
                    },
                ).map(drop).map_err(Error::from)),)*
                _ => None,
            }
        }
    };
}
hostcalls::for_each_wasi_call!(define_wasi);

/// Counts what that call has carried, for those who measure guests.
#[cfg(feature = "harness")]
fn counted<R: border::WentWell>(
    caller: &mut Caller<'_, Data>,
    name: &str,
    arguments: &[(&str, u64)],
    done: &Result<R, Error>,
) {
    if done.as_ref().is_ok_and(border::WentWell::went_well) {
        border::count(name, arguments, caller.split().0);
    }
}

/// Nobody measures.
#[cfg(not(feature = "harness"))]
const fn counted<R>(
    _caller: &mut Caller<'_, Data>,
    _name: &str,
    _arguments: &[(&str, u64)],
    _done: &Result<R, Error>,
) {
}

/// Puts one import into the linker, in the type the module wants it. `COUNTED`: with a look
/// at what each call carries.
pub(super) fn define<const COUNTED: bool>(
    linker: &mut Linker<Data>,
    import: &Import,
) -> Result<(), LoadError> {
    let missing = |problem: String| LoadError::Import {
        name: import.full_name(),
        problem,
    };
    let defined = match &import.support {
        Support::Missing(problem) => return Err(missing(problem.clone())),
        Support::Built if import.ty.results().is_empty() && may_return_nothing(&import.name) => {
            define_without_result(linker, import)
        }
        Support::Built if lacks_metadata(&import.name, import.ty.params().len()) => {
            define_without_metadata(linker, import)
        }
        Support::Built if import.module == "env" => define_env::<COUNTED>(linker, import),
        Support::Built => define_wasi::<COUNTED>(linker, import),
        Support::Later => Some(define_later(linker, import)),
    };
    match defined {
        Some(Ok(())) => Ok(()),
        // The same import listed twice needs no second definition.
        Some(Err(error)) if error.to_string().contains("duplicate") => Ok(()),
        Some(Err(error)) => Err(missing(error.to_string())),
        None => Err(missing("this engine does not define it".to_owned())),
    }
}

/// The calls of 0.1.0 that some guests import without a result.
fn define_without_result(linker: &mut Linker<Data>, import: &Import) -> Option<Result<(), Error>> {
    type Call = fn(&mut Caller<'_, Data>) -> Outcome;
    let (name, call): (&'static str, Call) = match import.name.as_str() {
        "proxy_continue_request" => ("proxy_continue_request", |caller| {
            stream::continue_request(caller)
        }),
        "proxy_continue_response" => ("proxy_continue_response", |caller| {
            stream::continue_response(caller)
        }),
        "proxy_clear_route_cache" => ("proxy_clear_route_cache", |caller| {
            stream::clear_route_cache(caller)
        }),
        _ => return None,
    };
    let hostcall = Hostcall::env(name, When::Running);
    let call = move |mut caller: Caller<'_, Data>| -> Result<(), Error> {
        let answer: Result<u32, _> = hostcalls::enter(&mut caller, &hostcall, call);
        answer.map(drop).map_err(fail)
    };
    let defined = linker.func_wrap("env", name, call);
    Some(defined.map(drop).map_err(Error::from))
}

/// A gRPC call whose metadata, two parameters between `before` and `after`, is none.
macro_rules! without_metadata {
    ($linker:ident, $name:literal, $call:path, ($($before:ident),*), ($($after:ident),*)) => {
        $linker.func_wrap(
            "env",
            $name,
            |mut caller: Caller<'_, Data>, $($before: u32,)* $($after: u32),*| {
                const CALL: Hostcall = Hostcall::env($name, When::Running);
                hostcalls::enter::<_, _, u32>(&mut caller, &CALL, |caller| {
                    $call(caller, $($before,)* 0, 0, $($after),*)
                })
                .map_err(fail)
            },
        )
    };
}

fn define_without_metadata(
    linker: &mut Linker<Data>,
    import: &Import,
) -> Option<Result<(), Error>> {
    let defined = if import.name == "proxy_grpc_call" {
        without_metadata!(
            linker,
            "proxy_grpc_call",
            callout::grpc::grpc_call,
            (
                upstream,
                upstream_len,
                service,
                service_len,
                method,
                method_len
            ),
            (message, message_len, timeout, token)
        )
    } else {
        without_metadata!(
            linker,
            "proxy_grpc_stream",
            callout::grpc::grpc_stream,
            (
                upstream,
                upstream_len,
                service,
                service_len,
                method,
                method_len
            ),
            (token)
        )
    };
    Some(defined.map(drop).map_err(Error::from))
}

fn define_later(linker: &mut Linker<Data>, import: &Import) -> Result<(), Error> {
    let convert = |ty: &wasmparser::ValType| match ty {
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F64 => ValType::F64,
        _ => ValType::I32,
    };
    let ty = func_type(
        linker,
        import.ty.params().iter().map(convert),
        import.ty.results().iter().map(convert),
    );
    let row = later::LATER.iter().find(|row| row.name == import.name);
    let hostcall = Hostcall::env(row.map_or("", |row| row.name), When::Running);
    linker
        .func_new(
            "env",
            &import.name,
            ty,
            move |mut caller: Caller<'_, Data>, _params, results| {
                let answer: u32 = hostcalls::enter(&mut caller, &hostcall, |_| {
                    Err(Failure::Status(Status::Unimplemented))
                })
                .map_err(fail)?;
                if let Some(result) = results.first_mut() {
                    *result = Val::I32(answer.cast_signed());
                }
                Ok(())
            },
        )
        .map(drop)
        .map_err(Error::from)
}
