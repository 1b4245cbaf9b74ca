//! Replacing VMs: one mechanism for native code, changed modules, crashes, and memory that
//! has grown too large.
//!
//! The new VM is started by a task of the worker's own, between requests; a request starts
//! one only where there is none at all. Then all plugins of the old one are handed over at
//! once, new streams go to the new one, and the old one drains (see [`Generation`]).

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_abi::RootId;

use super::backoff::GROWTH;
use super::generation::{Generation, Phase};
use super::launch::{Members, Unstarted};
use super::slot::{Part, Slot, State};
use super::{Plugins, RETRY};
use crate::config::OnFailure;
use crate::modules::{Loaded, Publication, hint};
use crate::reports;
use crate::worker::Worker;

/// With so many of a filter's VMs draining, one that has grown is not replaced yet.
const DRAINING: usize = 8;

/// Why a VM is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its module has native code now.
    Native,
    /// There is no room for VMs of native code.
    NoRoom,
    /// Its module's file has changed.
    Changed,
    /// Its memory has grown too large.
    Grown,
    /// Its guest has crashed.
    Crashed,
}

impl Plugins {
    /// A guest has crashed: its VM takes no more streams, and the next is on its way.
    pub(super) fn lost(
        &self,
        worker: &Rc<Worker>,
        generation: &Rc<Generation>,
        culprit: Option<RootId>,
    ) {
        if generation.lone {
            return self.lost_alone(worker, generation);
        }
        let slots = generation.slots();
        // One that crashed while it was started has no root: it has been told already.
        let is_culprit = |slot: &Rc<Slot>| {
            culprit.is_none_or(|root| {
                let culprit = generation.slot_of(root);
                culprit.is_some_and(|culprit| Rc::ptr_eq(&culprit, slot))
            })
        };
        for slot in &slots {
            self.count_replaced(slot, Why::Crashed);
            if !is_culprit(slot) {
                tracing::warn!(
                    filter = &*slot.plugin.name,
                    "restarted: the VM that it shares was lost to another filter"
                );
            }
            if !slot.settings.compat.recover_after_trap {
                let after = envoy_after_trap(slot);
                self.set_down(slot, true);
                *slot.state.borrow_mut() = after;
                continue;
            }
            *slot.state.borrow_mut() = State::Cold;
            let held = is_culprit(slot).then(|| slot.backoff.borrow_mut().crashed(Instant::now()));
            if let Some(wait) = held.flatten() {
                let wait = self.tell_held_back(slot, wait);
                self.hold(worker, slot, wait);
            }
        }
        self.retire(worker, generation);
        self.start_soon(worker, slots);
    }

    /// A guest has grown too large: a fresh one takes over, as soon as its filter may have one.
    pub(super) fn outgrown(&self, worker: &Rc<Worker>, generation: &Rc<Generation>) {
        // Once: what it still allocates makes it no larger than too large.
        generation.unwatch_memory();
        let (worker, old) = (Rc::downgrade(worker), Rc::downgrade(generation));
        tokio::task::spawn_local(async move {
            loop {
                let wait = {
                    let (Some(worker), Some(old)) = (worker.upgrade(), old.upgrade()) else {
                        return;
                    };
                    if old.phase() != Phase::Serving || old.vm.borrow().is_failed() {
                        return;
                    }
                    let plugins = &worker.plugins;
                    let Some(wait) = plugins.too_soon(&old) else {
                        let members = plugins.members(&old.slots());
                        plugins.renew(&worker, &[members], Why::Grown);
                        plugins.after_calls(&worker);
                        return;
                    };
                    wait
                };
                tokio::time::sleep(wait).await;
            }
        });
    }

    /// How long a VM that has grown goes on before it is replaced: a guest that grows with
    /// every request must not have VMs started as fast as requests come, nor have many about
    /// that each have a stream left. If it may be replaced now, that counts.
    fn too_soon(&self, generation: &Rc<Generation>) -> Option<Duration> {
        let (slots, now) = (generation.slots(), Instant::now());
        let paces = slots
            .iter()
            .filter_map(|slot| slot.growth.get().wait(GROWTH, now));
        let drain = self.draining_with(&slots) >= DRAINING;
        let wait = paces.max().or_else(|| drain.then_some(RETRY));
        for slot in &slots {
            if wait.is_some() {
                reports::grows_fast(&slot.plugin.name);
            } else {
                slot.growth.set(slot.growth.get().next(GROWTH, now));
            }
        }
        wait
    }

    /// How many VMs that one of these was replaced in still have something to do.
    fn draining_with(&self, slots: &[Rc<Slot>]) -> usize {
        let generations = self.generations.borrow();
        let drains = |other: &&Rc<Generation>| {
            other.phase() == Phase::Draining && other.slots().iter().any(|slot| is_in(slot, slots))
        };
        generations.values().filter(drains).count()
    }

    /// New code for some plugins: one VM after the other, other work in between.
    pub(crate) async fn publish(&self, worker: &Rc<Worker>, publication: Publication) {
        let Publication { why, plugins } = publication;
        let setup = worker.setup();
        let slot = |(index, loaded): (usize, _)| Some((setup.slots.get(index)?.clone(), loaded));
        let mut plugins: Members = plugins.into_iter().filter_map(slot).collect();
        while let Some((first, _)) = plugins.first() {
            let affected = Self::affected(first, &plugins);
            let is_affected = |(slot, _): &mut (Rc<Slot>, _)| is_in(slot, &affected);
            let changed: Members = plugins.extract_if(.., is_affected).collect();
            self.change(worker, &affected, &changed, why);
            self.after_calls(worker);
            tokio::task::yield_now().await;
        }
    }

    /// Plugins that move when `first` does: those it shares its VM with, and those that the
    /// others in `plugins` among them do.
    fn affected(first: &Rc<Slot>, plugins: &[(Rc<Slot>, Arc<Loaded>)]) -> Vec<Rc<Slot>> {
        let mut affected = vec![first.clone()];
        let mut next = 0;
        while let Some(slot) = affected.get(next).cloned() {
            next += 1;
            let shared = slot.generation();
            for other in shared.iter().flat_map(|generation| generation.slots()) {
                if !is_in(&other, &affected) {
                    affected.push(other);
                }
            }
            // Equal code and settings from now on: they will share one.
            let key = plugins
                .iter()
                .find(|(other, _)| Rc::ptr_eq(other, &slot))
                .map(|(slot, loaded)| slot.key(loaded));
            for (other, loaded) in plugins {
                if key.as_ref() == Some(&other.key(loaded)) && !is_in(other, &affected) {
                    affected.push(other.clone());
                }
            }
        }
        affected
    }

    fn change(
        &self,
        worker: &Rc<Worker>,
        affected: &[Rc<Slot>],
        changed: &[(Rc<Slot>, Arc<Loaded>)],
        why: Why,
    ) {
        let mut running: Vec<Members> = Vec::new();
        let mut resting = Vec::new();
        for slot in affected {
            let new = changed.iter().find(|(other, _)| Rc::ptr_eq(other, slot));
            let new = new.map(|(_, loaded)| loaded.clone());
            let loaded = new.clone().unwrap_or_else(|| slot.loaded.borrow().clone());
            if slot.generation().is_none() {
                resting.extend(new.map(|_| slot.clone()));
                *slot.loaded.borrow_mut() = loaded;
                continue;
            }
            if new.is_none() {
                tracing::info!(
                    filter = &*slot.plugin.name,
                    "restarted with another filter whose VM it shares: {why}"
                );
            }
            let key = slot.key(&loaded);
            let group = running.iter_mut().find(|group| {
                let (other, loaded) = &group[0];
                other.key(loaded) == key
            });
            match group {
                Some(group) => group.push((slot.clone(), loaded)),
                None => running.push(vec![(slot.clone(), loaded)]),
            }
        }
        if !running.is_empty() {
            self.renew(worker, &running, why);
        }
        // Other code than what could not go on deserves another chance at once.
        let mended = matches!(why, Why::Changed | Why::NoRoom);
        for slot in resting {
            if mended {
                self.unbar(&slot);
            }
            if mended && !matches!(&*slot.state.borrow(), State::Cold) {
                *slot.backoff.borrow_mut() = super::backoff::Backoff::default();
                *slot.state.borrow_mut() = State::Cold;
                self.set_down(&slot, false);
            }
            if slot.runs {
                self.start(worker, &[slot]);
            }
        }
    }

    /// Starts a VM for each of these groups, and if all of them start, hands their plugins
    /// over; if not, everything stays as it is.
    pub(super) fn renew(&self, worker: &Rc<Worker>, groups: &[Members], why: Why) {
        if self.ending.get() {
            return;
        }
        let mut started = Vec::with_capacity(groups.len());
        for members in groups {
            match self.launch(members, false) {
                Ok(generation) => started.push(generation),
                Err(Unstarted { slot, error }) => {
                    tracing::error!(
                        filter = &*slot.plugin.name,
                        "filter could not be started anew ({why}), its VM stays as it is: {error}; {}",
                        hint(&error, &slot.loaded.borrow().config.limits)
                    );
                    return;
                }
            }
        }
        for (members, generation) in groups.iter().zip(&started) {
            for (slot, loaded) in members {
                *slot.loaded.borrow_mut() = loaded.clone();
                self.count_replaced(slot, why);
                tracing::debug!(filter = &*slot.plugin.name, "a new VM takes over: {why}");
            }
            self.take_over(worker, generation);
        }
    }

    /// Starts plugins that have no VM, once the running task is done.
    fn start_soon(&self, worker: &Rc<Worker>, mut slots: Vec<Rc<Slot>>) {
        // Others are started if an exchange of their time still needs them.
        slots.retain(|slot| slot.part.get() == Part::Current);
        let worker = Rc::downgrade(worker);
        tokio::task::spawn_local(async move {
            if let Some(worker) = worker.upgrade() {
                worker.plugins.start(&worker, &slots);
                worker.plugins.after_calls(&worker);
            }
        });
    }
}

fn is_in(slot: &Rc<Slot>, slots: &[Rc<Slot>]) -> bool {
    slots.iter().any(|other| Rc::ptr_eq(other, slot))
}

/// Section 6.11 of `abi/ABI.md`: a failed VM stays failed, but under FAIL_RELOAD, where the
/// next request gets a new one, at most once in a back-off.
fn envoy_after_trap(slot: &Slot) -> State {
    match (slot.loaded.borrow().config.on_failure, slot.started.get()) {
        (OnFailure::Reload, Some(started)) => State::Down(started + RETRY),
        (OnFailure::Reload, None) => State::Down(Instant::now()),
        (OnFailure::Closed | OnFailure::Open, _) => State::Dead,
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native code",
            Self::NoRoom => "there is no room for native code",
            Self::Changed => "its module has changed",
            Self::Grown => "its memory had grown too large",
            Self::Crashed => "its guest had crashed",
        })
    }
}
