//! Memory that changes hands.

use alloc::alloc::{Layout, alloc};
use alloc::vec::Vec;
use core::ptr::null_mut;

/// Memory for a value of `size` bytes from the host; null when there is none, or for a size
/// of 0. [`abi!`](crate::abi) exports this as `proxy_on_memory_allocate`.
///
/// ```
/// let block = cofferdam_sdk::raw::allocate(16);
/// assert!(!block.is_null());
/// ```
pub fn allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size) {
        Ok(layout) if size > 0 => {
            // SAFETY: the layout's size is not zero, by the guard of this arm.
            unsafe { alloc(layout) }
        }
        _ => null_mut(),
    }
}

/// Sets up the C library on a WASI target. [`abi!`](crate::abi) calls it from `_initialize`;
/// a reference to it also keeps the linker from wrapping every export in a set-up of its own.
///
/// ```
/// cofferdam_sdk::raw::call_constructors(); // nothing to do off wasm
/// ```
pub fn call_constructors() {
    #[cfg(target_os = "wasi")]
    {
        unsafe extern "C" {
            fn __wasm_call_ctors();
        }
        // SAFETY: the linker provides it, it takes nothing, and `_initialize` runs once.
        unsafe { __wasm_call_ctors() };
    }
}

/// Where the host puts a value: a block from [`allocate`] and its size.
pub(super) struct Value {
    pub(super) data: *mut u8,
    pub(super) size: usize,
}

impl Value {
    pub(super) const fn none() -> Self {
        Self {
            data: null_mut(),
            size: 0,
        }
    }

    /// The value a successful hostcall put here; an empty one comes without a block.
    pub(super) fn take(self) -> Vec<u8> {
        if self.data.is_null() || self.size == 0 {
            return Vec::new();
        }
        // SAFETY: the ABI has the host call the allocator with exactly the size it then
        // reports, fill that block and give up the pointer: it comes from `allocate`, whose
        // layout (`size` bytes, alignment 1) is the one `Vec<u8>` frees, and has one owner.
        unsafe { Vec::from_raw_parts(self.data, self.size, self.size) }
    }
}
