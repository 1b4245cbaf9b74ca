//! How much a plugin may still write to the log: so many bytes a second, and at once what a
//! second brings.

use std::cell::Cell;
use std::time::Duration;

/// What one plugin has written in one VM.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// When all of it will have had its time, at the rate that is allowed.
    paid: Cell<Duration>,
}

// === impl Written ===

impl Written {
    /// Whether a record of that length may be written at `now`, at `rate` bytes a second. A
    /// record is written whole or not at all; after one that is longer than what was left
    /// the next ones wait for it.
    pub(crate) fn add(&self, rate: u64, length: usize, now: Duration) -> bool {
        const AT_ONCE: Duration = Duration::from_secs(1);
        const NANOS: u128 = 1_000_000_000;
        let paid = self.paid.get().max(now);
        if rate == 0 || paid - now >= AT_ONCE {
            return false;
        }
        let nanos = length as u128 * NANOS / u128::from(rate);
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.paid.set(paid.saturating_add(time));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn so_much_at_once_and_so_much_a_second() {
        let written = Written::default();
        let start = 1_000 * SECOND;
        let records = |now| (0..100).filter(|_| written.add(100, 10, now)).count();
        assert_eq!(records(start), 10);
        assert_eq!(records(start + SECOND / 2), 5);
        assert_eq!(records(start + 10 * SECOND), 10, "no more is saved up");
    }

    #[test]
    fn asking_often_takes_nothing_away() {
        let written = Written::default();
        let start = 1_000 * SECOND;
        assert!(written.add(100, 100, start));
        // A byte comes every 10 ms, and here somebody asks every 3 µs, for 1.5 s.
        let allowed = (1..=500_000_u32).filter(|step| {
            let now = start + Duration::from_micros(3) * *step;
            written.add(100, 1, now)
        });
        assert_eq!(allowed.count(), 150);
    }

    #[test]
    fn a_long_record_has_its_time_before_the_next() {
        let written = Written::default();
        let start = 1_000 * SECOND;
        assert!(written.add(100, 350, start));
        assert!(!written.add(100, 0, start + SECOND * 5 / 2));
        assert!(written.add(100, 0, start + SECOND * 26 / 10));
    }

    #[test]
    fn no_rate_length_or_time_is_too_large() {
        for rate in [0, 1, u64::MAX] {
            let written = Written::default();
            for now in [Duration::ZERO, SECOND, Duration::MAX, SECOND] {
                let allowed = written.add(rate, usize::MAX, now);
                assert!(rate > 0 || !allowed);
            }
        }
    }
}
