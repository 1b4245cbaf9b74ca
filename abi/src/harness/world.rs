//! The host embedded as a proxy embeds it: VMs that plugins share, roots, timers, callouts,
//! and what becomes of a filter that crashed; on one thread, in virtual time.

mod callouts;
mod replace;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;

pub use self::callouts::{Events, GrpcStream, Peers};
use super::exchange::{Live, Request, Seen};
use super::facts::Properties;
use super::host::TestHost;
use crate::callout::{GrpcEvent, HttpOutcome, Token};
use crate::chain::{Chain, FilterHandle};
use crate::engine::Code;
use crate::error::LoadError;
use crate::exchange::{Exchange, SharedExchange};
use crate::module::Module;
use crate::plugin::{Plugin, VmSettings};
use crate::state::RootEffect;
use crate::vm::{RootId, Vm};

/// A filter that crashed and is to be reloaded stays away for this long (section 6.11).
const BACK_OFF: Duration = Duration::from_secs(1);

/// Everything that runs.
pub struct World {
    host: Rc<TestHost>,
    peers: Box<dyn Peers>,
    slots: Vec<Slot>,
    /// Roots of plugins that have been replaced.
    replaced: Vec<replace::Replaced>,
    vms: Vec<(Key, SharedVm)>,
    events: Vec<(Duration, u64, Event)>,
    counter: u64,
    /// The timer a root has set last: its number and its period.
    ticking: HashMap<(usize, RootId), (u64, Duration)>,
    streams: HashMap<(usize, Token), Box<dyn GrpcStream>>,
}

/// A plugin that can be started.
#[derive(Debug)]
pub struct Spec {
    /// Compiled for whichever engine.
    pub code: Box<dyn Code>,
    /// What it was compiled from.
    pub module: Rc<Module>,
    /// What it has in common with others in its VM.
    pub settings: Rc<VmSettings>,
    /// Its configuration.
    pub plugin: Rc<Plugin>,
    /// What requests get while it cannot run.
    pub on_failure: OnFailure,
    /// What it is loaded as.
    pub role: Role,
}

/// What a plugin is loaded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// A member of the chain, in the order of loading.
    #[default]
    Filter,
    /// A root without streams.
    Service,
    /// An access logger: `proxy_on_log` of its root.
    AccessLog,
}

/// What requests get when a filter cannot run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// 503.
    #[default]
    Closed,
    /// They pass without it.
    Open,
    /// 503, and a fresh VM soon.
    Reload,
}

/// Something that happens among others.
#[derive(Debug)]
pub enum Act {
    /// A request is made.
    Request(Box<Request>),
    /// See [`World::replace`].
    Replace(usize, Spec),
}

type SharedVm = Rc<RefCell<Vm>>;

/// What makes two VMs the same one.
type Key = ([u8; 32], Rc<VmSettings>);

/// One plugin and how it stands.
struct Slot {
    spec: Rc<Spec>,
    state: State,
}

/// Whether a plugin can take a stream.
enum State {
    Running(SharedVm, RootId),
    /// Not before then; for ever without a time.
    Down(Option<Duration>),
}

/// What will happen.
enum Event {
    Tick(Weak<RefCell<Vm>>, RootId, u64),
    Http(Weak<RefCell<Vm>>, Token, HttpOutcome),
    Grpc(Weak<RefCell<Vm>>, Token, GrpcEvent),
    Redis(Weak<RefCell<Vm>>, Token, Option<Bytes>),
    Queue(Weak<RefCell<Vm>>, RootId, u32),
}

// === impl World ===

impl World {
    /// Nobody is in it but the host and those who answer callouts.
    #[must_use]
    pub fn new(host: Rc<TestHost>, peers: Box<dyn Peers>) -> Self {
        Self {
            host,
            peers,
            slots: Vec::new(),
            replaced: Vec::new(),
            vms: Vec::new(),
            events: Vec::new(),
            counter: 0,
            ticking: HashMap::new(),
            streams: HashMap::new(),
        }
    }

    /// Starts a plugin: the next filter of the chain, or what else it is.
    ///
    /// # Errors
    /// What keeps it from starting.
    pub fn load(&mut self, spec: Spec) -> Result<(), LoadError> {
        let spec = Rc::new(spec);
        let (vm, root) = self.start(&spec)?;
        let state = State::Running(vm, root);
        self.slots.push(Slot { spec, state });
        self.settle();
        Ok(())
    }

    /// Runs exchanges side by side until the last one is over. `None`: a filter that must
    /// not be skipped could not run, and the client was answered 503.
    pub fn exchange(&mut self, requests: Vec<Request>) -> Vec<Option<Seen>> {
        let mut live = Vec::new();
        for request in requests {
            live.push(self.begin(request));
        }
        self.finish(live)
    }

    /// Likewise, with plugins replaced in between: each act is done when those before it have
    /// come as far as they can at once. There is an answer for each request.
    ///
    /// # Errors
    /// A plugin cannot be replaced.
    pub fn together(&mut self, acts: Vec<Act>) -> Result<Vec<Option<Seen>>, LoadError> {
        let mut live = Vec::new();
        for act in acts {
            match act {
                Act::Request(request) => live.push(self.begin(*request)),
                Act::Replace(index, spec) => {
                    self.pump(&mut live);
                    self.replace(index, spec)?;
                }
            }
        }
        Ok(self.finish(live))
    }

    fn finish(&mut self, mut live: Vec<Option<Live>>) -> Vec<Option<Seen>> {
        loop {
            let now = self.host.time();
            self.pump(&mut live);
            let pending = live.iter().flatten().filter(|one| !one.over);
            let Some(next) = pending.map(|one| one.next_time(now)).min() else {
                break;
            };
            self.advance(next.max(now));
        }
        live.into_iter().map(|one| one.map(Live::seen)).collect()
    }

    /// Everything that can happen now does.
    fn pump(&mut self, live: &mut [Option<Live>]) {
        let now = self.host.time();
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for one in live.iter_mut().flatten() {
                moved |= one.pump(now);
                if let Some(exchange) = one.take_finished() {
                    self.log(&exchange);
                }
                self.settle();
            }
        }
    }

    /// Lets time pass.
    pub fn wait(&mut self, time: Duration) {
        let until = self.host.time() + time;
        while self.host.time() < until {
            self.advance(until);
        }
        // What is due at the very end happens too.
        self.fire_due();
    }

    /// Ends every root, in the order of the list.
    pub fn shut_down(&mut self) {
        for index in 0..self.slots.len() {
            if let State::Running(vm, root) = &self.slots[index].state {
                let (vm, root) = (vm.clone(), *root);
                // A guest that traps here harms nobody any more.
                let _ = vm.borrow_mut().end_root(root);
                self.settle();
            }
        }
    }

    /// An exchange is over: access loggers are told.
    fn log(&self, exchange: &SharedExchange) {
        for slot in &self.slots {
            if let (Role::AccessLog, State::Running(vm, root)) = (slot.spec.role, &slot.state) {
                // A logger that traps harms nobody.
                let _ = vm.borrow_mut().log(*root, exchange.clone());
            }
        }
    }

    /// What a chain is made of now, and whether done comes before log in it; `None` where a
    /// filter that must not be skipped cannot run.
    pub fn handles(&mut self) -> Option<(Vec<FilterHandle>, bool)> {
        let now = self.host.time();
        let mut handles = Vec::new();
        let mut done_before_log = false;
        for index in 0..self.slots.len() {
            let spec = self.slots[index].spec.clone();
            if spec.role != Role::Filter {
                continue;
            }
            done_before_log |= spec.settings.compat.done_before_log;
            match self.running(index, now) {
                Some((vm, root)) => handles.push(FilterHandle {
                    vm,
                    root,
                    plugin: spec.plugin.clone(),
                }),
                None if spec.on_failure == OnFailure::Open => {}
                None => return None,
            }
        }
        Some((handles, done_before_log))
    }

    fn begin(&mut self, mut request: Request) -> Option<Live> {
        let now = self.host.time();
        let (handles, done_before_log) = self.handles()?;
        let facts = request.facts(now);
        let properties = Box::new(Properties(facts.clone()));
        let exchange = Exchange::new(std::mem::take(&mut request.headers), properties).share();
        let chain = Chain::begin(exchange, handles, done_before_log);
        self.settle();
        Some(Live::new(request, facts, chain, now))
    }

    /// The plugin's VM and root, started anew if they crashed.
    fn running(&mut self, index: usize, now: Duration) -> Option<(SharedVm, RootId)> {
        let Slot { spec, state } = &self.slots[index];
        let spec = spec.clone();
        match state {
            State::Running(vm, root) if !vm.borrow().is_failed() => {
                return Some((vm.clone(), *root));
            }
            State::Running(..) if !spec.settings.compat.recover_after_trap => {
                let until = (spec.on_failure == OnFailure::Reload).then(|| now + BACK_OFF);
                if until.is_none() {
                    self.slots[index].state = State::Down(None);
                    return None;
                }
            }
            State::Running(..) => {}
            State::Down(until) if until.is_none_or(|until| until > now) => return None,
            State::Down(_) => {}
        }
        let started = self.start(&spec);
        self.settle();
        if let Ok((vm, root)) = started {
            self.slots[index].state = State::Running(vm.clone(), root);
            return Some((vm, root));
        }
        self.slots[index].state = State::Down(Some(now + BACK_OFF));
        None
    }

    fn start(&mut self, spec: &Spec) -> Result<(SharedVm, RootId), LoadError> {
        let key = (spec.module.digest, spec.settings.clone());
        self.vms.retain(|(_, vm)| !vm.borrow().is_failed());
        let mut vms = self.vms.iter();
        let shared = vms.find(|(other, vm)| *other == key && !self.is_replaced(vm));
        let vm = match shared {
            Some((_, vm)) => vm.clone(),
            None => {
                let vm = Vm::start(
                    &*spec.code,
                    spec.module.version,
                    spec.settings.clone(),
                    self.host.clone(),
                )?;
                let vm = Rc::new(RefCell::new(vm));
                self.vms.push((key, vm.clone()));
                vm
            }
        };
        let root = vm.borrow_mut().create_root(spec.plugin.clone())?;
        Ok((vm, root))
    }

    /// Goes to the next event, but not past `until`.
    pub fn advance(&mut self, until: Duration) {
        let next = self.events.iter().map(|(at, ..)| *at).min();
        let to = next.map_or(until, |next| next.min(until));
        self.host.set_time(to.max(self.host.time()));
        self.fire_due();
    }

    /// Everything whose time has come, in the order of times.
    fn fire_due(&mut self) {
        let now = self.host.time();
        loop {
            let due = self
                .events
                .iter()
                .enumerate()
                .filter(|(_, (at, ..))| *at <= now);
            let Some((index, _)) = due.min_by_key(|(_, (at, number, _))| (*at, *number)) else {
                return;
            };
            let (_, _, event) = self.events.swap_remove(index);
            self.fire(event);
            self.settle();
        }
    }

    fn fire(&mut self, event: Event) {
        // A trap marks the VM; what waits for it is told by the host.
        match event {
            Event::Tick(vm, root, number) => {
                let Some(vm) = vm.upgrade() else { return };
                let Some(&(latest, period)) = self.ticking.get(&(place(&vm), root)) else {
                    return;
                };
                if latest == number {
                    let _ = vm.borrow_mut().tick(root);
                    // From now on, unless the guest has asked for another period.
                    self.after(period, Event::Tick(Rc::downgrade(&vm), root, number));
                }
            }
            Event::Http(vm, token, outcome) => {
                if let Some(vm) = vm.upgrade() {
                    let _ = vm.borrow_mut().http_call_response(token, outcome);
                }
            }
            Event::Grpc(vm, token, event) => {
                if let Some(vm) = vm.upgrade() {
                    let _ = vm.borrow_mut().grpc_event(token, event);
                }
            }
            Event::Redis(vm, token, reply) => {
                if let Some(vm) = vm.upgrade() {
                    let _ = vm.borrow_mut().redis_response(token, reply);
                }
            }
            Event::Queue(vm, root, queue) => {
                if let Some(vm) = vm.upgrade() {
                    let _ = vm.borrow_mut().queue_ready(root, queue);
                }
            }
        }
    }

    fn after(&mut self, time: Duration, event: Event) {
        self.counter += 1;
        self.events
            .push((self.host.time() + time, self.counter, event));
    }

    /// Sees to what roots have asked for, and to what nobody needs any more. Whoever works on
    /// a chain of [`World::handles`] calls this after each step.
    pub fn settle(&mut self) {
        self.carry_out_all();
        if self.end_replaced() {
            self.carry_out_all();
        }
    }

    fn carry_out_all(&mut self) {
        let vms: Vec<SharedVm> = self.vms.iter().map(|(_, vm)| vm.clone()).collect();
        for vm in vms {
            loop {
                let effects = vm.borrow_mut().take_root_effects();
                if effects.is_empty() {
                    break;
                }
                for effect in effects {
                    self.carry_out(&vm, effect);
                }
            }
        }
        for news in self.host.queue_news.take() {
            let mut vms = self.vms.iter().map(|(_, vm)| vm);
            if let Some(vm) = vms.find(|vm| vm.borrow_mut().id() == news.vm) {
                let vm = Rc::downgrade(vm);
                self.after(Duration::ZERO, Event::Queue(vm, news.root, news.queue));
            }
        }
    }

    fn carry_out(&mut self, vm: &SharedVm, effect: RootEffect) {
        match effect {
            RootEffect::Tick { root, period } => {
                self.counter += 1;
                let number = self.counter;
                let Some(period) = period else {
                    self.ticking.remove(&(place(vm), root));
                    return;
                };
                self.ticking.insert((place(vm), root), (number, period));
                self.after(period, Event::Tick(Rc::downgrade(vm), root, number));
            }
            RootEffect::Done { root } => {
                let _ = vm.borrow_mut().delete_root(root);
            }
            RootEffect::Call { token, call, .. } => self.call(vm, token, *call),
            RootEffect::Send {
                token,
                message,
                end,
                ..
            } => self.send(vm, token, Some(message), end),
            RootEffect::HalfClose { token, .. } => self.send(vm, token, None, true),
            RootEffect::Cancel { token, .. } => {
                self.streams.remove(&(place(vm), token));
            }
            RootEffect::RedisClient { .. } => {}
        }
    }
}

/// What tells one VM from another while both live.
fn place(vm: &SharedVm) -> usize {
    Rc::as_ptr(vm).addr()
}

// === impl Debug ===

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("plugins", &self.slots.len())
            .field("time", &self.host.time())
            .finish_non_exhaustive()
    }
}
