//! The process: everything wired, in start-up order.
//!
//! Pingora's server owns signals and life cycle. Our one service owns the workers, each an
//! OS thread; it ends when they have, and with it the process.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{
    ListenFds, RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch,
};
use pingora_core::services::{ServiceReadyNotifier, ServiceWithDependents};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::access_log::LogFile;
use crate::admin::{Admin, Subject};
use crate::artifacts::Artifacts;
use crate::compile::Compilers;
use crate::config::check::{self, Unusable};
use crate::config::{Config, Diagnostic};
use crate::evictions::Evictions;
use crate::listener::{self, Socket};
use crate::modules::{Loaded, Loader, Modules};
use crate::readiness::Readiness;
use crate::stack;
use crate::tls::renewal::Renewal;
use crate::upstream::backends::Backends;
use crate::worker::{self, Shared};

/// A configuration whose filters are loaded: ready to run.
#[derive(Debug)]
pub struct Prepared {
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
    let Unusable {
        mut problems,
        plugins,
        clusters,
    } = match check::load_parts(path) {
        Ok(config) => return Prepared::new(config),
        Err(unusable) => unusable,
    };
    // Filters cannot mend a file that is wrong, but all there is to mend is said at once.
    let loader = Loader::interpreting(&clusters);
    problems.extend(loader.load(&plugins).err().unwrap_or_default());
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
        config,
        artifacts,
        loaded,
        loader,
    } = prepared;
    let mut backends = Vec::new();
    let mut checks = Vec::new();
    for cluster in &config.clusters {
        let (shared, service) = Backends::new(cluster)
            .map_err(|error| Unavailable(vec![format!("cluster {}: {error}", cluster.name)]))?;
        backends.push(shared);
        checks.extend(service);
    }
    // All sockets before anything runs: a taken port must keep the whole proxy from starting.
    let sockets = listener::bind(&config)
        .map_err(|errors| Unavailable(errors.iter().map(ToString::to_string).collect()))?;
    let addresses: Vec<String> = sockets
        .first()
        .into_iter()
        .flatten()
        .map(|socket| {
            let listener = &config.listeners[socket.listener];
            let address = socket.local_addr().map_or_else(
                || listener.address.to_string(),
                |address| address.to_string(),
            );
            format!("{} {address}", listener.name)
        })
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

    let drain_time = config.drain_time;
    let certificates = Renewal::start(config.tls());
    let mut server = Server::new_with_opt_and_conf(None, server_conf(drain_time));
    for check in checks {
        server.add_service(check);
    }
    let compilers = Arc::new(Compilers::new(artifacts, config.compiler));
    let guests = Arc::new(cofferdam_abi::Shared::new(config.shared.clone()));
    let compiling = compilers.clone();
    let start = move || {
        Ok(Shared {
            modules: Modules::start(loader, compiling, loaded)?,
            readiness: Arc::new(Readiness::new(&config)),
            config,
            backends,
            evictions: Arc::new(Evictions::new(guests.clone())),
            guests,
            traffic: Arc::default(),
            log,
        })
    };
    ready(&addresses);
    let watched = Arc::new(Notify::new());
    server.add_service(Workers {
        start: Some(Box::new(start)),
        sockets,
        addresses,
        admin,
        certificates,
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
        let loaded = stack::with(|| loader.load(&config.plugins)).map_err(|error| {
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
type Start = Box<dyn FnOnce() -> io::Result<Shared> + Send + Sync>;

/// Our service: all workers.
struct Workers {
    start: Option<Start>,
    sockets: Vec<Vec<Socket>>,
    /// Of the listeners, with their names.
    addresses: Vec<String>,
    /// Where the operator may look.
    admin: Option<(SocketAddr, Admin)>,
    /// What reads certificates again.
    certificates: Arc<Renewal>,
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
        let joined = tokio::task::spawn_blocking(move || {
            for (index, thread) in threads.into_iter().enumerate() {
                match thread.join() {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!(worker = index, "worker failed: {error}"),
                    Err(_) => tracing::error!(worker = index, "worker panicked"),
                }
            }
        });
        let hangup = signal(SignalKind::hangup());
        let rotated = signal(SignalKind::user_defined1());
        let Some(shared) = self.shared().await else {
            return;
        };
        let modules = shared.modules.clone();
        let certificates = self.certificates.clone();
        on_signal("SIGHUP", hangup, move || {
            modules.reload();
            certificates.renew_soon();
        });
        let log = shared.log.clone();
        on_signal("SIGUSR1", rotated, move || reopen(log.as_deref()));
        for address in &self.addresses {
            tracing::info!("listening: {address}");
        }
        if let Some((address, admin)) = self.admin.take() {
            let subject = Subject {
                shared: shared.clone(),
                addresses: self.addresses.clone(),
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
        drop(started);
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
    async fn shared(&mut self) -> Option<Arc<Shared>> {
        let started = tokio::task::spawn_blocking(self.start.take()?).await;
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

/// SIGHUP reads the files of modules and certificates again, SIGUSR1 opens the access log's anew.
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
