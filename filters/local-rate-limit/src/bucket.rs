//! A token bucket in sixteen bytes: whose it is, and when it will be full.
//!
//! The time at which a bucket is full again says how many tokens are in it now (this is the
//! generic cell rate algorithm): nothing has to refill it, and one that is full is as good as
//! none. Times are of the wall clock, in nanoseconds.

const SECOND: u64 = 1_000_000_000;

/// How fast a bucket fills, and how far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    /// A token drops in once in so long.
    interval: u64,
    /// The time in which an empty one fills.
    capacity: u64,
}

/// What came of asking for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) allowed: bool,
    /// Tokens that are left.
    pub(crate) remaining: u64,
    /// Seconds until the bucket is full.
    pub(crate) reset: u64,
    /// Seconds until there is a token again, at least 1; 0 if there was one.
    pub(crate) retry: u64,
}

// === impl Bucket ===

impl Bucket {
    /// `limit` tokens in so many seconds, `burst` of them at most.
    pub(crate) fn new(seconds: u64, limit: u32, burst: u32) -> Self {
        let interval = (seconds * SECOND / u64::from(limit.max(1))).max(1);
        Self {
            interval,
            capacity: interval.saturating_mul(u64::from(burst)),
        }
    }

    /// Takes a token for `key` of what is stored; what is to be stored, if that has changed.
    ///
    /// A place whose bucket is full is free for another key. One that is not is shared: that
    /// refuses early, but never lets through more than there may be.
    pub(crate) fn take(self, old: Option<&[u8]>, key: u64, now: u64) -> (Taken, Option<Vec<u8>>) {
        let end = now.saturating_add(self.capacity);
        let (owner, full) = old.and_then(read).unwrap_or((key, now));
        // A clock that was set back must not shut anybody out.
        let full = full.clamp(now, end);
        let owner = if full == now { key } else { owner };
        let after = full.saturating_add(self.interval);
        if after > end {
            let taken = Taken {
                allowed: false,
                remaining: 0,
                reset: seconds(full - now),
                retry: seconds(after - end).max(1),
            };
            return (taken, None);
        }
        let taken = Taken {
            allowed: true,
            remaining: (end - after) / self.interval,
            reset: seconds(after - now),
            retry: 0,
        };
        let state = [owner.to_le_bytes(), after.to_le_bytes()].concat();
        (taken, Some(state))
    }
}

/// Whose the bucket is, and when it is full; `None` of what was not written here.
fn read(state: &[u8]) -> Option<(u64, u64)> {
    let (owner, full) = state.split_at_checked(8)?;
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
    Some((number(owner)?, number(full)?))
}

/// Rounded up: who comes back then has waited long enough.
const fn seconds(nanoseconds: u64) -> u64 {
    nanoseconds.div_ceil(SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_emptied_and_fills_again() {
        let bucket = Bucket::new(1, 2, 3);
        let mut state: Option<Vec<u8>> = None;
        let mut take = |now| {
            let (taken, new) = bucket.take(state.as_deref(), 7, now);
            state = new.or(state.take());
            (taken.allowed, taken.remaining, taken.retry)
        };
        let start = 5 * SECOND;
        assert_eq!(take(start), (true, 2, 0));
        assert_eq!(take(start), (true, 1, 0));
        assert_eq!(take(start), (true, 0, 0));
        assert_eq!(take(start), (false, 0, 1));
        assert_eq!(take(start + SECOND / 2 - 1), (false, 0, 1));
        assert_eq!(take(start + SECOND / 2), (true, 0, 0));
        assert_eq!(take(start + 60 * SECOND), (true, 2, 0));
    }

    #[test]
    fn a_clock_that_goes_back_costs_a_full_bucket_at_most() {
        let bucket = Bucket::new(1, 1, 1);
        let (_, state) = bucket.take(None, 7, 1_000 * SECOND);
        let (taken, _) = bucket.take(state.as_deref(), 7, 10 * SECOND);
        assert_eq!((taken.allowed, taken.reset, taken.retry), (false, 1, 1));
        // The end of time: nothing overflows.
        let (taken, _) = bucket.take(state.as_deref(), 7, u64::MAX);
        assert_eq!(taken.remaining, 0);
    }

    #[test]
    fn a_full_bucket_is_free_for_another() {
        let bucket = Bucket::new(1, 1, 1);
        let (_, state) = bucket.take(None, 7, SECOND);
        let state = state.unwrap();
        assert!(!bucket.take(Some(&state), 8, SECOND).0.allowed);
        let (taken, state) = bucket.take(Some(&state), 8, 2 * SECOND);
        assert!(taken.allowed);
        assert_eq!(read(&state.unwrap()), Some((8, 3 * SECOND)));
    }

    #[test]
    fn any_bytes_are_a_state() {
        let bucket = Bucket::new(86_400, 1, u32::MAX);
        for state in [&b""[..], b"1234567", &[0xff; 16], &[0xff; 17]] {
            assert!(bucket.take(Some(state), 7, SECOND).0.remaining < u64::MAX);
        }
    }
}
