//! Logging and time (section 2.1).

use crate::guest::{self, GuestCaller, HostTrap, Outcome};
use crate::types::{LogLevel, Status};

pub(crate) fn log<C: GuestCaller>(caller: &mut C, level: u32, text: u32, len: u32) -> Outcome {
    let level = LogLevel::from_wire(level).ok_or(Status::BadArgument)?;
    if !caller.state().is_wanted(level) {
        let (memory, _) = caller.split();
        guest::bytes(memory, text, len)?;
        return Ok(());
    }
    guest::charge_bytes(caller, len as usize)?;
    charge_record(caller, level)?;
    let (memory, state) = caller.split();
    let text = guest::bytes(memory, text, len)?;
    state.flush_output();
    state.log(level, text);
    Ok(())
}

/// Takes the time of writing a record off the running call, where it will be written: a
/// guest must not buy seconds of the host's time with a loop of log calls.
pub(crate) fn charge_record<C: GuestCaller>(
    caller: &mut C,
    level: LogLevel,
) -> Result<(), HostTrap> {
    /// Some twenty microseconds of a guest.
    const RECORD: u64 = 3_000;
    if caller.state().is_wanted(level) {
        caller.charge(RECORD)?;
    }
    Ok(())
}

pub(crate) fn log_level<C: GuestCaller>(caller: &mut C, out: u32) -> Outcome {
    let (memory, state) = caller.split();
    Ok(guest::write_u32(
        memory,
        out,
        state.host.log_level() as u32,
    )?)
}

pub(crate) fn current_time<C: GuestCaller>(caller: &mut C, out: u32) -> Outcome {
    let (memory, state) = caller.split();
    let now = u64::try_from(state.host.now().as_nanos()).unwrap_or(u64::MAX);
    Ok(guest::write_u64(memory, out, now)?)
}
