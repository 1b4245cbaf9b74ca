//! Whole sequences of events into the host's state machine, with up to three guests that
//! answer and ask for anything.

#![no_main]

use cofferdam_abi::testing::Script;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| cofferdam_fuzz::play(Script::of_events(input)));
