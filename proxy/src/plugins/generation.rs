//! A VM on its worker, from its start to the end of its last stream.
//!
//! A VM is never changed into another: whatever must become different (other code, other
//! engine, a memory that is small again, a guest that has crashed) becomes so in a new VM,
//! and this one *drains*: it takes no new streams, those it has finish in it, and so do the
//! calls its roots have begun. Then its roots are told that it is over, and it goes
//! ([`super::ending`]).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use cofferdam_abi::{RootId, Vm, Watch};
use tokio::task::AbortHandle;

use super::slot::{Slot, VmKey};
use crate::modules::{Loaded, Program};

/// A VM and the roots that live in it.
pub(super) struct Generation {
    pub(super) vm: Rc<RefCell<Vm>>,
    pub(super) key: VmKey,
    pub(super) program: Arc<Program>,
    /// It is for one stream alone.
    pub(super) lone: bool,
    /// The plugins it has roots of.
    roots: RefCell<Vec<(Rc<Slot>, RootId)>>,
    pub(super) timers: RefCell<HashMap<RootId, Task>>,
    phase: Cell<Phase>,
    watch: Cell<Watch>,
    /// Ends it whatever is left.
    pub(super) limit: RefCell<Option<Task>>,
    /// Its time is over: nobody waits for its roots.
    pub(super) expired: Cell<bool>,
}

/// Where in its life a VM is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The one stream it is for has not begun.
    Opening,
    /// It takes streams.
    Serving,
    /// Another has taken its place; streams and callouts are left.
    Draining,
    /// Nothing is left but roots that are not done.
    Ending,
}

/// A task that ends with this.
#[derive(Debug)]
pub(super) struct Task(pub(super) AbortHandle);

/// At what part of the room between its size at the start and its limit a VM's memory has
/// it replaced.
const LARGE: usize = 2;

// === impl Generation ===

impl Generation {
    pub(super) fn new(vm: Vm, key: VmKey, loaded: &Loaded, lone: bool) -> Self {
        Self {
            vm: Rc::new(RefCell::new(vm)),
            key,
            program: loaded.program.clone(),
            lone,
            roots: RefCell::default(),
            timers: RefCell::default(),
            phase: Cell::new(if lone { Phase::Opening } else { Phase::Serving }),
            watch: Cell::new(Watch::NEVER),
            limit: RefCell::default(),
            expired: Cell::new(false),
        }
    }

    /// Its roots are there: from here on its memory is watched, and what it costs.
    pub(super) fn watch(&self, loaded: &Loaded) {
        let mut vm = self.vm.borrow_mut();
        let size = vm.memory_size();
        let most = loaded.config.limits.memory;
        let memory = match loaded.config.recycle {
            // What a fresh one needs is no reason to start another.
            Some(bytes) => bytes.max(size + size / 2),
            None => size + most.saturating_sub(size) / LARGE,
        };
        let memory = if self.lone || memory <= size {
            usize::MAX
        } else {
            memory
        };
        self.watch.set(Watch {
            memory,
            fuel: loaded.program.watch(&*loaded.code),
        });
        vm.watch(self.watch.get());
    }

    /// That it is too large is known.
    pub(super) fn unwatch_memory(&self) {
        self.watch_memory(usize::MAX);
    }

    /// From now on its owner hears of whatever it grows by past `size`.
    pub(super) fn watch_growth(&self, size: usize) {
        self.watch_memory(size + 1);
    }

    fn watch_memory(&self, memory: usize) {
        let watch = Watch {
            memory,
            ..self.watch.get()
        };
        self.vm.borrow_mut().watch(watch);
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        if matches!(phase, Phase::Draining | Phase::Ending) {
            self.vm.borrow_mut().retire();
        }
    }

    /// Its time is over.
    pub(super) fn expire(&self) {
        self.enter(Phase::Ending);
        self.expired.set(true);
        self.timers.borrow_mut().clear();
    }

    pub(super) fn add_root(&self, slot: Rc<Slot>, root: RootId) {
        self.roots.borrow_mut().push((slot, root));
    }

    /// The root is no business of its plugin's any more.
    pub(super) fn remove_root(&self, root: RootId) {
        self.roots.borrow_mut().retain(|(_, other)| *other != root);
    }

    /// The plugins that have roots in it.
    pub(super) fn slots(&self) -> Vec<Rc<Slot>> {
        let roots = self.roots.borrow();
        roots.iter().map(|(slot, _)| slot.clone()).collect()
    }

    pub(super) fn roots(&self) -> Vec<(Rc<Slot>, RootId)> {
        self.roots.borrow().clone()
    }

    /// Whose root that is.
    pub(super) fn slot_of(&self, root: RootId) -> Option<Rc<Slot>> {
        let roots = self.roots.borrow();
        let mut roots = roots.iter();
        roots
            .find(|(_, other)| *other == root)
            .map(|(slot, _)| slot.clone())
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation")
            .field("phase", &self.phase)
            .field("lone", &self.lone)
            .finish_non_exhaustive()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
