//! One guest instance and its contexts.
//!
//! Everything that enters guest code goes through [`Vm::enter`], which sets whose turn it
//! is before and cleans up after. A VM in which a call trapped is marked; whoever owns it
//! puts a new one in its place, and streams that began on it may finish on it.

mod account;
mod deliver;
mod life;
mod outside;

use std::any::Any;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::callbacks::Callback;
use crate::capabilities::Callbacks;
use crate::engine::{Code, Instance, Spent, Tier};
use crate::error::{LoadError, Trap, TrapKind};
use crate::exchange::{Effect, Exchange, SharedExchange};
use crate::headers::Headers;
use crate::host::Host;
use crate::plugin::{Plugin, VmSettings};
use crate::shared::VmId;
use crate::state::{Content, Delivery, HostState, NOWHERE, Root, RootEffect, Stream, Turn};
use crate::usage::{Residence, Sampler, Tally};
use crate::version::AbiVersion;
pub(crate) use account::Account;
use account::{cpu_time, nanos};
use life::Life;
pub use life::{Condition, Watch};

/// A running guest, owned by one worker.
pub struct Vm {
    instance: Box<dyn Instance>,
    tier: Tier,
    /// What it exports and may be called: anything else costs one look at this.
    callbacks: Callbacks,
    time: Time,
    sampler: Sampler,
    /// What the last call took.
    last: Spent,
    id: VmId,
    /// What its start took, fuel or nanoseconds, until it is counted.
    start_cost: Option<u64>,
    failed: bool,
    /// A stream's end has crashed since it was last seen to work.
    shaken: bool,
    /// Memory that its start left untouched has been given back.
    trimmed: bool,
    life: Life,
    residence: Residence,
    /// What goes with it; the instance goes first.
    kept: Vec<Box<dyn Any>>,
}

/// How long things may take, in the engine's units.
#[derive(Debug)]
struct Time {
    callback: u64,
    stream: u64,
    /// No call is begun for a stream that has less.
    least: u64,
}

/// A root context of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootId(pub(crate) u32);

/// A stream context of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId {
    pub(crate) id: u32,
    /// Where the host keeps it.
    pub(crate) place: u32,
}

// === impl Vm ===

impl Vm {
    /// Instantiates a module and runs its own start; there is no context yet.
    ///
    /// # Errors
    /// When memory is refused or the guest's start traps.
    pub fn start(
        code: &dyn Code,
        version: AbiVersion,
        settings: Rc<VmSettings>,
        host: Rc<dyn Host>,
    ) -> Result<Self, LoadError> {
        let limits = settings.limits.clone();
        let tier = code.tier();
        let clock = host.clone();
        let begun = (tier == Tier::Native).then(|| cpu_time(&*clock));
        let allowed = settings.capabilities.callbacks;
        let state = HostState::new(host, settings, version);
        let id = state.vm;
        let mut instance = code.instantiate(state, &limits)?;
        let start_cost = match begun {
            Some(begun) => nanos(cpu_time(&*clock).saturating_sub(begun)),
            None => instance.start_fuel(),
        };
        let stream = limits
            .stream_cpu
            .map_or(u64::MAX, |time| instance.units(time));
        let time = Time {
            callback: instance.units(limits.callback),
            stream,
            least: instance.units(Duration::from_millis(1)).min(stream / 2),
        };
        instance.state().starting = false;
        instance.state().flush_output();
        let callbacks = allowed.and(|callback| instance.exports(callback));
        Ok(Self {
            instance,
            tier,
            callbacks,
            time,
            sampler: Sampler::new(id.seed()),
            last: Spent::default(),
            id,
            start_cost: Some(start_cost),
            failed: false,
            shaken: false,
            trimmed: false,
            life: Life::default(),
            residence: Residence::new(tier),
            kept: Vec::new(),
        })
    }

    /// Creates a root context and configures it: create, vm_start, configure (section 1.6).
    ///
    /// # Errors
    /// When the guest traps or refuses. The root is gone then; a VM whose guest trapped is
    /// [failed](Vm::is_failed).
    pub fn create_root(&mut self, plugin: Rc<Plugin>) -> Result<RootId, LoadError> {
        let id = self.new_id("proxy_on_context_create")?;
        let state = self.instance.state();
        let vm_size = length(&state.settings.configuration);
        let plugin_size = length(&plugin.configuration);
        let usage = state.host.usage(&plugin.name);
        let used = usage.clone();
        let root = Root::new(plugin, usage);
        // Whoever is first in a VM has had it started.
        if let Some(cost) = self.start_cost.take() {
            root.tally.start(self.tier, cost);
        }
        state.roots.insert(id, root);
        let created = self.configure_root(id, vm_size, plugin_size);
        let state = self.instance.state();
        match created {
            Ok(()) => {
                if let Some(root) = state.roots.get_mut(&id) {
                    root.configuring = false;
                }
                if !std::mem::replace(&mut self.trimmed, true) {
                    self.instance.trim();
                }
                self.residence.measure(self.instance.memory().len());
                self.residence.share(used);
                Ok(RootId(id))
            }
            Err(error) => {
                state.remove_root(id);
                Err(error)
            }
        }
    }

    fn configure_root(&mut self, id: u32, vm_size: u32, plugin_size: u32) -> Result<(), LoadError> {
        self.call(Callback::ContextCreate, id, &[id, 0, 0, 0, 0])?;
        // Buffer 7 cannot be read while the VM starts.
        self.set_configuring(id, false);
        if self.exports(Callback::VmStart)
            && self.call(Callback::VmStart, id, &[id, vm_size, 0, 0, 0])? == 0
        {
            return Err(LoadError::VmStartRefused);
        }
        self.set_configuring(id, true);
        if self.exports(Callback::Configure)
            && self.call(Callback::Configure, id, &[id, plugin_size, 0, 0, 0])? == 0
        {
            return Err(LoadError::ConfigurationRefused);
        }
        Ok(())
    }

    /// Creates a stream context for the filter at `position` of an exchange's chain.
    ///
    /// # Errors
    /// When the guest traps; the context is gone then.
    pub(crate) fn create_stream(
        &mut self,
        root: RootId,
        exchange: SharedExchange,
        position: usize,
    ) -> Result<(StreamId, Account), Box<Trap>> {
        let id = self.new_id("proxy_on_context_create")?;
        let state = self.instance.state();
        let tally = state.roots.get(&root.0).map(|root| root.tally.clone());
        let account = Account::new(tally.unwrap_or_default());
        let stream = Stream::new(root.0, exchange, position);
        let stream = state.streams.insert(id, stream);
        let args = [id, root.0, 0, 0, 0];
        match self.call_stream(Callback::ContextCreate, stream, &args, &account) {
            Ok(_) => Ok((stream, account)),
            Err(trap) => {
                self.forget_stream(stream);
                Err(trap)
            }
        }
    }

    /// Enters the guest. A call that runs out of time has run out of what `over` says.
    fn enter(
        &mut self,
        turn: Turn,
        args: &[u32; 5],
        tally: Option<&Tally>,
        over: TrapKind,
    ) -> Result<u32, Box<Trap>> {
        // Calls for roots are few, and may be all that a filter does.
        let begun = match turn.place == NOWHERE {
            true => Some(self.clocks(true)),
            false => self.sampler.next().then(|| self.clocks(false)),
        };
        let result = self.instance.call(turn, args, &mut self.last);
        if let Some(tally) = tally {
            self.count(turn.callback, tally, begun);
        }
        self.account(self.last.fuel);
        result.map_err(|trap| self.ended(turn, trap, over))
    }

    /// A call has trapped.
    #[cold]
    fn ended(&mut self, turn: Turn, mut trap: Box<Trap>, over: TrapKind) -> Box<Trap> {
        if trap.kind == TrapKind::Deadline {
            trap.kind = over;
        }
        let state = self.instance.state();
        state.flush_output();
        state.trapped(&trap);
        state.finish();
        // At its end a context has nothing left to lose, and others need lose nothing.
        let harmless = matches!(turn.callback, Callback::Done | Callback::Delete)
            && state.settings.compat.recover_after_trap;
        self.shaken |= harmless;
        if !harmless {
            self.fail(turn.context);
        }
        trap
    }

    /// `proxy_on_tick`.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn tick(&mut self, root: RootId) -> Result<(), Trap> {
        self.call_root(Callback::Tick, root, &[root.0, 0, 0, 0, 0])
    }

    /// Calls a root that is still there on behalf of nobody's stream.
    fn call_root(&mut self, callback: Callback, root: RootId, args: &[u32; 5]) -> Result<(), Trap> {
        if self.instance.state().roots.contains_key(&root.0) {
            let called = self.call(callback, root.0, args);
            self.look_at_memory();
            if let Err(trap) = called {
                self.fail_held_streams(root, &trap);
                return Err(*trap);
            }
        }
        Ok(())
    }

    /// `proxy_on_queue_ready`, for a [`crate::shared::QueueReady`] that names this VM; to
    /// be called from the worker's own loop, never inside another call. A root that is gone
    /// is not told, nor is a VM that has failed: the one in its place registers anew.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn queue_ready(&mut self, root: RootId, queue: u32) -> Result<(), Trap> {
        let state = self.instance.state();
        if let Some(queue) = state.host.shared().queue(queue) {
            queue.told();
        }
        if self.failed || !state.roots.contains_key(&root.0) {
            return Ok(());
        }
        let told = self.call(Callback::QueueReady, root.0, &[root.0, queue, 0, 0, 0]);
        self.look_at_memory();
        if let Err(trap) = told {
            self.fail_held_streams(root, &trap);
            return Err(*trap);
        }
        Ok(())
    }

    /// Which of the process's VMs this is.
    #[must_use]
    pub const fn id(&self) -> VmId {
        self.id
    }

    /// Calls a foreign function of the guest (`proxy_on_foreign_function`): `function` is
    /// a number the two have agreed on, `args` are readable as buffer 8 while it runs. A
    /// guest that does not export it is not called.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn foreign_function(
        &mut self,
        root: RootId,
        function: u32,
        args: Bytes,
    ) -> Result<(), Trap> {
        if !self.instance.state().roots.contains_key(&root.0) {
            return Ok(());
        }
        let called = self.call_foreign(root.0, function, args, None);
        if let Err(trap) = &called {
            self.fail_held_streams(root, trap);
        }
        called
    }

    /// Likewise on behalf of any context; a stream's has an account.
    pub(crate) fn call_foreign(
        &mut self,
        id: u32,
        function: u32,
        args: Bytes,
        account: Option<&Account>,
    ) -> Result<(), Trap> {
        let size = length(&args);
        let state = self.instance.state();
        let stream = state.streams.find(id);
        let root = state.streams.get(id).map_or(id, |stream| stream.root);
        let content = Content::Arguments(args);
        state.delivery = Some(Delivery { root, content });
        let args = [id, function, size, 0, 0];
        let called = match (account, stream) {
            (Some(account), Some(stream)) => {
                self.call_stream(Callback::ForeignFunction, stream, &args, account)
            }
            _ => self.call(Callback::ForeignFunction, id, &args),
        };
        self.instance.state().delivery = None;
        called?;
        Ok(())
    }

    /// Whatever a root's streams were waiting for will not come any more: those that hold
    /// something back are told.
    fn fail_held_streams(&mut self, root: RootId, trap: &Trap) {
        for stream in self.instance.state().streams.values() {
            if stream.root == root.0 {
                let effect = Effect::RootFailed(trap.clone());
                let mut exchange = stream.exchange.borrow_mut();
                exchange.push_effect(stream.position, effect, true);
            }
        }
    }

    /// Asks a root to end (section 6.2): `proxy_on_done`, and `proxy_on_delete` unless the
    /// guest wants to go on; then [`RootEffect::Done`] will say when it is over.
    ///
    /// Returns whether the root is gone. It may be called again to learn that. A root of a VM
    /// that has failed goes without a word (section 6.11).
    ///
    /// # Errors
    /// When the guest traps; the root is gone all the same.
    pub fn end_root(&mut self, root: RootId) -> Result<bool, Trap> {
        let id = root.0;
        if self.failed {
            self.instance.state().remove_root(id);
            return Ok(true);
        }
        let Some(state) = self.instance.state().roots.get_mut(&id) else {
            return Ok(true);
        };
        if std::mem::replace(&mut state.ending, true) {
            return Ok(false);
        }
        let answer = if self.exports(Callback::Done) {
            self.call(Callback::Done, id, &[id, 0, 0, 0, 0])
        } else {
            Ok(1)
        };
        if answer.is_err() {
            // It will never say that it is done.
            self.instance.state().remove_root(id);
        }
        let done = answer? != 0;
        if done {
            self.delete_root(root)?;
        } else if let Some(state) = self.instance.state().roots.get_mut(&id) {
            // Only from here on: proxy_done before the answer is too early.
            state.pending_done = true;
        }
        Ok(done)
    }

    /// `proxy_on_delete` of a root whose [`RootEffect::Done`] has come; nothing for one
    /// that is gone.
    ///
    /// # Errors
    /// When the guest traps; the root is gone all the same.
    pub fn delete_root(&mut self, root: RootId) -> Result<(), Trap> {
        if !self.instance.state().roots.contains_key(&root.0) {
            return Ok(());
        }
        let result = if self.failed {
            Ok(0)
        } else {
            self.call(Callback::Delete, root.0, &[root.0, 0, 0, 0, 0])
        };
        self.instance.state().remove_root(root.0);
        result?;
        Ok(())
    }

    /// The name of the plugin a root belongs to; empty for one that is gone.
    pub fn plugin_name(&mut self, root: RootId) -> String {
        let root = self.instance.state().roots.get(&root.0);
        root.map_or_else(String::new, |root| root.plugin.name.clone())
    }

    /// Whether a root is still there.
    pub fn has_root(&mut self, root: RootId) -> bool {
        self.instance.state().roots.contains_key(&root.0)
    }

    /// What roots have asked for since the last time.
    pub fn take_root_effects(&mut self) -> Vec<RootEffect> {
        self.instance.state().root_effects.take()
    }

    /// Whether roots have asked for anything.
    pub fn has_root_effects(&mut self) -> bool {
        !self.instance.state().root_effects.is_empty()
    }

    /// Keeps something of the embedder's, to be dropped when the VM is.
    pub fn keep(&mut self, thing: Box<dyn Any>) {
        self.kept.push(thing);
    }

    /// Whether a call has trapped.
    #[must_use]
    pub const fn is_failed(&self) -> bool {
        self.failed
    }

    /// Whether streams may be opened: no call has trapped but at the end of a context, and
    /// after such an end the guest still opens contexts of that root. (Some guests leave
    /// themselves locked when they crash; others go on as if nothing had been.)
    pub fn is_sound(&mut self, root: RootId) -> bool {
        if !self.failed && std::mem::take(&mut self.shaken) {
            let nobody = Exchange::new(Headers::default(), Box::new(()));
            // A crash marks the VM.
            let _ = self.try_stream(root, nobody.share());
        }
        !self.failed
    }

    /// Live stream contexts.
    pub fn streams(&mut self) -> usize {
        self.instance.state().streams.len()
    }

    /// Bytes of the guest's memory.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        self.memory().len()
    }

    /// The guest's memory, as it is between two calls.
    #[must_use]
    pub fn memory(&self) -> &[u8] {
        self.instance.memory()
    }

    pub(crate) const fn exports(&self, callback: Callback) -> bool {
        self.callbacks.contains(callback)
    }

    pub(crate) fn state(&mut self) -> &mut HostState {
        self.instance.state()
    }

    fn set_configuring(&mut self, id: u32, configuring: bool) {
        if let Some(root) = self.instance.state().roots.get_mut(&id) {
            root.configuring = configuring;
        }
    }

    fn new_id(&mut self, callback: &'static str) -> Result<u32, Trap> {
        let id = self.instance.state().next_id();
        if id.is_none() {
            // Only a new VM has ids again.
            self.fail(0);
        }
        id.ok_or_else(|| Trap {
            kind: TrapKind::Fault,
            callback,
            message: "all context ids are used up".to_owned(),
            tier: self.tier,
            frames: Vec::new(),
        })
    }
}

impl RootId {
    /// The number the guest knows it by.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm")
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use crate::chain::FailureReason;
    use crate::stream::Part;
    use crate::testing::Guest;
    use crate::types::Way;

    #[test]
    fn a_vm_whose_ids_are_used_up_is_failed() {
        let guest = Guest::wat(
            r#"(module
                (memory (export "memory") 1)
                (func (export "proxy_abi_version_0_2_1"))
                (func (export "malloc") (param i32) (result i32) (i32.const 0)))"#,
        )
        .expect("loads");
        let well = guest.chain();
        guest.vm.borrow_mut().instance.state().use_up_ids();
        assert!(!guest.vm.borrow().is_failed());
        let mut chain = guest.chain();
        assert!(guest.vm.borrow().is_failed(), "only another has ids again");
        let reason = chain.failure().map(|failure| &failure.reason);
        assert!(
            matches!(reason, Some(FailureReason::Trap(trap)) if trap.message.contains("used up")),
            "{reason:?}"
        );
        chain.push(Way::Request, Part::Headers { end: true });
        assert!(chain.has_output(Way::Response), "an answer");
        assert_eq!(well.failure(), None);
    }
}
