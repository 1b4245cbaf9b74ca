//! How much one guest may use. Past most of these the call in progress traps; past the
//! others the guest is told, or what is too much is left out. Either way the embedder is:
//! [`crate::Host::limited`] names the [`Limit`].

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
    /// Longest all callbacks of one stream context may run, taken together; `None` is for
    /// ever. Default 1 s.
    pub stream_cpu: Option<Duration>,
    /// Most fuel one callback may burn, in the units of the engine it runs on; the same
    /// call burns the same on every machine. Default none.
    pub fuel: Option<u64>,
    /// Largest linear memory, in bytes. Default 64 MiB.
    pub memory: usize,
    /// Most elements of one table. Default 10,000.
    pub table: usize,
    /// Most bytes of native stack for the guest's frames. The interpreter's frames are
    /// elsewhere, and as many and as large as would fit: see [`Limits::frames`] and
    /// [`Limits::values`]. Default 512 KiB.
    pub stack: usize,
    /// Most callouts of one root under way at a time; one more answers INTERNAL_FAILURE.
    /// Default 64.
    pub callouts: usize,
    /// Most metrics a VM may define, and most names a plugin may be the first to define;
    /// past it the guest is told (section 2.10). Default 1,000.
    pub metrics: usize,
    /// Most bytes of log text that a plugin may write in a second, after a second's worth
    /// at once; `None` is any number. Records past it are dropped. Default 64 KiB.
    pub log: Option<u64>,
    /// Most entries of shared data in its VM id that a plugin may add to. Past it, as past
    /// [`crate::shared::Bounds::entries`], one makes room or the guest is told. Default
    /// 10,000.
    pub shared_entries: usize,
}

/// One of the bounds on a guest, by its name in a configuration's `limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::callback`]
    Callback,
    /// [`Limits::stream_cpu`]
    StreamCpu,
    /// [`Limits::fuel`]
    Fuel,
    /// [`Limits::memory`]
    Memory,
    /// [`Limits::table`]
    Table,
    /// [`Limits::stack`]
    Stack,
    /// [`crate::Plugin::body_limit`]
    Body,
    /// [`Limits::callouts`]
    Callouts,
    /// [`Limits::log`]
    Log,
    /// [`Limits::metrics`]
    Metrics,
    /// [`Limits::shared_entries`]
    SharedEntries,
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

    /// How deep an interpreted guest may recurse that has `stack` bytes of native stack.
    #[must_use]
    pub const fn frames(stack: usize) -> usize {
        /// What a small function takes in native code: its return address, the frame
        /// pointer, and a few values.
        const FRAME: usize = 52;
        stack / FRAME
    }

    /// How many bytes its values may take: three for each byte of native stack, since the
    /// interpreter keeps all values of a function in memory, and native code on its stack only
    /// those that are still wanted after a call, often a third; but at most 16 MiB.
    #[must_use]
    pub fn values(stack: usize) -> usize {
        stack.saturating_mul(3).min(16 << 20)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            callback: Duration::from_millis(100),
            stream_cpu: Some(Duration::from_secs(1)),
            fuel: None,
            memory: 64 << 20,
            table: 10_000,
            stack: 512 << 10,
            callouts: 64,
            metrics: 1_000,
            log: Some(64 << 10),
            shared_entries: 10_000,
        }
    }
}

// === impl Limit ===

impl Limit {
    /// Its name in configuration, metrics and log lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Callback => "callback",
            Self::StreamCpu => "stream_cpu",
            Self::Fuel => "fuel",
            Self::Memory => "memory",
            Self::Table => "table",
            Self::Stack => "stack",
            Self::Body => "body",
            Self::Callouts => "callouts",
            Self::Log => "log",
            Self::Metrics => "metrics",
            Self::SharedEntries => "shared_entries",
        }
    }
}
