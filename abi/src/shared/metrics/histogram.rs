//! Values counted by size, in the buckets Envoy has by default.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the buckets, inclusive; behind the last is one for everything larger.
/// Envoy's defaults, which are made for milliseconds, without its first, one half: values
/// are whole numbers.
pub const BUCKETS: [u64; 18] = [
    1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000,
    1_800_000, 3_600_000,
];

/// How often values of each size were seen.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS.len() + 1],
    sum: AtomicU64,
}

// === impl Histogram ===

impl Histogram {
    pub(super) fn record(&self, value: u64) {
        let bucket = BUCKETS.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// How many values lie in each bucket, the last being those beyond all bounds.
    #[must_use]
    pub fn counts(&self) -> [u64; BUCKETS.len() + 1] {
        std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed))
    }

    /// The sum of all values, modulo 2^64.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_the_first_bucket_that_reaches_it() {
        let histogram = Histogram::default();
        for value in [0, 1, 2, 5, 6, 3_600_000, 3_600_001] {
            histogram.record(value);
        }
        let counts = histogram.counts();
        assert_eq!(counts[..3], [2, 2, 1]);
        assert_eq!(counts[17..], [1, 1]);
        assert_eq!(counts.iter().sum::<u64>(), 7);
        assert_eq!(histogram.sum(), 7_200_015);
    }

    #[test]
    fn bounds_go_up() {
        assert!(BUCKETS.is_sorted());
    }
}
