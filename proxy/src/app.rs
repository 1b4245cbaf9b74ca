//! The process: everything wired, in start-up order.
//!
//! Pingora's server owns signals and life cycle. Our one service owns the workers, each an
//! OS thread; it ends when they have, and with it the process.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{
    ListenFds, RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch,
};
use pingora_core::services::{ServiceReadyNotifier, ServiceWithDependents};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::access_log::LogFile;
use crate::admin::{Admin, Subject};
use crate::artifacts::Artifacts;
use crate::compile::Compilers;
use crate::config::check::{self, Unusable};
use crate::config::{Cluster, Config, Diagnostic};
use crate::evictions::Evictions;
use crate::listener::{self, Socket};
use crate::modules::{self, Loaded, Loader, Modules};
use crate::readiness::Readiness;
use crate::reload::{Blueprint, Kept, Reloads, Served, Source};
use crate::stack;
use crate::tls::renewal::Renewal;
use crate::trace::export::{Outbox, Sending};
use crate::worker::{self, Shared};

/// A configuration whose filters are loaded: ready to run.
#[derive(Debug)]
pub struct Prepared {
    /// Where the configuration is read again.
    source: Source,
    config: Arc<Config>,
    artifacts: Arc<Artifacts>,
    loaded: Vec<Arc<Loaded>>,
    loader: Loader,
}

/// Something the machine did not give; one message each.
#[derive(Debug)]
pub struct Unavailable(pub Vec<String>);

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

/// Runs the proxy until it is told to end and has drained. `ready` is called once all
/// listeners listen, with the addresses they really have.
///
/// # Errors
/// When it cannot be started; then nothing has been served.
pub fn run(prepared: Prepared, ready: impl FnOnce(&[String])) -> Result<(), Unavailable> {
    let Prepared {
        source,
        config,
        artifacts,
        loaded,
        loader,
    } = prepared;
    let served = |cluster: &Arc<Cluster>| {
        Served::new(cluster, &config.dns)
            .map_err(|error| Unavailable(vec![format!("cluster {}: {error}", cluster.name)]))
    };
    let clusters = config.clusters.iter().map(served);
    let clusters = clusters.collect::<Result<Vec<_>, _>>()?;
    Served::look_up(&clusters)
        .map_err(|error| Unavailable(vec![format!("names cannot be looked up: {error}")]))?;
    // All sockets before anything runs: a taken port must keep the whole proxy from starting.
    let sockets = listener::bind(&config, |_| true)
        .map_err(|errors| Unavailable(errors.iter().map(ToString::to_string).collect()))?;
    let first = sockets.first().map_or(&[][..], |sockets| &sockets[..]);
    let real = listener::addresses(&config, first);
    let named = config.listeners.iter().zip(&real);
    let addresses: Vec<String> = named
        .map(|(listener, address)| format!("{} {address}", listener.name))
        .collect();

    let admin = config
        .admin
        .as_ref()
        .map(|config| {
            Admin::bind(config)
                .and_then(|admin| Ok((admin.address()?, admin)))
                .map_err(|error| Unavailable(vec![format!("admin: {}: {error}", config.address)]))
        })
        .transpose()?;

    let file = config.access_log.as_ref().and_then(|log| log.file.as_ref());
    let log = file
        .map(|path| {
            LogFile::open(path).map_err(|error| {
                Unavailable(vec![format!("access_log: {}: {error}", path.display())])
            })
        })
        .transpose()?;

    let collector = config.tracing.as_ref().and_then(|tracing| {
        let mut named = config.clusters.iter().zip(&clusters);
        Some((
            tracing,
            named.find(|(cluster, _)| cluster.name == tracing.cluster)?,
        ))
    });
    let tracing = collector
        .map(|(tracing, (cluster, served))| {
            Outbox::open(tracing.clone(), cluster.clone(), served.backends.clone())
                .map(|(outbox, thread)| ((tracing.clone(), outbox), thread))
                .map_err(|error| Unavailable(vec![format!("tracing: {error}")]))
        })
        .transpose()?;
    let (tracing, exporter) = tracing.unzip();

    let drain_time = config.drain_time;
    let certificates = Renewal::start(config.tls());
    let mut server = Server::new_with_opt_and_conf(None, server_conf(drain_time));
    let compilers = Arc::new(Compilers::new(artifacts, config.compiler));
    let guests = Arc::new(cofferdam_abi::Shared::new(config.shared.clone()));
    let compiling = compilers.clone();
    let reloads = Arc::new(Reloads::default());
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
            runtime,
            shutdown,
        };
        let blueprint = Blueprint {
            generation: 1,
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
            reloads,
            evictions: Arc::new(Evictions::new(guests.clone())),
            guests,
            traffic,
            tracing,
        })
    };
    ready(&addresses);
    let watched = Arc::new(Notify::new());
    server.add_service(Workers {
        start: Some(Box::new(start)),
        sockets,
        addresses,
        admin,
        exporter,
        watched: watched.clone(),
        begun: Instant::now(),
    });
    server.run(RunArgs {
        shutdown_signal: Box::new(Signals { watched, compilers }),
    });
    Ok(())
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
        })
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

/// Our service: all workers.
struct Workers {
    start: Option<Start>,
    sockets: Vec<Vec<Socket>>,
    /// Of the listeners, with their names.
    addresses: Vec<String>,
    /// Where the operator may look.
    admin: Option<(SocketAddr, Admin)>,
    /// Who sends spans; ends when the workers have.
    exporter: Option<Sending>,
    /// Told once signals are watched.
    watched: Arc<Notify>,
    begun: Instant,
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
        // Before anybody is served or told that they could be: a signal would still kill.
        self.watched.notified().await;
        // Pingora waits for blocking tasks, so this one is what ends the process in time. It
        // is there before anybody can know that we are: told to end, the runtime takes none.
        let (started, threads) = std::sync::mpsc::channel::<thread::JoinHandle<io::Result<()>>>();
        let exporter = self.exporter.take();
        let joined = tokio::task::spawn_blocking(move || {
            for (index, thread) in threads.into_iter().enumerate() {
                match thread.join() {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!(worker = index, "worker failed: {error}"),
                    Err(_) => tracing::error!(worker = index, "worker panicked"),
                }
            }
            if let Some(exporter) = exporter {
                exporter.end();
            }
        });
        let hangup = signal(SignalKind::hangup());
        let rotated = signal(SignalKind::user_defined1());
        let Some(shared) = self.shared(shutdown.clone()).await else {
            return;
        };
        let modules = shared.modules.clone();
        on_signal("SIGHUP", hangup, move || modules.reload(None));
        let modules = shared.modules.clone();
        on_signal("SIGUSR1", rotated, move || {
            reopen(modules.blueprint().log.as_deref());
        });
        for address in &self.addresses {
            tracing::info!("listening: {address}");
        }
        if let Some((address, admin)) = self.admin.take() {
            let subject = Subject {
                shared: shared.clone(),
                shutdown: shutdown.clone(),
                begun: self.begun,
            };
            match admin.spawn(subject) {
                Ok(()) => tracing::info!("listening: admin {address}"),
                Err(error) => tracing::error!("admin could not be started: {error}"),
            }
        }
        for (index, sockets) in std::mem::take(&mut self.sockets).into_iter().enumerate() {
            let (shared, shutdown) = (shared.clone(), shutdown.clone());
            let spawned = thread::Builder::new()
                .name(format!("worker-{index}"))
                .stack_size(stack::SIZE)
                .spawn(move || worker::run(&shared, index, sockets, shutdown));
            match spawned {
                Ok(thread) => {
                    // It is waited for as long as this goes on.
                    let _ = started.send(thread);
                }
                Err(error) => {
                    tracing::error!(worker = index, "worker could not be started: {error}")
                }
            }
        }
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

impl Workers {
    /// What all of them share. It may take as long as compilers may, so signals are watched.
    async fn shared(&mut self, shutdown: ShutdownWatch) -> Option<Arc<Shared>> {
        let (start, runtime) = (self.start.take()?, Handle::current());
        let started = tokio::task::spawn_blocking(move || start(runtime, shutdown)).await;
        match started {
            Ok(Ok(shared)) => Some(Arc::new(shared)),
            Ok(Err(error)) => {
                tracing::error!("no thread for modules, nothing is served: {error}");
                None
            }
            // It panicked, and has said so.
            Err(_) => None,
        }
    }
}

/// SIGHUP reads the configuration again and the files it names, SIGUSR1 opens the access log's
/// anew.
fn on_signal(name: &'static str, signal: io::Result<Signal>, act: impl Fn() + Send + 'static) {
    let mut signal = match signal {
        Ok(signal) => signal,
        Err(error) => {
            tracing::error!("{name} cannot be watched, it ends the process: {error}");
            return;
        }
    };
    tokio::spawn(async move {
        while signal.recv().await.is_some() {
            act();
        }
    });
}

fn reopen(log: Option<&LogFile>) {
    let Some(log) = log else {
        tracing::info!("SIGUSR1: the access log goes to no file, nothing to open anew");
        return;
    };
    let path = log.path().display();
    match log.reopen() {
        Ok(()) => tracing::info!("the access log was opened anew: {path}"),
        Err(error) => tracing::error!(
            "the access log cannot be opened anew, the open file is written on: {path}: {error}"
        ),
    }
}

/// SIGTERM and SIGINT drain; a second one ends at once. (Pingora looks at signals once
/// only, so the second is ours to watch.)
struct Signals {
    watched: Arc<Notify>,
    compilers: Arc<Compilers>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let (Ok(mut terminate), Ok(mut interrupt)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) else {
            tracing::error!("signals cannot be watched: ending");
            return ShutdownSignal::FastShutdown;
        };
        self.watched.notify_one();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let (watching, watched) = std::sync::mpsc::channel();
        let again = thread::Builder::new()
            .name("second-signal".to_owned())
            .spawn(move || {
                let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                else {
                    return;
                };
                runtime.block_on(async {
                    let (Ok(mut terminate), Ok(mut interrupt)) = (
                        signal(SignalKind::terminate()),
                        signal(SignalKind::interrupt()),
                    ) else {
                        return;
                    };
                    let _ = watching.send(());
                    tokio::select! {
                        _ = terminate.recv() => {}
                        _ = interrupt.recv() => {}
                    }
                    tracing::warn!("second signal: ending at once");
                    std::process::exit(1);
                });
            });
        // A moment only, on a thread that has nothing else to do.
        if again.is_err() || watched.recv().is_err() {
            tracing::warn!("a second signal will not be seen");
        }
        tracing::info!(
            "draining: no new connections, requests under way may finish; a second signal ends at once"
        );
        // Nothing that is compiled from now on would serve anybody; and a start that waits
        // for it must not wait on. (Tasks may never run again: Pingora ends their runtime.)
        self.compilers.close();
        ShutdownSignal::GracefulTerminate
    }
}
