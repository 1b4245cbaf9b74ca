//! Write proxy-wasm filters in Rust.
//!
//! So far this is the raw layer: [`raw`] holds every hostcall of ABI 0.2.1 as a safe
//! function that returns a [`Result`] and never panics, whatever the host answers. A guest
//! exports its callbacks itself and calls [`abi!`] once for what every module needs:
//!
//! ```
//! use cofferdam_sdk::{Level, MapType, raw};
//!
//! cofferdam_sdk::abi!();
//!
//! #[unsafe(no_mangle)]
//! pub extern "C" fn proxy_on_request_headers(_context: u32, _count: u32, _end: u32) -> u32 {
//!     if let Err(status) = raw::replace_header(MapType::RequestHeaders, "x-hello", b"world") {
//!         let _ = raw::log(Level::Warn, &format!("no header: {status}"));
//!     }
//!     0 // continue
//! }
//! ```
//! Only the callbacks a guest exports are called. Off wasm every hostcall answers
//! [`Status::Unimplemented`], so that a guest's own logic can be tested natively.

#![no_std]

extern crate alloc;

mod pairs;
pub mod raw;
mod types;

pub use pairs::{Pairs, decode_pairs, encode_pairs};
pub use types::{BufferType, Level, MapType, MetricType, Status, StreamType};

/// What every module exports: the marker of ABI 0.2.1, the allocator the host uses to hand
/// over values, and `_initialize`, in which the C library of a WASI target is set up.
///
/// `abi!(start)` also runs `start()` at the end of `_initialize`.
#[macro_export]
macro_rules! abi {
    () => {
        $crate::abi!(|| ());
    };
    ($start:expr) => {
        /// Tells the host which ABI this module speaks; never called.
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_abi_version_0_2_1() {}

        /// Gives the host `size` bytes to write a value into.
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
            $crate::raw::allocate(size)
        }

        /// Called once, before any callback.
        #[unsafe(no_mangle)]
        pub extern "C" fn _initialize() {
            $crate::raw::call_constructors();
            ($start)();
        }
    };
}
