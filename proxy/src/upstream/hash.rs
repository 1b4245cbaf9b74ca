//! Hashes that place requests on endpoints: the same in every worker and every process.

/// FNV-1a over the bytes, then MurmurHash3's finaliser, which spreads short keys over all
/// 64 bits.
pub(crate) fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// A hash of what came before and of one part more, in this order.
pub(crate) const fn join(before: Option<u64>, part: u64) -> u64 {
    match before {
        Some(before) => before.rotate_left(1) ^ part,
        None => part,
    }
}
