//! What callouts of every kind have in common (section 2.11): whom they may go to, how
//! many there may be, and what is said of the last one.

pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod redis;

use bytes::Bytes;

use crate::callout::{Callout, Target, Token, TokenKind};
use crate::codec;
use crate::guest::{self, GuestCaller, HostTrap, Outcome};
use crate::headers::Headers;
use crate::limits::Limit;
use crate::state::{HostState, RootEffect};
use crate::types::Status;
use crate::vm::RootId;

pub(crate) fn get_status<C: GuestCaller>(
    caller: &mut C,
    code: u32,
    text: u32,
    len: u32,
) -> Outcome {
    let (memory, state) = caller.split();
    guest::bytes(memory, text, 4)?;
    guest::bytes(memory, len, 4)?;
    let (status, message) = state.root().map_or((0, Bytes::new()), |(_, root)| {
        (root.status, root.status_message.clone())
    });
    guest::write_u32(memory, code, status)?;
    guest::give(caller, text, len, &message)
}

/// Whom a guest means by `upstream`: a cluster, or a host that its capabilities list.
///
/// # Errors
/// INTERNAL_FAILURE for whom the capabilities leave out, and `unknown` for a name that is
/// no cluster's; a bare `host:port` that is not listed is such a name.
fn target(state: &HostState, upstream: &[u8], unknown: Status) -> Result<Target, Status> {
    let (target, refusal) = if state.host.knows_cluster(upstream) {
        let name = Bytes::copy_from_slice(upstream);
        (Target::Cluster(name), Status::InternalFailure)
    } else {
        let text = std::str::from_utf8(upstream).map_err(|_| unknown)?;
        let url = Target::parse_url(text).ok_or(unknown)?;
        let has_scheme = text.contains("://");
        (
            url,
            if has_scheme {
                Status::InternalFailure
            } else {
                unknown
            },
        )
    };
    if state.settings.capabilities.allows_callout(&target) {
        return Ok(target);
    }
    state.refuse(&target.to_string());
    Err(refusal)
}

/// Takes the time of one callout off the running call, whether it is given up again or not:
/// a loop that begins and cancels must not buy seconds of the host's time.
fn charge_callout<C: GuestCaller>(caller: &mut C) -> Result<(), HostTrap> {
    /// A task, its timer and its way to the upstream.
    const CALLOUT: u64 = 10_000;
    caller.charge(CALLOUT)
}

/// Takes the time of looking through what roots have asked for in this call.
pub(super) fn charge_replacing<C: GuestCaller>(caller: &mut C) -> Result<(), HostTrap> {
    let queued = caller.state().root_effects.len();
    caller.charge(queued as u64 * 10)
}

/// Begins a callout of the root of the context hostcalls act on.
///
/// # Errors
/// INTERNAL_FAILURE when that root is gone or has as many as it may.
fn begin(state: &mut HostState, kind: TokenKind, call: Callout) -> Result<Token, Status> {
    let limits = &state.settings.limits;
    let (most, most_bytes) = (limits.callouts, limits.memory);
    let (root, _) = state.root().ok_or(Status::InternalFailure)?;
    let size = call.size();
    // Those that were given up in this very callback are still on their way out.
    let held = state.callouts.bytes().max(state.root_effects.bytes());
    let problem = if state.callouts.count(root) >= most {
        "callouts under way"
    } else if held.saturating_add(size) > most_bytes {
        "bytes in callouts under way"
    } else {
        let token = state
            .callouts
            .open(kind, root, size)
            .ok_or(Status::InternalFailure)?;
        state.push_root_effect(RootEffect::Call {
            root: RootId(root),
            token,
            call: Box::new(call),
        });
        return Ok(token);
    };
    state.limited(Limit::Callouts);
    state.notice(format_args!("too many {problem}: this one is refused"));
    Err(Status::InternalFailure)
}

/// The pairs a guest hands over with a callout; malformed ones are none, as everywhere.
fn pairs(state: &HostState, what: &str, input: &[u8]) -> Vec<(Bytes, Bytes)> {
    codec::decode_pairs(input).unwrap_or_else(|codec::Malformed| {
        state.notice(format_args!("{what}: malformed, taken for none"));
        Vec::new()
    })
}

/// A map of them, names in lower case.
fn map(pairs: Vec<(Bytes, Bytes)>) -> Headers {
    let mut map = Headers::default();
    map.set_all(pairs);
    map
}
