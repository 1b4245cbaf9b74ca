//! The host crate embedded as the proxy embeds it: VMs that plugins share, roots, timers,
//! callouts, and what becomes of a filter that crashed; on one thread, in virtual time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::callout::{Callout, GrpcEvent, HttpCall, HttpOutcome, Target, Token};
use cofferdam_abi::engine::Code;
use cofferdam_abi::engine::wasmi::Wasmi;
use cofferdam_abi::{
    Capabilities, Chain, Compat, Exchange, FilterHandle, Limits, LoadError, Module, Plugin,
    RootEffect, RootId, Vm, VmSettings,
};

use super::exchange::{Live, Properties, message};
use super::host::SuiteHost;
use super::{grpc, peer};
use crate::suite::case::{Case, Filter, OnFailure, Role};
use crate::suite::outcome::{self, Message, Seen};
use crate::suite::step::Step;

/// A filter that crashed and is to be reloaded stays away for this long (section 6.11).
const BACK_OFF: Duration = Duration::from_secs(1);

/// Everything that runs.
pub(super) struct World {
    host: Rc<SuiteHost>,
    slots: Vec<Slot>,
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
    spec: Rc<Spec>,
    state: State,
}

/// One plugin.
struct Spec {
    code: Box<dyn Code>,
    module: Module,
    settings: Rc<VmSettings>,
    plugin: Rc<Plugin>,
    on_failure: OnFailure,
    role: Role,
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
}

// === impl World ===

impl World {
    /// Loads and starts all filters of a case.
    ///
    /// # Errors
    /// What the host says of a module that it will not have.
    pub(super) fn load(case: &Case, compat: Compat, host: Rc<SuiteHost>) -> Result<Self, String> {
        let mut world = Self {
            host,
            slots: Vec::new(),
            vms: Vec::new(),
            events: Vec::new(),
            counter: 0,
            ticking: HashMap::new(),
            streams: HashMap::new(),
            peer: Vec::new(),
        };
        for filter in case.filters() {
            let spec = Rc::new(spec(filter, compat)?);
            let (vm, root) = world.start(&spec).map_err(|error| error.to_string())?;
            let state = State::Running(vm, root);
            world.slots.push(Slot { spec, state });
            world.after_calls();
        }
        Ok(world)
    }

    /// Runs exchanges side by side until the last one is over.
    pub(super) fn exchange(&mut self, steps: &[&Step]) -> Vec<Seen> {
        let now = self.host.time();
        let mut live: Vec<Option<Live>> = Vec::new();
        for step in steps {
            live.push(self.begin(step, now));
        }
        loop {
            let now = self.host.time();
            let mut moved = true;
            while std::mem::take(&mut moved) {
                for one in live.iter_mut().flatten() {
                    moved |= one.pump(now, &mut self.peer);
                    self.after_calls();
                }
            }
            let pending = live.iter().flatten().filter(|one| !one.over);
            let Some(next) = pending.map(Live::next_time).min() else {
                break;
            };
            self.advance(next.max(now));
        }
        live.into_iter()
            .map(|one| Seen::Exchange(one.map_or_else(unavailable, Live::seen)))
            .collect()
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

    fn begin(&mut self, step: &Step, now: Duration) -> Option<Live> {
        let begin = Live::prepare(step, now);
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
        let properties = Box::new(Properties(begin.facts.clone()));
        let exchange = Exchange::new(begin.headers.clone(), properties).share();
        let chain = Chain::begin(exchange, handles, done_before_log);
        self.after_calls();
        Some(Live::new(step, begin, chain, now))
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
        let shared = self.vms.iter().find(|(other, _)| *other == key);
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
        }
    }

    fn after(&mut self, time: Duration, event: Event) {
        self.counter += 1;
        self.events
            .push((self.host.time() + time, self.counter, event));
    }

    /// Sees to what roots have asked for.
    fn after_calls(&mut self) {
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
            RootEffect::Call { token, call, .. } => match *call {
                Callout::Http(call) => {
                    let (delay, outcome) = self.http(&call);
                    self.after(delay, Event::Http(Rc::downgrade(vm), token, outcome));
                }
                Callout::Grpc(call) => {
                    let (mut script, open) = match &call.target {
                        Target::Cluster(name) if **name == *b"grpc" => grpc::begin(&call),
                        _ => (unreachable(), None),
                    };
                    if let Some(open) = open {
                        self.streams.insert((place(vm), token), open);
                    }
                    if let Some(timeout) = call.timeout {
                        script.retain(|(after, _)| *after <= timeout);
                        if !matches!(script.last(), Some((_, GrpcEvent::Closed { .. }))) {
                            script.push((timeout, closed(4, "deadline exceeded")));
                        }
                    }
                    self.play(vm, token, script);
                }
                Callout::Redis(_) => {}
            },
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

    fn send(&mut self, vm: &SharedVm, token: Token, message: Option<Bytes>, end: bool) {
        if let Some(open) = self.streams.get_mut(&(place(vm), token)) {
            let script = open.receive(message, end);
            self.play(vm, token, script);
        }
    }

    fn play(&mut self, vm: &SharedVm, token: Token, script: grpc::Script) {
        for (after, event) in script {
            self.after(after, Event::Grpc(Rc::downgrade(vm), token, event));
        }
    }

    /// What comes of an HTTP callout, and when.
    fn http(&mut self, call: &HttpCall) -> (Duration, HttpOutcome) {
        let soon = Duration::from_millis(2);
        let mut request = message(Some(&call.headers));
        request.body = call.body.clone();
        request.trailers = message(call.trailers.as_ref()).headers;
        request.complete = true;
        let cluster = match &call.target {
            Target::Cluster(name) => &**name,
            Target::Url { .. } => b"refused",
        };
        let answered = match cluster {
            b"peer" => {
                self.peer.push(request.clone());
                peer::answer(&request)
            }
            b"upstream" => peer::answer(&Message::default()),
            _ => {
                let why = "delayed connect error: Connection refused".to_owned();
                return (soon, HttpOutcome::ConnectFailed(why));
            }
        };
        if let Some(timeout) = call.timeout.filter(|timeout| answered.delay > *timeout) {
            return (timeout, HttpOutcome::Timeout);
        }
        let outcome = match answered.response {
            None => HttpOutcome::Disconnected,
            Some(response) if !response.complete => HttpOutcome::Reset,
            Some(response) => HttpOutcome::Response {
                headers: headers(&response.headers),
                body: response.body,
                trailers: Some(headers(&response.trailers)).filter(|trailers| !trailers.is_empty()),
            },
        };
        (answered.delay, outcome)
    }
}

/// What tells one VM from another while both live.
fn place(vm: &SharedVm) -> usize {
    Rc::as_ptr(vm).addr()
}

fn spec(filter: &Filter, compat: Compat) -> Result<Spec, String> {
    let wasm = filter.module()?;
    let module = Module::parse(wasm.into()).map_err(|error| error.to_string())?;
    if let Some(problem) = module.problems(&compat).into_iter().next() {
        return Err(problem.to_string());
    }
    let limits = Limits::default();
    let limits = Limits {
        callback: filter.callback_limit.map_or(limits.callback, |wait| wait.0),
        memory: filter.memory_limit.unwrap_or(limits.memory),
        ..limits
    };
    let settings = VmSettings {
        vm_id: filter.vm_id.clone(),
        configuration: filter.vm_configuration.clone().into(),
        environment: filter.environment.clone().into_iter().collect(),
        limits,
        compat,
        capabilities: capabilities(filter).into(),
    };
    let code = Wasmi::new(settings.limits.frames)
        .with_fuel_per_ms(20_000)
        .compile(&module, &compat)
        .map_err(|error| error.to_string())?;
    let plugin = Plugin {
        name: filter.name.clone(),
        root_id: filter.root_id.clone().unwrap_or_default(),
        configuration: filter.configuration.clone().into(),
        allow_on_headers_stop_iteration: filter.allow_on_headers_stop_iteration,
        body_limit: filter.body_limit.unwrap_or(1 << 20),
    };
    Ok(Spec {
        code,
        module,
        settings: Rc::new(settings),
        plugin: Rc::new(plugin),
        on_failure: filter.on_failure,
        role: filter.role,
    })
}

fn capabilities(filter: &Filter) -> Capabilities {
    let mut out = Capabilities::default();
    if let Some(wanted) = &filter.capabilities {
        let names = |list: &Vec<String>| list.clone();
        if let Some(list) = wanted.hostcalls.as_ref().map(names) {
            out.restrict_hostcalls(&list.iter().map(String::as_str).collect::<Vec<_>>());
        }
        if let Some(list) = wanted.callbacks.as_ref().map(names) {
            out.restrict_callbacks(&list.iter().map(String::as_str).collect::<Vec<_>>());
        }
        if let Some(list) = &wanted.shared {
            out.restrict_shared(list.clone());
        }
    }
    out
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

fn unreachable() -> grpc::Script {
    vec![(Duration::from_millis(2), closed(14, "connection refused"))]
}

fn closed(status: u32, message: &'static str) -> GrpcEvent {
    GrpcEvent::Closed {
        status,
        message: Bytes::from_static(message.as_bytes()),
    }
}

fn headers(list: &[(String, String)]) -> cofferdam_abi::Headers {
    let bytes = |text: &String| Bytes::copy_from_slice(text.as_bytes());
    let entries = list.iter().map(|(name, value)| (bytes(name), bytes(value)));
    cofferdam_abi::Headers::from_entries(entries.collect())
}
