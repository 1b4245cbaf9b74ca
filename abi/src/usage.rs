//! What filters have used, for metrics and for those who bill by it: calls and time of each
//! callback, on either tier.
//!
//! A [`Usage`] is one plugin's on one worker, which alone writes it; whoever looks reads it
//! meanwhile, and adds up what the workers have. On the interpreter every call's fuel is
//! counted, to the unit. On the hot tier one call of [`EVERY`], by chance, is timed by the
//! host's monotonic clock and counted that many times; a call into which two ticks and more
//! have fallen ran longer than a tick for certain, and is counted itself, by the thread's CPU
//! clock. So sums are right in the long run, and a sample of few calls says little.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::callbacks::Callback;
use crate::engine::Tier;

/// Of how many calls on the hot tier one is timed.
pub const EVERY: u32 = 16;

/// What one plugin has used on one worker.
#[derive(Debug, Default)]
pub struct Usage {
    interpreter: Rows,
    native: Rows,
}

#[derive(Debug)]
struct Rows([Row; Callback::COUNT]);

#[derive(Debug)]
struct Row {
    calls: AtomicU64,
    /// Fuel, or nanoseconds.
    cost: AtomicU64,
}

/// What one callback has used on one tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The callback.
    pub callback: Callback,
    /// How it ran.
    pub tier: Tier,
    /// How often it was called.
    pub calls: u64,
    /// On [`Tier::Interpreter`] fuel, on [`Tier::Native`] nanoseconds.
    pub cost: u64,
}

/// The side that writes. Many hold it, all on one thread.
#[derive(Debug, Default)]
pub(crate) struct Tally(Arc<Usage>);

/// Which calls are timed: by chance, so that callbacks that come in turns are timed alike.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// Calls until the next one that is.
    left: u32,
    state: u32,
}

// === impl Usage ===

impl Usage {
    /// What has been used so far, of callbacks that have been called.
    pub fn read(&self) -> impl Iterator<Item = Used> {
        let rows = [
            (Tier::Interpreter, &self.interpreter),
            (Tier::Native, &self.native),
        ];
        rows.into_iter()
            .flat_map(|(tier, rows)| {
                let callbacks = Callback::ALL.iter().zip(&rows.0);
                callbacks.map(move |(callback, row)| Used {
                    callback: *callback,
                    tier,
                    calls: row.calls.load(Ordering::Relaxed),
                    cost: row.cost.load(Ordering::Relaxed),
                })
            })
            .filter(|used| used.calls > 0)
    }
}

// === impl Tally ===

impl Tally {
    /// Whoever gave `usage` has given it to this thread alone.
    pub(crate) const fn new(usage: Arc<Usage>) -> Self {
        Self(usage)
    }

    /// Counts a call. Only one thread does, so that it needs no atomic addition.
    pub(crate) fn add(&self, tier: Tier, callback: Callback, cost: u64) {
        let rows = match tier {
            Tier::Interpreter => &self.0.interpreter,
            Tier::Native => &self.0.native,
        };
        let row = &rows.0[callback as usize];
        let add = |sum: &AtomicU64, more: u64| {
            sum.store(
                sum.load(Ordering::Relaxed).wrapping_add(more),
                Ordering::Relaxed,
            );
        };
        add(&row.calls, 1);
        if cost > 0 {
            add(&row.cost, cost);
        }
    }
}

impl Default for Rows {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Row {
            calls: AtomicU64::new(0),
            cost: AtomicU64::new(0),
        }))
    }
}

// === impl Sampler ===

impl Sampler {
    /// Any seed will do; different ones time different calls.
    pub(crate) const fn new(seed: u32) -> Self {
        Self {
            left: EVERY,
            state: seed.wrapping_mul(0x9e37_79b9) | 1,
        }
    }

    /// Whether the next call is timed. One of [`EVERY`] is, in the mean.
    pub(crate) const fn next(&mut self) -> bool {
        self.left -= 1;
        if self.left > 0 {
            return false;
        }
        // Xorshift (Marsaglia).
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        // From 1 to twice EVERY less 1, each as likely as the others.
        self.left = 1 + (self.state >> 8) % (2 * EVERY - 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_read() {
        let usage = Arc::<Usage>::default();
        let tally = Tally::new(usage.clone());
        tally.add(Tier::Interpreter, Callback::Tick, 7);
        tally.add(Tier::Interpreter, Callback::Tick, 8);
        tally.add(Tier::Native, Callback::Delete, 0);
        let used = |callback, tier, calls, cost| Used {
            callback,
            tier,
            calls,
            cost,
        };
        let read: Vec<_> = usage.read().collect();
        assert_eq!(
            read,
            [
                used(Callback::Tick, Tier::Interpreter, 2, 15),
                used(Callback::Delete, Tier::Native, 1, 0)
            ]
        );
    }

    #[test]
    fn one_of_sixteen_is_timed_whatever_comes_in_turns() {
        // Callbacks in turns of this many: each gets its share of what is timed.
        for turns in [1, 2, 5, 16, 32] {
            let mut sampler = Sampler::new(3);
            let mut timed = vec![0_u32; turns];
            for call in 0..32_000 * turns {
                if sampler.next() {
                    timed[call % turns] += 1;
                }
            }
            for count in &timed {
                assert!((1_800..2_200).contains(count), "{turns}: {timed:?}");
            }
        }
    }
}
