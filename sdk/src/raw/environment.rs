//! Two functions of libc, without the allocator that libc's own would bring along.
//!
//! std asks for `RUST_BACKTRACE` and for the working directory when a module panics. libc
//! answers both from copies it makes with `malloc`: 10 KiB of code in every module, for that.
//! These ask the host each time. A filter has no files, so its directory is `/`, and nobody
//! sets variables in a module.

use core::ffi::{CStr, c_char};
use core::ptr::{null, null_mut};

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn environ_sizes_get(count: *mut usize, size: *mut usize) -> u32;
    fn environ_get(places: *mut *const u8, texts: *mut u8) -> u32;
}

/// The value of that variable, which stays where it is for good; null if there is none.
///
/// # Safety
/// `name` is a C string.
#[unsafe(no_mangle)]
unsafe extern "C" fn getenv(name: *const c_char) -> *const c_char {
    // SAFETY: as the caller has promised.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    let (mut count, mut size) = (0, 0);
    // SAFETY: both places are writable.
    let asked = unsafe { environ_sizes_get(&raw mut count, &raw mut size) };
    if asked != 0 || count == 0 {
        return null();
    }
    let mut places = vec![null(); count];
    let mut texts = vec![0_u8; size];
    // SAFETY: there is room for as much as the host has said there is.
    if unsafe { environ_get(places.as_mut_ptr(), texts.as_mut_ptr()) } != 0 {
        return null();
    }
    let mut all = texts.split(|byte| *byte == 0);
    let value = all.find_map(|text| text.strip_prefix(name)?.strip_prefix(b"="));
    value.map_or(null(), |value| {
        let kept = [value, &[0]].concat();
        kept.leak().as_ptr().cast()
    })
}

/// The working directory, written to `place`, which has `size` bytes; null where it has not
/// room for it.
///
/// # Safety
/// `place` is null or has so many bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getcwd(place: *mut c_char, size: usize) -> *mut c_char {
    if place.is_null() || size < 2 {
        return null_mut();
    }
    // SAFETY: the caller promises the room.
    unsafe { place.copy_from_nonoverlapping(c"/".as_ptr(), 2) };
    place
}
