//! The process: everything wired, in start-up order.
//!
//! Pingora's server owns the life cycle, and is told when to end ([`Terminations`]). Our one
//! service owns the workers, each an OS thread; it ends when they have, and with it the process.

mod crew;
mod open;
mod signals;
mod terminations;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{ListenFds, RunArgs, Server, ShutdownWatch};
use pingora_core::services::{ServiceReadyNotifier, ServiceWithDependents};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::admin::{Admin, Subject};
use crate::artifacts::Artifacts;
use crate::compile::Compilers;
use crate::config::check::{self, Unusable};
use crate::config::{Cluster, Config, Diagnostic, Upgrade};
use crate::evictions::Evictions;
use crate::handover::{self, Giver, Hold, Inheritance, Key, Own, Plan, Stage, Taker};
use crate::modules::{self, Loaded, Loader, Modules};
use crate::notify;
use crate::readiness::Readiness;
use crate::reload::{Blueprint, Kept, Reloader, Reloads, Reply, Served, Source};
use crate::stack;
use crate::tls::renewal::Renewal;
use crate::trace::export::Sending;
use crate::worker::Shared;
use crew::Crew;
use open::Opened;
use signals::{Signals, on_signal, reopen};

pub use terminations::Terminations;

/// A configuration whose filters are loaded: ready to run.
#[derive(Debug)]
pub struct Prepared {
    /// Where the configuration is read again.
    source: Source,
    config: Arc<Config>,
    artifacts: Arc<Artifacts>,
    loaded: Vec<Arc<Loaded>>,
    loader: Loader,
    /// Whether it takes the place of the process that serves, if there is one.
    take_over: bool,
    /// Who wants it read again, where somebody may.
    reload: Option<UnboundedReceiver<Reply>>,
}

/// What the machine did not give.
#[derive(Debug)]
pub struct Unavailable(pub Vec<Lack>);

/// One thing of that: why, and what to do.
#[derive(Debug)]
pub enum Lack {
    /// For this place in the configuration.
    Here(Diagnostic),
    /// For the whole.
    Whole(String),
}

/// Reads the configuration in `path`, loads its filters and starts each once.
///
/// # Errors
/// Everything that is wrong with either, in file order.
pub fn prepare(path: &Path) -> Result<Prepared, Vec<Diagnostic>> {
    let now = SystemTime::now();
    let mut prepared = Prepared::new(read(path)?)?;
    prepared.source = Some((path.to_owned(), now));
    Ok(prepared)
}

/// Reads the configuration in `path`. Its filters are loaded only if it is of no use otherwise:
/// then what is wrong with them is told too.
pub(crate) fn read(path: &Path) -> Result<Config, Vec<Diagnostic>> {
    let Unusable {
        mut problems,
        plugins,
        clusters,
    } = match check::load_parts(path) {
        Ok(config) => return Ok(config),
        Err(unusable) => unusable,
    };
    // Filters cannot mend a file that is wrong, but all there is to mend is said at once.
    let loader = Loader::interpreting(&clusters);
    problems.extend(loader.load(&plugins, &[]).err().unwrap_or_default());
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Err(problems)
}

/// Runs the proxy until it is told to end, by `terminations`, and has drained. `ready` is called
/// once all listeners listen, with the addresses they really have.
///
/// # Errors
/// When it cannot be started; then nothing has been served.
pub fn run(
    prepared: Prepared,
    terminations: Terminations,
    ready: impl FnOnce(&[String]),
) -> Result<(), Unavailable> {
    let Prepared {
        source,
        config,
        artifacts,
        loaded,
        loader,
        take_over,
        reload,
    } = prepared;
    handover::remember();
    let served = |cluster: &Arc<Cluster>| {
        Served::new(cluster, &config.dns)
            .map_err(|error| Unavailable::from(format!("cluster {}: {error}", cluster.name)))
    };
    let clusters = config.clusters.iter().map(served);
    let clusters = clusters.collect::<Result<Vec<_>, _>>()?;
    Served::look_up(&clusters)
        .map_err(|error| Unavailable::from(format!("names cannot be looked up: {error}")))?;
    let asked = match &config.upgrade {
        Some(upgrade) if take_over => handover::ask(upgrade).map_err(Unavailable::from)?,
        _ => None,
    };
    let (taker, inherited) = match asked {
        Some((taker, inherited)) => (Some(taker), inherited),
        None => (None, Inheritance::default()),
    };
    // From here on others may wait for this process, which ends in its order.
    terminations.serve();
    let Opened {
        sockets,
        addresses: real,
        admin,
        own,
        inherited,
        log,
    } = open::all(&config, inherited)?;
    let named = config.listeners.iter().zip(&real);
    let addresses: Vec<String> = named
        .map(|(listener, address)| format!("{} {address}", listener.name))
        .collect();
    let (tracing, exporter) = open::export(&config, &clusters)?;

    let drain_time = config.drain_time;
    let certificates = Renewal::start(config.tls());
    let mut server = Server::new_with_opt_and_conf(None, server_conf(drain_time));
    let compilers = Arc::new(Compilers::new(artifacts, config.compiler));
    let guests = Arc::new(cofferdam_abi::Shared::new(config.shared.clone()));
    let compiling = compilers.clone();
    let reloads = Arc::new(Reloads::default());
    let stage = Arc::new(Stage::new());
    let (ask, asked) = unbounded_channel();
    let upgrade = (config.upgrade.clone().zip(own)).map(|(config, own)| (config, own, asked));
    let sharing = stage.clone();
    let start = move |runtime: Handle, shutdown: ShutdownWatch| {
        let readiness = Arc::new(Readiness::new(&config));
        let traffic = Arc::default();
        let start = modules::Start {
            loader: RefCell::new(loader),
            compilers: compiling,
            source,
            reloads: reloads.clone(),
            readiness: readiness.clone(),
            certificates,
            stage: sharing.clone(),
            runtime,
            shutdown,
        };
        let blueprint = Blueprint {
            config,
            clusters,
            log,
            addresses: real,
            loaded,
            kept: Kept::default(),
            sockets: Mutex::default(),
        };
        Ok(Shared {
            modules: Modules::start(start, blueprint)?,
            readiness,
            stage: sharing,
            reloads,
            evictions: Arc::new(Evictions::new(guests.clone())),
            guests,
            traffic,
            tracing,
        })
    };
    // Last, because it is the most that a machine may not have.
    let (crew, last) = Crew::muster(sockets).map_err(Unavailable::from)?;
    ready(&addresses);
    let endable = Arc::new(Notify::new());
    let giver = Thread::default();
    server.add_service(Workers {
        start: Some(Box::new(start)),
        crew: Some(crew),
        stage: stage.clone(),
        addresses,
        admin,
        exporter,
        ask: upgrade.is_some().then_some(ask),
        reload,
        upgrade,
        giver: giver.clone(),
        taker: taker.map(|taker| (taker, inherited, stage.try_hold())),
        begun: Instant::now(),
        endable: endable.clone(),
    });
    server.run(RunArgs {
        shutdown_signal: Box::new(Signals {
            terminations,
            endable,
            compilers,
            stage: stage.clone(),
            last: Mutex::new(Some(last)),
        }),
    });
    stage.end();
    let giver = giver.lock().unwrap_or_else(PoisonError::into_inner).take();
    if giver.is_some_and(|giver| giver.join().is_err()) {
        tracing::error!("upgrade: its thread panicked");
    }
    match stage.failure() {
        Some(why) => Err(why.to_owned().into()),
        None => Ok(()),
    }
}

// === impl Prepared ===

impl Prepared {
    /// Loads the filters of `config`.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn new(config: Config) -> Result<Self, Vec<Diagnostic>> {
        let artifacts = Arc::new(Artifacts::new(&config.artifacts));
        let loader = Loader::new(&config, artifacts.clone());
        let loaded = stack::with(|| loader.load(&config.plugins, &[])).map_err(|error| {
            vec![Diagnostic {
                file: String::new(),
                line: 1,
                column: 1,
                path: "filters".to_owned(),
                what: format!("there is no thread to load them on: {error}"),
                help: "allow the process more threads or memory".to_owned(),
            }]
        })??;
        config.tls().tell_concerns();
        Ok(Self {
            source: None,
            config: Arc::new(config),
            artifacts,
            loaded,
            loader,
            take_over: false,
            reload: None,
        })
    }

    /// Who may have it read again while it runs.
    pub fn reloader(&mut self) -> Reloader {
        let (tell, told) = unbounded_channel();
        self.reload = Some(told);
        Reloader(tell)
    }

    /// It takes the place of the process that serves, if there is one.
    ///
    /// # Errors
    /// The configuration does not say where that process is asked.
    pub fn taking_over(mut self) -> Result<Self, Vec<Diagnostic>> {
        if self.config.upgrade.is_none() {
            let file = self.source.as_ref().map(|(path, _)| path.display());
            return Err(vec![Diagnostic {
                file: file.map(|file| file.to_string()).unwrap_or_default(),
                line: 1,
                column: 1,
                path: "upgrade".to_owned(),
                what: "--take-over, and nothing says where the process that serves is asked"
                    .to_owned(),
                help: "write `upgrade: { socket: FILE }`, the same as that process has".to_owned(),
            }]);
        }
        self.take_over = true;
        Ok(self)
    }
}

// === impl Unavailable ===

impl From<String> for Unavailable {
    fn from(why: String) -> Self {
        Self(vec![Lack::Whole(why)])
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(what) => what.fmt(f),
            Self::Whole(what) => what.fmt(f),
        }
    }
}

fn server_conf(drain_time: Duration) -> ServerConf {
    ServerConf {
        // No sleeping through a grace period: the service ends when its last connection has.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(drain_time.as_secs().saturating_add(2)),
        threads: 1,
        ..ServerConf::default()
    }
}

/// Makes what workers share; waits for compilers, where filters must not be interpreted.
type Start = Box<dyn FnOnce(Handle, ShutdownWatch) -> io::Result<Shared> + Send + Sync>;

/// A thread that is waited for at the end.
type Thread = Arc<Mutex<Option<thread::JoinHandle<()>>>>;

/// Our service: all workers.
struct Workers {
    start: Option<Start>,
    crew: Option<Crew>,
    stage: Arc<Stage>,
    /// Of the listeners, with their names.
    addresses: Vec<String>,
    /// Where the operator may look.
    admin: Option<(SocketAddr, Admin)>,
    /// Who sends spans; ends when the workers have.
    exporter: Option<Sending>,
    /// How another process takes over, where one may,
    upgrade: Option<(Upgrade, Own, UnboundedReceiver<()>)>,
    /// and who has one started.
    ask: Option<UnboundedSender<()>>,
    /// Who wants everything read again, beside the signal.
    reload: Option<UnboundedReceiver<Reply>>,
    /// Who hands over; ends when this process does.
    giver: Thread,
    /// From whom this one takes over, if from anybody, and what.
    taker: Option<(Taker, BTreeSet<Key>, Option<Hold>)>,
    begun: Instant,
    /// Told once this runtime may be ended: then it has taken what is waited for.
    endable: Arc<Notify>,
}

#[async_trait]
impl ServiceWithDependents for Workers {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
        ready: ServiceReadyNotifier,
    ) {
        // Pingora waits for blocking tasks, so this one is what ends the process in time. The
        // runtime ends only after it is there: then it takes none.
        let (started, threads) = std::sync::mpsc::channel::<Vec<thread::JoinHandle<()>>>();
        let exporter = self.exporter.take();
        let joined = tokio::task::spawn_blocking(move || {
            for (index, thread) in threads.into_iter().flatten().enumerate() {
                if thread.join().is_err() {
                    tracing::error!(worker = index, "worker panicked");
                }
            }
            if let Some(exporter) = exporter {
                exporter.end();
            }
        });
        let hangup = signal(SignalKind::hangup());
        let rotated = signal(SignalKind::user_defined1());
        let renewed = signal(SignalKind::user_defined2());
        let Some(crew) = self.crew.take() else {
            return;
        };
        let shared = match self.shared(shutdown.clone()).await {
            Ok(shared) => shared,
            Err(why) => return self.stage.fail(why),
        };
        let modules = shared.modules.clone();
        on_signal("SIGHUP", hangup, move || modules.reload(None));
        if let Some(mut wanted) = self.reload.take() {
            let modules = shared.modules.clone();
            tokio::spawn(async move {
                while let Some(reply) = wanted.recv().await {
                    modules.reload(Some(reply));
                }
            });
        }
        let modules = shared.modules.clone();
        on_signal("SIGUSR1", rotated, move || {
            reopen(modules.blueprint().log.as_deref());
        });
        let ask = self.ask.take();
        on_signal("SIGUSR2", renewed, move || match &ask {
            Some(ask) => {
                if ask.send(()).is_err() {
                    tracing::warn!("SIGUSR2: this process ends, nothing is started");
                }
            }
            None => tracing::warn!(
                "SIGUSR2: the configuration does not say how another process takes over (`upgrade`)"
            ),
        });
        let (open, settled) = self.opening(&shared, &shutdown);
        match self.taker.take() {
            None => {
                open();
                settled();
            }
            Some((taker, keys, hold)) => {
                let plan = Plan {
                    stage: shared.stage.clone(),
                    workers: crew.len(),
                    readiness: shared.readiness.clone(),
                    hold,
                    keys,
                    open,
                    settled,
                };
                if let Err(error) = taker.spawn(plan) {
                    let why = format!("upgrade: there is no thread to take over by: {error}");
                    shared.stage.fail(why);
                }
            }
        }
        // They are waited for as long as this goes on.
        let _ = started.send(crew.serve(&shared, &shutdown));
        ready.notify_ready();
        drop((started, shared));
        let _ = joined.await;
    }

    fn name(&self) -> &str {
        "workers"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

// === impl Workers ===

/// Done once, when it is time.
type Once = Box<dyn FnOnce() + Send>;

impl Workers {
    /// What is to be done when connections may be taken in, and once no other process has a
    /// say in that.
    fn opening(&mut self, shared: &Arc<Shared>, shutdown: &ShutdownWatch) -> (Once, Once) {
        let addresses = std::mem::take(&mut self.addresses);
        let admin = self.admin.take();
        let (subject, stage) = (
            Subject {
                shared: shared.clone(),
                shutdown: shutdown.clone(),
                begun: self.begun,
            },
            shared.stage.clone(),
        );
        let open = move || {
            for address in &addresses {
                tracing::info!("listening: {address}");
            }
            if let Some((address, admin)) = admin {
                match admin.spawn(subject) {
                    Ok(()) => tracing::info!("listening: admin {address}"),
                    Err(error) => tracing::error!("admin could not be started: {error}"),
                }
            }
            stage.open();
            notify::tell("READY=1");
        };
        let (upgrade, thread) = (self.upgrade.take(), self.giver.clone());
        let (modules, stage) = (shared.modules.clone(), shared.stage.clone());
        let settled = move || {
            let Some((config, own, asked)) = upgrade else {
                return;
            };
            let giver = Giver {
                config,
                own,
                modules,
                stage,
                asked,
            };
            match giver.spawn() {
                Ok(giver) => {
                    let mut thread = thread.lock().unwrap_or_else(PoisonError::into_inner);
                    *thread = Some(giver);
                }
                Err(error) => tracing::error!("upgrade: nothing can be handed over: {error}"),
            }
        };
        (Box::new(open), Box::new(settled))
    }

    /// What all of them share. It may take as long as compilers may, so signals are watched.
    async fn shared(&mut self, shutdown: ShutdownWatch) -> Result<Arc<Shared>, String> {
        let Some(start) = self.start.take() else {
            return Err("it has been started already".to_owned());
        };
        let runtime = Handle::current();
        let starting = tokio::task::spawn_blocking(move || start(runtime, shutdown));
        self.endable.notify_one();
        match starting.await {
            Ok(Ok(shared)) => Ok(Arc::new(shared)),
            Ok(Err(error)) => Err(format!(
                "there is no thread for modules: {error}; allow the process more threads or memory"
            )),
            // It has said why.
            Err(_) => Err("what loads modules panicked".to_owned()),
        }
    }
}
