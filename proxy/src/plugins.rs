//! Filters at work on one worker: their VMs, their roots, their timers, and what happens
//! when one crashes.
//!
//! VMs whose code and settings are equal are one VM with several roots. A VM in which a
//! call trapped takes no new streams: the next request gets a fresh one, and streams that
//! began on the old one finish there.

mod roots;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_abi::shared::{QueueReady, Space};
use cofferdam_abi::{
    Chain, Exchange, FilterHandle, Plugin, RootEffect, RootId, Shared, TcpChain, Vm, VmSettings,
};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::callout::Callouts;
use crate::config::{Config, OnFailure, Uses};
use crate::evictions::Evictions;
use crate::facts::{Facts, Properties};
use crate::flow::Filters;
use crate::headers::Invalid;
use crate::host::{ClusterNames, WorkerHost};
use crate::modules::Loaded;
use crate::news::News;
use crate::reports;
use crate::tcp;
use crate::worker::Worker;

/// After a VM could not be started, how long until the next try.
const RETRY: Duration = Duration::from_secs(1);

/// All filters of one worker.
pub(crate) struct Plugins {
    host: Rc<WorkerHost>,
    slots: Vec<Slot>,
    vms: RefCell<Vec<(VmKey, Rc<RefCell<Vm>>)>>,
    /// VMs that streams keep until they have ended.
    crashed: RefCell<Vec<Weak<RefCell<Vm>>>>,
    timers: RefCell<HashMap<(usize, RootId), Timer>>,
    clusters: Arc<ClusterNames>,
    pub(crate) callouts: Rc<Callouts>,
    news: News,
    evictions: Arc<Evictions>,
    /// Set once roots are told to end: nothing is started any more.
    ending: Cell<bool>,
    /// A root has gone, or crashed, on its own.
    root_gone: Notify,
}

/// What makes two VMs the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct VmKey {
    digest: [u8; 32],
    settings: Rc<VmSettings>,
}

/// One plugin on this worker.
struct Slot {
    loaded: Arc<Loaded>,
    plugin: Rc<Plugin>,
    key: VmKey,
    /// Whether it runs on this worker.
    runs: bool,
    state: RefCell<State>,
    /// When it was started last.
    started: Cell<Option<Instant>>,
    /// Shared data stays while its filter is down, though no VM holds it.
    _space: Arc<Space>,
    /// Its next start is on its way ([`roots`]).
    reviving: Cell<bool>,
}

/// Whether a plugin can take a stream.
enum State {
    /// Not started yet.
    Cold,
    Running(Rc<RefCell<Vm>>, RootId),
    /// Could not be started: not before then.
    Down(Instant),
    /// Crashed for good (`after_trap: envoy`).
    Dead,
}

/// The timer of a root, ended with this.
struct Timer {
    task: AbortHandle,
    of: Weak<RefCell<Vm>>,
}

/// A filter that cannot work now and must not be skipped.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) filter: String,
}

// === impl Plugins ===

impl Plugins {
    /// All of `loaded` that run on this worker; `first` is the one that has the services.
    pub(crate) fn new(
        loaded: &[Arc<Loaded>],
        config: &Config,
        shared: &Arc<Shared>,
        evictions: &Arc<Evictions>,
        first: bool,
    ) -> Self {
        let news = News::new();
        let clusters = Arc::new(ClusterNames::new(&config.clusters));
        let slots = loaded
            .iter()
            .map(|loaded| Slot {
                plugin: Rc::new(loaded.plugin()),
                key: VmKey {
                    digest: loaded.digest,
                    settings: Rc::new(loaded.settings()),
                },
                runs: {
                    let Uses {
                        streams,
                        access_log,
                        service,
                    } = loaded.config.uses;
                    streams || access_log || (service && first)
                },
                loaded: loaded.clone(),
                state: RefCell::new(State::Cold),
                started: Cell::new(None),
                _space: shared.join(&loaded.config.vm_id),
                reviving: Cell::new(false),
            })
            .collect();
        Self {
            host: Rc::new(WorkerHost::new(
                clusters.clone(),
                config.node.clone(),
                shared.clone(),
                Some(news.notifier()),
            )),
            slots,
            vms: RefCell::default(),
            crashed: RefCell::default(),
            timers: RefCell::default(),
            clusters,
            callouts: Callouts::new(config.callouts.clone()),
            news,
            evictions: evictions.clone(),
            ending: Cell::new(false),
            root_gone: Notify::new(),
        }
    }

    /// The position of the cluster of that name.
    pub(crate) fn cluster(&self, name: &[u8]) -> Option<usize> {
        self.clusters.find(name)
    }

    /// Starts everything, so that the first request finds it running.
    pub(crate) fn start_all(&self, worker: &Rc<Worker>) {
        for slot in self.slots.iter().filter(|slot| slot.runs) {
            // Told when it happens, and tried again with a request.
            let _ = self.running(slot);
        }
        self.after_calls(worker);
        self.news.deliver(worker);
        self.revive(worker);
    }

    /// The chain of one exchange. `None` where there is nothing in it.
    pub(crate) fn begin(
        &self,
        worker: &Rc<Worker>,
        chain: &[usize],
        _facts: &Rc<Facts>,
        exchange: impl FnOnce() -> Exchange,
    ) -> Result<Option<Filters>, Refused> {
        if chain.is_empty() {
            return Ok(None);
        }
        let handles = self.handles(chain)?;
        if handles.is_empty() {
            return Ok(None);
        }
        let (mut drop_invalid, mut repair, mut done_before_log) = (true, true, false);
        for slot in chain.iter().filter_map(|index| self.slots.get(*index)) {
            let compat = &slot.key.settings.compat;
            drop_invalid &= compat.reject_smuggling;
            repair &= compat.repair_content_length;
            done_before_log |= compat.done_before_log;
        }
        let exchange = exchange().share();
        let chain = RefCell::new(Chain::begin(exchange.clone(), handles, done_before_log));
        self.after_calls(worker);
        let invalid = if drop_invalid {
            Invalid::Drop
        } else {
            Invalid::Refuse
        };
        Ok(Some(Filters {
            chain,
            exchange,
            invalid,
            repair,
        }))
    }

    /// The same for a connection that is not HTTP; its filters are shown it here.
    pub(crate) fn connect(
        &self,
        worker: &Rc<Worker>,
        chain: &[usize],
        facts: &Rc<Facts>,
    ) -> Result<Option<tcp::Filters>, Refused> {
        let handles = self.handles(chain)?;
        if handles.is_empty() {
            return Ok(None);
        }
        let exchange = Exchange::connection(Box::new(Properties(facts.clone()))).share();
        let chain = RefCell::new(TcpChain::begin(exchange.clone(), handles));
        self.after_calls(worker);
        Ok(Some(tcp::Filters { chain, exchange }))
    }

    /// What a chain needs of each of its filters, but for those that may be left out.
    fn handles(&self, chain: &[usize]) -> Result<Vec<FilterHandle>, Refused> {
        let mut handles = Vec::with_capacity(chain.len());
        for slot in chain.iter().filter_map(|index| self.slots.get(*index)) {
            match self.running(slot) {
                Some((vm, root)) => handles.push(FilterHandle {
                    vm,
                    root,
                    plugin: slot.plugin.clone(),
                }),
                None if slot.loaded.config.on_failure == OnFailure::Open => {}
                None => {
                    return Err(Refused {
                        filter: slot.plugin.name.clone(),
                    });
                }
            }
        }
        Ok(handles)
    }

    /// The plugin's VM and root, started if need be.
    fn running(&self, slot: &Slot) -> Option<(Rc<RefCell<Vm>>, RootId)> {
        let mut state = slot.state.borrow_mut();
        match &*state {
            State::Running(vm, root) if vm.borrow_mut().is_sound(*root) => {
                return Some((vm.clone(), *root));
            }
            _ if self.ending.get() => return None,
            State::Running(_, _) if !slot.key.settings.compat.recover_after_trap => {
                *state = envoy_after_trap(slot);
                match *state {
                    State::Down(until) if until <= Instant::now() => {}
                    _ => return None,
                }
            }
            State::Dead => return None,
            State::Down(until) if *until > Instant::now() => return None,
            _ => {}
        }
        slot.started.set(Some(Instant::now()));
        match self.start(slot) {
            Ok((vm, root)) => {
                *state = State::Running(vm.clone(), root);
                Some((vm, root))
            }
            Err(error) => {
                tracing::error!(
                    filter = &*slot.plugin.name,
                    "filter could not be started, next try in {RETRY:?}: {error}"
                );
                *state = State::Down(Instant::now() + RETRY);
                None
            }
        }
    }

    fn start(&self, slot: &Slot) -> Result<(Rc<RefCell<Vm>>, RootId), cofferdam_abi::LoadError> {
        let mut vms = self.vms.borrow_mut();
        // Streams that are still in a crashed one may want its timers.
        let mut crashed = self.crashed.borrow_mut();
        crashed.retain(|vm| vm.strong_count() > 0);
        crashed.extend(
            vms.extract_if(.., |(_, vm)| vm.borrow().is_failed())
                .map(|(_, vm)| Rc::downgrade(&vm)),
        );
        self.timers
            .borrow_mut()
            .retain(|_, timer| timer.is_needed());
        let held = vms
            .iter()
            .find(|(key, _)| *key == slot.key)
            .map(|(_, vm)| vm.clone());
        let vm = match held {
            Some(vm) => vm,
            None => {
                let settings = slot.key.settings.clone();
                let vm = Vm::start(
                    &*slot.loaded.code,
                    slot.loaded.version,
                    settings,
                    self.host.clone(),
                )?;
                let vm = Rc::new(RefCell::new(vm));
                self.callouts.attach(&vm);
                vms.push((slot.key.clone(), vm.clone()));
                vm
            }
        };
        let root = vm.borrow_mut().create_root(slot.plugin.clone())?;
        Ok((vm, root))
    }

    /// Sees to what roots have asked for. Called after every stretch of guest code; costs
    /// one look at a flag when there is nothing.
    pub(crate) fn after_calls(&self, worker: &Rc<Worker>) {
        if !self.host.effects.replace(false) {
            return;
        }
        if self.host.evicted.replace(false) {
            self.evictions.noticed();
        }
        let mut vms: Vec<_> = self.vms.borrow().iter().map(|(_, vm)| vm.clone()).collect();
        vms.extend(self.crashed.borrow().iter().filter_map(Weak::upgrade));
        for vm in vms {
            let effects = match vm.try_borrow_mut() {
                Ok(mut vm) => vm.take_root_effects(),
                Err(_) => continue,
            };
            for effect in effects {
                self.carry_out(worker, &vm, effect);
            }
        }
    }

    fn carry_out(&self, worker: &Rc<Worker>, vm: &Rc<RefCell<Vm>>, effect: RootEffect) {
        match effect {
            RootEffect::Tick { root, period } => self.set_timer(worker, vm, root, period),
            RootEffect::Done { root } => {
                let name = vm.borrow_mut().plugin_name(root);
                if let Err(trap) = vm.borrow_mut().delete_root(root) {
                    reports::crash(&name, &trap, "-");
                }
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

    fn set_timer(
        &self,
        worker: &Rc<Worker>,
        vm: &Rc<RefCell<Vm>>,
        root: RootId,
        period: Option<Duration>,
    ) {
        let key = (Rc::as_ptr(vm).addr(), root);
        // What it replaces ends when it is dropped.
        self.timers.borrow_mut().remove(&key);
        let Some(period) = period else { return };
        let (weak, vm) = (Rc::downgrade(worker), Rc::downgrade(vm));
        let of = vm.clone();
        let timer = tokio::task::spawn_local(async move {
            loop {
                // The next period begins when the call has ended: ticks never pile up.
                tokio::time::sleep(period).await;
                let (Some(worker), Some(vm)) = (weak.upgrade(), vm.upgrade()) else {
                    return;
                };
                let ticked = vm.borrow_mut().tick(root);
                if let Err(trap) = ticked {
                    worker.plugins.root_crashed(&worker, &vm, root, &trap);
                    return;
                }
                worker.plugins.after_calls(&worker);
            }
        });
        let task = timer.abort_handle();
        self.timers.borrow_mut().insert(key, Timer { task, of });
    }

    /// An item has come into a queue for which a root of this worker has registered.
    pub(crate) fn queue_ready(&self, worker: &Rc<Worker>, ready: QueueReady) {
        let vms = self.vms.borrow();
        let vm = vms.iter().find(|(_, vm)| vm.borrow().id() == ready.vm);
        // One that has crashed and is gone: the one in its place has registered since.
        let Some(vm) = vm.map(|(_, vm)| vm.clone()) else {
            cofferdam_abi::Host::shared(&*self.host).queue_ready_missed(ready);
            return;
        };
        drop(vms);
        let told = vm.borrow_mut().queue_ready(ready.root, ready.queue);
        if let Err(trap) = told {
            self.root_crashed(worker, &vm, ready.root, &trap);
        }
        self.after_calls(worker);
    }

    /// The worker ends, whatever roots are still about.
    pub(crate) fn shut_down(&self) {
        self.evictions.tell();
        self.timers.borrow_mut().clear();
        self.end_roots();
    }
}

// === impl Timer ===

impl Timer {
    /// The VM it ticks is still there: a long period would outlive one that crashed.
    fn is_needed(&self) -> bool {
        self.of.strong_count() > 0
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for Plugins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugins")
            .field("slots", &self.slots.len())
            .finish_non_exhaustive()
    }
}

/// Section 6.11 of the ABI notes: a failed VM stays failed, but under FAIL_RELOAD, where the
/// next request gets a new one, at most once in a back-off.
fn envoy_after_trap(slot: &Slot) -> State {
    match (slot.loaded.config.on_failure, slot.started.get()) {
        (OnFailure::Reload, Some(started)) => State::Down(started + RETRY),
        (OnFailure::Reload, None) => State::Down(Instant::now()),
        (OnFailure::Closed | OnFailure::Open, _) => State::Dead,
    }
}
