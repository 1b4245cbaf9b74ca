//! What happens in a world, and to whom, as a fuzzer's bytes say it.

use std::time::Duration;

use super::{Trace, World};
use crate::compat::Compat;
use crate::engine::Code;
use crate::limits::Limits;
use crate::plugin::VmSettings;
use crate::version::AbiVersion;

/// Most events of one input: enough for several exchanges, short enough for many inputs.
const MOST_EVENTS: usize = 200;

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

/// A world's story.
#[derive(Debug, Clone)]
pub struct Script<'a> {
    compat: Compat,
    guests: Vec<&'a [u8]>,
    events: Vec<(u8, u8)>,
}

// === impl Script ===

impl<'a> Script<'a> {
    /// Up to three guests, any events in any order.
    #[must_use]
    pub fn of_events(input: &'a [u8]) -> Option<Self> {
        let (first, rest) = input.split_first()?;
        let guests = usize::from(first % 3) + 1;
        // As much for the events as for each script.
        let share = (rest.len() / (guests + 1)).max(1);
        let mut pieces = rest.chunks(share);
        let events = pieces.next().unwrap_or_default();
        let event = |pair: &[u8]| (pair[0], pair.get(1).copied().unwrap_or(0));
        let begin = std::iter::once((0, 0));
        Some(Self {
            compat: Compat::SUPERSET,
            guests: pieces.take(guests).collect(),
            events: begin
                .chain(events.chunks(2).take(MOST_EVENTS).map(event))
                .collect(),
        })
    }

    /// One guest, one ordinary exchange, any of the presets.
    #[must_use]
    pub fn of_hostcalls(input: &'a [u8]) -> Option<Self> {
        let (first, script) = input.split_first()?;
        let compat = match first % 3 {
            0 => Compat::SUPERSET,
            1 => Compat::ENVOY,
            _ => Compat::SPEC,
        };
        Some(Self {
            compat,
            guests: vec![script],
            events: EXCHANGE.to_vec(),
        })
    }

    /// What its guests are given, where one of `callback` is as long as a call may take.
    #[must_use]
    pub fn settings(&self, callback: Duration) -> VmSettings {
        VmSettings {
            limits: Limits {
                callback,
                stream_cpu: None,
                memory: 2 << 20,
                ..Limits::default()
            },
            compat: self.compat,
            ..VmSettings::default()
        }
    }

    /// Has it all happen to guests of that code.
    pub fn play(
        &self,
        code: &dyn Code,
        version: AbiVersion,
        settings: VmSettings,
        traced: bool,
    ) -> Trace {
        let mut world = World::new(code, version, &self.guests, settings, traced);
        for (event, amount) in &self.events {
            world.happen(*event, *amount);
        }
        world.finish()
    }
}
