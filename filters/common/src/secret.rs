//! Comparing what is secret.

use subtle::ConstantTimeEq;

/// Whether both are the same, in a time that tells nothing of where they differ: how long it
/// takes depends on the lengths alone.
///
/// ```
/// assert!(filters_common::same_secret(b"key", b"key"));
/// assert!(!filters_common::same_secret(b"key", b"kez"));
/// ```
#[must_use]
pub fn same_secret(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use super::same_secret;

    #[test]
    fn every_byte_and_the_length_count() {
        let secret = [7_u8; 64];
        assert!(same_secret(&secret, &secret));
        for at in 0..secret.len() {
            for bit in 0..8 {
                let mut other = secret;
                other[at] ^= 1 << bit;
                assert!(!same_secret(&secret, &other), "bit {bit} of byte {at}");
            }
            assert!(!same_secret(&secret, &secret[..at]));
        }
        assert!(same_secret(b"", b"") && !same_secret(b"", b"\0"));
    }
}
