//! The thread that moves the epochs of native code on, while guests run.
//!
//! There is one for the process, from the first native filter on. With nobody at work it
//! sleeps without a time limit: an idle proxy is not woken.

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use cofferdam_abi::engine::ticks::Ticks;

/// Time between ticks: a guest's deadline is late by two of them at most.
pub(crate) const PERIOD: Duration = Duration::from_millis(10);

/// The process's ticks.
pub(crate) fn ticks() -> &'static Arc<Ticks> {
    static TICKS: OnceLock<Arc<Ticks>> = OnceLock::new();
    TICKS.get_or_init(|| {
        let ticks = Ticks::new(PERIOD);
        let ticked = ticks.clone();
        let spawned = thread::Builder::new()
            .name("ticker".to_owned())
            .spawn(move || run(&ticked));
        match spawned {
            Ok(thread) => {
                let thread = thread.thread().clone();
                ticks.on_wake(Box::new(move || thread.unpark()));
            }
            Err(error) => {
                tracing::error!("no thread for deadlines, native filters have none: {error}");
            }
        }
        ticks
    })
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
