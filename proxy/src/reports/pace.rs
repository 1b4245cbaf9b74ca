//! How often a thing is told of that can happen any number of times: [`BURST`] times at
//! once, and then at a [`PACE`]. What clients and guests can bring about with each request
//! is told of so, and in a few bytes, since names can be as long as a guest's memory.

use std::cell::RefCell;
use std::time::{Duration, Instant};

/// What is told of whatever its pace.
pub(super) const BURST: u32 = 10;
/// The pace from then on.
pub(super) const PACE: Duration = Duration::from_secs(1);
/// Most bytes of one name or text of others' making.
const SHORT: usize = 256;

thread_local! {
    /// This worker's.
    static MATTERS: RefCell<[Pace; Matter::ALL.len()]> = RefCell::default();
}

/// How many may be told of now.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When a burst may begin again.
    rested: Option<Instant>,
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
    for (matter, pace) in Matter::ALL.into_iter().zip(matters) {
        let left_out = pace.left_out;
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

// === impl Pace ===

impl Pace {
    /// Whether one more may be told of now; how many have not been since the last.
    pub(super) fn next(&mut self, now: Instant) -> Option<u64> {
        let rested = self.rested.map_or(now, |rested| rested.max(now));
        if rested - now > PACE * (BURST - 1) {
            self.left_out += 1;
            return None;
        }
        self.rested = Some(rested + PACE);
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
        let (mut pace, start) = (Pace::default(), Instant::now());
        let told =
            |pace: &mut Pace, now| (0..100).filter_map(|_| pace.next(now)).collect::<Vec<_>>();
        assert_eq!(told(&mut pace, start), [0; 10]);
        assert_eq!(told(&mut pace, start + PACE / 2), [0; 0]);
        assert_eq!(told(&mut pace, start + PACE), [190]);
        assert_eq!(told(&mut pace, start + 3 * PACE), [99, 0]);
        let later = told(&mut pace, start + 3_600 * PACE);
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
