//! `set_envoy_filter_state` and `declare_property`.

use bytes::Bytes;
use prost::Message;

use super::{Answer, decode};
use crate::filter_state::{Prototype, Span};
use crate::guest::GuestCaller;
use crate::types::Status;

/// Keys that Envoy has a factory of objects for; any other is unknown there as here. They
/// are stored for filters to read (`filter_state\0KEY`) and change nothing else.
const KEYS: &[&str] = &[
    "envoy.network.application_protocols",
    "envoy.network.upstream_server_name",
    "envoy.network.upstream_subject_alt_names",
    "envoy.string",
    "envoy.hashable_string",
    "envoy.tcp_proxy.cluster",
    "envoy.tcp_proxy.per_connection_idle_timeout_ms",
    "envoy.upstream.dynamic_host",
    "envoy.upstream.dynamic_port",
];

/// `envoy.source.extensions.common.wasm.SetEnvoyFilterStateArguments`.
#[derive(Clone, PartialEq, Message)]
struct SetEnvoyFilterState {
    #[prost(bytes = "bytes", tag = "1")]
    path: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
    #[prost(int32, tag = "3")]
    span: i32,
}

/// `envoy.source.extensions.common.wasm.DeclarePropertyArguments`.
#[derive(Clone, PartialEq, Message)]
struct DeclareProperty {
    #[prost(bytes = "bytes", tag = "1")]
    name: Bytes,
    #[prost(bool, tag = "2")]
    read_only: bool,
    /// 0 bytes, 1 string, 2 flat buffers, 3 protobuf: all of them read as the same bytes.
    #[prost(int32, tag = "3")]
    ty: i32,
    #[prost(bytes = "bytes", tag = "4")]
    schema: Bytes,
    #[prost(int32, tag = "5")]
    span: i32,
}

pub(super) fn set_envoy_filter_state<C: GuestCaller>(caller: &mut C, args: Bytes) -> Answer {
    let args = decode::<SetEnvoyFilterState>(args)?;
    if !KEYS.iter().any(|key| key.as_bytes() == args.path) {
        return Err(Status::NotFound.into());
    }
    if is_number(&args.path) && !is_decimal(&args.value) {
        return Err(Status::BadArgument.into());
    }
    let stream = caller.state().stream().ok_or(Status::NotFound)?;
    let mut exchange = stream.exchange.borrow_mut();
    let exchange = &mut *exchange;
    match (span(args.span), exchange.attributes.connection_state()) {
        (Span::Connection, Some(connection)) => {
            connection
                .borrow_mut()
                .set_object(&args.path, &args.value)?;
        }
        _ => exchange.filter_state.set_object(&args.path, &args.value)?,
    }
    Ok(Bytes::new())
}

/// Belongs to the calling context, as in Envoy: what a root declares holds for its
/// streams, what a stream declares for nobody.
pub(super) fn declare_property<C: GuestCaller>(caller: &mut C, args: Bytes) -> Answer {
    let args = decode::<DeclareProperty>(args)?;
    let prototype = Prototype {
        read_only: args.read_only,
        span: span(args.span),
    };
    // A copy of its own: the name must not keep the whole message.
    let name = Bytes::copy_from_slice(&args.name);
    let state = caller.state();
    let id = state.current;
    let prototypes = match state.streams.get_mut(id) {
        Some(stream) => &mut stream.prototypes,
        None => &mut state.roots.get_mut(&id).ok_or(Status::NotFound)?.prototypes,
    };
    prototypes.declare(name, prototype)?;
    Ok(Bytes::new())
}

/// Whether a key's value is a number.
fn is_number(key: &[u8]) -> bool {
    matches!(
        key,
        b"envoy.tcp_proxy.per_connection_idle_timeout_ms" | b"envoy.upstream.dynamic_port"
    )
}

fn is_decimal(value: &[u8]) -> bool {
    let text = std::str::from_utf8(value);
    text.is_ok_and(|text| text.parse::<u64>().is_ok())
}

const fn span(number: i32) -> Span {
    match number {
        2 => Span::Connection,
        _ => Span::Request,
    }
}
