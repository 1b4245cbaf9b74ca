//! The end of VMs in whose place others are, and of roots that leave theirs.
//!
//! A guest is told that it is over and may say that it is not done yet: then it has its ticks,
//! answers and queues as before, until it is. It may also never say so. Therefore a VM has no
//! longer than `filter_drain_time`, whatever is left in it; and those of one filter that
//! are there for no stream ([`Waiting`]) keep no more memory together than one VM may.

use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use cofferdam_abi::RootId;

use super::Plugins;
use super::generation::{Generation, Phase, Task};
use super::slot::Slot;
use crate::reports;
use crate::worker::Worker;

/// VMs of one filter that have no stream left, and wait for answers or for their roots: with
/// what each counts for, in bytes. The one that has waited longest comes first.
#[derive(Debug)]
pub(super) struct Waiting<T>(VecDeque<(Weak<T>, usize)>);

/// What a VM counts for at least: there is more to one than its memory.
const LEAST: usize = 256 << 10;

impl Plugins {
    /// Another has taken its place: it drains.
    pub(super) fn retire(&self, worker: &Rc<Worker>, generation: &Rc<Generation>) {
        if generation.phase() != Phase::Serving {
            return;
        }
        generation.enter(Phase::Draining);
        // Looked at after this stretch of guest code, and ended if nothing is left.
        self.host.attend(generation.vm.borrow().id());
        self.limit(worker, generation);
    }

    fn limit(&self, worker: &Rc<Worker>, generation: &Rc<Generation>) {
        let (limit, worker, old) = (
            worker.setup().config.filter_drain_time,
            Rc::downgrade(worker),
            Rc::downgrade(generation),
        );
        let task = tokio::task::spawn_local(async move {
            tokio::time::sleep(limit).await;
            if let (Some(worker), Some(old)) = (worker.upgrade(), old.upgrade()) {
                worker.plugins.expire(&worker, &old);
            }
        });
        *generation.limit.borrow_mut() = Some(Task(task.abort_handle()));
    }

    /// Ends a VM that drains if there is nothing left to wait for.
    pub(super) fn end_if_idle(&self, worker: &Rc<Worker>, generation: &Rc<Generation>) {
        let (streams, callouts) = {
            let mut vm = generation.vm.borrow_mut();
            (vm.streams(), vm.callouts())
        };
        if streams > 0 {
            return;
        }
        if callouts > 0 && generation.phase() != Phase::Ending {
            return self.wait(worker, generation);
        }
        generation.enter(Phase::Ending);
        if self.end_roots_of(generation) || generation.expired.get() {
            self.forget(generation);
        } else {
            self.wait(worker, generation);
        }
    }

    /// A VM is there for no stream any more: not for ever, and not with too many others.
    fn wait(&self, worker: &Rc<Worker>, generation: &Rc<Generation>) {
        if generation.limit.borrow().is_none() {
            // A VM that has had but one stream: from here on it is like any other.
            self.limit(worker, generation);
        }
        let Some(slot) = generation.slots().into_iter().next() else {
            return;
        };
        let size = generation.vm.borrow().memory_size();
        // What it grows by from here on is looked at.
        generation.watch_growth(size);
        slot.waiting.borrow_mut().put(generation, size.max(LEAST));
        loop {
            let most = slot.settings.limits.memory;
            let first = slot.waiting.borrow_mut().too_much(most);
            let Some(first) = first.filter(|first| first.vm.try_borrow_mut().is_ok()) else {
                return;
            };
            self.cut_short(&first, "memory");
            self.end_roots_of(&first);
            self.forget(&first);
        }
    }

    /// The time of a VM that drains is over.
    pub(super) fn expire(&self, worker: &Rc<Worker>, generation: &Rc<Generation>) {
        self.cut_short(generation, "drain_time");
        generation
            .vm
            .borrow_mut()
            .fail_streams("filter_drain_time is over");
        // Roots end after their streams, which end when whoever drives them looks.
        self.host.attend(generation.vm.borrow().id());
        self.after_calls(worker);
    }

    /// Whatever its roots say, a VM is over as soon as it has no stream.
    fn cut_short(&self, generation: &Generation, why: &'static str) {
        let streams = generation.vm.borrow_mut().streams();
        for slot in generation.slots() {
            self.count_cut_short(&slot, why);
            reports::cut_short(&slot.plugin.name, streams, why);
        }
        generation.expire();
    }

    /// Tells its roots that it is over; whether all of them are gone.
    pub(super) fn end_roots_of(&self, generation: &Generation) -> bool {
        let mut gone = true;
        for (slot, root) in generation.roots() {
            let ended = generation.vm.borrow_mut().end_root(root);
            match ended {
                Ok(ended) => gone &= ended,
                Err(trap) => reports::crash(&slot.plugin.name, &trap, "-"),
            }
        }
        gone
    }

    fn forget(&self, generation: &Generation) {
        // It waits with the one that was the first then; which may have left its VM since, and
        // then finds it gone.
        for slot in generation.slots() {
            slot.waiting.borrow_mut().remove(generation);
        }
        let id = generation.vm.borrow().id();
        let gone = self.generations.borrow_mut().remove(&id);
        // What its roots asked for last has been seen to, or has nobody to hear of it.
        drop(gone);
    }

    /// Ends one root of a VM in which others go on.
    pub(super) fn leave(
        &self,
        worker: &Rc<Worker>,
        generation: &Rc<Generation>,
        slot: &Rc<Slot>,
        root: RootId,
    ) {
        let ended = generation.vm.borrow_mut().end_root(root);
        if let Err(trap) = &ended {
            reports::crash(&slot.plugin.name, trap, "-");
        }
        if ended.is_ok_and(|gone| !gone) {
            self.limit_root(worker, generation, slot, root);
        } else {
            self.root_is_over(generation, root);
        }
        generation.remove_root(root);
        self.host.attend(generation.vm.borrow().id());
    }

    /// A root that is not done has as long as a VM would.
    fn limit_root(
        &self,
        worker: &Rc<Worker>,
        generation: &Rc<Generation>,
        slot: &Rc<Slot>,
        root: RootId,
    ) {
        let limit = worker.setup().config.filter_drain_time;
        let (weak, of, slot) = (
            Rc::downgrade(worker),
            Rc::downgrade(generation),
            slot.clone(),
        );
        tokio::task::spawn_local(async move {
            tokio::time::sleep(limit).await;
            let (Some(worker), Some(generation)) = (weak.upgrade(), of.upgrade()) else {
                return;
            };
            let vm = &generation.vm;
            let ended = vm.borrow_mut().end_root(root);
            if matches!(ended, Ok(false)) {
                reports::cut_short(&slot.plugin.name, 0, "drain_time");
                // Others go on in its VM, so it may tidy up after itself.
                let deleted = vm.borrow_mut().delete_root(root);
                if let Err(trap) = deleted {
                    reports::crash(&slot.plugin.name, &trap, "-");
                }
            }
            worker.plugins.root_is_over(&generation, root);
            worker.plugins.after_calls(&worker);
        });
    }

    /// A root has gone from its VM, and what it has set up for itself goes too.
    pub(super) fn root_is_over(&self, generation: &Generation, root: RootId) {
        generation.timers.borrow_mut().remove(&root);
        self.callouts.forget_root(&generation.vm, root);
    }
}

// === impl Waiting ===

impl<T> Waiting<T> {
    /// Counts a VM for so much, from now on.
    fn put(&mut self, vm: &Rc<T>, bytes: usize) {
        let mut known = self.0.iter_mut();
        match known.find(|(other, _)| std::ptr::eq(other.as_ptr(), Rc::as_ptr(vm))) {
            Some((_, before)) => *before = bytes,
            None => self.0.push_back((Rc::downgrade(vm), bytes)),
        }
    }

    /// Which one is to go because they are more than `most`. A single one never is: its
    /// own limit holds.
    fn too_much(&mut self, most: usize) -> Option<Rc<T>> {
        self.0.retain(|(vm, _)| vm.strong_count() > 0);
        let bytes = self.0.iter().map(|(_, bytes)| bytes);
        if self.0.len() < 2 || bytes.sum::<usize>() <= most {
            return None;
        }
        self.0.front()?.0.upgrade()
    }

    fn remove(&mut self, vm: &T) {
        self.0
            .retain(|(other, _)| !std::ptr::eq(other.as_ptr(), vm));
    }
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_while_they_are_too_much_together() {
        let vms = ["a", "b", "c"].map(Rc::new);
        let mut waiting = Waiting::default();
        vms.iter().for_each(|vm| waiting.put(vm, 10));
        assert_eq!(waiting.too_much(30), None);
        assert_eq!(waiting.too_much(29).as_deref(), Some(&"a"));
        // What grows keeps its place, and is not counted twice.
        waiting.put(&vms[1], 15);
        waiting.remove(&vms[0]);
        assert_eq!(waiting.too_much(25), None);
        assert_eq!(waiting.too_much(24).as_deref(), Some(&"b"));
        waiting.remove(&vms[1]);
        assert_eq!(waiting.too_much(0), None, "a single one stays");
    }

    #[test]
    fn one_that_was_counted_elsewhere_or_has_gone_upsets_nothing() {
        let (here, there) = (Rc::new(1), Rc::new(2));
        let mut waiting = Waiting::default();
        waiting.put(&here, 10);
        waiting.remove(&there);
        assert_eq!(waiting.too_much(10), None);
        waiting.put(&there, 10);
        drop(here);
        assert_eq!(waiting.too_much(10), None, "one is left");
        assert_eq!(waiting.too_much(0), None);
    }
}
