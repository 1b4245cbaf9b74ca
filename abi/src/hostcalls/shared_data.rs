//! Data shared by all VMs of a VM id (section 2.8).

use std::time::Duration;

use bytes::Bytes;

use crate::guest::{self, GuestCaller, Outcome};
use crate::limits::Limit;
use crate::shared::{Room, SetError};
use crate::state::HostState;
use crate::types::Status;

pub(crate) fn get_shared_data<C: GuestCaller>(
    caller: &mut C,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
    cas: u32,
) -> Outcome {
    guest::charge_bytes(caller, key_len as usize)?;
    let (memory, state) = caller.split();
    let key = guest::bytes(memory, key, key_len)?;
    let (found, number) = state.space.get(key, now(state)).ok_or(Status::NotFound)?;
    // Known before the guest's allocator runs.
    guest::bytes(memory, cas, 4)?;
    guest::give(caller, value, value_len, &found)?;
    let (memory, _) = caller.split();
    guest::write_u32(memory, cas, number)?;
    Ok(())
}

pub(crate) fn set_shared_data<C: GuestCaller>(
    caller: &mut C,
    key: u32,
    key_len: u32,
    value: u32,
    value_len: u32,
    cas: u32,
) -> Outcome {
    guest::charge_bytes(caller, key_len as usize)?;
    guest::charge_bytes(caller, value_len as usize)?;
    let (memory, state) = caller.split();
    let key = guest::bytes(memory, key, key_len)?;
    let value = guest::bytes(memory, value, value_len)?;
    let value = Bytes::copy_from_slice(value);
    let most = state.settings.limits.shared_entries;
    let stored = state.space.set(key, value, cas, most, now(state));
    if matches!(stored, Ok(Room::Crowded) | Err(SetError::Crowded)) {
        state.limited(Limit::SharedEntries);
    }
    match stored {
        Ok(Room::Enough) => Ok(()),
        Ok(Room::Made | Room::Crowded) => {
            state.host.evicted();
            Ok(())
        }
        Err(SetError::Mismatch) => Err(Status::CasMismatch.into()),
        Err(SetError::Full | SetError::Crowded) => {
            state.notice(format_args!(
                "proxy_set_shared_data: no room (shared_data bounds)"
            ));
            Err(Status::InternalFailure.into())
        }
    }
}

fn now(state: &HostState) -> Duration {
    if state.space.has_time() {
        state.host.monotonic()
    } else {
        Duration::ZERO
    }
}
