//! `proxy_redis_init` and `proxy_redis_call` (section 13).

use std::time::Duration;

use bytes::Bytes;

use super::{begin, charge_callout, charge_replacing, target};
use crate::callout::{Callout, RedisCall, RedisClient, Target, TokenKind};
use crate::guest::{self, GuestCaller, Outcome};
use crate::state::{HostState, RootEffect};
use crate::types::Status;
use crate::vm::RootId;

#[expect(clippy::too_many_arguments, reason = "the ABI has that many")]
pub(crate) fn redis_init<C: GuestCaller>(
    caller: &mut C,
    upstream: u32,
    upstream_len: u32,
    user: u32,
    user_len: u32,
    password: u32,
    password_len: u32,
    timeout: u32,
) -> Outcome {
    charge_callout(caller)?;
    charge_replacing(caller)?;
    for length in [upstream_len, user_len, password_len] {
        guest::charge_bytes(caller, length as usize)?;
    }
    let (memory, state) = caller.split();
    let upstream = guest::bytes(memory, upstream, upstream_len)?;
    let user = guest::bytes(memory, user, user_len)?;
    let password = guest::bytes(memory, password, password_len)?;
    let (name, options) = split(upstream);
    let cluster = cluster(state, name)?;
    let mut client = RedisClient {
        cluster: cluster.clone(),
        user: Bytes::copy_from_slice(user),
        password: Bytes::copy_from_slice(password),
        database: 0,
        timeout: millis(timeout),
        flush_timeout: None,
        flush_bytes: None,
    };
    set_options(state, &mut client, options)?;
    let (id, root) = state.root().ok_or(Status::InternalFailure)?;
    if !root.redis.contains(&cluster) {
        root.redis.push(cluster);
    }
    state.push_root_effect(RootEffect::RedisClient {
        root: RootId(id),
        client: Box::new(client),
    });
    Ok(())
}

pub(crate) fn redis_call<C: GuestCaller>(
    caller: &mut C,
    upstream: u32,
    upstream_len: u32,
    query: u32,
    query_len: u32,
    token: u32,
) -> Outcome {
    charge_callout(caller)?;
    for length in [upstream_len, query_len] {
        guest::charge_bytes(caller, length as usize)?;
    }
    let (memory, state) = caller.split();
    let upstream = guest::bytes(memory, upstream, upstream_len)?;
    let query = guest::bytes(memory, query, query_len)?;
    let cluster = cluster(state, split(upstream).0)?;
    if query.is_empty() {
        return Err(Status::BadArgument.into());
    }
    let (_, root) = state.root().ok_or(Status::InternalFailure)?;
    if !root.redis.contains(&cluster) {
        state.notice(format_args!(
            "proxy_redis_call: no proxy_redis_init for that cluster"
        ));
        return Err(Status::InternalFailure.into());
    }
    guest::bytes(memory, token, 4)?;
    let query = Bytes::copy_from_slice(query);
    let call = Callout::Redis(RedisCall { cluster, query });
    let begun = begin(state, TokenKind::Redis, call)?;
    Ok(guest::write_u32(memory, token, begun.number())?)
}

/// `NAME?option=value&…`, in two.
fn split(upstream: &[u8]) -> (&[u8], &[u8]) {
    let end = upstream.iter().position(|byte| *byte == b'?');
    end.map_or((upstream, &[]), |end| {
        (&upstream[..end], &upstream[end + 1..])
    })
}

fn cluster(state: &HostState, name: &[u8]) -> Result<Bytes, Status> {
    match target(state, name, Status::BadArgument)? {
        Target::Cluster(name) => Ok(name),
        // Only the configuration knows how to speak to a server of this kind.
        Target::Url { .. } => Err(Status::BadArgument),
    }
}

fn set_options(state: &HostState, client: &mut RedisClient, options: &[u8]) -> Result<(), Status> {
    let options = std::str::from_utf8(options).map_err(|_| Status::BadArgument)?;
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let number = || value.parse::<u32>().map_err(|_| Status::BadArgument);
        match name {
            "db" => client.database = number()?,
            "buffer_flush_timeout" => client.flush_timeout = millis(number()?),
            "max_buffer_size_before_flush" => client.flush_bytes = Some(number()?),
            _ => state.notice(format_args!("proxy_redis_init: no option {name:?}")),
        }
    }
    Ok(())
}

fn millis(value: u32) -> Option<Duration> {
    (value != 0).then(|| Duration::from_millis(u64::from(value)))
}
