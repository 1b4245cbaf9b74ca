//! What root contexts do outside of streams: services, which nobody's request would find
//! crashed, and access loggers, which are told of every exchange when it is over.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use cofferdam_abi::{RootId, SharedExchange, Trap, Vm};

use super::{Plugins, RETRY, Slot, State};
use crate::reports;
use crate::worker::Worker;

impl Plugins {
    /// Tells that a root crashed in a callback of its own, and sees to it that a service
    /// runs again.
    pub(crate) fn root_crashed(
        &self,
        worker: &Rc<Worker>,
        vm: &Rc<RefCell<Vm>>,
        root: RootId,
        trap: &Trap,
    ) {
        reports::crash(&vm.borrow_mut().plugin_name(root), trap, "-");
        self.root_gone.notify_one();
        self.revive(worker);
    }

    /// Starts services that do not run, each after a pause.
    pub(super) fn revive(&self, worker: &Rc<Worker>) {
        if self.ending.get() {
            return;
        }
        for (index, slot) in self.slots.iter().enumerate() {
            if slot.loaded.config.uses.service
                && slot.runs
                && slot.has_stopped()
                && !slot.reviving.replace(true)
            {
                let worker = Rc::downgrade(worker);
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(RETRY).await;
                    let Some(worker) = worker.upgrade() else {
                        return;
                    };
                    let plugins = &worker.plugins;
                    if let Some(slot) = plugins.slots.get(index) {
                        slot.reviving.set(false);
                        let _ = plugins.running(slot);
                    }
                    plugins.after_calls(&worker);
                    plugins.revive(&worker);
                });
            }
        }
    }

    /// `proxy_on_log` of each of these plugins' roots.
    pub(crate) fn log(&self, worker: &Rc<Worker>, loggers: &[usize], exchange: &SharedExchange) {
        for slot in loggers.iter().filter_map(|index| self.slots.get(*index)) {
            let Some((vm, root)) = self.running(slot) else {
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

    /// Tells every root that the worker ends (section 6.2 of the ABI notes), and waits for
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
        let mut pending = false;
        for slot in &self.slots {
            if let State::Running(vm, root) = &*slot.state.borrow() {
                let ended = vm.borrow_mut().end_root(*root);
                match ended {
                    Ok(gone) => pending |= !gone,
                    Err(trap) => reports::crash(&slot.plugin.name, &trap, "-"),
                }
            }
        }
        pending
    }
}

// === impl Slot ===

impl Slot {
    /// It ran, or should, and does not; but it may run again.
    fn has_stopped(&self) -> bool {
        match &*self.state.borrow() {
            State::Running(vm, _) => vm.borrow().is_failed(),
            State::Down(_) => true,
            State::Cold | State::Dead => false,
        }
    }
}
