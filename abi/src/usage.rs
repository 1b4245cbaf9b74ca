//! What filters have used, for metrics and for those who bill by it: calls and time of each
//! callback, on either tier.
//!
//! A [`Usage`] is one plugin's on one worker, which alone writes it; whoever looks reads it
//! meanwhile, and adds up what the workers have. On the interpreter every call's fuel is
//! counted, to the unit. On the hot tier one call of [`EVERY_CPU`] for streams, by chance, is
//! measured by the thread's CPU clock and counted that many times; a call into which two ticks
//! and more have fallen ran longer than a tick for certain, and is counted itself, by the same
//! clock. So sums are right in the long run, also on a machine that has other things to do, and
//! a sample of few calls says little. Those for roots, which are rare, and the starts of VMs are
//! all measured. How long calls took is another matter: one of [`EVERY`] for streams is timed
//! by the host's monotonic clock, on either tier, and each for roots.

mod resident;
mod times;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::callbacks::Callback;
use crate::engine::Tier;
pub(crate) use resident::Residence;
pub use resident::Resident;
pub use times::{Counted, Times, raise};

/// Of how many calls for streams one is timed, on either tier.
pub const EVERY: u32 = 16;
/// Of how many calls of native code for streams one is measured by the thread's CPU clock, which is no
/// memory to be read but a call of the system's, and so takes as long as a short callback.
pub const EVERY_CPU: u32 = EVERY * 8;

/// What one plugin has used on one worker.
#[derive(Debug, Default)]
pub struct Usage {
    interpreter: Rows,
    native: Rows,
    /// How long calls took, on either tier; there once one was timed.
    times: [OnceLock<Times>; Callback::COUNT],
    /// Starts of VMs, on the interpreter and of native code.
    starts: [Row; 2],
    resident: resident::Words,
    /// Answers that the plugin made itself.
    replies: AtomicU64,
    /// Calls of other services, by [`CalloutKind`].
    callouts: [OnceLock<Callouts>; 3],
}

/// What a plugin calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalloutKind {
    /// An HTTP service.
    Http,
    /// A gRPC service, once or by a stream.
    Grpc,
    /// A Redis server.
    Redis,
}

/// Calls of one kind, as one worker has seen them.
#[derive(Debug)]
struct Callouts {
    times: Times,
    failed: AtomicU64,
}

/// Calls of one kind that have ended with an answer, or without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalledOut {
    /// Of which kind.
    pub kind: CalloutKind,
    /// How long they took, whatever came of them.
    pub times: Counted,
    /// How many of them have failed.
    pub failed: u64,
}

/// Upper bounds of the times of calls into guests: 1 µs to 1 s.
static CALLS: [u64; 16] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    1_000_000_000,
];

/// Upper bounds of the times that others take to answer: 0.1 ms to 60 s.
pub static ANSWERS: [u64; 16] = [
    100_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    60_000_000_000,
];

#[derive(Debug)]
struct Rows([Row; Callback::COUNT]);

#[derive(Debug, Default)]
struct Row {
    calls: AtomicU64,
    /// Fuel, or nanoseconds.
    cost: AtomicU64,
}

/// What one callback, or the starts of VMs, have used on one tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The callback; none of starts, which are what the module runs before any callback, and the
    /// making of its memory.
    pub callback: Option<Callback>,
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
    /// Calls that were timed and not measured since the last one that was.
    timed: u32,
}

// === impl Usage ===

impl Usage {
    /// What has been used so far, of callbacks that have been called, and by starts.
    pub fn read(&self) -> impl Iterator<Item = Used> {
        let [interpreted, native] = &self.starts;
        let rows = [
            (Tier::Interpreter, interpreted, &self.interpreter),
            (Tier::Native, native, &self.native),
        ];
        rows.into_iter()
            .flat_map(|(tier, starts, rows)| {
                let callbacks = Callback::ALL.iter().copied().map(Some).zip(&rows.0);
                let all = [(None, starts)].into_iter().chain(callbacks);
                all.map(move |(callback, row)| Used {
                    callback,
                    tier,
                    calls: row.calls.load(Ordering::Relaxed),
                    cost: row.cost.load(Ordering::Relaxed),
                })
            })
            .filter(|used| used.calls > 0)
    }

    /// How long calls took, of callbacks of which one was timed: one call for streams of
    /// [`EVERY`] is, on either tier, and counted that many times.
    pub fn times(&self) -> impl Iterator<Item = (Callback, Counted)> {
        let timed = Callback::ALL.iter().zip(&self.times);
        timed.filter_map(|(callback, times)| Some((*callback, times.get()?.read())))
    }

    /// What its VMs keep now.
    #[must_use]
    pub fn resident(&self) -> Resident {
        self.resident.read()
    }

    /// How many answers it made itself.
    #[must_use]
    pub fn replies(&self) -> u64 {
        self.replies.load(Ordering::Relaxed)
    }

    /// A call of another service has ended, after so many nanoseconds. For the thread whose
    /// words these are.
    pub fn called_out(&self, kind: CalloutKind, nanos: u64, failed: bool) {
        let callouts = self.callouts[kind as usize].get_or_init(|| Callouts {
            times: Times::new(&ANSWERS),
            failed: AtomicU64::new(0),
        });
        callouts.times.record(nanos, 1);
        raise(&callouts.failed, failed.into());
    }

    /// Calls of other services that have ended.
    pub fn callouts(&self) -> impl Iterator<Item = CalledOut> {
        let kinds = CalloutKind::ALL.into_iter().zip(&self.callouts);
        kinds.filter_map(|(kind, callouts)| {
            let callouts = callouts.get()?;
            Some(CalledOut {
                kind,
                times: callouts.times.read(),
                failed: callouts.failed.load(Ordering::Relaxed),
            })
        })
    }
}

// === impl Used ===

impl Used {
    /// What it is called in metrics: the export, or `start`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.callback {
            Some(callback) => callback.name(),
            None => "start",
        }
    }
}

// === impl CalloutKind ===

impl CalloutKind {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Http, Self::Grpc, Self::Redis];

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Redis => "redis",
        }
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
        rows.0[callback as usize].add(cost);
    }

    /// Counts the start of a VM.
    pub(crate) fn start(&self, tier: Tier, cost: u64) {
        let [interpreted, native] = &self.0.starts;
        match tier {
            Tier::Interpreter => interpreted.add(cost),
            Tier::Native => native.add(cost),
        }
    }

    /// A call was timed, and stands for `times` of them.
    #[cold]
    pub(crate) fn time(&self, callback: Callback, nanos: u64, times: u32) {
        let words = self.0.times[callback as usize].get_or_init(|| Times::new(&CALLS));
        words.record(nanos, times.into());
    }

    /// The plugin has made an answer itself.
    pub(crate) fn reply(&self) {
        raise(&self.0.replies, 1);
    }
}

impl Default for Rows {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Row::default()))
    }
}

impl Row {
    fn add(&self, cost: u64) {
        raise(&self.calls, 1);
        if cost > 0 {
            raise(&self.cost, cost);
        }
    }
}

// === impl Sampler ===

impl Sampler {
    /// Any seed will do; different ones time different calls. It begins as if it had been
    /// asked for long: VMs that end after a few calls are timed as often as others.
    pub(crate) const fn new(seed: u32) -> Self {
        let mut this = Self {
            left: 0,
            state: seed.wrapping_mul(0x9e37_79b9) | 1,
            timed: 0,
        };
        // The shorter the wait, the likelier, which the smaller of two numbers is.
        let (one, other) = (this.draw() % (2 * EVERY - 1), this.draw() % (2 * EVERY));
        this.left = 1 + if one < other { one } else { other };
        this.timed = this.draw() % (EVERY_CPU / EVERY);
        this
    }

    /// Whether the next call is timed. One of [`EVERY`] is, in the mean.
    pub(crate) const fn next(&mut self) -> bool {
        self.left -= 1;
        if self.left > 0 {
            return false;
        }
        // From 1 to twice EVERY less 1, each as likely as the others.
        self.left = 1 + self.draw() % (2 * EVERY - 1);
        true
    }

    const fn draw(&mut self) -> u32 {
        // Xorshift (Marsaglia).
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.state >> 8
    }

    /// Whether a call that is timed is measured as well: one of [`EVERY_CPU`] is, in the mean.
    pub(crate) const fn measures(&mut self) -> bool {
        self.timed += 1;
        let due = self.timed == EVERY_CPU / EVERY;
        if due {
            self.timed = 0;
        }
        due
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
        tally.start(Tier::Native, 9);
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
                used(Some(Callback::Tick), Tier::Interpreter, 2, 15),
                used(None, Tier::Native, 1, 9),
                used(Some(Callback::Delete), Tier::Native, 1, 0)
            ]
        );
        let names: Vec<_> = read.iter().map(Used::name).collect();
        assert_eq!(names, ["proxy_on_tick", "start", "proxy_on_delete"]);
    }

    #[test]
    fn answers_and_calls_of_others_are_counted() {
        let usage = Arc::<Usage>::default();
        let tally = Tally::new(usage.clone());
        tally.reply();
        tally.time(Callback::Tick, 3_000, EVERY);
        usage.called_out(CalloutKind::Redis, 1_000_000, true);
        usage.called_out(CalloutKind::Redis, 2_000_000, false);
        assert_eq!(usage.replies(), 1);
        let times: Vec<_> = usage.times().collect();
        assert_eq!(times.len(), 1);
        assert_eq!(times[0].0, Callback::Tick);
        assert_eq!((times[0].1.counts[2], times[0].1.sum), (16, 48_000));
        let callouts: Vec<_> = usage.callouts().collect();
        assert_eq!(callouts.len(), 1);
        assert_eq!(
            (callouts[0].kind, callouts[0].failed),
            (CalloutKind::Redis, 1)
        );
        assert_eq!(callouts[0].times.counts.iter().sum::<u64>(), 2);
        assert!(CALLS.is_sorted() && ANSWERS.is_sorted());
    }

    #[test]
    fn a_vms_first_calls_are_timed_and_measured_as_often_as_others() {
        const VMS: u32 = 128_000;
        let (mut timed, mut measured) = ([0_u32; 40], [0_u32; 40]);
        for seed in 0..VMS {
            let mut sampler = Sampler::new(seed);
            for call in 0..40 {
                if sampler.next() {
                    timed[call] += 1;
                    measured[call] += u32::from(sampler.measures());
                }
            }
        }
        let near = |count: &u32, every: u32| (VMS / every).abs_diff(*count) < VMS / every / 5;
        assert!(timed.iter().all(|count| near(count, EVERY)), "{timed:?}");
        let some = |count: &u32| near(count, EVERY_CPU);
        assert!(measured.iter().all(some), "{measured:?}");
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
