//! Foreign functions (section 2.12): what a host offers beyond the ABI, by name. These
//! are the ten of Envoy, and those that guests of marker 0.2.100 ask for (section 13).
//!
//! A function takes bytes and answers bytes. Whatever it costs is charged to the guest
//! that calls it, before it is done.

#[cfg(feature = "foreign")]
mod expression;
#[cfg(feature = "foreign")]
mod signature;
mod state;
mod zlib;

use bytes::Bytes;
use prost::encoding::{DecodeContext, WireType, decode_key, skip_field};

use crate::guest::{self, Failure, GuestCaller, Outcome};
use crate::hostcalls::{gateway, stream};
use crate::types::{Status, Way};

#[cfg(feature = "foreign")]
pub(crate) use expression::Expressions;
#[cfg(feature = "foreign")]
pub use expression::LoneExpression;

/// What a function comes to.
type Answer = Result<Bytes, Failure>;

pub(crate) fn call_foreign_function<C: GuestCaller>(
    caller: &mut C,
    name: u32,
    name_len: u32,
    args: u32,
    args_len: u32,
    result: u32,
    result_len: u32,
) -> Outcome {
    guest::charge_bytes(caller, name_len.saturating_add(args_len) as usize)?;
    let (memory, _) = caller.split();
    let name = guest::bytes(memory, name, name_len)?;
    let args = guest::bytes(memory, args, args_len)?;
    let function = find::<C>(name).ok_or(Status::NotFound)?;
    let args = Bytes::copy_from_slice(args);
    let answer = function(caller, args)?;
    give(caller, result, result_len, &answer)
}

/// A null pointer says that the guest does not want the result.
fn give<C: GuestCaller>(caller: &mut C, result: u32, length: u32, answer: &[u8]) -> Outcome {
    if result != 0 && length != 0 {
        return guest::give(caller, result, length, answer);
    }
    let (memory, _) = caller.split();
    if result != 0 {
        guest::write_u32(memory, result, 0)?;
    }
    if length != 0 {
        let size = u32::try_from(answer.len()).map_err(|_| Status::InternalFailure)?;
        guest::write_u32(memory, length, size)?;
    }
    Ok(())
}

fn find<C: GuestCaller>(name: &[u8]) -> Option<fn(&mut C, Bytes) -> Answer> {
    Some(match name {
        b"compress" => zlib::compress,
        b"uncompress" => zlib::uncompress,
        b"clear_route_cache" => clear_route_cache,
        b"set_envoy_filter_state" => state::set_envoy_filter_state,
        b"declare_property" => state::declare_property,
        #[cfg(feature = "foreign")]
        b"verify_signature" => signature::verify_signature,
        #[cfg(feature = "foreign")]
        b"sign" => signature::sign,
        #[cfg(feature = "foreign")]
        b"expr_create" => expression::create,
        #[cfg(feature = "foreign")]
        b"expr_evaluate" => expression::evaluate,
        #[cfg(feature = "foreign")]
        b"expr_delete" => expression::delete,
        b"set_decoder_buffer_limit" => |caller, args| set_buffer_limit(caller, Way::Request, &args),
        b"set_encoder_buffer_limit" => {
            |caller, args| set_buffer_limit(caller, Way::Response, &args)
        }
        b"get_log_level" => log_level,
        b"inject_encoded_data_to_filter_chain_on_header" => gateway::inject_on_header,
        _ => return None,
    })
}

fn clear_route_cache<C: GuestCaller>(caller: &mut C, _args: Bytes) -> Answer {
    stream::clear_route_cache(caller)?;
    Ok(Bytes::new())
}

/// Decimal text, in bytes; never past what the guest could hold itself.
fn set_buffer_limit<C: GuestCaller>(caller: &mut C, way: Way, args: &[u8]) -> Answer {
    let limit: usize = std::str::from_utf8(args)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Status::BadArgument)?;
    let state = caller.state();
    let most = state.settings.limits.memory;
    let stream = state.stream().ok_or(Status::NotFound)?;
    stream.body_limits[way as usize] = Some(limit.min(most));
    Ok(Bytes::new())
}

/// Four bytes, as `proxy_get_log_level` answers it.
fn log_level<C: GuestCaller>(caller: &mut C, _args: Bytes) -> Answer {
    let level = caller.state().host.log_level() as u32;
    Ok(Bytes::copy_from_slice(&level.to_le_bytes()))
}

/// Reads the message that a function takes. One with more fields than any caller has need
/// of is refused before it is read: millions of empty ones fit into a guest's memory.
fn decode<M: prost::Message + Default>(args: Bytes) -> Result<M, Status> {
    const MOST: usize = 64;
    let mut rest = args.clone();
    let mut fields = 0;
    while !rest.is_empty() {
        let (tag, wire) = decode_key(&mut rest).map_err(|_| Status::BadArgument)?;
        fields += 1;
        if fields > MOST || matches!(wire, WireType::StartGroup | WireType::EndGroup) {
            return Err(Status::BadArgument);
        }
        skip_field(wire, tag, &mut rest, DecodeContext::default())
            .map_err(|_| Status::BadArgument)?;
    }
    M::decode(args).map_err(|_| Status::BadArgument)
}

/// Takes as much of the running call's time as `bytes` bytes are worth at `each`
/// instructions per byte.
fn charge<C: GuestCaller>(caller: &mut C, bytes: usize, each: u64) -> Result<(), Failure> {
    Ok(caller.charge((bytes as u64).saturating_mul(each))?)
}
