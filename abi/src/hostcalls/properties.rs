//! Properties (sections 2.7 and 7).

use bytes::Bytes;

use crate::codec;
use crate::exchange::Exchange;
use crate::filter_state::{FilterState, Prototype, Span};
#[cfg(feature = "foreign")]
use crate::guest::HostTrap;
use crate::guest::{self, GuestCaller, Outcome};
use crate::headers::Headers;
use crate::property::{Message, Value};
use crate::reply;
use crate::state::{Access, HostState};
use crate::types::{MapType, Status};

/// Longest path that can be the name of anything.
const MAX_PATH: usize = 64 << 10;

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
    let mut parts: Vec<&[u8]> = codec::path_parts(path).collect();
    // A terminator at the end is no further part.
    if parts.len() > 1 && parts.last().is_some_and(|last| last.is_empty()) {
        parts.pop();
    }
    // The path lies in the guest's memory, so what it costs is charged when it is known.
    let (read, found) = (reading(state, &parts), find(state, &parts));
    caller.charge(read.saturating_add(found.as_ref().map_or(0, cost)))?;
    let found = found.ok_or(Status::NotFound)?;
    let bytes = found.encode().ok_or(Status::SerializationFailure)?;
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
    let id = state.context();
    let stream = state.streams.get(id).ok_or(Status::NotFound)?;
    let prototype = match state.roots.get(&stream.root) {
        Some(root) => root.prototypes.of(path),
        None => Prototype::default(),
    };
    let mut exchange = stream.exchange.borrow_mut();
    let exchange = &mut *exchange;
    // One that is there stays where it is, whoever declared it and how.
    let here = exchange.filter_state.value(path).is_some();
    let stored = match exchange.attributes.connection_state() {
        Some(connection)
            if !here
                && (prototype.span == Span::Connection
                    || connection.borrow().value(path).is_some()) =>
        {
            connection.borrow_mut().set_value(path, value, prototype)?
        }
        _ => exchange.filter_state.set_value(path, value, prototype)?,
    };
    Ok(stored?)
}

/// What finding a property has cost, in instructions of a guest.
fn cost(found: &Value) -> u64 {
    match found {
        // Names are compared with each other while repeated ones are joined: quickly, unless
        // they are long and of one length.
        Value::Map(pairs) => {
            let count = pairs.len() as u64;
            let lengths = pairs.iter().map(|(name, _)| name.len() as u64);
            let long: u64 = lengths.filter(|length| *length > 64).sum();
            let compared = long.saturating_mul(count) / 16;
            count
                .saturating_pow(2)
                .saturating_mul(4)
                .saturating_add(compared)
        }
        _ => 0,
    }
}

/// What reading a certificate for a property costs, in instructions of a guest.
fn reading(state: &mut HostState, path: &[&[u8]]) -> u64 {
    /// Of each of its bytes, which are parsed, digested or written in another form.
    const BYTE: u64 = 4;
    let [b"connection" | b"upstream", _] = path else {
        return 0;
    };
    let Some(stream) = state.stream() else {
        return 0;
    };
    let read = stream.exchange.borrow().attributes.bytes_read(path);
    (read as u64).saturating_mul(BYTE)
}

/// [`find`] for a host function that looks for several, each at its price.
///
/// # Errors
/// When the running call has no time left.
#[cfg(feature = "foreign")]
pub(crate) fn look<C: GuestCaller>(
    caller: &mut C,
    path: &[&[u8]],
) -> Result<Option<Value>, HostTrap> {
    /// A few comparisons of names.
    const LOOK: u64 = 200;
    caller.charge(LOOK)?;
    let read = reading(caller.state(), path);
    caller.charge(read)?;
    let found = find(caller.state(), path);
    caller.charge(found.as_ref().map_or(0, cost))?;
    Ok(found)
}

/// The property of an exchange that is over, for whoever tells of it: all its header maps are
/// there, and no plugin asks.
#[cfg(feature = "foreign")]
pub(crate) fn of_exchange(exchange: &Exchange, path: &[&[u8]]) -> Option<Value> {
    let maps = Maps {
        request: exchange.map(MapType::RequestHeaders),
        response: exchange.map(MapType::ResponseHeaders),
        trailers: exchange.map(MapType::ResponseTrailers),
    };
    if path == [b"xds"] {
        return Some(Value::Unserialisable);
    }
    maps.find(exchange, path)
        .unwrap_or_else(|| attribute(exchange, path).or_else(|| stored(exchange, path)))
}

/// The property at a path of at least one part. Built-ins come before what filters have
/// set.
pub(crate) fn find(state: &mut HostState, path: &[&[u8]]) -> Option<Value> {
    let (first, rest) = path.split_first()?;
    match (*first, rest) {
        (b"plugin_name", []) => return Some(Value::text(&state.root()?.1.plugin.name)),
        (b"plugin_root_id", []) => return Some(Value::text(&state.root()?.1.plugin.root_id)),
        (b"plugin_vm_id", []) => return Some(Value::text(&state.settings.vm_id)),
        (b"xds", []) => return Some(Value::Unserialisable),
        (b"xds", [b"node", rest @ ..]) => return node(state)?.descend(rest),
        (b"node", rest) if state.settings.compat.old_property_names => {
            return node(state)?.descend(rest);
        }
        _ => {}
    }
    let compat = &state.settings.compat;
    let (old_names, lasting) = (
        compat.old_property_names,
        compat.response_phase_request_maps,
    );
    let stream = state.stream()?;
    let visible = |map| lasting || stream.access(map) != Access::None;
    let exchange = stream.exchange.borrow();
    if exchange.tcp && matches!(path, [b"request" | b"response", ..]) {
        return None;
    }
    let maps = Maps {
        request: visible_map(&exchange, MapType::RequestHeaders, visible),
        response: visible_map(&exchange, MapType::ResponseHeaders, visible),
        trailers: visible_map(&exchange, MapType::ResponseTrailers, visible),
    };
    if let Some(found) = maps.find(&exchange, path) {
        return found;
    }
    if let [b"connection_id"] = path {
        return exchange.attributes.attribute(&[b"connection", b"id"]);
    }
    if let Some(found) = attribute(&exchange, path) {
        return Some(found);
    }
    if old_names && let Some(found) = by_old_name(&exchange, path) {
        return Some(found);
    }
    stored(&exchange, path)
}

fn node(state: &HostState) -> Option<Value> {
    Some(Value::Message(Message::Node(state.host.node()?)))
}

fn visible_map(
    exchange: &Exchange,
    map: MapType,
    visible: impl Fn(MapType) -> bool,
) -> Option<&Headers> {
    exchange.map(map).filter(|_| visible(map))
}

/// What the embedder answers for the path, or for the beginning of it that is a value
/// with parts.
fn attribute(exchange: &Exchange, path: &[&[u8]]) -> Option<Value> {
    /// No value's own name has more parts; a guest's path may have any number.
    const DEEPEST: usize = 4;
    let attributes = &exchange.attributes;
    attributes.attribute(path).or_else(|| {
        (1..path.len().min(DEEPEST + 1)).rev().find_map(|at| {
            let (whole, rest) = path.split_at(at);
            attributes.attribute(whole)?.descend(rest)
        })
    })
}

/// What filters have stored: a bare name, or a key of `filter_state`.
fn stored(exchange: &Exchange, path: &[&[u8]]) -> Option<Value> {
    let in_both = |get: &dyn Fn(&FilterState) -> Option<Bytes>| {
        get(&exchange.filter_state).or_else(|| {
            let connection = exchange.attributes.connection_state()?;
            get(&connection.borrow())
        })
    };
    let found = match *path {
        [name] => in_both(&|state| state.value(name).cloned()),
        [b"filter_state", key] => match key.strip_prefix(b"wasm.") {
            Some(name) => in_both(&|state| state.value(name).cloned()),
            None => in_both(&|state| state.object(key).cloned()),
        },
        _ => None,
    };
    found.map(Value::Bytes)
}

/// The header maps that properties may be made of now.
struct Maps<'e> {
    request: Option<&'e Headers>,
    response: Option<&'e Headers>,
    trailers: Option<&'e Headers>,
}

// === impl Maps ===

impl Maps<'_> {
    /// Properties that are made of header maps and of what the embedder counts. `None`:
    /// not one of them; `Some(None)`: one of them, and absent.
    fn find(&self, exchange: &Exchange, path: &[&[u8]]) -> Option<Option<Value>> {
        match path {
            [
                b"request" | b"response" | b"filter_state" | b"connection" | b"upstream"
                | b"source" | b"destination",
            ] => Some(Some(Value::Unserialisable)),
            [b"request", name, rest @ ..] => self.request(exchange, name, rest),
            [b"response", name, rest @ ..] => self.response(exchange, name, rest),
            _ => None,
        }
    }

    fn request(&self, exchange: &Exchange, name: &[u8], rest: &[&[u8]]) -> Option<Option<Value>> {
        let map = self.request;
        match rest {
            _ if name != b"headers" => {}
            // Another name of the same field to Envoy.
            [host] if host.eq_ignore_ascii_case(b"host") => {
                return Some(map_value(map, &[b":authority"]));
            }
            _ => return Some(map_value(map, rest)),
        }
        if !rest.is_empty() {
            return Some(None);
        }
        let counted = || exchange.attributes.attribute(&[b"request", name]);
        let header = |name: &[u8]| map.and_then(|map| map.get(name).cloned()).map(Value::Bytes);
        // Without a path there is an empty one; without headers there is none.
        let url = |part: fn(&[u8]) -> &[u8]| {
            let url = map?.get(b":path").cloned().unwrap_or_default();
            Some(Value::Bytes(url.slice_ref(part(&url))))
        };
        Some(match name {
            b"path" => header(b":path"),
            b"url_path" => url(|url| split_query(url).0),
            b"query" => url(|url| split_query(url).1),
            b"host" => header(b":authority"),
            b"scheme" => header(b":scheme"),
            b"method" => header(b":method"),
            b"referer" => header(b"referer"),
            b"useragent" => header(b"user-agent"),
            b"id" => header(b"x-request-id"),
            b"headers_bytes" => Some(Value::Int(size(map))),
            b"size" => match map.and_then(|map| map.get(b"content-length")) {
                Some(length) => number(length).map(Value::Int),
                None => counted(),
            },
            b"total_size" => counted().map(|body| more(body, size(map))),
            _ => return None,
        })
    }

    fn response(&self, exchange: &Exchange, name: &[u8], rest: &[&[u8]]) -> Option<Option<Value>> {
        match name {
            b"headers" => return Some(map_value(self.response, rest)),
            b"trailers" => return Some(map_value(self.trailers, rest)),
            _ if !rest.is_empty() => return Some(None),
            _ => {}
        }
        let counted = || exchange.attributes.attribute(&[b"response", name]);
        // The answer of a filter has one before it has left; seen or not.
        let code = || {
            counted().or_else(|| {
                let status = exchange.response_headers.as_ref()?.get(b":status")?;
                number(status).map(Value::Int)
            })
        };
        Some(match name {
            b"headers_bytes" => Some(Value::Int(size(self.response))),
            b"total_size" => {
                let headers = size(self.response).saturating_add(size(self.trailers));
                counted().map(|body| more(body, headers))
            }
            b"code" => code(),
            b"grpc_status" => self.grpc_status(exchange),
            _ => return None,
        })
    }

    /// From the trailers, the headers, or the HTTP status; a status that is no number, or
    /// none of gRPC's, is −1.
    fn grpc_status(&self, exchange: &Exchange) -> Option<Value> {
        let told = [self.trailers, self.response]
            .into_iter()
            .find_map(|map| map?.get(b"grpc-status"));
        if let Some(told) = told {
            let known = number(told).filter(|status| (0..=16).contains(status));
            return Some(Value::Int(known.unwrap_or(-1)));
        }
        let counted = exchange.attributes.attribute(&[b"response", b"code"]);
        let status = match counted {
            Some(Value::Int(status)) => status,
            _ => number(exchange.response_headers.as_ref()?.get(b":status")?)?,
        };
        let status = u32::try_from(status).ok()?;
        Some(Value::Int(reply::grpc_status(status).into()))
    }
}

fn more(counted: Value, headers: i64) -> Value {
    match counted {
        Value::Int(body) => Value::Int(body.saturating_add(headers)),
        other => other,
    }
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

fn size(map: Option<&Headers>) -> i64 {
    map.map_or(0, |map| i64::try_from(map.byte_size()).unwrap_or(i64::MAX))
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

/// Up to the first `?`, and from there to the first `#` behind it.
fn split_query(url: &[u8]) -> (&[u8], &[u8]) {
    match url.iter().position(|byte| *byte == b'?') {
        Some(at) => {
            let query = &url[at + 1..];
            let end = query.iter().position(|byte| *byte == b'#');
            (&url[..at], &query[..end.unwrap_or(query.len())])
        }
        None => (url, &url[url.len()..]),
    }
}

/// Names of older Envoys, which now stand under `xds` (section 7.5).
fn by_old_name(exchange: &Exchange, path: &[&[u8]]) -> Option<Value> {
    let (first, rest) = path.split_first()?;
    let known: [&[u8]; 7] = [
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
    attribute(exchange, &path)
}
