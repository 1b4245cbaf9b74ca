//! What the owner of a VM must know to replace it in time: that it has failed or grown too
//! large, what it has spent, and, once another has taken its place, that nothing is left
//! for it to do.
//!
//! The owner says what it wants to hear of ([`Vm::watch`], [`Vm::retire`]) and is called
//! ([`crate::Host::attention`]) when there is something; in between a VM costs a compare.

use super::{RootId, StreamId, Vm};
use crate::error::{Trap, TrapKind};
use crate::exchange::Effect;

/// When a VM's owner wants to hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// Its linear memory has come to so many bytes.
    pub memory: usize,
    /// The interpreter has spent so much fuel in it since [`Vm::take_spent`].
    pub fuel: u64,
}

/// How a VM is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// As it should be.
    Well,
    /// A call has trapped: no stream should be opened in it any more. The root whose call
    /// it was first; none where nobody's was.
    Failed(Option<RootId>),
    /// Its memory has come to what [`Watch`] allows.
    Grown,
}

/// The part of a VM that is about its replacement.
#[derive(Debug)]
pub(super) struct Life {
    watch: Watch,
    /// Fuel spent since it was last taken.
    spent: u64,
    /// Its first trap, by the root whose call it was.
    culprit: Option<u32>,
    /// Another VM has taken its place.
    retired: bool,
    /// Streams that wait for the guest to let them go.
    held: usize,
}

// === impl Watch ===

impl Watch {
    /// Nothing is watched.
    pub const NEVER: Self = Self {
        memory: usize::MAX,
        fuel: u64::MAX,
    };
}

// === impl Life ===

impl Default for Life {
    fn default() -> Self {
        Self {
            watch: Watch::NEVER,
            spent: 0,
            culprit: None,
            retired: false,
            held: 0,
        }
    }
}

// === impl Vm ===

impl Vm {
    /// Says when [`crate::Host::attention`] is to be called on account of memory and fuel;
    /// never before this is called.
    pub const fn watch(&mut self, watch: Watch) {
        self.life.watch = watch;
    }

    /// How it is now.
    #[must_use]
    pub fn condition(&self) -> Condition {
        if self.failed {
            let culprit = self.life.culprit.filter(|root| *root != 0);
            Condition::Failed(culprit.map(RootId))
        } else if self.memory_size() >= self.life.watch.memory {
            Condition::Grown
        } else {
            Condition::Well
        }
    }

    /// Fuel the interpreter has spent in it since this was last called.
    pub const fn take_spent(&mut self) -> u64 {
        std::mem::replace(&mut self.life.spent, 0)
    }

    /// Another VM has taken its place: from now on [`crate::Host::attention`] is called
    /// when its last stream has ended.
    pub const fn retire(&mut self) {
        self.life.retired = true;
    }

    /// Whether another VM has taken its place.
    #[must_use]
    pub const fn is_retired(&self) -> bool {
        self.life.retired
    }

    /// Whether any stream is held back by its guest: what lets it go may be a timer.
    #[must_use]
    pub const fn holds_streams(&self) -> bool {
        self.life.held > 0
    }

    /// Callouts something may still come for, of all roots.
    pub fn callouts(&mut self) -> usize {
        self.state().callouts.under_way()
    }

    /// Ends every stream there is, as if the guest had trapped in it: there is no more time
    /// to finish. They are told when whoever drives them looks.
    pub fn fail_streams(&mut self, why: &str) {
        let trap = Trap {
            kind: TrapKind::Replaced,
            callback: "no callback",
            message: why.to_owned(),
            tier: self.tier,
            frames: Vec::new(),
        };
        for stream in self.instance.state().streams.values() {
            let effect = Effect::VmEnded(trap.clone());
            let mut exchange = stream.exchange.borrow_mut();
            exchange.push_effect(stream.position, effect, true);
        }
    }

    /// A call on behalf of context `id` has trapped.
    pub(super) fn fail(&mut self, id: u32) {
        self.failed = true;
        let state = self.instance.state();
        let root = state.streams.get(id).map_or(id, |stream| stream.root);
        self.life.culprit.get_or_insert(root);
        state.host.attention(self.id);
    }

    /// After each call.
    pub(super) fn account(&mut self, fuel: u64) {
        let spent = &mut self.life.spent;
        *spent = spent.saturating_add(fuel);
        if *spent >= self.life.watch.fuel {
            self.instance.state().host.attention(self.id);
        }
    }

    pub(crate) fn forget_stream(&mut self, stream: StreamId) {
        let state = self.instance.state();
        state.remove_stream(stream);
        if self.life.retired && state.streams.is_empty() {
            state.host.attention(self.id);
        }
        self.look_at_memory();
    }

    /// Memory grows in calls, but is looked at between them: when a stream has ended, or a
    /// callback of a root.
    pub(super) fn look_at_memory(&mut self) {
        let size = self.instance.memory().len();
        self.residence.measure(size);
        if size >= self.life.watch.memory {
            self.instance.state().host.attention(self.id);
        }
    }

    pub(crate) const fn count_held(&mut self, held: bool) {
        if held {
            self.life.held += 1;
        } else {
            self.life.held -= 1;
        }
    }
}
