//! The thread that moves the epochs of native code on, while guests run.
//!
//! There is one for the process, from the first native filter on. With nobody at work it
//! sleeps without a time limit: an idle proxy is not woken.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use cofferdam_abi::engine::ticks::Ticks;

/// Time between ticks: a guest's deadline is late by two of them at most.
pub(crate) const PERIOD: Duration = Duration::from_millis(10);

/// Ticks, once there is a thread that makes them.
struct Ticker(Mutex<Option<Arc<Ticks>>>);

/// The process's ticks.
///
/// # Errors
/// When there can be no thread for them now: native code would have no deadlines, and must not
/// run. Whoever asks again later may have more luck.
pub(crate) fn ticks() -> io::Result<Arc<Ticks>> {
    static TICKER: Ticker = Ticker(Mutex::new(None));
    TICKER.ticks(|ticks| {
        let thread = thread::Builder::new().name("ticker".to_owned());
        let spawned = thread.spawn(move || run(&ticks))?;
        Ok(spawned.thread().clone())
    })
}

// === impl Ticker ===

impl Ticker {
    fn ticks(
        &self,
        spawn: impl FnOnce(Arc<Ticks>) -> io::Result<Thread>,
    ) -> io::Result<Arc<Ticks>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ticks) = &*kept {
            return Ok(ticks.clone());
        }
        let ticks = Ticks::new(PERIOD);
        let thread = spawn(ticks.clone())?;
        ticks.on_wake(Box::new(move || thread.unpark()));
        Ok(kept.insert(ticks).clone())
    }
}

fn run(ticks: &Ticks) {
    let mut quiet = false;
    loop {
        // Two quiet ticks in a row, as `Ticks::park` wants it.
        let quiet_before = std::mem::replace(&mut quiet, !ticks.tick());
        if quiet && quiet_before && ticks.park() {
            while ticks.is_parked() {
                thread::park();
            }
            quiet = false;
        }
        thread::sleep(ticks.period());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_ticks_without_a_thread_and_the_next_may_have_one() {
        let ticker = Ticker(Mutex::new(None));
        let none = ticker.ticks(|_| Err(io::ErrorKind::OutOfMemory.into()));
        assert_eq!(
            none.err().map(|error| error.kind()),
            Some(io::ErrorKind::OutOfMemory)
        );
        let some = ticker.ticks(|_| Ok(thread::current())).expect("a thread");
        let again = ticker.ticks(|_| panic!("there is one")).expect("kept");
        assert!(Arc::ptr_eq(&some, &again));
    }
}
