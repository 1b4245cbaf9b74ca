//! One worker: an OS thread with a runtime of its own, and everything it needs to serve.
//!
//! A worker owns its accept sockets, upstream connections and VMs. What it has of other
//! threads it only reads: the configuration, compiled code, health of backends.

mod adopt;
mod offer;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use tokio::task::LocalSet;

use crate::config::Tracing;
use crate::door::{Door, Entrance};
use crate::evictions::Evictions;
use crate::handover::Stage;
use crate::headers::DateCache;
use crate::listener::{self, Socket};
use crate::modules::Modules;
use crate::plugins::Plugins;
use crate::readiness::Readiness;
use crate::reload::Reloads;
use crate::reports;
use crate::setup::Setup;
use crate::timer;
use crate::trace::Tracer;
use crate::trace::export::Outbox;
use crate::traffic::Traffic;

/// How long roots that are not done may keep a worker that has nothing else to do.
const ROOTS_LIMIT: Duration = Duration::from_secs(5);

/// What all workers are made from.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) modules: Arc<Modules>,
    pub(crate) readiness: Arc<Readiness>,
    /// Whether connections are taken in, and by whom.
    pub(crate) stage: Arc<Stage>,
    /// How reloads have gone.
    pub(crate) reloads: Arc<Reloads>,
    /// What guests of all workers share.
    pub(crate) guests: Arc<cofferdam_abi::Shared>,
    pub(crate) evictions: Arc<Evictions>,
    /// What clients of all workers ask for and are given.
    pub(crate) traffic: Arc<Traffic>,
    /// Where spans go, if requests are traced.
    pub(crate) tracing: Option<(Arc<Tracing>, Outbox)>,
}

/// One worker.
pub(crate) struct Worker {
    /// What those who come now are served by.
    setup: RefCell<Rc<Setup>>,
    entrances: RefCell<Vec<Rc<Entrance>>>,
    /// All that connections hold, closing ones too.
    doors: RefCell<Vec<Weak<Door>>>,
    /// Another setup that may come to be served by.
    prepared: RefCell<Option<adopt::Prepared>>,
    /// Its position among the workers.
    index: usize,
    traffic: Arc<Traffic>,
    pub(crate) plugins: Plugins,
    pub(crate) rng: RefCell<fastrand::Rng>,
    pub(crate) date: RefCell<DateCache>,
    pub(crate) tracer: Option<Tracer>,
    pub(crate) drain: Drain,
}

/// The end of a worker, in order: no new connections, then none at all.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    started: Cell<bool>,
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

/// The `index`-th worker: serves until `shutdown` turns true and the last connection has gone,
/// or `drain_time` is over.
pub(crate) fn run(
    runtime: &Runtime,
    shared: &Shared,
    index: usize,
    sockets: Vec<Socket>,
    shutdown: watch::Receiver<bool>,
) {
    let worker = Worker::new(shared, index);
    let local = LocalSet::new();
    local.block_on(
        runtime,
        serve(worker.clone(), sockets, shutdown, &shared.stage),
    );
    // Streams that are still there end now; what they ran on ends after them.
    drop(local);
    worker.plugins.callouts.tell_left();
    worker.plugins.shut_down();
    reports::tell_rest();
    timer::clear();
    let setup = worker.setup();
    for upstream in &setup.upstreams {
        upstream.close_idle();
    }
    worker.plugins.callouts.close_idle();
    if let Some(sink) = &setup.sink {
        sink.flush();
    }
}

async fn serve(
    worker: Rc<Worker>,
    sockets: Vec<Socket>,
    mut shutdown: watch::Receiver<bool>,
    stage: &Arc<Stage>,
) {
    worker.plugins.start_all(&worker);
    stage.started();
    let open = tokio::select! {
        biased;
        () = stage.opened() => true,
        _ = shutdown.wait_for(|down| *down) => false,
    };
    if open {
        for socket in sockets {
            worker.listen(socket);
        }
        stage.listens();
    }
    // An error means that whoever would tell has gone: the same end.
    let _ = shutdown.wait_for(|down| *down).await;
    worker.drain.started.set(true);
    let entrances = worker.entrances.take();
    for entrance in &entrances {
        if stage.is_taken(&offer::key(entrance)) {
            entrance.hand_over();
        }
        entrance.closing.happen();
    }
    let doors: Rc<[_]> = worker.doors.take().into();
    for door in doors.iter().filter_map(Weak::upgrade) {
        door.closing.happen();
    }
    let drain_time = worker.setup().config.drain_time;
    if stage.is_handed_over() {
        // Nobody has been told that anything ends: a request may be on its way on a connection
        // that is kept, and there is a process that takes the next one.
        let (stage, doors) = (stage.clone(), doors.clone());
        tokio::task::spawn_local(async move {
            let _ = tokio::time::timeout(drain_time / 2, stage.ending()).await;
            end(&doors);
        });
    } else {
        end(&doors);
    }
    let began = Instant::now();
    // Only then is it known who is there.
    for entrance in &entrances {
        entrance.closed.wait().await;
    }
    let all_gone = worker.drain.all_gone();
    if tokio::time::timeout(drain_time, all_gone).await.is_err() {
        // Roots are told once the streams that are left have ended.
        tracing::warn!(
            connections = worker.drain.connections.get(),
            "drain_time is over: remaining connections are cut"
        );
        // They go with their tasks; whoever logs them sees here that it was us.
        for door in doors.iter().filter_map(Weak::upgrade) {
            door.cut.happen();
        }
        return;
    }
    // Streams end in tasks of their own, which may come after the connection's.
    tokio::task::yield_now().await;
    let left = drain_time.saturating_sub(began.elapsed());
    worker.plugins.end(&worker, left.min(ROOTS_LIMIT)).await;
}

/// Connections without a request are not waited for.
fn end(doors: &[Weak<Door>]) {
    for door in doors.iter().filter_map(Weak::upgrade) {
        door.ending.happen();
    }
}

// === impl Worker ===

impl Worker {
    fn new(shared: &Shared, index: usize) -> Rc<Self> {
        let (plugins, setup) = Plugins::new(shared, index);
        Rc::new(Self {
            setup: RefCell::new(setup),
            entrances: RefCell::default(),
            doors: RefCell::default(),
            prepared: RefCell::default(),
            index,
            traffic: shared.traffic.clone(),
            plugins,
            rng: RefCell::new(fastrand::Rng::new()),
            date: RefCell::default(),
            tracer: (shared.tracing.clone()).map(|(config, outbox)| Tracer::new(config, outbox)),
            drain: Drain::default(),
        })
    }

    /// What those who come now are served by.
    pub(crate) fn setup(&self) -> Rc<Setup> {
        self.setup.borrow().clone()
    }

    /// Whether it is the one that has the services.
    pub(crate) const fn is_first(&self) -> bool {
        self.index == 0
    }

    /// Takes connections from a socket from now on.
    fn listen(self: &Rc<Self>, socket: Socket) {
        let setup = self.setup();
        let address = setup.config.listeners[socket.listener].address.clone();
        let door = Door::new(setup, socket.listener);
        let acceptor = match socket.into_acceptor() {
            Ok(acceptor) => Rc::new(acceptor),
            Err(error) => {
                tracing::error!(%address, "the listening socket cannot be used: {error}");
                return;
            }
        };
        self.watch(&door);
        let entrance = Entrance::new(address, door, Rc::downgrade(&acceptor));
        self.entrances.borrow_mut().push(entrance.clone());
        tokio::task::spawn_local(listener::accept_loop(self.clone(), acceptor, entrance));
    }

    /// Has a door closed when the worker ends.
    fn watch(&self, door: &Rc<Door>) {
        let mut doors = self.doors.borrow_mut();
        doors.retain(|door| door.strong_count() > 0);
        doors.push(Rc::downgrade(door));
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("drain", &self.drain)
            .finish_non_exhaustive()
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
