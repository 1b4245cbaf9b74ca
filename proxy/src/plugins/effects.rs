//! What VMs want to be seen to, after every stretch of guest code.

use std::cell::RefCell;
use std::rc::Rc;

use cofferdam_abi::shared::QueueReady;
use cofferdam_abi::{Condition, RootEffect, RootId, Trap, Vm};

use super::Plugins;
use super::generation::{Generation, Phase};
use crate::reports;
use crate::worker::Worker;

impl Plugins {
    /// Sees to what roots have asked for, and to VMs that must be replaced. Called after
    /// every stretch of guest code; costs one look at a list when there is nothing.
    pub(crate) fn after_calls(&self, worker: &Rc<Worker>) {
        if !self.host.effects.replace(false) {
            return;
        }
        if self.host.evicted.replace(false) {
            self.evictions.noticed();
        }
        let mut busy = Vec::new();
        while let Some(id) = self.host.next_attention() {
            let generation = self.generations.borrow().get(&id).cloned();
            let Some(generation) = generation else {
                continue;
            };
            let looked = generation.vm.try_borrow_mut().map(|mut vm| {
                let effects = vm.take_root_effects();
                (effects, vm.take_spent(), vm.condition())
            });
            let Ok((effects, spent, condition)) = looked else {
                // In a call, after which somebody looks again.
                busy.push(id);
                continue;
            };
            for effect in effects {
                self.carry_out(worker, &generation, effect);
            }
            self.modules.spend(&generation.program, spent);
            self.see_to(worker, &generation, condition);
        }
        busy.into_iter().for_each(|id| self.host.attend(id));
    }

    fn see_to(&self, worker: &Rc<Worker>, generation: &Rc<Generation>, condition: Condition) {
        match (generation.phase(), condition) {
            (Phase::Serving, Condition::Failed(culprit)) => self.lost(worker, generation, culprit),
            (Phase::Serving, _) if generation.lone => self.end_if_idle(worker, generation),
            (Phase::Serving, Condition::Grown) => self.outgrown(worker, generation),
            (Phase::Serving, Condition::Well) | (Phase::Opening, _) => {}
            (Phase::Draining | Phase::Ending, _) => self.end_if_idle(worker, generation),
        }
    }

    fn carry_out(&self, worker: &Rc<Worker>, generation: &Rc<Generation>, effect: RootEffect) {
        let vm = &generation.vm;
        match effect {
            // Asked for in one breath with its end: nobody would ever take it away again.
            RootEffect::Tick { root, .. } | RootEffect::RedisClient { root, .. }
                if !vm.borrow_mut().has_root(root) => {}
            RootEffect::Tick { root, period } => self.set_timer(worker, generation, root, period),
            RootEffect::Done { root } => {
                let name = vm.borrow_mut().plugin_name(root);
                let deleted = vm.borrow_mut().delete_root(root);
                if let Err(trap) = deleted {
                    reports::crash(&name, &trap, "-");
                }
                self.root_is_over(generation, root);
                self.root_gone.notify_one();
            }
            RootEffect::Call { root, token, call } => {
                self.callouts.begin(worker, vm, root, token, *call);
            }
            RootEffect::Send {
                root,
                token,
                message,
                end,
            } => self.callouts.send(worker, vm, root, token, &message, end),
            RootEffect::HalfClose { token, .. } => self.callouts.half_close(vm, token),
            RootEffect::Cancel { token, .. } => self.callouts.cancel(vm, token),
            RootEffect::RedisClient { root, client } => {
                self.callouts.redis_client(vm, root, *client);
            }
        }
    }

    /// A root has been told of something that came from outside, an answer most likely:
    /// what a VM that drains was waiting for may have been that.
    pub(crate) fn heard(&self, vm: &Rc<RefCell<Vm>>) {
        let vm = vm.borrow();
        if vm.is_retired() {
            self.host.attend(vm.id());
        }
    }

    /// Tells that a root crashed in a callback of its own.
    pub(crate) fn root_crashed(
        &self,
        worker: &Rc<Worker>,
        vm: &Rc<RefCell<Vm>>,
        root: RootId,
        trap: &Trap,
    ) {
        reports::crash(&vm.borrow_mut().plugin_name(root), trap, "-");
        self.root_gone.notify_one();
        self.after_calls(worker);
    }

    /// An item has come into a queue for which a root of this worker has registered. The
    /// newest VM that has is told, and no other.
    pub(crate) fn queue_ready(&self, worker: &Rc<Worker>, ready: QueueReady) {
        let shared = cofferdam_abi::Host::shared(&*self.host);
        let generation = self.generations.borrow().get(&ready.vm).cloned();
        let Some(generation) = generation.filter(|generation| !generation.vm.borrow().is_failed())
        else {
            shared.queue_ready_missed(ready);
            return;
        };
        if generation.phase() != Phase::Serving && shared.queue_ready_moves_on(ready) {
            return;
        }
        let told = generation
            .vm
            .borrow_mut()
            .queue_ready(ready.root, ready.queue);
        if let Err(trap) = told {
            self.root_crashed(worker, &generation.vm, ready.root, &trap);
        }
        self.after_calls(worker);
    }
}
