//! Ticks of root contexts.

use std::rc::Rc;
use std::time::Duration;

use cofferdam_abi::RootId;

use super::Plugins;
use super::generation::{Generation, Task};
use crate::worker::Worker;

impl Plugins {
    /// Ticks a root every `period` from now on; `None` stops it.
    pub(super) fn set_timer(
        &self,
        worker: &Rc<Worker>,
        generation: &Rc<Generation>,
        root: RootId,
        period: Option<Duration>,
    ) {
        // What it replaces ends when it is dropped.
        generation.timers.borrow_mut().remove(&root);
        let Some(period) = period else { return };
        let (weak, of) = (Rc::downgrade(worker), Rc::downgrade(generation));
        let timer = tokio::task::spawn_local(async move {
            loop {
                // The next period begins when the call has ended: ticks never pile up.
                tokio::time::sleep(period).await;
                let (Some(worker), Some(generation)) = (weak.upgrade(), of.upgrade()) else {
                    return;
                };
                if !generation.ticks() {
                    continue;
                }
                let ticked = generation.vm.borrow_mut().tick(root);
                if let Err(trap) = ticked {
                    worker
                        .plugins
                        .root_crashed(&worker, &generation.vm, root, &trap);
                    return;
                }
                worker.plugins.after_calls(&worker);
            }
        });
        let task = Task(timer.abort_handle());
        generation.timers.borrow_mut().insert(root, task);
    }
}
