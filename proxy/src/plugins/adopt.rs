//! Filters of another configuration: those that are the same go on where they are, those that
//! are new are started beside them, and those that are gone end with the last exchange that
//! began while they were there.
//!
//! A plugin with other settings is another plugin. Where it can share a VM with one that goes
//! on, it gets a root there, and the root of the former one ends without the VM.

use std::rc::Rc;

use cofferdam_abi::RootId;

use super::Plugins;
use super::generation::{Generation, Phase};
use super::launch::Unstarted;
use super::slot::{Part, Slot, State};
use crate::modules::hint;
use crate::reload::Blueprint;
use crate::setup::Setup;
use crate::worker::Worker;

/// What has been started and is used by nobody yet.
#[derive(Default)]
pub(crate) struct Fresh {
    started: Vec<Rc<Generation>>,
    /// Roots in VMs that are in use.
    joined: Vec<(Rc<Generation>, Rc<Slot>, RootId)>,
}

impl Plugins {
    /// The plugins of `blueprint`, by position. What is new has been started.
    ///
    /// # Errors
    /// What could not be; then nothing has.
    pub(crate) async fn prepare(
        &self,
        worker: &Rc<Worker>,
        blueprint: &Blueprint,
    ) -> Result<(Vec<Rc<Slot>>, Fresh), String> {
        let old = worker.setup();
        let mut slots = Vec::with_capacity(blueprint.loaded.len());
        let mut new: Vec<Rc<Slot>> = Vec::new();
        for (loaded, kept) in blueprint.loaded.iter().zip(&blueprint.kept.plugins) {
            let slot = match kept {
                Some(kept) => old.slots[*kept].clone(),
                None => {
                    let guests = cofferdam_abi::Host::shared(&*self.host);
                    let slot = Rc::new(Slot::new(loaded, guests, worker.is_first()));
                    // It counts once it is lost; before it has come to run nobody misses it.
                    slot.down.set(false);
                    new.push(slot.clone());
                    slot
                }
            };
            slots.push(slot);
        }
        let mut fresh = Fresh::default();
        new.retain(|slot| slot.runs);
        while let Some(first) = new.first() {
            if self.ending.get() {
                return Err("the worker ends".to_owned());
            }
            let key = first.key(&first.loaded.borrow());
            let of_key = |slot: &mut Rc<Slot>| slot.key(&slot.loaded.borrow()) == key;
            let group: Vec<Rc<Slot>> = new.extract_if(.., of_key).collect();
            let begun = match self.serving(&key) {
                Some(generation) => self.add_roots(&generation, &group, &mut fresh),
                None => self
                    .launch(&self.members(&group), false)
                    .map(|generation| fresh.started.push(generation)),
            };
            self.after_calls(worker);
            if let Err(Unstarted { slot, error }) = begun {
                let name = &slot.plugin.name;
                let why = format!(
                    "filter {name} could not be started: {error}; {}",
                    hint(&error, &slot.loaded.borrow().config.limits)
                );
                self.abandon(worker, fresh);
                return Err(why);
            }
            tokio::task::yield_now().await;
        }
        Ok((slots, fresh))
    }

    fn add_roots(
        &self,
        generation: &Rc<Generation>,
        group: &[Rc<Slot>],
        fresh: &mut Fresh,
    ) -> Result<(), Unstarted> {
        for slot in group {
            match self.add_root(generation, slot) {
                Ok(root) => fresh.joined.push((generation.clone(), slot.clone(), root)),
                Err(error) => {
                    let slot = slot.clone();
                    return Err(Unstarted { slot, error });
                }
            }
        }
        Ok(())
    }

    /// Ends what was made ready for nothing.
    pub(crate) fn abandon(&self, worker: &Rc<Worker>, fresh: Fresh) {
        for (generation, slot, root) in fresh.joined {
            slot.part.set(Part::Gone);
            self.leave(worker, &generation, &slot, root);
            // Its VM may have been replaced meanwhile, and then it has a root in that one too; or
            // is held back from having one, and counts as down.
            self.release(worker, &[slot], false);
        }
        for generation in fresh.started {
            for slot in generation.slots() {
                slot.part.set(Part::Gone);
            }
            let id = generation.vm.borrow().id();
            self.generations.borrow_mut().insert(id, generation.clone());
            self.retire(worker, &generation);
        }
        self.after_calls(worker);
    }

    /// From here on the filters of `new` are those there are.
    pub(crate) fn adopt(
        &self,
        worker: &Rc<Worker>,
        old: &Rc<Setup>,
        new: &Rc<Setup>,
        fresh: Fresh,
    ) {
        self.host.adopt(&new.config, &new.clusters);
        for (position, slot) in new.slots.iter().enumerate() {
            slot.position.set(position);
        }
        for generation in fresh.started {
            self.take_over(worker, &generation);
        }
        for (generation, slot, root) in fresh.joined {
            let sound = generation.phase() == Phase::Serving && !generation.vm.borrow().is_failed();
            if sound && matches!(&*slot.state.borrow(), State::Cold) {
                self.runs_in(&slot, &generation, root);
            }
        }
        // Whatever has crashed since.
        let cold: Vec<Rc<Slot>> = new.slots.iter().filter(|slot| slot.runs).cloned().collect();
        self.start(worker, &cold);
        let is_gone = |slot: &&Rc<Slot>| !new.slots.iter().any(|other| Rc::ptr_eq(other, slot));
        let gone: Vec<Rc<Slot>> = old.slots.iter().filter(is_gone).cloned().collect();
        for slot in &gone {
            slot.part.set(Part::Former);
        }
        self.release_later(worker, old, gone);
        self.after_calls(worker);
    }

    /// Ends plugins once the setup that has them is over, or their time is.
    fn release_later(&self, worker: &Rc<Worker>, old: &Rc<Setup>, gone: Vec<Rc<Slot>>) {
        let Some(unused) = old.unused() else { return };
        if gone.is_empty() {
            return;
        }
        let limit = worker.setup().config.filter_drain_time;
        let worker = Rc::downgrade(worker);
        tokio::task::spawn_local(async move {
            // An error is what it says when the setup has gone.
            let over = tokio::time::timeout(limit, unused).await.is_err();
            if let Some(worker) = worker.upgrade() {
                worker.plugins.release(&worker, &gone, over);
            }
        });
    }

    /// The last exchange with these plugins has ended; or, if their time is `over`, ends now.
    fn release(&self, worker: &Rc<Worker>, gone: &[Rc<Slot>], over: bool) {
        for slot in gone {
            slot.part.set(Part::Gone);
            self.set_down(slot, false);
        }
        for slot in gone {
            let State::Running(generation, root) = slot.state.replace(State::Cold) else {
                continue;
            };
            let others = generation.slots();
            if others.iter().any(|other| other.part.get() != Part::Gone) {
                self.leave(worker, &generation, slot, root);
            } else if generation.phase() == Phase::Serving {
                self.retire(worker, &generation);
                if over {
                    self.expire(worker, &generation);
                }
            }
        }
        self.after_calls(worker);
    }
}
