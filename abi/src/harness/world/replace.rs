//! A module in the place of another, as a proxy does it: new streams go to its VM; the old VM
//! keeps its streams and timers, and ends when it has nothing left to do.

use std::rc::Rc;

use super::{SharedVm, Slot, Spec, State, World};
use crate::error::LoadError;
use crate::vm::RootId;

/// A root whose plugin has been replaced.
pub(super) struct Replaced {
    vm: SharedVm,
    root: RootId,
    /// It has been told its end.
    told: bool,
}

// === impl World ===

impl World {
    /// Has the plugin at `index` (in the order of loading) be this one from now on. Those that
    /// share a VM cannot be replaced one by one.
    ///
    /// # Errors
    /// What keeps it from starting; the old one goes on then.
    pub fn replace(&mut self, index: usize, spec: Spec) -> Result<(), LoadError> {
        let Some(slot) = self.slots.get(index) else {
            return Err(LoadError::Module(format!("there is no plugin {index}")));
        };
        let old = match &slot.state {
            State::Running(vm, root) => Some((vm.clone(), *root)),
            State::Down(_) => None,
        };
        if let Some((vm, _)) = &old {
            let runs_in = |slot: &&Slot| matches!(&slot.state, State::Running(other, _) if Rc::ptr_eq(other, vm));
            if self.slots.iter().filter(runs_in).count() > 1 {
                let why = "plugins that share a VM move together".to_owned();
                return Err(LoadError::Module(why));
            }
        }
        // One of the same kind must not join it.
        let told = false;
        self.replaced
            .extend(old.map(|(vm, root)| Replaced { vm, root, told }));
        let spec = Rc::new(spec);
        match self.start(&spec) {
            Ok((vm, root)) => {
                let state = State::Running(vm, root);
                self.slots[index] = Slot { spec, state };
                self.settle();
                Ok(())
            }
            Err(error) => {
                if let State::Running(..) = self.slots[index].state {
                    self.replaced.pop();
                }
                Err(error)
            }
        }
    }

    /// Whether no new stream may go there.
    pub(super) fn is_replaced(&self, vm: &SharedVm) -> bool {
        self.replaced.iter().any(|old| Rc::ptr_eq(&old.vm, vm))
    }

    /// Tells those their end that have no stream and no callout left; whether there were any.
    pub(super) fn end_replaced(&mut self) -> bool {
        let mut ended = false;
        for old in self.replaced.iter_mut().filter(|old| !old.told) {
            let mut vm = old.vm.borrow_mut();
            if vm.streams() == 0 && vm.callouts() == 0 {
                (old.told, ended) = (true, true);
                // A guest that traps here harms nobody any more.
                let _ = vm.end_root(old.root);
            }
        }
        ended
    }
}
