//! One guest that calls anything with anything, through one ordinary exchange.

#![no_main]

use cofferdam_abi::Compat;
use cofferdam_fuzz::{World, without_leak};
use libfuzzer_sys::fuzz_target;

/// An exchange with bodies and trailers both ways, and a tick in the middle.
const EXCHANGE: [(u8, u8); 17] = [
    (0, 0),
    (1, 0),
    (8, 0),
    (3, 4),
    (9, 0),
    (10, 0),
    (7, 1),
    (8, 0),
    (2, 0),
    (5, 6),
    (8, 0),
    (7, 0),
    (8, 0),
    (10, 0),
    (15, 5),
    (16, 1),
    (18, 0),
];

fuzz_target!(|input: &[u8]| {
    let Some((first, script)) = input.split_first() else {
        return;
    };
    let compat = match first % 3 {
        0 => Compat::SUPERSET,
        1 => Compat::ENVOY,
        _ => Compat::SPEC,
    };
    without_leak(|| {
        let mut world = World::new(&[script], compat);
        for (event, amount) in EXCHANGE {
            world.happen(event, amount);
        }
        world.finish();
    });
});
