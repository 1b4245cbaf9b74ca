//! gRPC calls and streams (sections 2.11 and 6.9).

use std::time::Duration;

use bytes::Bytes;

use super::{begin, charge_callout, map, pairs, target};
use crate::callout::{Callout, GrpcCall, GrpcService, Target, Token, TokenKind};
use crate::guest::{self, GuestCaller, Outcome};
use crate::state::{HostState, RootEffect};
use crate::types::Status;
use crate::vm::RootId;

/// Longest serialised `GrpcService`.
const MAX_SERVICE: usize = 16 << 10;

#[expect(clippy::too_many_arguments, reason = "the ABI has that many")]
pub(crate) fn grpc_call<C: GuestCaller>(
    caller: &mut C,
    upstream: u32,
    upstream_len: u32,
    service: u32,
    service_len: u32,
    method: u32,
    method_len: u32,
    metadata: u32,
    metadata_len: u32,
    message: u32,
    message_len: u32,
    timeout: u32,
    token: u32,
) -> Outcome {
    guest::charge_bytes(caller, message_len as usize)?;
    let arguments = Arguments {
        upstream: (upstream, upstream_len),
        service: (service, service_len),
        method: (method, method_len),
        metadata: (metadata, metadata_len),
        message: Some((message, message_len)),
        timeout,
    };
    arguments.open(caller, TokenKind::GrpcCall, token)
}

#[expect(clippy::too_many_arguments, reason = "the ABI has that many")]
pub(crate) fn grpc_stream<C: GuestCaller>(
    caller: &mut C,
    upstream: u32,
    upstream_len: u32,
    service: u32,
    service_len: u32,
    method: u32,
    method_len: u32,
    metadata: u32,
    metadata_len: u32,
    token: u32,
) -> Outcome {
    let arguments = Arguments {
        upstream: (upstream, upstream_len),
        service: (service, service_len),
        method: (method, method_len),
        metadata: (metadata, metadata_len),
        message: None,
        timeout: 0,
    };
    arguments.open(caller, TokenKind::GrpcStream, token)
}

pub(crate) fn grpc_send<C: GuestCaller>(
    caller: &mut C,
    token: u32,
    message: u32,
    message_len: u32,
    end: u32,
) -> Outcome {
    /// A message makes a frame of its own.
    const MESSAGE: u64 = 1_000;
    caller.charge(MESSAGE)?;
    guest::charge_bytes(caller, message_len as usize)?;
    let (memory, state) = caller.split();
    let message = guest::bytes(memory, message, message_len)?;
    let token = Token::from_wire(token);
    if token.kind() != TokenKind::GrpcStream {
        return Err(Status::BadArgument.into());
    }
    let end = end != 0;
    let (root, _) = state.root().ok_or(Status::NotFound)?;
    let live = state
        .callouts
        .of_root(token, root)
        .ok_or(Status::NotFound)?;
    if live.half_closed || live.closed_there {
        state.notice(format_args!(
            "proxy_grpc_send: the stream is closed, the message is dropped"
        ));
        return Ok(());
    }
    // What a guest could hold itself, the host may hold for it.
    let most = state.settings.limits.memory;
    if state.root_effects.bytes().saturating_add(message.len()) > most {
        return Err(guest::too_much("messages to be sent", most).into());
    }
    live.half_closed = end;
    state.push_root_effect(RootEffect::Send {
        root: RootId(root),
        token,
        message: Bytes::copy_from_slice(message),
        end,
    });
    Ok(())
}

pub(crate) fn grpc_cancel<C: GuestCaller>(caller: &mut C, token: u32) -> Outcome {
    let state = caller.state();
    let (root, token) = named(state, token)?;
    cancel(state, root, token);
    Ok(())
}

/// The sending side of a stream; a call is cancelled.
pub(crate) fn grpc_close<C: GuestCaller>(caller: &mut C, token: u32) -> Outcome {
    let state = caller.state();
    let (root, token) = named(state, token)?;
    if token.kind() == TokenKind::GrpcCall {
        cancel(state, root, token);
        return Ok(());
    }
    let Some(live) = state.callouts.get(token) else {
        return Ok(());
    };
    if live.closed_there {
        state.callouts.close(token);
        return Ok(());
    }
    live.closed_here = true;
    if !std::mem::replace(&mut live.half_closed, true) {
        let root = RootId(root);
        state.push_root_effect(RootEffect::HalfClose { root, token });
    }
    Ok(())
}

/// The call or stream a guest names, and the root it speaks for.
fn named(state: &mut HostState, token: u32) -> Result<(u32, Token), Status> {
    let token = Token::from_wire(token);
    if !matches!(token.kind(), TokenKind::GrpcCall | TokenKind::GrpcStream) {
        return Err(Status::BadArgument);
    }
    let (root, _) = state.root().ok_or(Status::NotFound)?;
    state
        .callouts
        .of_root(token, root)
        .map(|_| (root, token))
        .ok_or(Status::NotFound)
}

fn cancel(state: &mut HostState, root: u32, token: Token) {
    if state
        .callouts
        .close(token)
        .is_some_and(|live| !live.closed_there)
    {
        let root = RootId(root);
        state.push_root_effect(RootEffect::Cancel { root, token });
    }
}

/// What opening a call or a stream is asked with, each as address and length.
struct Arguments {
    upstream: (u32, u32),
    service: (u32, u32),
    method: (u32, u32),
    metadata: (u32, u32),
    message: Option<(u32, u32)>,
    timeout: u32,
}

impl Arguments {
    fn open<C: GuestCaller>(self, caller: &mut C, kind: TokenKind, token: u32) -> Outcome {
        /// A byte of a `GrpcService`, which may be made of many small fields.
        const PARSE: u64 = 16;
        charge_callout(caller)?;
        let (memory, _) = caller.split();
        let service = guest::bytes(memory, self.upstream.0, self.upstream.1);
        let service = service.map_or(0, |service| service.len().min(MAX_SERVICE));
        caller.charge(service as u64 * PARSE)?;
        for (_, length) in [self.upstream, self.service, self.method] {
            guest::charge_bytes(caller, length as usize)?;
        }
        guest::charge_pairs(caller, self.metadata.0, self.metadata.1)?;
        let (memory, state) = caller.split();
        let bytes = |(pointer, length)| guest::bytes(memory, pointer, length);
        let upstream = bytes(self.upstream)?;
        let service = Bytes::copy_from_slice(bytes(self.service)?);
        let method = Bytes::copy_from_slice(bytes(self.method)?);
        let metadata = bytes(self.metadata)?;
        let message = self.message.map(bytes).transpose()?;
        let (target, settings) = resolve(state, upstream)?;
        let mut metadata = map(pairs(state, "metadata of a gRPC call", metadata)
            .into_iter()
            .filter(|(name, _)| name.first() != Some(&b':'))
            .collect());
        for (name, value) in settings.metadata {
            metadata.replace(&name, value);
        }
        let timeout = (self.timeout != 0).then(|| Duration::from_millis(u64::from(self.timeout)));
        let call = GrpcCall {
            target,
            authority: settings.authority,
            service,
            method,
            metadata,
            message: message.map(Bytes::copy_from_slice),
            timeout: timeout.or(settings.timeout),
        };
        guest::bytes(memory, token, 4)?;
        let begun = begin(state, kind, Callout::Grpc(call))?;
        Ok(guest::write_u32(memory, token, begun.number())?)
    }
}

/// Whom `upstream` means: a cluster by its name, or what a serialised `GrpcService` says.
fn resolve(state: &HostState, upstream: &[u8]) -> Result<(Target, GrpcService), Status> {
    let refusal = match target(state, upstream, Status::ParseFailure) {
        Ok(target) => return Ok((target, GrpcService::default())),
        Err(refusal) => refusal,
    };
    // A name can happen to be a message too, but none that says whom to call: the tags of
    // those fields are control characters.
    if upstream.len() > MAX_SERVICE || !upstream.iter().any(u8::is_ascii_control) {
        return Err(refusal);
    }
    let service = GrpcService::parse(upstream).map_err(|_| refusal)?;
    let Some(upstream) = &service.upstream else {
        return Err(Status::BadArgument);
    };
    // As Envoy, which looks for the cluster only when it is about to send.
    let target = target(state, upstream, Status::InternalFailure)?;
    Ok((target, service))
}
