//! Properties (sections 2.7 and 7).

use bytes::Bytes;

use crate::codec;
use crate::exchange::Exchange;
use crate::guest::{self, GuestCaller, Outcome};
use crate::headers::Headers;
use crate::property::Value;
use crate::reply;
use crate::state::HostState;
use crate::types::{MapType, Status};

/// Longest path that can be the name of anything.
const MAX_PATH: usize = 64 << 10;
/// Most bytes all filters of an exchange may store in it.
const MAX_STORED: usize = 1 << 20;

pub(crate) fn get_property<C: GuestCaller>(
    caller: &mut C,
    path: u32,
    path_len: u32,
    value: u32,
    value_len: u32,
) -> Outcome {
    guest::charge_bytes(caller, path_len as usize)?;
    let (memory, state) = caller.split();
    let path = guest::bytes(memory, path, path_len)?;
    if path.is_empty() {
        return Err(Status::SerializationFailure.into());
    }
    if path.len() > MAX_PATH {
        return Err(Status::NotFound.into());
    }
    let parts: Vec<&[u8]> = codec::path_parts(path).collect();
    let found = lookup(state, path, &parts).ok_or(Status::NotFound)?;
    let bytes = match found {
        Value::Map(pairs) => {
            // Names are compared with each other while repeated ones are joined.
            caller.charge((pairs.len() as u64).saturating_mul(pairs.len() as u64) / 4)?;
            Value::Map(pairs).encode()
        }
        found => found.encode(),
    };
    let bytes = bytes.ok_or(Status::SerializationFailure)?;
    guest::give(caller, value, value_len, &bytes)
}

pub(crate) fn set_property<C: GuestCaller>(
    caller: &mut C,
    path: u32,
    path_len: u32,
    value: u32,
    value_len: u32,
) -> Outcome {
    guest::charge_bytes(caller, path_len.saturating_add(value_len) as usize)?;
    let (memory, state) = caller.split();
    let path = guest::bytes(memory, path, path_len)?;
    let value = guest::bytes(memory, value, value_len)?;
    let stream = state.stream().ok_or(Status::NotFound)?;
    let mut exchange = stream.exchange.borrow_mut();
    if exchange
        .properties_size
        .saturating_add(path.len())
        .saturating_add(value.len())
        > MAX_STORED
    {
        return Err(guest::too_much("properties", MAX_STORED).into());
    }
    exchange.set_property(Bytes::copy_from_slice(path), Bytes::copy_from_slice(value));
    Ok(())
}

/// Built-ins come before what filters have set.
fn lookup(state: &mut HostState, raw: &[u8], path: &[&[u8]]) -> Option<Value> {
    let text = |text: &str| Some(Value::text(text));
    match path {
        [b"plugin_name"] => {
            let (_, root) = state.root()?;
            return text(&root.plugin.name.clone());
        }
        [b"plugin_root_id"] => {
            let (_, root) = state.root()?;
            return text(&root.plugin.root_id.clone());
        }
        [b"connection_id"] => {
            return state
                .stream()?
                .exchange
                .borrow()
                .attributes
                .attribute(&[b"connection", b"id"]);
        }
        [b"plugin_vm_id"] => return text(&state.settings.vm_id),
        _ => {}
    }
    let old_names = state.settings.compat.old_property_names;
    let stream = state.stream()?;
    let exchange = stream.exchange.borrow();
    if exchange.tcp && matches!(path, [b"request" | b"response", ..]) {
        return None;
    }
    if let Some(found) = from_headers(&exchange, path) {
        return found;
    }
    if let Some(found) = derived(&exchange, path) {
        return found;
    }
    if let Some(found) = exchange.attributes.attribute(path) {
        return Some(found);
    }
    if old_names && let Some(found) = by_old_name(&exchange, path) {
        return Some(found);
    }
    match path {
        [_] => exchange.properties.get(raw).cloned().map(Value::Bytes),
        [b"filter_state", key] => {
            let key = key.strip_prefix(b"wasm.")?;
            exchange.properties.get(key).cloned().map(Value::Bytes)
        }
        _ => None,
    }
}

/// Properties that are nothing but header maps. `None`: not one of them; `Some(None)`: one
/// of them, and absent.
fn from_headers(exchange: &Exchange, path: &[&[u8]]) -> Option<Option<Value>> {
    let request = exchange.request_headers.as_ref();
    let header = |name: &[u8]| {
        Some(
            request
                .and_then(|map| map.get(name).cloned())
                .map(Value::Bytes),
        )
    };
    let url = |part: fn(&[u8]) -> &[u8]| {
        let url = request.and_then(|map| map.get(b":path"))?;
        Some(Value::Bytes(url.slice_ref(part(url))))
    };
    match path {
        [b"request" | b"response" | b"filter_state" | b"connection" | b"upstream"]
        | [b"request" | b"response", b""] => Some(Some(Value::Unserialisable)),
        [b"request", b"path"] => header(b":path"),
        [b"request", b"url_path"] => Some(url(|url| split_query(url).0)),
        [b"request", b"query"] => Some(url(|url| split_query(url).1)),
        [b"request", b"host"] => header(b":authority"),
        [b"request", b"scheme"] => header(b":scheme"),
        [b"request", b"method"] => header(b":method"),
        [b"request", b"referer"] => header(b"referer"),
        [b"request", b"useragent"] => header(b"user-agent"),
        [b"request", b"id"] => header(b"x-request-id"),
        [b"request", b"headers", rest @ ..] => Some(map_value(request, rest)),
        [b"request", b"headers_bytes"] => Some(size(request)),
        [b"response", b"headers", rest @ ..] => {
            Some(map_value(exchange.map(MapType::ResponseHeaders), rest))
        }
        [b"response", b"headers_bytes"] => Some(size(exchange.map(MapType::ResponseHeaders))),
        [b"response", b"trailers", rest @ ..] => {
            Some(map_value(exchange.map(MapType::ResponseTrailers), rest))
        }
        _ => None,
    }
}

/// Properties made of header maps and of what the embedder counts. `None`: not one of them.
fn derived(exchange: &Exchange, path: &[&[u8]]) -> Option<Option<Value>> {
    let counted = || exchange.attributes.attribute(path);
    let request = exchange.request_headers.as_ref();
    let response = exchange.response_headers.as_ref();
    match path {
        [b"request", b"size"] => {
            let length = request.and_then(|map| map.get(b"content-length"))?;
            Some(number(length).map(Value::Int))
        }
        [b"request", b"total_size"] => Some(with_headers(counted()?, request)),
        [b"response", b"total_size"] => Some(with_headers(counted()?, response)),
        // The answer of a filter has one before it has left.
        [b"response", b"code"] => Some(counted().or_else(|| {
            let status = response.and_then(|map| map.get(b":status"))?;
            number(status).map(Value::Int)
        })),
        [b"response", b"grpc_status"] => {
            let trailers = exchange.response_trailers.as_ref();
            let told = [trailers, response]
                .into_iter()
                .find_map(|map| map?.get(b"grpc-status").cloned());
            Some(match told {
                Some(told) => number(&told).map(Value::Int),
                None => response
                    .and_then(|map| number(map.get(b":status")?))
                    .and_then(|status| u32::try_from(status).ok())
                    .map(|status| Value::Int(reply::grpc_status(status).into())),
            })
        }
        _ => None,
    }
}

fn with_headers(bytes: Value, map: Option<&Headers>) -> Option<Value> {
    match (bytes, size(map)) {
        (Value::Int(body), Some(Value::Int(headers))) => {
            Some(Value::Int(body.saturating_add(headers)))
        }
        (other, _) => Some(other),
    }
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn size(map: Option<&Headers>) -> Option<Value> {
    Some(Value::Int(map.map_or(0, |map| {
        i64::try_from(map.byte_size()).unwrap_or(i64::MAX)
    })))
}

fn map_value(map: Option<&Headers>, rest: &[&[u8]]) -> Option<Value> {
    match rest {
        [] => Some(Value::Map(map.map_or_else(Vec::new, joined))),
        [name] => map?.joined(name).map(Value::Bytes),
        _ => None,
    }
}

/// Distinct names, repeated values joined.
fn joined(map: &Headers) -> Vec<(Bytes, Bytes)> {
    let mut out: Vec<(Bytes, Bytes)> = Vec::with_capacity(map.len());
    for (name, _) in map.entries() {
        if !out.iter().any(|(seen, _)| seen == name) {
            out.push((name.clone(), map.joined(name).unwrap_or_default()));
        }
    }
    out
}

fn split_query(url: &[u8]) -> (&[u8], &[u8]) {
    let url = url.split(|byte| *byte == b'#').next().unwrap_or_default();
    match url.iter().position(|byte| *byte == b'?') {
        Some(at) => (&url[..at], &url[at + 1..]),
        None => (url, &url[url.len()..]),
    }
}

/// Names of older Envoys, which now stand under `xds` (section 7.5).
fn by_old_name(exchange: &Exchange, path: &[&[u8]]) -> Option<Value> {
    let (first, rest) = path.split_first()?;
    let known: [&[u8]; 8] = [
        b"node",
        b"cluster_name",
        b"cluster_metadata",
        b"route_name",
        b"route_metadata",
        b"listener_direction",
        b"listener_metadata",
        b"upstream_host_metadata",
    ];
    if !known.contains(first) {
        return None;
    }
    let mut path = vec![&b"xds"[..], first];
    path.extend_from_slice(rest);
    exchange.attributes.attribute(&path)
}
