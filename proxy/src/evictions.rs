//! Tells the operator that shared data outgrew its bounds: at once, and then once a minute
//! for as long as it goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cofferdam_abi::Shared;

/// Between two lines about one VM id.
const PERIOD: Duration = Duration::from_secs(60);

/// One for all workers: whichever notices first tells for all.
#[derive(Debug)]
pub(crate) struct Evictions {
    shared: Arc<Shared>,
    /// Somebody is telling.
    busy: AtomicBool,
}

// === impl Evictions ===

impl Evictions {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            busy: AtomicBool::new(false),
        }
    }

    /// There have been some. Runs on a task of its own, which ends when there are no more.
    pub(crate) fn noticed(self: &Arc<Self>) {
        if self.busy.swap(true, Ordering::Relaxed) {
            return;
        }
        let this = self.clone();
        tokio::task::spawn_local(async move {
            while this.tell() {
                tokio::time::sleep(PERIOD).await;
            }
            this.busy.store(false, Ordering::Relaxed);
            // Those that came in between found somebody busy.
            this.tell();
        });
    }

    /// Says what nobody has been told yet; whether there was any.
    pub(crate) fn tell(&self) -> bool {
        let evictions = self.shared.take_evictions();
        for (vm_id, entries) in &evictions {
            tracing::warn!(
                vm_id,
                entries,
                "shared data outgrew its bounds: entries were evicted (shared_data)"
            );
        }
        !evictions.is_empty()
    }
}
