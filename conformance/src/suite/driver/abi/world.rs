//! The host crate embedded as the proxy embeds it: VMs that plugins share, roots, timers,
//! callouts, and what becomes of a filter that crashed; on one thread, in virtual time.

mod callouts;
mod plugin;
mod reload;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use cofferdam_abi::callout::{GrpcEvent, HttpOutcome, Token};
use cofferdam_abi::{
    Chain, Compat, Exchange, FilterHandle, LoadError, RootEffect, RootId, SharedExchange, TcpChain,
    Vm, VmSettings,
};

use self::plugin::{Spec, spec};
use super::exchange::Live;
use super::facts::Properties;
use super::grpc;
use super::host::SuiteHost;
use super::tcp::Connection;
use crate::engines::Engine;
use crate::suite::case::{Case, Filter, OnFailure, Role};
use crate::suite::outcome::{self, Message, Seen};
use crate::suite::step::{Step, TcpAction};

/// A filter that crashed and is to be reloaded stays away for this long (section 6.11).
const BACK_OFF: Duration = Duration::from_secs(1);

/// How long what must come is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Everything that runs.
pub(super) struct World {
    host: Rc<SuiteHost>,
    engine: Engine,
    compat: Compat,
    slots: Vec<Slot>,
    /// Roots of modules that have been replaced.
    replaced: Vec<reload::Replaced>,
    vms: Vec<(Key, SharedVm)>,
    events: Vec<(Duration, u64, Event)>,
    counter: u64,
    /// The timer a root has set last: its number and its period.
    ticking: HashMap<(usize, RootId), (u64, Duration)>,
    streams: HashMap<(usize, Token), grpc::Open>,
    peer: Vec<Message>,
}

type SharedVm = Rc<RefCell<Vm>>;

/// What makes two VMs the same one.
type Key = ([u8; 32], Rc<VmSettings>);

/// One plugin and how it stands.
struct Slot {
    filter: Filter,
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
    Redis(Weak<RefCell<Vm>>, Token),
    Queue(Weak<RefCell<Vm>>, RootId, u32),
}

// === impl World ===

impl World {
    /// Loads and starts all filters of a case.
    ///
    /// # Errors
    /// What the host says of a module that it will not have.
    pub(super) fn load(
        case: &Case,
        engine: Engine,
        compat: Compat,
        host: Rc<SuiteHost>,
    ) -> Result<Self, String> {
        let mut world = Self {
            host,
            engine,
            compat,
            slots: Vec::new(),
            replaced: Vec::new(),
            vms: Vec::new(),
            events: Vec::new(),
            counter: 0,
            ticking: HashMap::new(),
            streams: HashMap::new(),
            peer: Vec::new(),
        };
        for filter in case.filters() {
            let spec = Rc::new(spec(filter, engine, compat)?);
            let (vm, root) = world.start(&spec).map_err(|error| error.to_string())?;
            let state = State::Running(vm, root);
            let filter = filter.clone();
            world.slots.push(Slot {
                filter,
                spec,
                state,
            });
            world.after_calls();
        }
        Ok(world)
    }

    /// Runs what happens in a step side by side, until the last exchange is over.
    ///
    /// # Errors
    /// A module cannot be replaced.
    pub(super) fn together(&mut self, step: &Step) -> Result<Vec<Seen>, String> {
        let now = self.host.time();
        let mut live: Vec<Option<Live>> = Vec::new();
        for member in step.members() {
            if let Some(reload) = &member.reload {
                self.settle(&mut live);
                self.reload(reload)?;
            }
            if member.request.is_some() {
                live.push(self.begin(member, now));
            }
        }
        loop {
            let now = self.host.time();
            self.settle(&mut live);
            let pending = live.iter().flatten().filter(|one| !one.over);
            let Some(next) = pending.map(|one| one.next_time(now)).min() else {
                break;
            };
            self.advance(next.max(now));
        }
        let seen = |one: Option<Live>| Seen::Exchange(one.map_or_else(unavailable, Live::seen));
        Ok(live.into_iter().map(seen).collect())
    }

    /// Everything that can happen now does.
    fn settle(&mut self, live: &mut [Option<Live>]) {
        let now = self.host.time();
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for one in live.iter_mut().flatten() {
                moved |= one.pump(now, &mut self.peer);
                if let Some(exchange) = one.take_finished() {
                    self.log(&exchange);
                }
                self.after_calls();
            }
        }
    }

    /// Lets time pass.
    pub(super) fn wait(&mut self, time: Duration) {
        let until = self.host.time() + time;
        while self.host.time() < until {
            self.advance(until);
        }
        // What is due at the very end happens too.
        self.fire_due();
    }

    /// Ends every root, in the order of the list.
    pub(super) fn shut_down(&mut self) {
        for index in 0..self.slots.len() {
            if let State::Running(vm, root) = &self.slots[index].state {
                let (vm, root) = (vm.clone(), *root);
                // A guest that traps here harms nobody any more.
                let _ = vm.borrow_mut().end_root(root);
                self.after_calls();
            }
        }
    }

    pub(super) fn take_peer(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.peer)
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

    /// Makes a connection and lets the actions happen on it.
    pub(super) fn connection(&mut self, actions: &[TcpAction]) -> Seen {
        let now = self.host.time();
        let Some((handles, _)) = self.handles(now) else {
            return Seen::Connection(vec![None; actions.len()]);
        };
        let exchange = Exchange::connection(Box::new(())).share();
        let mut connection = Connection::new(TcpChain::begin(exchange, handles));
        let mut seen = Vec::new();
        for action in actions {
            connection.act(action);
            let until = self.host.time() + PATIENCE;
            seen.push(loop {
                self.after_calls();
                while connection.pump() {
                    self.after_calls();
                }
                let sees = connection.sees(action);
                let waits = matches!(
                    action,
                    TcpAction::ClientSees(_) | TcpAction::UpstreamSees(_) | TcpAction::SeesEnd(_)
                );
                if sees.is_some() || !waits || self.host.time() >= until {
                    break sees;
                }
                self.advance(until);
            });
            if let TcpAction::Wait(wait) = action {
                let until = self.host.time() + wait.0;
                while self.host.time() < until {
                    self.advance(until);
                    connection.pump();
                    self.after_calls();
                }
            }
        }
        connection.finish();
        self.after_calls();
        Seen::Connection(seen)
    }

    /// What a chain is made of now, and whether done comes before log in it; `None` where a
    /// filter that must not be skipped cannot run.
    fn handles(&mut self, now: Duration) -> Option<(Vec<FilterHandle>, bool)> {
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

    fn begin(&mut self, step: &Step, now: Duration) -> Option<Live> {
        let begin = Live::prepare(step, now);
        let (handles, done_before_log) = self.handles(now)?;
        let properties = Box::new(Properties(begin.facts.clone()));
        let exchange = Exchange::new(begin.headers.clone(), properties).share();
        let chain = Chain::begin(exchange, handles, done_before_log);
        self.after_calls();
        Some(Live::new(step, begin, chain, now))
    }

    /// The plugin's VM and root, started anew if they crashed.
    fn running(&mut self, index: usize, now: Duration) -> Option<(SharedVm, RootId)> {
        let Slot { spec, state, .. } = &self.slots[index];
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
        self.after_calls();
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
    fn advance(&mut self, until: Duration) {
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
            self.after_calls();
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
            Event::Redis(vm, token) => {
                if let Some(vm) = vm.upgrade() {
                    let _ = vm.borrow_mut().redis_response(token, None);
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

    /// Sees to what roots have asked for, and to what nobody needs any more.
    fn after_calls(&mut self) {
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

/// What a client gets while a filter that must not be skipped cannot run.
fn unavailable() -> outcome::Exchange {
    outcome::Exchange {
        response: Some(Message {
            headers: vec![(":status".to_owned(), "503".to_owned())],
            complete: true,
            ..Message::default()
        }),
        upstream: None,
    }
}
