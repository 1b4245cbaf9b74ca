//! Filters at work on one worker: their VMs, their roots, their timers, and what happens
//! when one crashes, grows, or gets other code.
//!
//! VMs whose code and settings are equal are one VM with several roots. Replacing one is
//! the same whatever the reason ([`renew`]): a new VM takes the new streams, and the old
//! one finishes those it has ([`generation`]) and ends ([`ending`]).

mod adopt;
mod backoff;
mod effects;
mod ending;
mod generation;
mod isolated;
mod launch;
mod renew;
mod roots;
mod slot;
mod timers;
mod told;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_abi::shared::VmId;
use cofferdam_abi::usage::Usage;
use cofferdam_abi::{Chain, Exchange, FilterHandle, Host as _, RootId, TcpChain, Vm};
use tokio::sync::Notify;

use crate::callout::Callouts;
use crate::config::{Cluster, OnFailure};
use crate::evictions::Evictions;
use crate::facts::{Facts, Properties};
use crate::flow::Filters;
use crate::headers::Invalid;
use crate::host::WorkerHost;
use crate::modules::Modules;
use crate::news::News;
use crate::readiness::Readiness;
use crate::reload::Served;
use crate::setup::Setup;
use crate::tcp;
use crate::upstream::Upstream;
use crate::worker::{Shared, Worker};
use generation::Generation;

pub(crate) use slot::Slot;

pub(crate) use adopt::Fresh;
pub(crate) use renew::Why;

/// With `on_failure: reload`, between two tries to start a filter.
const RETRY: Duration = Duration::from_secs(1);

/// All filters of one worker.
pub(crate) struct Plugins {
    host: Rc<WorkerHost>,
    /// Every VM there is, those that drain among them.
    generations: RefCell<HashMap<VmId, Rc<Generation>>>,
    /// VMs that have been started for streams that are about to begin.
    opening: RefCell<Vec<Rc<Generation>>>,
    modules: Arc<Modules>,
    readiness: Arc<Readiness>,
    pub(crate) callouts: Rc<Callouts>,
    news: News,
    evictions: Arc<Evictions>,
    /// Set once roots are told to end: nothing is started any more.
    ending: Cell<bool>,
    /// A root has gone, or crashed, on its own.
    root_gone: Notify,
}

/// A filter that cannot work now and must not be skipped.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) filter: String,
}

// === impl Plugins ===

impl Plugins {
    /// Filters of the `index`-th worker, of which the first has the services; and what it
    /// serves by from its start on.
    pub(crate) fn new(shared: &Shared, index: usize) -> (Self, Rc<Setup>) {
        let news = News::new();
        // What is published from here on comes as news.
        let (blueprint, loaded) = shared.modules.subscribe(news.publications());
        let config = blueprint.config.clone();
        let slots = loaded.iter().enumerate().map(|(position, loaded)| {
            let slot = Slot::new(loaded, &shared.guests, index == 0);
            slot.position.set(position);
            Rc::new(slot)
        });
        let upstream = |(cluster, served): (&Arc<Cluster>, &Arc<Served>)| {
            Rc::new(Upstream::new(
                cluster.clone(),
                Some(served.backends.clone()),
            ))
        };
        let upstreams = config
            .clusters
            .iter()
            .zip(&blueprint.clusters)
            .map(upstream);
        let words = (&*shared.traffic, index);
        let setup = Setup::new(
            config.clone(),
            upstreams.collect(),
            slots.collect(),
            blueprint.sink(&shared.traffic),
            words,
        );
        let plugins = Self {
            host: Rc::new(WorkerHost::new(
                setup.clusters.clone(),
                config.node.clone(),
                shared.guests.clone(),
                Some(news.notifier()),
            )),
            generations: RefCell::default(),
            opening: RefCell::default(),
            modules: shared.modules.clone(),
            readiness: shared.readiness.clone(),
            callouts: Callouts::new(config.callouts.clone()),
            news,
            evictions: shared.evictions.clone(),
            ending: Cell::new(false),
            root_gone: Notify::new(),
        };
        (plugins, setup)
    }

    /// Where this worker counts what a filter uses.
    pub(crate) fn usage(&self, filter: &str) -> Arc<Usage> {
        self.host.usage(filter)
    }

    /// Starts everything, so that the first request finds it running.
    pub(crate) fn start_all(&self, worker: &Rc<Worker>) {
        let setup = worker.setup();
        let run: Vec<Rc<Slot>> = setup
            .slots
            .iter()
            .filter(|slot| slot.runs)
            .cloned()
            .collect();
        // What fails is told when it happens, and tried again.
        self.start(worker, &run);
        self.after_calls(worker);
        self.news.deliver(worker);
    }

    /// The chain of one exchange. `None` where there is nothing in it.
    pub(crate) fn begin(
        &self,
        worker: &Rc<Worker>,
        chain: &[usize],
        facts: &Rc<Facts>,
        exchange: impl FnOnce() -> Exchange,
    ) -> Result<Option<Filters>, Refused> {
        if chain.is_empty() {
            return Ok(None);
        }
        let slots = &facts.setup.slots;
        let handles = self.handles(worker, slots, chain)?;
        if handles.is_empty() {
            return Ok(None);
        }
        let (mut drop_invalid, mut repair, mut done_before_log) = (true, true, false);
        for slot in chain.iter().filter_map(|index| slots.get(*index)) {
            let compat = &slot.settings.compat;
            drop_invalid &= compat.reject_smuggling;
            repair &= compat.repair_content_length;
            done_before_log |= compat.done_before_log;
        }
        let exchange = exchange().share();
        let mut chain = Chain::begin(exchange.clone(), handles, done_before_log);
        if let Some(trace) = &facts.trace {
            trace.observe(&mut chain);
        }
        let chain = RefCell::new(chain);
        self.opened();
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
        let handles = self.handles(worker, &facts.setup.slots, chain)?;
        if handles.is_empty() {
            return Ok(None);
        }
        let exchange = Exchange::connection(Box::new(Properties(facts.clone()))).share();
        let chain = RefCell::new(TcpChain::begin(exchange.clone(), handles));
        self.opened();
        self.after_calls(worker);
        Ok(Some(tcp::Filters { chain, exchange }))
    }

    /// What a chain needs of each of its filters, but for those that may be left out.
    fn handles(
        &self,
        worker: &Rc<Worker>,
        slots: &[Rc<Slot>],
        chain: &[usize],
    ) -> Result<Vec<FilterHandle>, Refused> {
        let mut handles = Vec::with_capacity(chain.len());
        for slot in chain.iter().filter_map(|index| slots.get(*index)) {
            let found = if slot.isolated {
                self.fresh(worker, slot)
            } else {
                self.running(worker, slot)
            };
            match found {
                Some((vm, root)) => handles.push(FilterHandle {
                    vm,
                    root,
                    plugin: slot.plugin.clone(),
                }),
                None if slot.on_failure == OnFailure::Open => {}
                None => {
                    self.opened();
                    return Err(Refused {
                        filter: slot.plugin.name.clone(),
                    });
                }
            }
        }
        Ok(handles)
    }

    /// The plugin's VM and root, started if there is none.
    fn running(&self, worker: &Rc<Worker>, slot: &Rc<Slot>) -> Option<(Rc<RefCell<Vm>>, RootId)> {
        slot.sound().or_else(|| self.restarted(worker, slot))
    }

    #[cold]
    fn restarted(
        &self,
        worker: &Rc<Worker>,
        wanted: &Rc<Slot>,
    ) -> Option<(Rc<RefCell<Vm>>, RootId)> {
        // A crash that nobody has seen to yet.
        self.after_calls(worker);
        let key = wanted.key(&wanted.loaded.borrow());
        let setup = worker.setup();
        let with_it = setup.slots.iter().filter(|slot| {
            slot.runs && slot.key(&slot.loaded.borrow()) == key && !Rc::ptr_eq(slot, wanted)
        });
        let mut group: Vec<Rc<Slot>> = with_it.cloned().collect();
        group.push(wanted.clone());
        group.sort_by_key(|slot| slot.position.get());
        self.start(worker, &group);
        wanted.sound()
    }

    /// The worker ends, whatever roots are still about.
    pub(crate) fn shut_down(&self) {
        self.evictions.tell();
        for generation in self.generations.borrow().values() {
            generation.timers.borrow_mut().clear();
        }
        self.end_roots();
        // Slots and VMs hold each other.
        for generation in self.generations.take().into_values() {
            for (slot, _) in generation.roots() {
                slot.state.replace(slot::State::Cold);
            }
        }
    }
}

impl std::fmt::Debug for Plugins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugins")
            .field("vms", &self.generations.borrow().len())
            .finish_non_exhaustive()
    }
}
