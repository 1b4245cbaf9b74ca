//! One worker: an OS thread with a runtime of its own, and everything it needs to serve.
//!
//! A worker owns its accept sockets, upstream connections and VMs. What it has of other
//! threads it only reads: the configuration, compiled code, health of backends.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderName;
use http::request::Parts;
use http::uri::PathAndQuery;
use tokio::sync::{Notify, watch};
use tokio::task::LocalSet;

use crate::access_log::{LogFile, Sink};
use crate::config::{Action, Address, Config, Listener, Route};
use crate::evictions::Evictions;
use crate::flow::Flow;
use crate::headers::{self, DateCache};
use crate::listener::{self, Socket};
use crate::modules::Modules;
use crate::plugins::Plugins;
use crate::readiness::Readiness;
use crate::reports;
use crate::route::{self, RouteTable};
use crate::timer;
use crate::traffic::{OnListener, Traffic};
use crate::upstream::Upstream;
use crate::upstream::backends::Backends;

/// How long roots that are not done may keep a worker that has nothing else to do.
const ROOTS_LIMIT: Duration = Duration::from_secs(5);

/// What all workers are made from.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) modules: Arc<Modules>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) backends: Vec<Arc<Backends>>,
    /// What guests of all workers share.
    pub(crate) guests: Arc<cofferdam_abi::Shared>,
    pub(crate) evictions: Arc<Evictions>,
    /// What clients of all workers ask for and are given.
    pub(crate) traffic: Arc<Traffic>,
    /// The access log's file, if it goes to one.
    pub(crate) log: Option<Arc<LogFile>>,
}

/// One worker.
pub(crate) struct Worker {
    config: Arc<Config>,
    listeners: Vec<ListenerState>,
    pub(crate) plugins: Plugins,
    upstreams: Vec<Rc<Upstream>>,
    pub(crate) names: Rc<Names>,
    pub(crate) rng: RefCell<fastrand::Rng>,
    pub(crate) date: RefCell<DateCache>,
    pub(crate) sink: Option<Sink>,
    flushing: Cell<bool>,
    pub(crate) drain: Drain,
}

/// A listener with its routes made ready.
#[derive(Debug)]
pub(crate) struct ListenerState {
    pub(crate) config: Arc<Listener>,
    table: RouteTable,
    pub(crate) traffic: OnListener,
}

/// Names of things that facts only know by number.
#[derive(Debug)]
pub(crate) struct Names {
    config: Arc<Config>,
    /// Per listener and route: `LISTENER/routes[N]`.
    routes: Vec<Vec<String>>,
}

/// The end of a worker, in order: no new connections, then none at all.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    started: Cell<bool>,
    pub(crate) start: Notify,
    connections: Cell<usize>,
    gone: Notify,
}

/// Counts a connection for as long as it lives.
#[derive(Debug)]
pub(crate) struct ConnectionGuard(Rc<Worker>);

/// Runs hyper's tasks on the worker's own thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// The `index`-th worker: serves until `shutdown` turns true and the last connection has gone, or `drain_time`
/// is over.
///
/// # Errors
/// When the thread's runtime cannot be had.
pub(crate) fn run(
    shared: &Shared,
    index: usize,
    sockets: Vec<Socket>,
    shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let log = shared.config.access_log.as_ref();
    let sink = log.map(|log| {
        let lost = shared.traffic.lost_lines.clone();
        Sink::of(log.format.clone(), shared.log.as_ref()).counting(lost)
    });
    let worker = Worker::new(shared, index, sink);
    let local = LocalSet::new();
    local.block_on(&runtime, serve(worker.clone(), sockets, shutdown));
    // Streams that are still there end now; what they ran on ends after them.
    drop(local);
    worker.plugins.callouts.tell_left();
    worker.plugins.shut_down();
    reports::tell_rest();
    timer::clear();
    for upstream in &worker.upstreams {
        upstream.close_idle();
    }
    worker.plugins.callouts.close_idle();
    if let Some(sink) = &worker.sink {
        sink.flush();
    }
    Ok(())
}

async fn serve(worker: Rc<Worker>, sockets: Vec<Socket>, mut shutdown: watch::Receiver<bool>) {
    worker.plugins.start_all(&worker);
    for socket in sockets {
        tokio::task::spawn_local(listener::accept_loop(worker.clone(), socket));
    }
    // An error means that whoever would tell has gone: the same end.
    let _ = shutdown.wait_for(|down| *down).await;
    worker.drain.started.set(true);
    worker.drain.start.notify_waiters();
    let began = Instant::now();
    let all_gone = worker.drain.all_gone();
    if tokio::time::timeout(worker.config.drain_time, all_gone)
        .await
        .is_err()
    {
        // Roots are told once the streams that are left have ended.
        tracing::warn!(
            connections = worker.drain.connections.get(),
            "drain_time is over: remaining connections are cut"
        );
        return;
    }
    // Streams end in tasks of their own, which may come after the connection's.
    tokio::task::yield_now().await;
    let left = worker.config.drain_time.saturating_sub(began.elapsed());
    worker.plugins.end(&worker, left.min(ROOTS_LIMIT)).await;
}

// === impl Worker ===

impl Worker {
    fn new(shared: &Shared, index: usize, sink: Option<Sink>) -> Rc<Self> {
        let config = shared.config.clone();
        let names = Rc::new(Names::new(config.clone()));
        let listeners = config
            .listeners
            .iter()
            .zip(&names.routes)
            .map(|(listener, routes)| ListenerState {
                config: listener.clone(),
                table: RouteTable::new(listener),
                traffic: shared.traffic.listener(
                    index,
                    &listener.name,
                    routes.iter().map(|route| &route[..]),
                ),
            })
            .collect();
        let upstreams = config
            .clusters
            .iter()
            .zip(&shared.backends)
            .map(|(cluster, backends)| {
                Rc::new(Upstream::new(cluster.clone(), Some(backends.clone())))
            })
            .collect();
        Rc::new(Self {
            listeners,
            plugins: Plugins::new(shared, index == 0),
            upstreams,
            names,
            rng: RefCell::new(fastrand::Rng::new()),
            date: RefCell::default(),
            sink,
            flushing: Cell::new(false),
            drain: Drain::default(),
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

    /// The longest silence a request may have, by its route.
    pub(crate) fn stream_idle_timeout(&self, flow: &Flow) -> Option<Duration> {
        const UNROUTED: Duration = Duration::from_secs(300);
        flow.route()
            .map_or(Some(UNROUTED), |route| route.idle_timeout)
    }

    /// Writes the access log once this turn of the event loop is over.
    pub(crate) fn flush_log_soon(self: &Rc<Self>) {
        if !self.flushing.replace(true) {
            let worker = self.clone();
            tokio::task::spawn_local(async move {
                tokio::task::yield_now().await;
                worker.flushing.set(false);
                if let Some(sink) = &worker.sink {
                    sink.flush();
                }
            });
        }
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("drain", &self.drain)
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

// === impl Names ===

impl Names {
    fn new(config: Arc<Config>) -> Self {
        let routes = config
            .listeners
            .iter()
            .map(|listener| {
                (0..listener.routes.len())
                    .map(|index| format!("{}/routes[{index}]", listener.name))
                    .collect()
            })
            .collect();
        Self { config, routes }
    }

    pub(crate) fn cluster(&self, index: usize) -> Option<&str> {
        self.config
            .clusters
            .get(index)
            .map(|cluster| &cluster.name[..])
    }

    pub(crate) fn listener(&self, index: usize) -> Option<&str> {
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
        self.config
            .clusters
            .get(index)
            .map(|cluster| cluster.endpoints.len() as u64)
    }

    /// Where the endpoints of a cluster are.
    pub(crate) fn addresses(&self, index: usize) -> Option<Vec<String>> {
        let cluster = self.config.clusters.get(index)?;
        let endpoints = cluster.endpoints.iter();
        Some(
            endpoints
                .map(|endpoint| endpoint.address.to_string())
                .collect(),
        )
    }

    /// The cluster a route forwards to, where there is but one.
    pub(crate) fn cluster_of(&self, listener: usize, route: usize) -> Option<usize> {
        match &self
            .config
            .listeners
            .get(listener)?
            .routes
            .get(route)?
            .action
        {
            Action::Forward { clusters, .. } => match clusters[..] {
                [(only, _)] => Some(only),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn route(&self, listener: usize, route: usize) -> Option<&str> {
        Some(self.routes.get(listener)?.get(route)?)
    }
}

// === impl Drain ===

impl Drain {
    pub(crate) fn is_started(&self) -> bool {
        self.started.get()
    }

    async fn all_gone(&self) {
        while self.connections.get() > 0 {
            self.gone.notified().await;
        }
    }
}

// === impl ConnectionGuard ===

impl ConnectionGuard {
    pub(crate) fn new(worker: Rc<Worker>) -> Self {
        let connections = &worker.drain.connections;
        connections.set(connections.get() + 1);
        Self(worker)
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let drain = &self.0.drain;
        drain.connections.set(drain.connections.get() - 1);
        if drain.connections.get() == 0 {
            drain.gone.notify_one();
        }
    }
}
