//! Bodies and configurations as buffers (section 2.3).

use bytes::Bytes;

use crate::callbacks::Callback;
use crate::guest::{self, GuestCaller, Outcome};
use crate::state::HostState;
use crate::types::{BufferType, Status, Way};
use crate::version::AbiVersion;
use crate::window::Window;

pub(crate) fn get_buffer_bytes<C: GuestCaller>(
    caller: &mut C,
    buffer: u32,
    start: u32,
    max: u32,
    value: u32,
    value_len: u32,
) -> Outcome {
    let buffer = buffer_type(caller.state(), buffer)?;
    let range = |length: usize| {
        let start = (start as usize).min(length);
        start..start.saturating_add(max as usize).min(length)
    };
    // A body is copied from its window straight into the guest.
    if let Some((way, tcp)) = body(buffer) {
        let stream = caller.state().stream();
        let Some(stream) = stream.filter(|stream| stream.tcp == tcp) else {
            return guest::give(caller, value, value_len, &[]);
        };
        let range = range(stream.window(way).visible_len());
        return guest::give_with(caller, value, value_len, range.len(), |state, place| {
            // The guest's allocator has run meanwhile.
            let stream = state.stream().ok_or(Status::InternalFailure)?;
            let copied = stream.window(way).copy_visible(range.start, place);
            copied.then_some(()).ok_or(Status::InternalFailure)
        });
    }
    let bytes = fixed(caller.state(), buffer).ok_or(Status::NotFound)?;
    guest::give(caller, value, value_len, &bytes[range(bytes.len())])
}

pub(crate) fn get_buffer_status<C: GuestCaller>(
    caller: &mut C,
    buffer: u32,
    len: u32,
    flags: u32,
) -> Outcome {
    let state = caller.state();
    let buffer = buffer_type(state, buffer)?;
    let length = match body(buffer) {
        // As in Envoy: never "not found", only empty.
        Some((way, tcp)) => state
            .stream()
            .filter(|stream| stream.tcp == tcp)
            .map_or(0, |stream| stream.window(way).visible_len()),
        None => fixed(state, buffer).ok_or(Status::NotFound)?.len(),
    };
    let (memory, _) = caller.split();
    guest::bytes(memory, flags, 4)?;
    guest::write_u32(memory, len, u32::try_from(length).unwrap_or(u32::MAX))?;
    Ok(guest::write_u32(memory, flags, 0)?)
}

pub(crate) fn set_buffer_bytes<C: GuestCaller>(
    caller: &mut C,
    buffer: u32,
    start: u32,
    size: u32,
    value: u32,
    value_len: u32,
) -> Outcome {
    let buffer = buffer_type(caller.state(), buffer)?;
    guest::charge_bytes(caller, value_len as usize)?;
    let (memory, state) = caller.split();
    let data = guest::bytes(memory, value, value_len)?;
    let splice = state.settings.compat.splice_body;
    let most = state.settings.limits.memory;
    let window = editable(state, buffer)?;
    if !window.is_editable() {
        return Err(Status::NotFound.into());
    }
    let place = window
        .place(start as usize, size as usize, splice)
        .map_err(|()| Status::BadArgument)?;
    let (before, grown) = (window.len(), window.grown_by(&place, data.len()));
    if let Some((way, _)) = body(buffer) {
        // What only passes is the sender's affair, what the guest adds to it is ours.
        if !state.has_room(way, grown, data.len().saturating_sub(place.len())) {
            state.too_large(way);
            return Ok(());
        }
    } else if before.saturating_add(data.len()) > most {
        // What a guest could hold itself, the host may hold for it.
        return Err(guest::too_much("a message", most).into());
    }
    editable(state, buffer)?.edit(place, data);
    // What is there already was moved, at worst.
    Ok(guest::charge_work(caller, before)?)
}

/// Buffer 9 is of section 13 alone: elsewhere there is no such number.
fn buffer_type(state: &HostState, buffer: u32) -> Result<BufferType, Status> {
    BufferType::from_wire(buffer)
        .filter(|buffer| {
            *buffer != BufferType::RedisCallResponse
                || state.version == AbiVersion::V0_2_100
                || state.callback == Some(Callback::RedisCallResponse)
        })
        .ok_or(Status::BadArgument)
}

/// The body, or the way of a TCP connection (`true`), a buffer type stands for.
const fn body(buffer: BufferType) -> Option<(Way, bool)> {
    match buffer {
        BufferType::RequestBody => Some((Way::Request, false)),
        BufferType::ResponseBody => Some((Way::Response, false)),
        BufferType::DownstreamData => Some((Way::Request, true)),
        BufferType::UpstreamData => Some((Way::Response, true)),
        _ => None,
    }
}

/// A buffer that can be edited.
fn editable(state: &mut HostState, buffer: BufferType) -> Result<&mut Window, Status> {
    if let Some((way, tcp)) = body(buffer) {
        let stream = state.stream().filter(|stream| stream.tcp == tcp);
        return Ok(stream.ok_or(Status::NotFound)?.window(way));
    }
    let message = state.grpc_message();
    message
        .filter(|_| buffer == BufferType::GrpcMessage)
        .ok_or(Status::BadArgument)
}

/// A buffer of what a root is being told.
fn delivered(state: &mut HostState, buffer: BufferType) -> Option<Bytes> {
    state.content()?.buffer(buffer).cloned()
}

/// A buffer nobody can edit, if it is there now.
fn fixed(state: &mut HostState, buffer: BufferType) -> Option<Bytes> {
    match buffer {
        // As in Envoy: never "not found", only empty.
        BufferType::GrpcMessage => Some(delivered(state, buffer).unwrap_or_default()),
        BufferType::HttpCallResponseBody | BufferType::RedisCallResponse | BufferType::CallData => {
            delivered(state, buffer)
        }
        BufferType::VmConfiguration => Some(state.settings.configuration.clone()),
        BufferType::PluginConfiguration => match state.root() {
            Some((_, root)) if root.configuring => Some(root.plugin.configuration.clone()),
            _ => None,
        },
        _ => None,
    }
}
