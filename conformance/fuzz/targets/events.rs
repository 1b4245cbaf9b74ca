//! Whole sequences of events into the host's state machine, with up to three guests that
//! answer and ask for anything.

#![no_main]

use cofferdam_abi::Compat;
use cofferdam_fuzz::{World, without_leak};
use libfuzzer_sys::fuzz_target;

/// Most events of one input: enough for several exchanges, short enough for many inputs.
const EVENTS: usize = 200;

fuzz_target!(|input: &[u8]| {
    let [first, rest @ ..] = input else { return };
    let guests = usize::from(first % 3) + 1;
    // As much for the events as for each script.
    let share = (rest.len() / (guests + 1)).max(1);
    let mut pieces = rest.chunks(share);
    let events = pieces.next().unwrap_or_default();
    let scripts: Vec<&[u8]> = pieces.take(guests).collect();
    without_leak(|| {
        let mut world = World::new(&scripts, Compat::SUPERSET);
        world.begin();
        for pair in events.chunks(2).take(EVENTS) {
            world.happen(pair[0], pair.get(1).copied().unwrap_or(0));
        }
        world.finish();
    });
});
