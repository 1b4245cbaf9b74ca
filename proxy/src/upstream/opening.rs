//! Opening connections that requests share: as many at a time as those who look for a place
//! will need, by what the last one allowed. As long as nothing is known, one.

use std::cell::Cell;

use tokio::sync::{Mutex, MutexGuard, Notify};

/// Connections to one endpoint that are being opened.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// One at a time looks whether it has to open one; the others are behind it in a queue.
    gate: Mutex<()>,
    /// How many there are.
    under_way: Cell<u32>,
    /// Told when one is over.
    over: Notify,
    /// Requests that look for a place.
    looking: Cell<u32>,
    /// How many requests the last connection allowed; 0 as long as there was none.
    pub(super) each: Cell<u32>,
}

/// One of something; it is over when this goes.
#[derive(Debug)]
pub(super) struct One<'a> {
    count: &'a Cell<u32>,
    over: Option<&'a Notify>,
}

// === impl Opening ===

impl Opening {
    /// Somebody looks for a place.
    pub(super) fn look(&self) -> One<'_> {
        One::new(&self.looking, None)
    }

    /// Somebody opens one.
    pub(super) fn begin(&self) -> One<'_> {
        One::new(&self.under_way, Some(&self.over))
    }

    /// The turn of one that looks.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().await
    }

    /// Whether those that are being opened will have a place for all.
    pub(super) fn suffice(&self) -> bool {
        let each = match self.each.get() {
            0 => u32::MAX,
            each => each,
        };
        let coming = self.under_way.get().saturating_mul(each);
        coming > 0 && coming >= self.looking.get()
    }

    /// Until one is over.
    pub(super) async fn over(&self) {
        self.over.notified().await;
    }
}

// === impl One ===

impl<'a> One<'a> {
    fn new(count: &'a Cell<u32>, over: Option<&'a Notify>) -> Self {
        count.set(count.get() + 1);
        Self { count, over }
    }
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.count.set(self.count.get() - 1);
        if let Some(over) = self.over {
            over.notify_one();
        }
    }
}
