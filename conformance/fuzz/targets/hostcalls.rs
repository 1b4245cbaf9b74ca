//! One guest that calls anything with anything, through one ordinary exchange.

#![no_main]

use cofferdam_abi::testing::Script;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cofferdam_fuzz::play(Script::of_hostcalls(input)));
