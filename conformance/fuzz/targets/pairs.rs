//! The codec of pairs: whatever a guest hands over is refused or read, and what was read
//! is written the same way.

#![no_main]

use cofferdam_abi::codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    cofferdam_fuzz::without_leak(|| {
        let Ok(pairs) = codec::decode_pairs(input) else {
            return;
        };
        assert!(
            pairs.len() <= codec::MAX_PAIRS,
            "more pairs than are allowed"
        );
        let written = codec::pairs_to_vec(&pairs);
        assert_eq!(codec::decode_pairs(&written).as_ref(), Ok(&pairs));
        // Two forms of "none" are read; only one is written.
        if !pairs.is_empty() {
            assert_eq!(written, input, "there is one way to write pairs");
        }
    });
});
