//! Streams, contexts and timers (sections 2.1, 2.5, 2.6).

use std::time::Duration;

use bytes::Bytes;

use crate::callbacks::Callback;
use crate::codec;
use crate::exchange::{Effect, LocalReply};
use crate::guest::{self, GuestCaller, Outcome};
use crate::state::{Access, HostState, RootEffect};
use crate::types::{MapType, Status, StreamType, Way};
use crate::vm::RootId;

/// So long an answer of a guest may always be, however little its filter may hold of a body.
const ANSWER: usize = 64 << 10;

pub(crate) fn set_tick_period<C: GuestCaller>(caller: &mut C, period: u32) -> Outcome {
    super::callout::charge_replacing(caller)?;
    let state = caller.state();
    if let Some((root, _)) = state.root() {
        let period = (period != 0).then(|| Duration::from_millis(u64::from(period)));
        state.push_root_effect(RootEffect::Tick {
            root: RootId(root),
            period,
        });
    }
    Ok(())
}

pub(crate) fn continue_stream<C: GuestCaller>(caller: &mut C, stream: u32) -> Outcome {
    let stream = StreamType::from_wire(stream).ok_or(Status::BadArgument)?;
    if stream == StreamType::Upstream {
        return Err(Status::Unimplemented.into());
    }
    resume(caller.state(), stream);
    Ok(())
}

pub(crate) fn continue_request<C: GuestCaller>(caller: &mut C) -> Outcome {
    resume(caller.state(), StreamType::HttpRequest);
    Ok(())
}

pub(crate) fn continue_response<C: GuestCaller>(caller: &mut C) -> Outcome {
    resume(caller.state(), StreamType::HttpResponse);
    Ok(())
}

/// The route is chosen again once the headers leave the filters (from elsewhere there is
/// nothing to do).
pub(crate) fn clear_route_cache<C: GuestCaller>(caller: &mut C) -> Outcome {
    if let Some(stream) = caller.state().stream() {
        stream.exchange.borrow_mut().route_cleared = true;
    }
    Ok(())
}

pub(crate) fn close_stream<C: GuestCaller>(caller: &mut C, stream: u32) -> Outcome {
    let stream = StreamType::from_wire(stream).ok_or(Status::BadArgument)?;
    caller.state().push_effect(Effect::Close(stream));
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI has that many")]
pub(crate) fn send_local_response<C: GuestCaller>(
    caller: &mut C,
    code: u32,
    details: u32,
    details_len: u32,
    body: u32,
    body_len: u32,
    headers: u32,
    headers_len: u32,
    grpc: u32,
) -> Outcome {
    for length in [details_len, body_len] {
        guest::charge_bytes(caller, length as usize)?;
    }
    guest::charge_pairs(caller, headers, headers_len)?;
    let (memory, state) = caller.split();
    let details = guest::bytes(memory, details, details_len)?;
    let body = guest::bytes(memory, body, body_len)?;
    let headers = guest::bytes(memory, headers, headers_len)?;
    let size = details.len() + body.len() + headers.len();
    if size > state.body_limit(Way::Response).max(ANSWER) {
        state.too_large(Way::Response);
        return Ok(());
    }
    let headers = codec::decode_pairs(headers).unwrap_or_else(|codec::Malformed| {
        state.notice(format_args!(
            "proxy_send_local_response: malformed headers left out"
        ));
        Vec::new()
    });
    let reply = LocalReply {
        status: code,
        details: Bytes::copy_from_slice(details),
        body: Bytes::copy_from_slice(body),
        headers,
        grpc_status: grpc.cast_signed(),
    };
    let callback = state.callback.map_or("", Callback::name);
    state.push_effect(Effect::LocalReply(reply, callback));
    Ok(())
}

pub(crate) fn set_effective_context<C: GuestCaller>(caller: &mut C, context: u32) -> Outcome {
    let state = caller.state();
    if context != 0 && !state.exists(context) {
        return Err(Status::BadArgument.into());
    }
    state.effective = context;
    Ok(())
}

pub(crate) fn done<C: GuestCaller>(caller: &mut C) -> Outcome {
    let state = caller.state();
    let (id, root) = state.root().ok_or(Status::NotFound)?;
    if !std::mem::take(&mut root.pending_done) {
        return Err(Status::NotFound.into());
    }
    state.push_root_effect(RootEffect::Done { root: RootId(id) });
    Ok(())
}

fn resume(state: &mut HostState, stream: StreamType) {
    // Request maps go away at once, even inside the same callback (section 2.4).
    if matches!(stream, StreamType::HttpRequest | StreamType::HttpResponse) {
        let left = if state.settings.compat.response_phase_request_maps {
            Access::Read
        } else {
            Access::None
        };
        if let Some(context) = state.stream() {
            for map in [MapType::RequestHeaders, MapType::RequestTrailers] {
                let access = &mut context.access[map as usize];
                if *access == Access::Write {
                    *access = left;
                }
            }
        }
    }
    state.push_effect(Effect::Continue(stream));
}
