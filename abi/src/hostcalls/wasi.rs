//! WASI as much as guests of proxies use it (section 1.8): clocks, chance, environment,
//! standard output as log records; no files, no sockets.

mod files;

pub(crate) use files::*;

use crate::error::TrapKind;
use crate::guest::{self, GuestCaller, HostTrap};
use crate::state::HostState;
use crate::types::{LogLevel, Status};

const SUCCESS: u32 = 0;
const BADF: u32 = 8;
const NOTDIR: u32 = 20;
const FAULT: u32 = 21;
const INVAL: u32 = 28;
const NOENT: u32 = 44;
const NOSYS: u32 = 52;
const NOTSUP: u32 = 58;

/// Longest `random_get`.
const MAX_RANDOM: u32 = 65_536;
/// Most vectors of one write, as IOV_MAX elsewhere.
const MAX_VECTORS: u32 = 1024;
/// What looking at a vector costs, in instructions of a guest.
const PER_VECTOR: u64 = 4;
/// Longest text one `fd_write` may hand over.
const MAX_WRITE: usize = 1 << 20;

type Errno = Result<u32, HostTrap>;

/// Runs `body`; a range outside the guest's memory is FAULT.
fn guarded<C: GuestCaller>(
    caller: &mut C,
    body: impl FnOnce(&mut [u8], &mut HostState) -> Result<u32, Status>,
) -> Errno {
    let (memory, state) = caller.split();
    Ok(body(memory, state).unwrap_or(FAULT))
}

const fn is_output(fd: u32) -> bool {
    fd == 1 || fd == 2
}

pub(crate) fn fd_write<C: GuestCaller>(
    caller: &mut C,
    fd: u32,
    iovs: u32,
    count: u32,
    out: u32,
) -> Errno {
    let level = match fd {
        1 => LogLevel::Info,
        2 => LogLevel::Error,
        _ => return Ok(BADF),
    };
    if count > MAX_VECTORS {
        return Ok(INVAL);
    }
    // Vectors may lie over each other: what is copied is not what the guest has.
    caller.charge(u64::from(count) * PER_VECTOR)?;
    let length = vectors_len(caller, iovs, count).min(MAX_WRITE);
    guest::charge_bytes(caller, length)?;
    super::log::charge_record(caller, level)?;
    guarded(caller, |memory, state| {
        let mut text = Vec::new();
        let mut total = 0_u32;
        for (pointer, length) in vectors(memory, iovs, count)? {
            let part = guest::bytes(memory, pointer, length)?;
            total = total.saturating_add(length);
            // Many vectors over the same bytes must not add up to more than we can hold.
            let room = MAX_WRITE.saturating_sub(text.len()).min(part.len());
            text.extend_from_slice(&part[..room]);
        }
        guest::bytes(memory, out, 4)?;
        if !text.is_empty() {
            state.write(level, &text);
        }
        guest::write_u32(memory, out, total)?;
        Ok(SUCCESS)
    })
}

/// Pointer and length of each of `count` vectors at `iovs`.
fn vectors(
    memory: &[u8],
    iovs: u32,
    count: u32,
) -> Result<impl Iterator<Item = (u32, u32)>, Status> {
    let vectors = guest::bytes(memory, iovs, count.saturating_mul(8))?;
    let word = |bytes: &[u8]| {
        bytes
            .first_chunk::<4>()
            .map_or(0, |word| u32::from_le_bytes(*word))
    };
    Ok(vectors
        .chunks_exact(8)
        .map(move |vector| (word(vector), word(&vector[4..]))))
}

fn vectors_len<C: GuestCaller>(caller: &mut C, iovs: u32, count: u32) -> usize {
    let (memory, _) = caller.split();
    vectors(memory, iovs, count).map_or(0, |vectors| {
        vectors.fold(0, |sum, (_, length)| sum.saturating_add(length as usize))
    })
}

pub(crate) fn fd_pwrite<C: GuestCaller>(
    c: &mut C,
    fd: u32,
    iovs: u32,
    count: u32,
    _: u64,
    out: u32,
) -> Errno {
    fd_write(c, fd, iovs, count, out)
}

pub(crate) fn environ_sizes_get<C: GuestCaller>(caller: &mut C, count: u32, bytes: u32) -> Errno {
    guarded(caller, |memory, state| {
        let environment = &state.settings.environment;
        let length: usize = environment
            .iter()
            .map(|(name, value)| name.len() + value.len() + 2)
            .sum();
        guest::write_u32(
            memory,
            count,
            u32::try_from(environment.len()).unwrap_or(u32::MAX),
        )?;
        guest::write_u32(memory, bytes, u32::try_from(length).unwrap_or(u32::MAX))?;
        Ok(SUCCESS)
    })
}

pub(crate) fn environ_get<C: GuestCaller>(caller: &mut C, array: u32, buffer: u32) -> Errno {
    guarded(caller, |memory, state| {
        let (mut array, mut buffer) = (array, buffer);
        for (name, value) in &state.settings.environment {
            let entry = format!("{name}={value}\0");
            let length = u32::try_from(entry.len()).unwrap_or(u32::MAX);
            guest::write_u32(memory, array, buffer)?;
            guest::bytes_mut(memory, buffer, length)?.copy_from_slice(entry.as_bytes());
            array = array.saturating_add(4);
            buffer = buffer.saturating_add(length);
        }
        Ok(SUCCESS)
    })
}

pub(crate) fn args_sizes_get<C: GuestCaller>(caller: &mut C, count: u32, bytes: u32) -> Errno {
    guarded(caller, |memory, _| {
        guest::write_u32(memory, count, 0)?;
        guest::write_u32(memory, bytes, 0)?;
        Ok(SUCCESS)
    })
}

pub(crate) fn args_get<C: GuestCaller>(_: &mut C, _: u32, _: u32) -> Errno {
    Ok(SUCCESS)
}

pub(crate) fn clock_time_get<C: GuestCaller>(
    caller: &mut C,
    clock: u32,
    _: u64,
    out: u32,
) -> Errno {
    let host = &caller.state().host;
    let now = match clock {
        0 => host.now(),
        1 => host.monotonic(),
        _ => return Ok(NOTSUP),
    };
    let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    guarded(caller, |memory, _| {
        guest::write_u64(memory, out, nanos).map(|()| SUCCESS)
    })
}

pub(crate) fn clock_res_get<C: GuestCaller>(caller: &mut C, clock: u32, out: u32) -> Errno {
    if clock > 1 {
        return Ok(NOTSUP);
    }
    guarded(caller, |memory, _| {
        guest::write_u64(memory, out, 1).map(|()| SUCCESS)
    })
}

pub(crate) fn random_get<C: GuestCaller>(caller: &mut C, buffer: u32, len: u32) -> Errno {
    match len {
        0 => return Ok(SUCCESS),
        1..=MAX_RANDOM => {}
        _ => return Ok(INVAL),
    }
    // Chance is dearer than a copy.
    caller.charge(u64::from(len) / 4)?;
    guarded(caller, |memory, state| {
        state.host.random(guest::bytes_mut(memory, buffer, len)?);
        Ok(SUCCESS)
    })
}

pub(crate) fn sched_yield<C: GuestCaller>(_: &mut C) -> Errno {
    Ok(SUCCESS)
}

/// Go's runtime needs this to succeed.
pub(crate) fn poll_oneoff<C: GuestCaller>(
    caller: &mut C,
    _: u32,
    _: u32,
    _: u32,
    out: u32,
) -> Errno {
    guarded(caller, |memory, _| {
        guest::write_u32(memory, out, 0).map(|()| SUCCESS)
    })
}

pub(crate) fn proc_exit<C: GuestCaller>(caller: &mut C, code: u32) -> Result<(), HostTrap> {
    let state = caller.state();
    state.exit_code = Some(code);
    let compat = &state.settings.compat;
    // Envoy does not have it among what a start function may call.
    if state.starting && !compat.lenient_start && !compat.proc_exit_traps {
        return Err(HostTrap {
            kind: TrapKind::Hostcall,
            message: "proc_exit is not allowed inside its start function".to_owned(),
        });
    }
    if state.settings.compat.proc_exit_traps || (state.starting && code == 0) {
        return Err(HostTrap {
            kind: TrapKind::Exit,
            message: format!("proc_exit({code})"),
        });
    }
    state.notice(format_args!("proc_exit({code}) ignored"));
    Ok(())
}
