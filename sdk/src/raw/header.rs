//! Header maps.

use alloc::vec::Vec;

use super::imports::{
    proxy_add_header_map_value, proxy_get_header_map_pairs, proxy_get_header_map_size,
    proxy_get_header_map_value, proxy_remove_header_map_value, proxy_replace_header_map_value,
    proxy_set_header_map_pairs,
};
use super::value::Value;
use crate::pairs::{Pairs, decode_pairs, encode_pairs};
use crate::types::{MapType, Status};

/// The size of a map, as the host counts it.
///
/// ```no_run
/// use cofferdam_sdk::{MapType, raw};
///
/// let bytes = raw::header_map_size(MapType::RequestHeaders)?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn header_map_size(map: MapType) -> Result<usize, Status> {
    let mut size = 0;
    // SAFETY: `size` is writable and outlives the call.
    Status::check(unsafe { proxy_get_header_map_size(map as u32, &raw mut size) })?;
    Ok(size)
}

/// Every entry of a map.
///
/// ```no_run
/// use cofferdam_sdk::{MapType, raw};
///
/// for (name, value) in raw::headers(MapType::RequestHeaders)? { /* … */ }
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn headers(map: MapType) -> Result<Pairs, Status> {
    let mut value = Value::none();
    // SAFETY: both places are writable and outlive the call.
    Status::check(unsafe {
        proxy_get_header_map_pairs(map as u32, &raw mut value.data, &raw mut value.size)
    })?;
    decode_pairs(&value.take())
}

/// Replaces a whole map.
///
/// ```no_run
/// use cofferdam_sdk::{MapType, raw};
///
/// raw::set_headers(MapType::ResponseTrailers, &[("x-sum", "17")])?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn set_headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    map: MapType,
    pairs: &[(N, V)],
) -> Result<(), Status> {
    let pairs = encode_pairs(pairs);
    // SAFETY: `pairs` lives until the end of this function; the host only reads it.
    Status::check(unsafe { proxy_set_header_map_pairs(map as u32, pairs.as_ptr(), pairs.len()) })
}

/// The first value under a name; names are compared without case.
///
/// ```no_run
/// use cofferdam_sdk::{MapType, raw};
///
/// let path = raw::header(MapType::RequestHeaders, ":path")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn header(map: MapType, name: &str) -> Result<Vec<u8>, Status> {
    let mut value = Value::none();
    // SAFETY: `name` is a live slice the host reads; both places are writable; all outlive
    // the call.
    Status::check(unsafe {
        proxy_get_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            &raw mut value.data,
            &raw mut value.size,
        )
    })?;
    Ok(value.take())
}

/// Adds an entry and keeps those of the same name.
///
/// ```no_run
/// use cofferdam_sdk::{MapType, raw};
///
/// raw::add_header(MapType::ResponseHeaders, "set-cookie", b"a=1")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn add_header(map: MapType, name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: both are live slices the host only reads.
    Status::check(unsafe {
        proxy_add_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Leaves one entry of this name, with this value.
///
/// ```no_run
/// use cofferdam_sdk::{MapType, raw};
///
/// raw::replace_header(MapType::RequestHeaders, "x-a", b"1")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn replace_header(map: MapType, name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: both are live slices the host only reads.
    Status::check(unsafe {
        proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Removes every entry of this name; none is fine too.
///
/// ```no_run
/// use cofferdam_sdk::{MapType, raw};
///
/// raw::remove_header(MapType::ResponseHeaders, "server")?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn remove_header(map: MapType, name: &str) -> Result<(), Status> {
    // SAFETY: `name` is a live slice the host only reads.
    Status::check(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}
