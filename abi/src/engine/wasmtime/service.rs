//! What the host does for a call of native code: as much as on the interpreter, where it burns
//! the fuel of the call's time, so that no engine lets a guest have more done or kept.
//!
//! A call begins with what all its time is thought to be worth. What is cheaper than was thought
//! uses that up before the time is over: then the thread's CPU clock says what is left.

use std::time::Duration;

/// Of one instance.
#[derive(Debug)]
pub(super) struct Service {
    /// What each call begins with, in instructions of a guest.
    whole: u64,
    /// What a millisecond is worth, where a clock may say that there is more.
    per_ms: Option<u64>,
    /// Of the running call.
    left: u64,
    /// The clock when `whole` was gone, and what the call had taken by then.
    since: Option<(Duration, Duration)>,
}

/// The running call as clocks see it.
pub(super) struct Taken {
    /// The thread's CPU clock.
    pub(super) now: Duration,
    /// What the call has taken, as far as ticks say.
    pub(super) ticks: Duration,
    /// What it may take.
    pub(super) limit: Duration,
}

// === impl Service ===

impl Service {
    pub(super) const fn new(whole: u64, per_ms: Option<u64>) -> Self {
        Self {
            whole,
            per_ms,
            left: 0,
            since: None,
        }
    }

    /// A call begins.
    pub(super) const fn begin(&mut self) {
        self.left = self.whole;
        self.since = None;
    }

    /// Takes what something costs; false where the call's time does not allow it. `taken`
    /// answers none where there is no clock.
    pub(super) fn take(&mut self, cost: u64, taken: impl FnOnce() -> Option<Taken>) -> bool {
        let left = self.left.checked_sub(cost);
        let left = left.or_else(|| self.more(taken)?.checked_sub(cost));
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    #[cold]
    fn more(&mut self, taken: impl FnOnce() -> Option<Taken>) -> Option<u64> {
        let per_ms = self.per_ms?;
        let Taken { now, ticks, limit } = taken()?;
        let (since, before) = *self.since.get_or_insert((now, ticks));
        let used = before + now.saturating_sub(since);
        let rest = limit.checked_sub(used).filter(|rest| !rest.is_zero())?;
        // Near the end the next tick decides, and the clock need not be asked every time.
        let micros = u64::try_from(rest.as_micros().max(1_000)).ok()?;
        Some(micros.saturating_mul(per_ms) / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    /// How long a call goes on that has things done for it which cost ten instructions and
    /// take that long.
    fn lasts(per_ms: Option<u64>, each: Duration) -> Duration {
        let mut service = Service::new(100_000, per_ms);
        service.begin();
        let begun = Duration::from_secs(5);
        let mut now = begun;
        while now < begun + 3 * LIMIT {
            // Ticks come every ten milliseconds.
            let millis = u64::try_from((now - begun).as_millis()).expect("little") / 10 * 10;
            let taken = || {
                Some(Taken {
                    now,
                    ticks: Duration::from_millis(millis),
                    limit: LIMIT,
                })
            };
            if !service.take(10, taken) {
                break;
            }
            now += each;
        }
        now - begun
    }

    #[test]
    fn what_is_cheap_is_done_until_the_time_is_over() {
        for nanos in [100, 1_000, 3_000] {
            let lasts = lasts(Some(1_000), Duration::from_nanos(nanos));
            assert!(
                lasts >= LIMIT && lasts <= LIMIT + Duration::from_millis(20),
                "{nanos}: {lasts:?}"
            );
        }
    }

    #[test]
    fn what_is_dear_does_not_wait_for_the_clock() {
        // A tick ends it before it comes to that.
        let each = Duration::from_micros(20);
        assert_eq!(lasts(Some(1_000), each), 10_000 * each);
    }

    #[test]
    fn without_a_clock_what_was_given_is_all() {
        for nanos in [100, 1_000] {
            let each = Duration::from_nanos(nanos);
            assert_eq!(lasts(None, each), 10_000 * each);
        }
    }

    #[test]
    fn nothing_is_done_that_costs_more_than_the_rest() {
        let mut service = Service::new(100_000, Some(1_000));
        service.begin();
        let taken = || {
            Some(Taken {
                now: LIMIT,
                ticks: LIMIT / 2,
                limit: LIMIT,
            })
        };
        assert!(service.take(99_999, taken));
        assert!(!service.take(50_001, taken));
        assert!(service.take(50_000, taken));
    }
}
