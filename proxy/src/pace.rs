//! How often a thing is done that guests or clients can bring about any number of times: so many
//! times at once, and then one in so long.

use std::time::{Duration, Instant};

/// What is allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// How many at once; at least 1.
    pub(crate) at_once: u32,
    /// Between two of them from then on.
    pub(crate) apart: Duration,
}

/// How much of it is used up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// When as many as ever may be done at once again.
    rested: Option<Instant>,
}

// === impl Pace ===

impl Pace {
    /// How long until another may be done; `None` is now.
    pub(crate) fn wait(self, rate: Rate, now: Instant) -> Option<Duration> {
        let rested = self.rested?.saturating_duration_since(now);
        let wait = rested.saturating_sub(rate.apart * rate.at_once.saturating_sub(1));
        (!wait.is_zero()).then_some(wait)
    }

    /// One is done.
    pub(crate) fn next(self, rate: Rate, now: Instant) -> Self {
        let rested = self.rested.map_or(now, |rested| rested.max(now));
        let rested = Some(rested + rate.apart);
        Self { rested }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_done_at_once_and_then_one_in_so_long() {
        let rate = Rate {
            at_once: 10,
            apart: Duration::from_millis(100),
        };
        let (mut pace, begin) = (Pace::default(), Instant::now());
        let mut done = |millis: u64| {
            let now = begin + Duration::from_millis(millis);
            let mut count = 0;
            while pace.wait(rate, now).is_none() {
                pace = pace.next(rate, now);
                count += 1;
            }
            (count, pace.wait(rate, now))
        };
        let soon = |millis| Some(Duration::from_millis(millis));
        assert_eq!(done(0), (10, soon(100)));
        assert_eq!(done(40), (0, soon(60)));
        assert_eq!(done(100), (1, soon(100)));
        assert_eq!(done(1_100), (10, soon(100)));
        assert_eq!(done(60_000), (10, soon(100)));
    }
}
