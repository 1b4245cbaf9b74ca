//! Hostcalls of a filter that runs natively, in a test: to the host on this thread.

use cofferdam_abi::testing::native::{Argument, hostcall};

/// An argument, as the wrappers of `raw` pass it.
pub(super) enum Native {
    Number(u64),
    /// Bytes the host reads; their number follows.
    In(*const u8),
    U32(*mut u32),
    U64(*mut u64),
    /// Where a value's address goes; the place for its size follows.
    Value(*mut *mut u8),
    Size(*mut usize),
}

macro_rules! from {
    ($($type:ty: $value:ident => $native:expr;)*) => {
        $(impl From<$type> for Native {
            fn from($value: $type) -> Self {
                $native
            }
        })*
    };
}

from! {
    u32: value => Self::Number(value.into());
    u64: value => Self::Number(value);
    i32: value => Self::Number(value.cast_unsigned().into());
    i64: value => Self::Number(value.cast_unsigned());
    usize: value => Self::Number(u32::try_from(value).unwrap_or(u32::MAX).into());
    *const u8: value => Self::In(value);
    *mut u32: value => Self::U32(value);
    *mut u64: value => Self::U64(value);
    *mut *mut u8: value => Self::Value(value);
    *mut usize: value => Self::Size(value);
}

/// # Safety
/// The arguments are those of the hostcall `name`: behind each pointer to bytes comes how
/// many there are, places can be written, and all live until this returns.
pub(super) unsafe fn call(name: &str, arguments: &[Native]) -> u32 {
    let mut values: [Vec<u8>; 1] = [Vec::new()];
    let [value] = &mut values;
    let mut sizes = [0_u32; 1];
    let [size] = &mut sizes;
    let mut result = None;
    let mut lone_size = None;
    let (mut spare_value, mut spare_size) = (Some(value), Some(size));
    let mut passed = Vec::with_capacity(arguments.len());
    let mut rest = arguments;
    while let [first, after @ ..] = rest {
        rest = after;
        passed.push(match (first, after) {
            (Native::Number(number), _) => Argument::Number(*number),
            (Native::In(data), [Native::Number(length), after @ ..]) => {
                rest = after;
                Argument::Bytes(if *length == 0 {
                    &[]
                } else {
                    // SAFETY: the caller promises that many bytes, for as long as this runs.
                    unsafe { core::slice::from_raw_parts(*data, *length as usize) }
                })
            }
            // SAFETY: the caller promises a place nobody else uses while this runs.
            (Native::U32(place), _) => Argument::U32(unsafe { &mut **place }),
            // SAFETY: likewise.
            (Native::U64(place), _) => Argument::U64(unsafe { &mut **place }),
            (Native::Value(data), [Native::Size(size), after @ ..]) => {
                rest = after;
                result = Some((*data, *size));
                match spare_value.take() {
                    Some(value) => Argument::Value(value),
                    None => return UNIMPLEMENTED, // no hostcall has two
                }
            }
            (Native::Size(place), _) => {
                lone_size = Some(*place);
                match spare_size.take() {
                    Some(size) => Argument::U32(size),
                    None => return UNIMPLEMENTED, // nor here
                }
            }
            _ => return UNIMPLEMENTED,
        });
    }
    let status = hostcall(name, &mut passed);
    drop(passed);
    let ([value], [size]) = (values, sizes);
    if let Some(place) = lone_size {
        // SAFETY: the caller promises a place.
        unsafe { place.write(size as usize) };
    }
    if let (0, Some((data, length))) = (status, result) {
        let block = super::allocate(value.len());
        if !block.is_null() {
            // SAFETY: the block was allocated for as many bytes, and is nobody else's.
            unsafe { block.copy_from_nonoverlapping(value.as_ptr(), value.len()) };
        }
        // SAFETY: the caller promises a place.
        unsafe { data.write(block) };
        // SAFETY: likewise.
        unsafe { length.write(value.len()) };
    }
    status
}

const UNIMPLEMENTED: u32 = 12;
