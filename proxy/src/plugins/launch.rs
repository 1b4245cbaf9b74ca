//! Starting VMs, and handing their plugins over to them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_abi::{LoadError, RootId, Vm};

use super::generation::{Generation, Phase};
use super::slot::{Slot, State, VmKey};
use super::{Plugins, RETRY};
use crate::config::OnFailure;
use crate::modules::{Loaded, hint};
use crate::worker::Worker;

/// Plugins of one VM, with what each will run.
pub(super) type Members = Vec<(Rc<Slot>, Arc<Loaded>)>;

/// A VM that could not be had, and whose doing that was.
pub(super) struct Unstarted {
    pub(super) slot: Rc<Slot>,
    pub(super) error: LoadError,
}

impl Plugins {
    /// A VM with a root of each of `members`, which must be of one key and not be empty.
    /// Nobody uses it yet.
    pub(super) fn launch(
        &self,
        members: &[(Rc<Slot>, Arc<Loaded>)],
        lone: bool,
    ) -> Result<Rc<Generation>, Unstarted> {
        let fault = |slot: &Rc<Slot>| {
            let slot = slot.clone();
            move |error| Unstarted { slot, error }
        };
        let (slot, loaded) = &members[0];
        let vm = Vm::start(
            &*loaded.code,
            loaded.program.version(),
            slot.settings.clone(),
            self.host.clone(),
        )
        .map_err(fault(slot))?;
        let generation = Generation::new(vm, slot.key(loaded), loaded, lone);
        self.callouts.attach(&generation.vm);
        for (slot, _) in members {
            self.add_root(&generation, slot).map_err(fault(slot))?;
        }
        generation.watch(loaded);
        for (slot, _) in members {
            self.count_start(slot, loaded.code.tier());
        }
        Ok(Rc::new(generation))
    }

    pub(super) fn add_root(
        &self,
        generation: &Generation,
        slot: &Rc<Slot>,
    ) -> Result<RootId, LoadError> {
        let plugin = slot.plugin.clone();
        let root = generation.vm.borrow_mut().create_root(plugin)?;
        generation.add_root(slot.clone(), root);
        Ok(root)
    }

    /// From here on all its plugins' new streams go to this VM. What they ran in before
    /// drains.
    pub(super) fn take_over(&self, worker: &Rc<Worker>, generation: &Rc<Generation>) {
        let id = generation.vm.borrow().id();
        self.generations.borrow_mut().insert(id, generation.clone());
        // Whatever its roots asked for while they were configured.
        self.host.attend(id);
        let mut before: Vec<Rc<Generation>> = Vec::new();
        for (slot, root) in generation.roots() {
            slot.started.set(Some(Instant::now()));
            self.set_down(&slot, false);
            let running = State::Running(generation.clone(), root);
            if let State::Running(old, _) = slot.state.replace(running)
                && !before.iter().any(|other| Rc::ptr_eq(other, &old))
            {
                before.push(old);
            }
        }
        for old in before {
            self.retire(worker, &old);
        }
    }

    /// Starts every one of these plugins that has no VM and may have one, those of equal key
    /// in one VM. One that keeps the others from starting is left out.
    pub(super) fn start(&self, worker: &Rc<Worker>, slots: &[Rc<Slot>]) {
        if self.ending.get() {
            return;
        }
        let now = Instant::now();
        let startable = slots.iter().filter(|slot| slot.may_start(now));
        let mut waiting: Vec<Rc<Slot>> = startable.cloned().collect();
        while let Some(first) = waiting.first() {
            let key = first.key(&first.loaded.borrow());
            let of_key = |slot: &mut Rc<Slot>| slot.key(&slot.loaded.borrow()) == key;
            let group: Vec<Rc<Slot>> = waiting.extract_if(.., of_key).collect();
            match self.serving(&key) {
                Some(generation) => self.join(worker, &generation, &group),
                None => self.start_group(worker, &group),
            }
        }
    }

    /// The VM in which plugins of that key run now.
    pub(super) fn serving(&self, key: &VmKey) -> Option<Rc<Generation>> {
        let generations = self.generations.borrow();
        let serves = |other: &&Rc<Generation>| {
            other.phase() == Phase::Serving
                && !other.lone
                && other.key == *key
                && !other.vm.borrow().is_failed()
        };
        generations.values().find(serves).cloned()
    }

    fn start_group(&self, worker: &Rc<Worker>, group: &[Rc<Slot>]) {
        let mut members = self.members(group);
        while !members.is_empty() {
            match self.launch(&members, false) {
                Ok(generation) => return self.take_over(worker, &generation),
                Err(Unstarted { slot, error }) => {
                    members.retain(|(other, _)| !Rc::ptr_eq(other, &slot));
                    self.not_started(worker, &slot, &error);
                }
            }
        }
    }

    /// Plugins that come (back) to a VM others run in.
    fn join(&self, worker: &Rc<Worker>, generation: &Rc<Generation>, group: &[Rc<Slot>]) {
        for slot in group {
            match self.add_root(generation, slot) {
                Ok(root) => self.runs_in(slot, generation, root),
                Err(error) => self.not_started(worker, slot, &error),
            }
        }
    }

    /// A plugin has a root in a VM that others run in already.
    pub(super) fn runs_in(&self, slot: &Rc<Slot>, generation: &Rc<Generation>, root: RootId) {
        slot.started.set(Some(Instant::now()));
        self.set_down(slot, false);
        *slot.state.borrow_mut() = State::Running(generation.clone(), root);
    }

    /// Plugins as they are to be started.
    pub(super) fn members(&self, slots: &[Rc<Slot>]) -> Members {
        let loaded = |slot: &Rc<Slot>| (slot.clone(), slot.loaded.borrow().clone());
        slots.iter().map(loaded).collect()
    }

    /// A plugin without a VM, and none to be had: it is tried again later.
    pub(super) fn not_started(&self, worker: &Rc<Worker>, slot: &Rc<Slot>, error: &LoadError) {
        let now = Instant::now();
        let wait = slot.backoff.borrow_mut().not_started(now);
        let wait = held_for(slot, wait);
        tracing::error!(
            filter = &*slot.plugin.name,
            "filter could not be started, next try in {wait:?}: {error}; {}",
            hint(error, &slot.loaded.borrow().config.limits)
        );
        self.hold(worker, slot, wait);
        self.step_down(slot, error);
    }

    /// Where there is no room for another VM of native code, there is for one that is
    /// interpreted: others of the process are told to move there, too.
    pub(super) fn step_down(&self, slot: &Slot, error: &LoadError) {
        let loaded = slot.loaded.borrow();
        if matches!(error, LoadError::NoRoom(_)) && loaded.is_native() {
            self.modules.interpret(&loaded.program);
        }
    }

    /// Keeps a plugin from being started for so long.
    pub(super) fn hold(&self, worker: &Rc<Worker>, slot: &Rc<Slot>, wait: Duration) {
        *slot.state.borrow_mut() = State::Down(Instant::now() + wait);
        self.set_down(slot, true);
        if !slot.runs || !slot.settings.compat.recover_after_trap {
            return;
        }
        let (weak, slot) = (Rc::downgrade(worker), Rc::downgrade(slot));
        tokio::task::spawn_local(async move {
            tokio::time::sleep(wait).await;
            let (Some(worker), Some(slot)) = (weak.upgrade(), slot.upgrade()) else {
                return;
            };
            let plugins = &worker.plugins;
            plugins.start(&worker, &[slot]);
            plugins.after_calls(&worker);
        });
    }
}

/// How long a filter that should be held back for `wait` really is: with `on_failure: reload`
/// it is tried once a second.
pub(super) fn held_for(slot: &Slot, wait: Duration) -> Duration {
    match slot.loaded.borrow().config.on_failure {
        OnFailure::Reload => wait.min(RETRY),
        OnFailure::Closed | OnFailure::Open => wait,
    }
}
