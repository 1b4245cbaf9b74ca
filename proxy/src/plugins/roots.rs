//! What root contexts do outside of streams: access loggers, which are told of every
//! exchange when it is over, and the end of all roots.

use std::rc::Rc;
use std::time::Duration;

use cofferdam_abi::SharedExchange;

use super::Plugins;
use super::generation::Generation;
use crate::reports;
use crate::setup::Setup;
use crate::worker::Worker;

impl Plugins {
    /// `proxy_on_log` of each of these plugins' roots.
    pub(crate) fn log(
        &self,
        worker: &Rc<Worker>,
        setup: &Setup,
        loggers: &[usize],
        exchange: &SharedExchange,
    ) {
        for slot in loggers.iter().filter_map(|index| setup.slots.get(*index)) {
            let Some((vm, root)) = self.running(worker, slot) else {
                // Told when it could not be started.
                continue;
            };
            let logged = vm.borrow_mut().log(root, exchange.clone());
            if let Err(trap) = logged {
                reports::crash(&slot.plugin.name, &trap, "-");
            }
        }
        self.after_calls(worker);
    }

    /// Tells every root that the worker ends (section 6.2 of `abi/ABI.md`), and waits for
    /// those that are not done yet, at most for `limit`. Their ticks, answers and queues
    /// still reach them meanwhile.
    pub(crate) async fn end(&self, worker: &Rc<Worker>, limit: Duration) {
        let over = tokio::time::sleep(limit);
        tokio::pin!(over);
        while self.end_roots() {
            self.after_calls(worker);
            tokio::select! {
                () = self.root_gone.notified() => {}
                () = &mut over => {
                    tracing::warn!("filters that were not done within {limit:?} end now");
                    return;
                }
            }
        }
    }

    /// Whether any root is still about; each is told once.
    pub(super) fn end_roots(&self) -> bool {
        self.ending.set(true);
        let mut generations: Vec<_> = self.generations.borrow().values().cloned().collect();
        // In the order of the configuration.
        let first = |generation: &Rc<Generation>| {
            let slots = generation.slots();
            slots.first().map(|slot| slot.position.get())
        };
        generations.sort_by_key(first);
        let gone = generations
            .iter()
            .map(|generation| self.end_roots_of(generation));
        !gone.fold(true, |all, gone| all & gone)
    }
}
