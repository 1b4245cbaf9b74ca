//! How long a filter that keeps crashing is held back.
//!
//! One crash costs nothing but its stream: the VM is replaced at once. But a start costs
//! more than a request, so a filter whose VMs do not last is given time: five crashes within
//! ten seconds hold it back for a second, the next five for two, and so on up to a minute.
//! A minute in which nothing happens makes it a filter like any other.
//!
//! One whose VMs grow too large is never held back: what has grown goes on a little longer
//! before a fresh one takes its place ([`GROWTH`]).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::pace::Rate;

/// So many crashes
const CRASHES: usize = 5;
/// within so long are too many.
const WITHIN: Duration = Duration::from_secs(10);
/// The first time a filter is held back; each further one is twice as long,
const SHORTEST: Duration = Duration::from_secs(1);
/// up to this.
const LONGEST: Duration = Duration::from_secs(60);
/// After so long without a crash it is forgotten that there were any.
const QUIET: Duration = Duration::from_secs(60);

/// The crashes of one filter on one worker.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    crashes: VecDeque<Instant>,
    /// How long it was held back last.
    last: Option<Duration>,
    /// Since when it is left alone: the last crash, or the end of the last hold.
    since: Option<Instant>,
}

/// How fast VMs of one filter on one worker are replaced because they have grown.
pub(super) const GROWTH: Rate = Rate {
    at_once: 10,
    apart: Duration::from_millis(100),
};

// === impl Backoff ===

impl Backoff {
    /// A VM of the filter's is lost: how long the filter is to be held back, if at all.
    pub(super) fn crashed(&mut self, now: Instant) -> Option<Duration> {
        self.forget(now);
        self.since = Some(now);
        self.crashes.push_back(now);
        while let Some(first) = self.crashes.front()
            && now.duration_since(*first) > WITHIN
        {
            self.crashes.pop_front();
        }
        (self.crashes.len() >= CRASHES).then(|| self.hold(now))
    }

    /// The filter could not even be started: how long until the next try.
    pub(super) fn not_started(&mut self, now: Instant) -> Duration {
        self.forget(now);
        self.hold(now)
    }

    fn hold(&mut self, now: Instant) -> Duration {
        let hold = self.last.map_or(SHORTEST, |last| (last * 2).min(LONGEST));
        self.crashes.clear();
        self.last = Some(hold);
        self.since = Some(now + hold);
        hold
    }

    fn forget(&mut self, now: Instant) {
        if let Some(since) = self.since
            && now.saturating_duration_since(since) > QUIET
        {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Crashes as often as it takes, a millisecond apart; when that is, and how long the
    /// filter is held back.
    fn crash_on(backoff: &mut Backoff, mut now: Instant) -> (Instant, Duration) {
        for _ in 1..CRASHES {
            assert_eq!(backoff.crashed(now), None);
            now += Duration::from_millis(1);
        }
        let hold = backoff.crashed(now).expect("the fifth is one too many");
        (now, hold)
    }

    #[test]
    fn the_fifth_crash_in_ten_seconds_holds_back() {
        let (mut backoff, begin) = (Backoff::default(), Instant::now());
        for second in [0, 3, 6, 9] {
            assert_eq!(backoff.crashed(begin + seconds(second)), None);
        }
        assert_eq!(backoff.crashed(begin + seconds(10)), Some(seconds(1)));
    }

    #[test]
    fn slower_crashes_never_do() {
        let (mut backoff, begin) = (Backoff::default(), Instant::now());
        for crash in 0..1_000 {
            let at = begin + Duration::from_millis(2_501) * crash;
            assert_eq!(backoff.crashed(at), None);
            assert!(backoff.crashes.len() < CRASHES);
        }
    }

    #[test]
    fn each_time_is_twice_as_long_up_to_a_minute() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        let mut holds = Vec::new();
        for _ in 0..9 {
            let (at, hold) = crash_on(&mut backoff, now);
            holds.push(hold.as_secs());
            now = at + hold;
        }
        assert_eq!(holds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_quiet_minute_after_a_hold_resets_it() {
        let (mut backoff, begin) = (Backoff::default(), Instant::now());
        let (at, hold) = crash_on(&mut backoff, begin);
        let (at, hold) = crash_on(&mut backoff, at + hold + QUIET);
        assert_eq!(hold, seconds(2), "not longer than a minute");
        let quiet = at + hold + QUIET + Duration::from_millis(1);
        assert_eq!(crash_on(&mut backoff, quiet).1, seconds(1));
    }

    #[test]
    fn starts_that_fail_wait_longer_each_time() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        for wait in [1, 2, 4, 8] {
            assert_eq!(backoff.not_started(now), seconds(wait));
            now += seconds(wait);
        }
        // Crashes once it has started go on from there.
        assert_eq!(crash_on(&mut backoff, now).1, seconds(16));
    }
}
