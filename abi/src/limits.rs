//! How much one guest may use. Past any of these the call in progress traps.

use std::time::Duration;

/// Fuel per millisecond when nobody has calibrated: a slow machine's.
pub(crate) const FUEL_PER_MS: u64 = 200_000;

/// Bounds on one VM and on each call into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest one callback may run (everything it calls included). Default 100 ms.
    ///
    /// On the interpreter this is fuel, calibrated against time by [`Limits::fuel`].
    pub callback: Duration,
    /// Most fuel one callback may burn, in the units of the engine it runs on; the same
    /// call burns the same on every machine. Default none.
    pub fuel: Option<u64>,
    /// Largest linear memory, in bytes. Default 64 MiB.
    pub memory: usize,
    /// Most elements of one table. Default 10,000.
    pub table: usize,
    /// Deepest recursion, in frames. Default 10,000.
    pub frames: usize,
    /// Most callouts of one root under way at a time; one more answers INTERNAL_FAILURE.
    /// Default 64.
    pub callouts: usize,
    /// Most metrics a VM may define, and most names a plugin may be the first to define;
    /// past it the guest is told (section 2.10). Default 1,000.
    pub metrics: usize,
}

// === impl Limits ===

impl Limits {
    /// Units of fuel that [`Limits::callback`] buys when the engine burns `per_ms` of them
    /// in a millisecond. Never zero.
    #[must_use]
    pub fn fuel(&self, per_ms: u64) -> u64 {
        let micros = u64::try_from(self.callback.as_micros()).unwrap_or(u64::MAX);
        (micros.saturating_mul(per_ms) / 1_000).max(1)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            callback: Duration::from_millis(100),
            fuel: None,
            memory: 64 << 20,
            table: 10_000,
            frames: 10_000,
            callouts: 64,
            metrics: 1_000,
        }
    }
}
