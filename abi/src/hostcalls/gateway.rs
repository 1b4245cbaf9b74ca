//! What guests of marker 0.2.100 ask for besides the rest (section 13).

use bytes::Bytes;
use prost::Message;

use crate::codec;
use crate::exchange::Effect;
use crate::guest::{self, Failure, GuestCaller, Outcome};
use crate::state::HostState;
use crate::types::{Status, Way};

/// Queued until the callback has returned, as every change to a stream. NOT_FOUND where
/// there is no response to put anything into.
pub(crate) fn inject<C: GuestCaller>(caller: &mut C, body: u32, len: u32, end: u32) -> Outcome {
    guest::charge_bytes(caller, len as usize)?;
    let (memory, state) = caller.split();
    let data = guest::bytes(memory, body, len)?;
    put(state, data, end != 0)
}

/// `inject_encoded_data_to_filter_chain_on_header`: the same as a foreign function, which its
/// SDKs call while the response's headers are held.
pub(super) fn inject_on_header<C: GuestCaller>(
    caller: &mut C,
    args: Bytes,
) -> Result<Bytes, Failure> {
    let args = Inject::decode(args).map_err(|_| Status::BadArgument)?;
    put(caller.state(), &args.body, args.end_stream)?;
    Ok(Bytes::new())
}

/// `InjectEncodedDataToFilterChainArguments`.
#[derive(Clone, PartialEq, Message)]
struct Inject {
    #[prost(bytes = "bytes", tag = "1")]
    body: Bytes,
    #[prost(bool, tag = "2")]
    end_stream: bool,
}

fn put(state: &mut HostState, data: &[u8], end: bool) -> Outcome {
    let most = state.body_limit(Way::Response);
    let stream = state.stream().ok_or(Status::NotFound)?;
    if stream.tcp || stream.exchange.borrow().response_headers.is_none() {
        return Err(Status::NotFound.into());
    }
    let injected = stream.injected.get_or_insert_default();
    if injected.end {
        return Err(Status::BadArgument.into());
    }
    if injected.bytes.len().saturating_add(data.len()) > most {
        state.too_large(Way::Response);
        return Ok(());
    }
    injected.bytes.extend_from_slice(data);
    injected.end = end;
    state.push_effect(Effect::Inject);
    Ok(())
}

/// Pairs of `address:port` and nothing: there are no metrics of single hosts.
pub(crate) fn upstream_hosts<C: GuestCaller>(caller: &mut C, hosts: u32, len: u32) -> Outcome {
    let stream = caller.state().stream().ok_or(Status::NotFound)?;
    let found = stream.exchange.borrow().attributes.upstream_hosts();
    let pairs: Vec<_> = found
        .ok_or(Status::NotFound)?
        .into_iter()
        .map(|host| (Bytes::from(host), Bytes::new()))
        .collect();
    guest::give(caller, hosts, len, &codec::pairs_to_vec(&pairs))
}

pub(crate) fn override_host<C: GuestCaller>(caller: &mut C, address: u32, len: u32) -> Outcome {
    guest::charge_bytes(caller, len as usize)?;
    let (memory, state) = caller.split();
    let address = guest::bytes(memory, address, len)?;
    let address = std::str::from_utf8(address).map_err(|_| Status::BadArgument)?;
    let stream = state.stream().ok_or(Status::NotFound)?;
    let taken = stream
        .exchange
        .borrow()
        .attributes
        .override_upstream(address);
    if taken {
        Ok(())
    } else {
        Err(Status::BadArgument.into())
    }
}
