//! Ticks of root contexts.

use std::rc::Rc;
use std::time::Duration;

use cofferdam_abi::RootId;

use super::Plugins;
use super::generation::{Generation, Phase, Task};
use super::slot::Part;
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
        let Some(period) = period.filter(|_| !generation.expired.get()) else {
            return;
        };
        let (weak, of) = (Rc::downgrade(worker), Rc::downgrade(generation));
        let timer = tokio::task::spawn_local(async move {
            loop {
                // The next period begins when the call has ended: ticks never pile up.
                tokio::time::sleep(period).await;
                let (Some(worker), Some(generation)) = (weak.upgrade(), of.upgrade()) else {
                    return;
                };
                if !worker.plugins.ticks(&generation, root) {
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

    /// Whether a root is told of its timer. In a VM that drains it is not, nor is one of a filter
    /// that the configuration has no more, or has with other settings: what is done once a period
    /// would be done twice, or go on though nobody asks for it now. But a stream that its guest
    /// holds back may wait for nothing else.
    fn ticks(&self, generation: &Generation, root: RootId) -> bool {
        let slot = generation.slot_of(root);
        let former = slot.is_some_and(|slot| slot.part.get() != Part::Current);
        let drains = generation.phase() == Phase::Draining;
        !(drains || former) || generation.vm.borrow().holds_streams()
    }
}
