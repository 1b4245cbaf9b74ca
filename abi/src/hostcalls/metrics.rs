//! Metrics (section 2.10).

use crate::guest::{self, GuestCaller, Outcome};
use crate::limits::Limit;
use crate::shared::{Metric, MetricKind, TooMany};
use crate::state::HostState;
use crate::types::Status;

/// Longest name of a metric.
const MAX_NAME: u32 = 4 << 10;

pub(crate) fn define_metric<C: GuestCaller>(
    caller: &mut C,
    kind: u32,
    name: u32,
    name_len: u32,
    out: u32,
) -> Outcome {
    guest::charge_bytes(caller, name_len as usize)?;
    let (memory, state) = caller.split();
    let name = guest::bytes(memory, name, name_len)?;
    // Unlike elsewhere the number comes after the pointer, as in Envoy (case J-239).
    let kind = MetricKind::from_wire(kind).ok_or(Status::BadArgument)?;
    // Numbers are not given back, so none is taken for a guest that cannot be told.
    guest::bytes(memory, out, 4)?;
    match define(state, kind, name) {
        Ok(number) => Ok(guest::write_u32(memory, out, number)?),
        Err(TooMany) => {
            state.limited(Limit::Metrics);
            state.notice(format_args!(
                "proxy_define_metric: too many metrics (limits.metrics), or too long a name"
            ));
            Err(Status::InternalFailure.into())
        }
    }
}

pub(crate) fn increment_metric<C: GuestCaller>(caller: &mut C, number: u32, by: u64) -> Outcome {
    if number & 3 > 1 {
        return Err(Status::BadArgument.into());
    }
    if metric(caller.state(), number)?.increment(by.cast_signed()) {
        Ok(())
    } else {
        Err(Status::BadArgument.into())
    }
}

pub(crate) fn record_metric<C: GuestCaller>(caller: &mut C, number: u32, value: u64) -> Outcome {
    metric(caller.state(), number)?.record(value);
    Ok(())
}

pub(crate) fn get_metric<C: GuestCaller>(caller: &mut C, number: u32, out: u32) -> Outcome {
    if number & 3 > 1 {
        return Err(Status::BadArgument.into());
    }
    let (memory, state) = caller.split();
    let value = metric(state, number)?.value().ok_or(Status::BadArgument)?;
    guest::write_u64(memory, out, value)?;
    Ok(())
}

fn define(state: &mut HostState, kind: MetricKind, name: &[u8]) -> Result<u32, TooMany> {
    if name.len() > MAX_NAME as usize {
        return Err(TooMany);
    }
    let most = state.settings.limits.metrics;
    let owner = state.root().map(|(_, root)| root.plugin.clone());
    let owner = owner.as_ref().map_or("", |plugin| &plugin.name);
    let metrics = state.host.shared().metrics();
    state.metrics.define(metrics, (kind, name), owner, most)
}

fn metric(state: &HostState, number: u32) -> Result<&Metric, Status> {
    state.metrics.get(number).ok_or(Status::NotFound)
}
