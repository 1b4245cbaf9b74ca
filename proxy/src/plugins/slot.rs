//! One plugin on one worker: what it is made of, and where it runs.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use cofferdam_abi::engine::Tier;
use cofferdam_abi::shared::{Counter, Space};
use cofferdam_abi::tier::Choice;
use cofferdam_abi::{Plugin, RootId, Shared, Vm, VmSettings};

use super::backoff::Backoff;
use super::ending::Waiting;
use super::generation::Generation;
use crate::config::{Isolation, OnFailure, TierUp};
use crate::modules::Loaded;
use crate::pace::Pace;

/// One plugin on this worker.
pub(crate) struct Slot {
    pub(super) plugin: Rc<Plugin>,
    pub(super) settings: Rc<VmSettings>,
    /// What its next VM runs.
    pub(super) loaded: RefCell<Arc<Loaded>>,
    pub(super) on_failure: OnFailure,
    /// Each of its streams has a VM to itself.
    pub(super) isolated: bool,
    /// Whether it has a root on this worker that no stream brings along.
    pub(super) runs: bool,
    /// Its position in the configuration that runs now.
    pub(super) position: Cell<usize>,
    pub(super) part: Cell<Part>,
    pub(super) state: RefCell<State>,
    /// No stream of its own VM may begin before then.
    pub(super) barred: Cell<Option<Instant>>,
    pub(super) backoff: RefCell<Backoff>,
    /// How often its VMs have been replaced because they had grown.
    pub(super) growth: Cell<Pace>,
    /// VMs that are there for none of its streams.
    pub(super) waiting: RefCell<Waiting<Generation>>,
    /// When it was started last.
    pub(super) started: Cell<Option<Instant>>,
    /// VMs it was started in, by their tier.
    pub(super) starts: [OnceCell<Arc<Counter>>; 2],
    /// It counts as down where readiness is asked for.
    pub(super) down: Cell<bool>,
    /// Shared data stays while its filter is down, though no VM holds it.
    _space: Arc<Space>,
}

/// What a plugin has to do with the configuration that runs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It is of it.
    Current,
    /// It was of another, some of whose exchanges are still under way.
    Former,
    /// It was of another that is over.
    Gone,
}

/// Whether a plugin can take a stream.
pub(super) enum State {
    /// No VM: not started yet, or lost and on its way back. Whoever needs it first starts
    /// it.
    Cold,
    Running(Rc<Generation>, RootId),
    /// Could not be started, or crashes too often: not before then.
    Down(Instant),
    /// Crashed for good (`after_trap: envoy`).
    Dead,
}

/// What makes two VMs the same one: equal code and settings, and nothing that would move
/// one plugin to other code without the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VmKey {
    digest: [u8; 32],
    settings: Rc<VmSettings>,
    tier: Tier,
    engine: Choice,
    tier_up: TierUp,
}

// === impl Slot ===

impl Slot {
    /// `first` is the worker that has the services.
    pub(super) fn new(loaded: &Arc<Loaded>, shared: &Shared, first: bool) -> Self {
        let runs = loaded.config.runs_on(first);
        Self {
            plugin: Rc::new(loaded.plugin()),
            settings: Rc::new(loaded.settings()),
            on_failure: loaded.config.on_failure,
            isolated: loaded.config.isolation == Isolation::Request,
            runs,
            position: Cell::new(0),
            part: Cell::new(Part::Current),
            _space: shared.join(&loaded.config.vm_id),
            loaded: RefCell::new(loaded.clone()),
            state: RefCell::new(State::Cold),
            barred: Cell::new(None),
            backoff: RefCell::default(),
            growth: Cell::default(),
            waiting: RefCell::default(),
            started: Cell::new(None),
            starts: Default::default(),
            down: Cell::new(runs),
        }
    }

    /// Which others it would share its VM with, if that ran `loaded`.
    pub(super) fn key(&self, loaded: &Loaded) -> VmKey {
        VmKey {
            digest: loaded.program.digest(),
            settings: self.settings.clone(),
            tier: loaded.code.tier(),
            engine: loaded.config.engine,
            tier_up: loaded.config.tier_up,
        }
    }

    /// The VM and root it runs in, if they can take another stream.
    pub(super) fn sound(&self) -> Option<(Rc<RefCell<Vm>>, RootId)> {
        match &*self.state.borrow() {
            State::Running(generation, root) if generation.vm.borrow_mut().is_sound(*root) => {
                Some((generation.vm.clone(), *root))
            }
            _ => None,
        }
    }

    /// Whether no state of its own forbids a start now.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        if self.part.get() == Part::Gone {
            return false;
        }
        match &*self.state.borrow() {
            State::Cold => true,
            State::Down(until) => *until <= now,
            State::Running(..) | State::Dead => false,
        }
    }

    /// The VM it runs in.
    pub(super) fn generation(&self) -> Option<Rc<Generation>> {
        match &*self.state.borrow() {
            State::Running(generation, _) => Some(generation.clone()),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot")
            .field("filter", &self.plugin.name)
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}
