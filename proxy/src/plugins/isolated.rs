//! `isolation: request`: a VM for every stream, which nothing outlives.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cofferdam_abi::{RootId, Vm};

use super::generation::{Generation, Phase};
use super::launch::{Unstarted, held_for};
use super::slot::Slot;
use super::{Plugins, Why};
use crate::modules::hint;
use crate::worker::Worker;

impl Plugins {
    /// A VM for the stream that is about to begin, with its root configured.
    pub(super) fn fresh(
        &self,
        worker: &Rc<Worker>,
        slot: &Rc<Slot>,
    ) -> Option<(Rc<RefCell<Vm>>, RootId)> {
        let barred = slot
            .barred
            .get()
            .is_some_and(|until| until > Instant::now());
        if self.ending.get() || barred {
            return None;
        }
        match self.launch(&self.members(std::slice::from_ref(slot)), true) {
            Ok(generation) => {
                let (vm, root) = (generation.vm.clone(), generation.roots().first()?.1);
                // Its owner hears of the end of its stream.
                vm.borrow_mut().retire();
                let id = vm.borrow().id();
                self.generations.borrow_mut().insert(id, generation.clone());
                self.opening.borrow_mut().push(generation);
                Some((vm, root))
            }
            Err(Unstarted { error, .. }) => {
                let wait = slot.backoff.borrow_mut().not_started(Instant::now());
                let wait = held_for(slot, wait);
                tracing::error!(
                    filter = &*slot.plugin.name,
                    "filter could not be started, next try in {wait:?}: {error}; {}",
                    hint(&error, &slot.loaded.borrow().config.limits)
                );
                self.bar(worker, slot, wait);
                self.step_down(slot, &error);
                None
            }
        }
    }

    /// The VM of a stream has crashed, which costs no other; but if many do, the filter is
    /// held back.
    pub(super) fn lost_alone(&self, worker: &Rc<Worker>, generation: &Rc<Generation>) {
        self.retire(worker, generation);
        for slot in generation.slots() {
            self.count_replaced(&slot, Why::Crashed);
            let wait = slot.backoff.borrow_mut().crashed(Instant::now());
            if let Some(wait) = wait {
                let wait = self.tell_held_back(&slot, wait);
                self.bar(worker, &slot, wait);
            }
        }
    }

    /// No streams for so long.
    fn bar(&self, worker: &Rc<Worker>, slot: &Rc<Slot>, wait: Duration) {
        let until = Some(Instant::now() + wait);
        slot.barred.set(until);
        self.set_down(slot, true);
        let (weak, slot) = (Rc::downgrade(worker), slot.clone());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(wait).await;
            // Streams that had begun before may have crashed since, and have it barred for longer.
            if let Some(worker) = weak.upgrade()
                && slot.barred.get() == until
            {
                worker.plugins.unbar(&slot);
            }
        });
    }

    /// The next stream may try.
    pub(super) fn unbar(&self, slot: &Slot) {
        if slot.barred.take().is_some() {
            self.set_down(slot, false);
        }
    }

    /// The streams that VMs were started for have begun, or never will.
    pub(super) fn opened(&self) {
        for generation in self.opening.take() {
            generation.enter(Phase::Serving);
            self.host.attend(generation.vm.borrow().id());
        }
    }
}
