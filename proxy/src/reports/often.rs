//! How often a thing is told of that can happen any number of times: at a [`RATE`]. What clients
//! and guests can bring about with each request is told of so, and in a few bytes, since names can
//! be as long as a guest's memory.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::pace::{Pace, Rate};

const RATE: Rate = Rate {
    at_once: 10,
    apart: Duration::from_secs(1),
};
/// Most bytes of one name or text of others' making.
const SHORT: usize = 256;

thread_local! {
    /// This worker's.
    static MATTERS: RefCell<[Told; Matter::ALL.len()]> = RefCell::default();
}

/// What has been told of, and what has not.
#[derive(Debug, Default)]
pub(super) struct Told {
    pace: Pace,
    pub(super) left_out: u64,
}

/// What a client or a guest can bring about with each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matter {
    /// A filter's call cannot be sent.
    Call,
    /// A header of such a call cannot be.
    CallHeader,
    /// A header that a filter has made cannot be sent.
    Header,
    /// Commands for Redis, and what it says to those who log in.
    Redis,
    /// A response that filters have made cannot be sent.
    Response,
    /// A trailer cannot be sent.
    Trailer,
}

/// Tells of `matter` if that may be told of now, with the number of times that it was not.
pub(crate) fn often(matter: Matter, tell: impl FnOnce(Option<u64>)) {
    let now = Instant::now();
    let next = MATTERS.with_borrow_mut(|matters| matters[matter as usize].next(now));
    if let Some(left_out) = next {
        tell((left_out > 0).then_some(left_out));
    }
}

/// Tells of what has only been counted: the worker ends.
pub(super) fn tell_rest() {
    let matters = MATTERS.take();
    for (matter, told) in Matter::ALL.into_iter().zip(matters) {
        let left_out = told.left_out;
        if left_out > 0 {
            tracing::warn!(
                left_out,
                "more was left out than was told of: {}",
                matter.what()
            );
        }
    }
}

/// Bytes of others' making, escaped, and no more of them than tells which they are.
pub(crate) fn short(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(SHORT)];
    let mut text = start.escape_ascii().to_string();
    if text.len() > SHORT || bytes.len() > SHORT {
        text.truncate(SHORT);
        text.push('…');
    }
    text
}

// === impl Told ===

impl Told {
    /// Whether one more may be told of now; how many have not been since the last.
    pub(super) fn next(&mut self, now: Instant) -> Option<u64> {
        if self.pace.wait(RATE, now).is_some() {
            self.left_out += 1;
            return None;
        }
        self.pace = self.pace.next(RATE, now);
        Some(std::mem::take(&mut self.left_out))
    }
}

// === impl Matter ===

impl Matter {
    const ALL: [Self; 6] = [
        Self::Call,
        Self::CallHeader,
        Self::Header,
        Self::Redis,
        Self::Response,
        Self::Trailer,
    ];

    const fn what(self) -> &'static str {
        match self {
            Self::Call => "calls of filters that cannot be sent",
            Self::CallHeader => "headers of filters' calls",
            Self::Header => "headers made by filters",
            Self::Redis => "filters' commands for Redis",
            Self::Response => "responses made by filters",
            Self::Trailer => "trailers",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_told_in_a_burst_and_then_one_a_second() {
        let (mut crashes, start) = (Told::default(), Instant::now());
        let told = |crashes: &mut Told, now| {
            (0..100)
                .filter_map(|_| crashes.next(now))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&mut crashes, start), [0; 10]);
        assert_eq!(told(&mut crashes, start + RATE.apart / 2), [0; 0]);
        assert_eq!(told(&mut crashes, start + RATE.apart), [190]);
        assert_eq!(told(&mut crashes, start + 3 * RATE.apart), [99, 0]);
        let later = told(&mut crashes, start + 3_600 * RATE.apart);
        assert_eq!(later.len(), 10, "and in a burst again");
    }

    #[test]
    fn every_matter_has_a_pace_of_its_own() {
        for (index, matter) in Matter::ALL.into_iter().enumerate() {
            assert_eq!(matter as usize, index);
            let mut told = 0;
            (0..100).for_each(|_| often(matter, |_| told += 1));
            assert!((10..100).contains(&told), "{matter:?}: {told}");
        }
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(short(b"x-a\n"), "x-a\\n");
        assert_eq!(short(&[b'x'; SHORT]), "x".repeat(SHORT));
        assert_eq!(short(&[b'x'; SHORT + 1]), "x".repeat(SHORT) + "…");
        assert_eq!(short(&[0; SHORT]), r"\x00".repeat(SHORT / 4) + "…");
    }
}
