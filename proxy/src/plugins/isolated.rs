//! `isolation: request`: a VM for every stream, which nothing outlives.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use cofferdam_abi::{RootId, Vm};

use super::Plugins;
use super::generation::Phase;
use super::launch::Unstarted;
use super::slot::State;
use crate::worker::Worker;

impl Plugins {
    /// A VM for the stream that is about to begin, with its root configured.
    pub(super) fn fresh(
        &self,
        worker: &Rc<Worker>,
        index: usize,
    ) -> Option<(Rc<RefCell<Vm>>, RootId)> {
        let slot = &self.slots[index];
        if self.ending.get() || !slot.may_start(Instant::now()) {
            return None;
        }
        match self.launch(&self.members(&[index]), true) {
            Ok(generation) => {
                let (vm, root) = (generation.vm.clone(), generation.roots().first()?.1);
                // Its owner hears of the end of its stream.
                vm.borrow_mut().retire();
                let id = vm.borrow().id();
                self.generations.borrow_mut().insert(id, generation.clone());
                self.opening.borrow_mut().push(generation);
                slot.started.set(Some(Instant::now()));
                *slot.state.borrow_mut() = State::Cold;
                self.set_down(slot, false);
                Some((vm, root))
            }
            Err(Unstarted { error, .. }) => {
                self.not_started(worker, index, &error);
                None
            }
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
