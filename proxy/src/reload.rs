//! Reload of the whole configuration: what is read again is checked whole, then made ready
//! on every worker, and only when all of them are ready does each go over to it.
//!
//! One thread does all of it (`crate::modules`), so there is one reload at a time and nothing
//! else changes what filters run meanwhile. What a reload makes is a [`Blueprint`]; workers
//! make their [`Setup`](crate::setup::Setup)s of it.

pub(crate) mod difference;
pub(crate) mod told;
pub(crate) mod watch;

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use pingora_core::server::ShutdownWatch;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use crate::access_log::{LogFile, Sink};
use crate::config::{Cluster, Config, Dns};
use crate::listener::Socket;
use crate::modules::Loaded;
use crate::traffic::Traffic;
use crate::upstream::backends::Backends;

/// A configuration with all that workers share of it.
#[derive(Debug)]
pub(crate) struct Blueprint {
    pub(crate) config: Arc<Config>,
    /// By the positions of clusters.
    pub(crate) clusters: Vec<Arc<Served>>,
    /// The access log's file, if it goes to one.
    pub(crate) log: Option<Arc<LogFile>>,
    /// By the positions of listeners: where they really listen, whatever the system was asked.
    pub(crate) addresses: Vec<String>,
    /// What each plugin ran when this was made.
    pub(crate) loaded: Vec<Arc<Loaded>>,
    pub(crate) kept: Kept,
    /// For new addresses, by worker; each takes its own.
    pub(crate) sockets: Mutex<Vec<Vec<Socket>>>,
}

/// What is carried over: of each part, its position in the configuration before.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) plugins: Vec<Option<usize>>,
    pub(crate) clusters: Vec<Option<usize>>,
    /// Listeners that listen where they did,
    pub(crate) addresses: Vec<Option<usize>>,
    /// and whether their connections are treated as they were.
    pub(crate) doors: Vec<bool>,
    pub(crate) access_log: bool,
    pub(crate) callouts: bool,
}

/// A cluster's backends, and whoever looks them up and checks their health for as long as
/// anybody has them.
pub(crate) struct Served {
    pub(crate) backends: Arc<Backends>,
    is_checked: bool,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// Where a configuration comes from, and what becomes of reloads: for operators.
#[derive(Debug, Default)]
pub struct Reloads {
    status: Mutex<Status>,
}

/// How reloads have gone so far.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Of the configuration that runs, with its modules: 1 is what the proxy was started with,
    /// one more is each that has come to run.
    pub generation: u64,
    /// Since when it has run.
    pub since: Option<SystemTime>,
    /// Reloads that were good; those that changed nothing are.
    pub good: u64,
    /// Reloads that were refused.
    pub refused: u64,
    /// When the last one ended.
    pub last: Option<SystemTime>,
    /// Everything that was wrong with it; empty if it was good.
    pub problems: Vec<String>,
    /// What it could not change while the proxy runs.
    pub warnings: Vec<String>,
}

/// What became of one reload: everything that was wrong with it, or what it has changed.
pub type Outcome = Result<Changed, Vec<String>>;

/// What a reload has changed; all of it empty where the files said nothing new.
#[derive(Debug, Clone, Default)]
pub struct Changed {
    /// Of what runs now.
    pub generation: u64,
    /// The configuration is another than before.
    pub configuration: bool,
    /// `NAME ADDRESS` of those that listen since,
    pub listeners_opened: Vec<String>,
    /// and of those that no longer do.
    pub listeners_closed: Vec<String>,
    /// Listeners by their names, wherever they listen.
    pub listeners: Parts,
    /// Clusters that are new, or others under the same name.
    pub clusters: Vec<String>,
    /// Those that are new alone.
    pub clusters_added: Vec<String>,
    /// Those that are gone.
    pub clusters_removed: Vec<String>,
    /// Filters that are new, or have other settings,
    pub filters_started: Vec<String>,
    /// and those that had what is gone.
    pub filters_ended: Vec<String>,
    /// Filters that are new alone.
    pub filters_added: Vec<String>,
    /// Those that are gone.
    pub filters_removed: Vec<String>,
    /// Filters with the same settings, whose module is another.
    pub modules: Vec<String>,
    /// Other keys of the file under which something else is written, as far as that is not read
    /// at the start only; a list of the above where only its order is another.
    pub settings: Vec<String>,
    /// What it could not change while the proxy runs.
    pub warnings: Vec<String>,
}

/// What has become of parts that have names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// There were none of these names.
    pub added: Vec<String>,
    /// Something else is written under the same name.
    pub changed: Vec<String>,
    /// There are none any more.
    pub removed: Vec<String>,
}

/// Who wants to know what becomes of a reload.
pub(crate) type Reply = oneshot::Sender<Outcome>;

/// Has everything read again, from within this process.
#[derive(Debug)]
pub struct Reloader(pub(crate) UnboundedSender<Reply>);

/// Where the configuration is read again, and when it was read first; `None` where it came from
/// no file, so that modules alone can change.
pub(crate) type Source = Option<(PathBuf, SystemTime)>;

// === impl Served ===

impl Served {
    /// # Errors
    /// What was said of its endpoints.
    pub(crate) fn new(cluster: &Cluster, dns: &Arc<Dns>) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self {
            backends: Backends::new(cluster, dns)?,
            is_checked: cluster.health_check.is_some(),
            tasks: Mutex::default(),
        }))
    }

    /// Looks up the names in `clusters` that nobody has looked up yet. Blocks until that is
    /// done, or has failed: who serves from then on has endpoints if there are any.
    ///
    /// # Errors
    /// The system's, where it has no room for a runtime.
    pub(crate) fn look_up(clusters: &[Arc<Self>]) -> io::Result<()> {
        let now = Instant::now();
        let is_due = |it: &&Arc<Self>| it.backends.due().is_some_and(|due| due <= now);
        let due: Vec<_> = clusters.iter().filter(is_due).collect();
        if due.is_empty() {
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut asking = JoinSet::new();
            for served in due {
                let backends = served.backends.clone();
                asking.spawn(async move { backends.look_up().await });
            }
            asking.join_all().await;
        });
        Ok(())
    }

    /// Begins to follow their names, and to check their health where the configuration wants
    /// that; once.
    pub(crate) fn keep(&self, on: &Handle, shutdown: &ShutdownWatch) {
        use pingora_core::services::background::BackgroundService as _;
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if !tasks.is_empty() {
            return;
        }
        if self.is_checked {
            let (balancer, shutdown) = (self.backends.balancer().clone(), shutdown.clone());
            let task = on.spawn(async move { balancer.start(shutdown).await });
            tasks.push(task.abort_handle());
        }
        if self.backends.due().is_some() {
            let backends = self.backends.clone();
            let task = on.spawn(async move {
                while let Some(due) = backends.due() {
                    tokio::time::sleep_until(due.into()).await;
                    backends.look_up().await;
                }
            });
            tasks.push(task.abort_handle());
        }
    }
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served")
            .field("backends", &self.backends)
            .finish_non_exhaustive()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut();
        for task in tasks.unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

// === impl Blueprint ===

impl Blueprint {
    /// Where one worker's lines of the access log go, if there is one; what is lost is counted.
    pub(crate) fn sink(&self, traffic: &Traffic) -> Option<Rc<Sink>> {
        let log = self.config.access_log.as_ref()?;
        let sink = Sink::of(log.format.clone(), self.log.as_ref());
        Some(Rc::new(sink.counting(traffic.lost_lines.clone())))
    }

    /// The sockets of one worker that are for new addresses; once.
    pub(crate) fn take_sockets(&self, worker: usize) -> Vec<Socket> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets
            .get_mut(worker)
            .map(std::mem::take)
            .unwrap_or_default()
    }
}

// === impl Reloader ===

impl Reloader {
    /// Waits for the end of that; `None`: the proxy ends.
    #[must_use]
    pub fn reload(&self) -> Option<Outcome> {
        let (reply, ended) = oneshot::channel();
        self.0.send(reply).ok()?;
        ended.blocking_recv().ok()
    }
}

// === impl Reloads ===

impl Reloads {
    /// How they have gone so far.
    pub fn status(&self) -> Status {
        self.lock().clone()
    }

    /// A configuration has come to run.
    pub(crate) fn runs(&self, generation: u64) {
        let mut status = self.lock();
        status.generation = generation;
        status.since = Some(SystemTime::now());
    }

    pub(crate) fn ended(&self, problems: Vec<String>, warnings: Vec<String>) {
        let mut status = self.lock();
        match problems.is_empty() {
            true => status.good += 1,
            false => status.refused += 1,
        }
        status.last = Some(SystemTime::now());
        status.problems = problems;
        status.warnings = warnings;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
