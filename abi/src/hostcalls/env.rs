//! What compilers and older SDKs import from `env` besides the ABI (section 1.7).

use crate::error::TrapKind;
use crate::guest::{self, GuestCaller, HostTrap};
use crate::types::LogLevel;

pub(crate) fn notify_memory_growth<C: GuestCaller>(
    _caller: &mut C,
    _memory: u32,
) -> Result<(), HostTrap> {
    Ok(())
}

pub(crate) fn pthread_equal<C: GuestCaller>(
    _caller: &mut C,
    a: u32,
    b: u32,
) -> Result<u32, HostTrap> {
    Ok(u32::from(a == b))
}

/// AssemblyScript's `abort`: two UTF-16 strings, each with its length in bytes in the word
/// before it, and a position.
pub(crate) fn abort<C: GuestCaller>(
    caller: &mut C,
    message: u32,
    file: u32,
    line: u32,
    column: u32,
) -> Result<(), HostTrap> {
    let (memory, state) = caller.split();
    let message = format!(
        "abort: {} at {}:{line}:{column}",
        utf16(memory, message),
        utf16(memory, file),
    );
    state.log(LogLevel::Critical, message.as_bytes());
    Err(HostTrap {
        kind: TrapKind::Unreachable,
        message,
    })
}

pub(crate) fn seed<C: GuestCaller>(caller: &mut C) -> Result<f64, HostTrap> {
    let mut bytes = [0; 4];
    caller.state().host.random(&mut bytes);
    Ok(f64::from(u32::from_le_bytes(bytes)))
}

/// Upper half of 64-bit results in modules without i64; nothing we return has one.
pub(crate) fn set_temp_ret0<C: GuestCaller>(_caller: &mut C, _value: u32) -> Result<(), HostTrap> {
    Ok(())
}

pub(crate) fn get_temp_ret0<C: GuestCaller>(_caller: &mut C) -> Result<u32, HostTrap> {
    Ok(0)
}

fn utf16(memory: &[u8], pointer: u32) -> String {
    const LONGEST: u32 = 4096;
    let text = pointer
        .checked_sub(4)
        .and_then(|length| guest::bytes(memory, length, 4).ok())
        .and_then(|length| length.try_into().ok())
        .map(|length| u32::from_le_bytes(length).min(LONGEST))
        .and_then(|length| guest::bytes(memory, pointer, length).ok());
    let Some(text) = text else {
        return "?".to_owned();
    };
    let units = text
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}
