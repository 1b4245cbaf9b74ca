//! One configuration as one worker runs it: what is the same for a request from its first
//! byte to its last, whatever is reloaded meanwhile.
//!
//! A setup never changes. A reload makes another ([`Worker::adopt`]) out of what has changed
//! and what has not: upstreams with their connections and filters with their VMs are the same
//! in both where the configuration is. Each exchange holds the one in which it began; the
//! last of them to end ends the setup, and with it what no later one has.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderName;
use http::request::Parts;
use http::uri::PathAndQuery;
use tokio::sync::oneshot;

use crate::access_log::Sink;
use crate::config::{Action, Address, Config, Listener, Route};
use crate::headers;
use crate::host::ClusterNames;
use crate::plugins::Slot;
use crate::route::{self, RouteTable};
use crate::traffic::{OnListener, Traffic};
use crate::upstream::Upstream;

/// A configuration at work.
pub(crate) struct Setup {
    pub(crate) config: Arc<Config>,
    listeners: Vec<ListenerState>,
    /// By the positions of clusters.
    pub(crate) upstreams: Vec<Rc<Upstream>>,
    /// By the positions of plugins.
    pub(crate) slots: Vec<Rc<Slot>>,
    pub(crate) clusters: Arc<ClusterNames>,
    pub(crate) sink: Option<Rc<Sink>>,
    flushing: Cell<bool>,
    /// Per listener and route: `LISTENER/routes[N]`.
    routes: Vec<Vec<String>>,
    /// Held until nobody uses this any more, nor any before it: whoever ends with this one may
    /// have been in those too,
    used: Rc<oneshot::Sender<()>>,
    /// which is heard here.
    unused: RefCell<Option<oneshot::Receiver<()>>>,
    /// That of the one which came after it.
    later: OnceCell<Rc<oneshot::Sender<()>>>,
}

/// A listener with its routes made ready.
#[derive(Debug)]
pub(crate) struct ListenerState {
    pub(crate) config: Arc<Listener>,
    table: RouteTable,
    pub(crate) traffic: OnListener,
}

// === impl Setup ===

impl Setup {
    /// `traffic` has the words of the `worker`-th.
    pub(crate) fn new(
        config: Arc<Config>,
        upstreams: Vec<Rc<Upstream>>,
        slots: Vec<Rc<Slot>>,
        sink: Option<Rc<Sink>>,
        (traffic, worker): (&Traffic, usize),
    ) -> Rc<Self> {
        let names = |listener: &Arc<Listener>| {
            let routes = 0..listener.routes.len();
            routes
                .map(|index| format!("{}/routes[{index}]", listener.name))
                .collect()
        };
        let routes: Vec<Vec<String>> = config.listeners.iter().map(names).collect();
        let listeners = config.listeners.iter().zip(&routes);
        let listeners = listeners.map(|(listener, routes)| ListenerState {
            config: listener.clone(),
            table: RouteTable::new(listener),
            traffic: traffic.listener(worker, &listener.name, routes.iter().map(|route| &**route)),
        });
        let listeners = listeners.collect();
        let (used, unused) = oneshot::channel();
        Rc::new(Self {
            listeners,
            upstreams,
            slots,
            clusters: Arc::new(ClusterNames::new(&config.clusters)),
            sink,
            flushing: Cell::new(false),
            routes,
            used: Rc::new(used),
            later: OnceCell::new(),
            unused: RefCell::new(Some(unused)),
            config,
        })
    }

    /// The listener at that position of the configuration.
    pub(crate) fn listener(&self, index: usize) -> &ListenerState {
        &self.listeners[index]
    }

    /// The upstream of the cluster at that position of the configuration.
    pub(crate) fn upstream(&self, index: usize) -> &Rc<Upstream> {
        &self.upstreams[index]
    }

    /// The upstream of the cluster of that name.
    pub(crate) fn upstream_named(&self, name: &[u8]) -> Option<&Rc<Upstream>> {
        self.upstreams.get(self.clusters.find(name)?)
    }

    /// Trailers that the filters of a route may add.
    pub(crate) fn trailer_names(&self, route: &Route) -> Vec<HeaderName> {
        let plugins = route
            .filters
            .iter()
            .filter_map(|index| self.config.plugins.get(*index));
        plugins
            .flat_map(|plugin| plugin.trailers.iter().cloned())
            .collect()
    }

    /// Whether the access log's format asks for what is noted only then.
    pub(crate) fn takes_notes(&self) -> bool {
        self.sink.as_ref().is_some_and(|sink| sink.is_noted())
    }

    /// Writes the access log once this turn of the event loop is over.
    pub(crate) fn flush_log_soon(self: &Rc<Self>) {
        if !self.flushing.replace(true) {
            let setup = self.clone();
            tokio::task::spawn_local(async move {
                tokio::task::yield_now().await;
                setup.flushing.set(false);
                if let Some(sink) = &setup.sink {
                    sink.flush();
                }
            });
        }
    }

    /// `next` comes after it.
    pub(crate) fn precedes(&self, next: &Self) {
        // Nothing comes after it twice.
        let _ = self.later.set(next.used.clone());
    }

    /// Resolves once nobody uses it any more, nor any before it; for the first who asks.
    pub(crate) fn unused(&self) -> Option<oneshot::Receiver<()>> {
        self.unused.take()
    }
}

/// Names of things that facts only know by number.
impl Setup {
    pub(crate) fn cluster_name(&self, index: usize) -> Option<&str> {
        Some(&self.config.clusters.get(index)?.name)
    }

    pub(crate) fn listener_name(&self, index: usize) -> Option<&str> {
        Some(&self.config.listeners.get(index)?.name)
    }

    /// The path of a listener that is a unix socket.
    pub(crate) fn socket(&self, index: usize) -> Option<&str> {
        match &self.config.listeners.get(index)?.address {
            Address::Unix(path) => path.to_str(),
            Address::Tcp(_) => None,
        }
    }

    pub(crate) fn endpoints(&self, index: usize) -> Option<u64> {
        Some(self.upstreams.get(index)?.hosts().len() as u64)
    }

    /// Where the endpoints of a cluster are.
    pub(crate) fn addresses(&self, index: usize) -> Option<Vec<String>> {
        let hosts = self.upstreams.get(index)?.hosts().into_iter();
        Some(hosts.map(|host| host.address.to_string()).collect())
    }

    /// The cluster a route forwards to, where there is but one.
    pub(crate) fn cluster_of(&self, listener: usize, route: usize) -> Option<usize> {
        let listener = self.config.listeners.get(listener)?;
        match &listener.routes.get(route)?.action {
            Action::Forward { clusters, .. } => match clusters[..] {
                [(only, _)] => Some(only),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn route_name(&self, listener: usize, route: usize) -> Option<&str> {
        Some(self.routes.get(listener)?.get(route)?)
    }
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup")
            .field("listeners", &self.listeners.len())
            .field("plugins", &self.slots.len())
            .finish_non_exhaustive()
    }
}

// === impl ListenerState ===

impl ListenerState {
    /// The first route that matches.
    pub(crate) fn find(&self, head: &Parts) -> Option<usize> {
        let authority = headers::authority(&head.uri, &head.headers);
        let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let (path, _) = route::split_query(path);
        self.table
            .find(authority, path, &head.method, &head.headers)
    }
}
