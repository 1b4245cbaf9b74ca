//! The only place where a guest's pointers become bytes.
//!
//! Every pointer and length is the guest's word and nothing more: all arithmetic is
//! checked, all ranges are looked up in the memory as it is *now* (an allocation in
//! between may have grown it), and what lies outside is
//! [`Status::InvalidMemoryAccess`].

use crate::error::TrapKind;
use crate::state::HostState;
use crate::types::Status;

/// A guest in the middle of a hostcall, whatever engine runs it.
///
/// Hostcalls are written once against this; each engine implements it for its own caller,
/// so nothing is dispatched at run time.
pub trait GuestCaller {
    /// The guest's memory and the host's state, at once. The memory is empty for a module
    /// that has none.
    fn split(&mut self) -> (&mut [u8], &mut HostState);

    /// The host's state.
    fn state(&mut self) -> &mut HostState;

    /// Asks the guest's allocator for `size` bytes, which is never 0.
    ///
    /// # Errors
    /// When the allocator traps; the pointer it answers is not checked here.
    fn allocate(&mut self, size: u32) -> Result<u32, HostTrap>;

    /// Takes as much of the running call's time as that many of the guest's own
    /// instructions would have: what the host does for a guest is not free.
    ///
    /// # Errors
    /// When the call has no such time left.
    fn charge(&mut self, instructions: u64) -> Result<(), HostTrap>;
}

/// The end of the running call, decided by the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostTrap {
    /// Why.
    pub kind: TrapKind,
    /// In words.
    pub message: String,
}

// === impl HostTrap ===

impl HostTrap {
    /// The guest's allocator has ended so, and with it the call that it served.
    pub(crate) fn in_allocator(trap: crate::error::Trap) -> Self {
        Self {
            kind: trap.kind,
            message: format!("in its allocator: {}", trap.message),
        }
    }

    /// Its memory, or a table, is or would be of that size, past its limit.
    pub(crate) fn outgrown(kind: TrapKind, wanted: usize) -> Self {
        let what = match kind {
            TrapKind::Table => "elements of a table",
            _ => "bytes",
        };
        Self {
            kind,
            message: format!("it wants {wanted} {what}"),
        }
    }
}

impl std::fmt::Display for HostTrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for HostTrap {}

/// Why a hostcall did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The guest is told.
    Status(Status),
    /// The guest's call ends.
    Trap(HostTrap),
}

/// What a hostcall's body comes to; `Ok` is [`Status::Ok`].
pub type Outcome = Result<(), Failure>;

// === impl Failure ===

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<HostTrap> for Failure {
    fn from(trap: HostTrap) -> Self {
        Self::Trap(trap)
    }
}

/// Charges for handling `length` bytes, at most all the memory there is: a longer range
/// does not exist and will be refused.
///
/// # Errors
/// When the running call has no time left.
pub fn charge_bytes<C: GuestCaller>(caller: &mut C, length: usize) -> Result<(), HostTrap> {
    /// Not worth looking at the memory for.
    const SHORT: usize = 4096;
    let length = if length <= SHORT {
        length
    } else {
        length.min(caller.split().0.len())
    };
    charge_work(caller, length)
}

/// Charges for so many bytes that the host has moved or compared, which may be more than the
/// guest has memory: a body is not in it.
///
/// # Errors
/// When the running call has no time left.
pub fn charge_work<C: GuestCaller>(caller: &mut C, length: usize) -> Result<(), HostTrap> {
    /// What a guest could copy itself with one instruction.
    const BYTES_PER_INSTRUCTION: usize = 16;
    let instructions = length / BYTES_PER_INSTRUCTION;
    if instructions == 0 {
        Ok(())
    } else {
        caller.charge(instructions as u64)
    }
}

/// Charges for reading serialised pairs at `pointer`: many small ones cost far more than
/// their bytes do.
///
/// # Errors
/// When the running call has no time left.
pub fn charge_pairs<C: GuestCaller>(
    caller: &mut C,
    pointer: u32,
    length: u32,
) -> Result<(), HostTrap> {
    /// What making a pair costs, in instructions of a guest.
    const PAIR: u64 = 100;
    charge_bytes(caller, length as usize)?;
    let (memory, _) = caller.split();
    let count = bytes(memory, pointer, length)
        .ok()
        .and_then(<[u8]>::first_chunk::<4>);
    let count = count.map_or(0, |count| u32::from_le_bytes(*count) as usize);
    caller.charge(count.min(crate::codec::MAX_PAIRS) as u64 * PAIR)
}

/// The end of a call that has the host hold more for it than it may.
#[must_use]
pub fn too_much(what: &str, most: usize) -> HostTrap {
    HostTrap {
        kind: TrapKind::Memory,
        message: format!("{what} past {most} bytes"),
    }
}

/// The `length` bytes at `pointer`.
///
/// # Errors
/// When they are not all inside `memory`.
pub fn bytes(memory: &[u8], pointer: u32, length: u32) -> Result<&[u8], Status> {
    let start = pointer as usize;
    let end = start
        .checked_add(length as usize)
        .ok_or(Status::InvalidMemoryAccess)?;
    memory.get(start..end).ok_or(Status::InvalidMemoryAccess)
}

/// The `length` bytes at `pointer`, to be written.
///
/// # Errors
/// When they are not all inside `memory`.
pub fn bytes_mut(memory: &mut [u8], pointer: u32, length: u32) -> Result<&mut [u8], Status> {
    let start = pointer as usize;
    let end = start
        .checked_add(length as usize)
        .ok_or(Status::InvalidMemoryAccess)?;
    memory
        .get_mut(start..end)
        .ok_or(Status::InvalidMemoryAccess)
}

/// Writes a number at `pointer`, aligned or not.
///
/// # Errors
/// When its bytes are not all inside `memory`.
pub fn write_u32(memory: &mut [u8], pointer: u32, value: u32) -> Result<(), Status> {
    bytes_mut(memory, pointer, 4)?.copy_from_slice(&value.to_le_bytes());
    Ok(())
}

/// Writes a number at `pointer`, aligned or not.
///
/// # Errors
/// When its bytes are not all inside `memory`.
pub fn write_u64(memory: &mut [u8], pointer: u32, value: u64) -> Result<(), Status> {
    bytes_mut(memory, pointer, 8)?.copy_from_slice(&value.to_le_bytes());
    Ok(())
}

/// Hands a value of `length` bytes to the guest: memory of its own allocator, filled by
/// `fill`, pointer and length written to `pointer_out` and `length_out`. A value of no
/// bytes is pointer 0 and length 0, without an allocation (section 1.5).
///
/// # Errors
/// When the allocator answers 0 or a place outside the memory, when an output pointer is
/// outside, or when the value is longer than a guest can address.
pub fn give_with<C: GuestCaller>(
    caller: &mut C,
    pointer_out: u32,
    length_out: u32,
    length: usize,
    fill: impl FnOnce(&mut HostState, &mut [u8]) -> Result<(), Status>,
) -> Outcome {
    charge_bytes(caller, length)?;
    let length = u32::try_from(length).map_err(|_| Status::InternalFailure)?;
    // Known before the guest's allocator runs, so that nothing is leaked to no one.
    let (memory, _) = caller.split();
    bytes(memory, pointer_out, 4)?;
    bytes(memory, length_out, 4)?;
    let mut pointer = 0;
    if length != 0 {
        pointer = caller.allocate(length)?;
        if pointer == 0 {
            return Err(Status::InvalidMemoryAccess.into());
        }
        let (memory, state) = caller.split();
        fill(state, bytes_mut(memory, pointer, length)?)?;
    }
    let (memory, _) = caller.split();
    write_u32(memory, pointer_out, pointer)?;
    write_u32(memory, length_out, length)?;
    Ok(())
}

/// [`give_with`] for bytes that are at hand.
///
/// # Errors
/// As [`give_with`].
pub fn give<C: GuestCaller>(
    caller: &mut C,
    pointer_out: u32,
    length_out: u32,
    value: &[u8],
) -> Outcome {
    give_with(caller, pointer_out, length_out, value.len(), |_, place| {
        place.copy_from_slice(value);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked_to_the_byte() {
        let memory = [0_u8; 8];
        assert!(bytes(&memory, 0, 8).is_ok());
        assert!(bytes(&memory, 8, 0).is_ok());
        assert!(bytes(&memory, 1, 0).is_ok());
        for (pointer, length) in [(0, 9), (8, 1), (9, 0), (u32::MAX, u32::MAX), (1, u32::MAX)] {
            assert_eq!(
                bytes(&memory, pointer, length),
                Err(Status::InvalidMemoryAccess)
            );
        }
    }

    #[test]
    fn numbers_may_lie_anywhere_inside() {
        let mut memory = [0_u8; 9];
        assert!(write_u32(&mut memory, 3, 0x0102_0304).is_ok());
        assert_eq!(memory[3..7], [4, 3, 2, 1]);
        assert_eq!(
            write_u64(&mut memory, 2, 0),
            Err(Status::InvalidMemoryAccess)
        );
    }
}
