//! A module in the place of another, as the proxy does it: new streams go to its VM; the old
//! VM keeps its streams and timers, and ends when it has nothing left to do.

use std::rc::Rc;

use cofferdam_abi::RootId;

use super::plugin::spec;
use super::{SharedVm, Slot, State, World};
use crate::suite::step::Reload;

/// A root whose module has been replaced.
pub(super) struct Replaced {
    vm: SharedVm,
    root: RootId,
    /// It has been told its end.
    told: bool,
}

impl World {
    /// Has a filter run another module from now on.
    ///
    /// # Errors
    /// The module cannot be had, or shares its VM with another filter's.
    pub(super) fn reload(&mut self, reload: &Reload) -> Result<(), String> {
        let named = |slot: &Slot| slot.filter.name == reload.filter;
        let index = self.slots.iter().position(named);
        let index = index.ok_or("there is no such filter")?;
        let filter = self.slots[index].filter.with_guest(&reload.guest);
        let new = Rc::new(spec(&filter, self.engine, self.compat)?);
        let (vm, root) = self.start(&new).map_err(|error| error.to_string())?;
        let slot = &mut self.slots[index];
        slot.spec = new;
        slot.filter = filter;
        let old = std::mem::replace(&mut slot.state, State::Running(vm, root));
        if let State::Running(vm, root) = old {
            let runs_in = |slot: &Slot| matches!(&slot.state, State::Running(other, _) if Rc::ptr_eq(other, &vm));
            if self.slots.iter().any(runs_in) {
                return Err("filters that share a VM move together: not in process".to_owned());
            }
            let told = false;
            self.replaced.push(Replaced { vm, root, told });
        }
        self.after_calls();
        Ok(())
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
