//! How long things took, in buckets, as one thread writes them down and others read them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Durations by size. One thread writes, which needs no atomic addition.
#[derive(Debug)]
pub struct Times {
    bounds: &'static [u64],
    /// One more than there are bounds.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What several threads have written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Upper bounds of the buckets, inclusive, in nanoseconds; behind the last is one for
    /// everything longer.
    pub bounds: &'static [u64],
    /// How many lie in each.
    pub counts: Vec<u64>,
    /// All of them together, in nanoseconds, modulo 2^64.
    pub sum: u64,
}

// === impl Times ===

impl Times {
    /// Nothing so far. `bounds` must go up.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Something took that many nanoseconds, and stands for `times` of its kind.
    pub fn record(&self, nanos: u64, times: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < nanos);
        if let Some(count) = self.counts.get(bucket) {
            raise(count, times);
        }
        raise(&self.sum, nanos.wrapping_mul(times));
    }

    /// What there is so far.
    #[must_use]
    pub fn read(&self) -> Counted {
        let counts = self.counts.iter();
        Counted {
            bounds: self.bounds,
            counts: counts.map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

/// Adds to a word that only this thread writes.
pub fn raise(word: &AtomicU64, by: u64) {
    let sum = word.load(Ordering::Relaxed).wrapping_add(by);
    word.store(sum, Ordering::Relaxed);
}

/// Takes from it.
pub(super) fn lower(word: &AtomicU64, by: u64) {
    raise(word, by.wrapping_neg());
}

// === impl Counted ===

impl Counted {
    /// Adds what another thread has, by the same bounds.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.wrapping_add(*more);
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_in_the_first_bucket_that_reaches_it() {
        let times = Times::new(&[10, 100]);
        for (nanos, weight) in [(0, 1), (10, 1), (11, 1), (100, 2), (101, 16), (u64::MAX, 1)] {
            times.record(nanos, weight);
        }
        let mut read = times.read();
        assert_eq!(read.counts, [2, 3, 17]);
        assert_eq!(read.sum, 10 + 11 + 200 + 1_616 - 1);
        read.add(&times.read());
        assert_eq!(read.counts, [4, 6, 34]);
        assert_eq!(Times::new(&[]).read().counts, [0]);
    }

    #[test]
    fn a_word_goes_up_and_down() {
        let word = AtomicU64::new(0);
        raise(&word, 3);
        lower(&word, 1);
        assert_eq!(word.into_inner(), 2);
    }
}
