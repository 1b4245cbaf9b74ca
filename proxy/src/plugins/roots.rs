//! What root contexts do outside of streams: services, which nobody's request would find
//! crashed, and access loggers, which are told of every exchange when it is over.

use std::cell::RefCell;
use std::rc::Rc;

use cofferdam_abi::{RootId, SharedExchange, Trap, Vm};

use super::{Plugins, RETRY, Slot, State, report_trap};
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
        report_trap(&vm.borrow_mut().plugin_name(root), trap, "-");
        self.revive(worker);
    }

    /// Starts services that do not run, each after a pause.
    pub(super) fn revive(&self, worker: &Rc<Worker>) {
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
                report_trap(&slot.plugin.name, &trap, "-");
            }
        }
        self.after_calls(worker);
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
