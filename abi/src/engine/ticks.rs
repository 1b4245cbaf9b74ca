//! The clock that interrupts native code: epochs, counted only while guests run.
//!
//! Native code looks at its engine's epoch in every loop and on every entry of a function.
//! Somebody must move that epoch on; this crate has no threads, so the embedder's ticker
//! thread calls [`Ticks::tick`] once a [`Ticks::period`], and sleeps without a time limit
//! after [`Ticks::park`] has said that nobody is at work. What runs guests tells of it by
//! its [`Pulse`], which costs two plain writes and one plain read per call.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// Every engine of the process, and everybody who runs guests on them.
pub struct Ticks {
    period: Duration,
    parked: AtomicBool,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
    engines: Mutex<Vec<EngineWeak>>,
    pulses: Mutex<Vec<Weak<Pulse>>>,
}

/// One thread that runs guests, as the ticker sees it. Written by that thread alone.
#[derive(Debug)]
pub struct Pulse {
    /// Calls into guests in progress.
    calls: AtomicU32,
    /// There has been one since the ticker looked last.
    recent: AtomicBool,
    ticks: Arc<Ticks>,
}

// === impl Ticks ===

impl Ticks {
    /// A clock that will be ticked once a `period`, at best.
    #[must_use]
    pub fn new(period: Duration) -> Arc<Self> {
        Arc::new(Self {
            period: period.max(Duration::from_micros(1)),
            parked: AtomicBool::new(false),
            wake: OnceLock::new(),
            engines: Mutex::default(),
            pulses: Mutex::default(),
        })
    }

    /// Time between ticks. A deadline is at most two of them late.
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// Whatever wakes the ticker's thread once [`Ticks::park`] has let it sleep; it may be
    /// called a little before that, too. Only the first is kept.
    pub fn on_wake(&self, wake: Box<dyn Fn() + Send + Sync>) {
        let _ = self.wake.set(wake);
    }

    /// Whether the ticker may sleep until it is woken.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.parked.load(Ordering::SeqCst)
    }

    /// Moves every engine on. Returns whether a guest runs, or has run since the last time.
    pub fn tick(&self) -> bool {
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.retain(|engine| {
            let engine = engine.upgrade();
            if let Some(engine) = &engine {
                engine.increment_epoch();
            }
            engine.is_some()
        });
        drop(engines);
        self.any(|pulse| {
            let recent = pulse.recent.swap(false, Ordering::SeqCst);
            recent || pulse.calls.load(Ordering::SeqCst) != 0
        })
    }

    /// Says that the ticker goes to sleep. Returns false if it must not, because a guest
    /// runs. To be called only when [`Ticks::tick`] has answered false a period ago: a call
    /// that began before then is seen here by its count.
    pub fn park(&self) -> bool {
        self.parked.store(true, Ordering::SeqCst);
        // Either this sees who began, or he sees that we are parked (`Pulse::rouse`).
        fence(Ordering::SeqCst);
        let busy = self.any(|pulse| {
            pulse.recent.load(Ordering::SeqCst) || pulse.calls.load(Ordering::SeqCst) != 0
        });
        if busy {
            self.parked.store(false, Ordering::SeqCst);
        }
        !busy
    }

    /// A pulse for one thread.
    #[must_use]
    pub fn pulse(self: &Arc<Self>) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse {
            calls: AtomicU32::new(0),
            recent: AtomicBool::new(false),
            ticks: self.clone(),
        });
        let mut pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.push(Arc::downgrade(&pulse));
        pulse
    }

    pub(super) fn add(&self, engine: &Engine) {
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.push(engine.weak());
    }

    /// Whether it is so of any pulse; all are asked.
    fn any(&self, ask: impl Fn(&Pulse) -> bool) -> bool {
        let mut found = false;
        let mut pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.retain(|pulse| {
            let pulse = pulse.upgrade();
            found |= pulse.as_deref().is_some_and(&ask);
            pulse.is_some()
        });
        found
    }
}

// === impl Pulse ===

impl Pulse {
    /// A call into a guest begins.
    pub(super) fn enter(&self) {
        let calls = self.calls.load(Ordering::Relaxed);
        self.calls.store(calls + 1, Ordering::Relaxed);
        // True for all but the first call after a tick. Then the ticker looks again, a
        // period after this, before it sleeps: our count is long visible by then.
        if !self.recent.load(Ordering::Relaxed) {
            self.rouse();
        }
    }

    /// It has ended.
    pub(super) fn leave(&self) {
        let calls = self.calls.load(Ordering::Relaxed);
        self.calls.store(calls.saturating_sub(1), Ordering::Relaxed);
    }

    #[cold]
    fn rouse(&self) {
        self.recent.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.ticks.parked.swap(false, Ordering::SeqCst)
            && let Some(wake) = self.ticks.wake.get()
        {
            wake();
        }
    }
}

impl std::fmt::Debug for Ticks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticks")
            .field("period", &self.period)
            .field("parked", &self.parked)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticker_sleeps_only_while_nobody_runs() {
        let ticks = Ticks::new(Duration::from_millis(1));
        let woken = Arc::new(AtomicU32::new(0));
        let count = woken.clone();
        ticks.on_wake(Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        let (one, other) = (ticks.pulse(), ticks.pulse());
        assert!(!ticks.tick() && ticks.park(), "nobody runs");
        one.enter();
        assert_eq!(woken.load(Ordering::SeqCst), 1, "the first call wakes it");
        assert!(!ticks.is_parked());
        assert!(ticks.tick(), "a call is under way");
        other.enter();
        other.leave();
        assert_eq!(woken.load(Ordering::SeqCst), 1, "it is awake");
        assert!(ticks.tick() && ticks.tick(), "still under way");
        assert!(!ticks.park());
        one.leave();
        assert!(!ticks.tick() && ticks.park());
        other.enter();
        other.leave();
        assert_eq!(woken.load(Ordering::SeqCst), 2);
        assert!(ticks.tick(), "one has been");
        assert!(!ticks.tick());
        drop((one, other));
        assert!(ticks.park());
    }
}
