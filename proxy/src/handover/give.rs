//! The process that serves hands over: a thread that sleeps until somebody asks.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::LocalSet;

use super::message::{Message, VERSION};
use super::successor::Successor;
use super::wire::{BATCH, Wire};
use super::{Key, Offered, Stage};
use crate::config::Upgrade;
use crate::modules::Modules;
use crate::notify;

/// How long whoever connects may take to say why.
const GREETING: Duration = Duration::from_secs(5);
/// How long a reload that is under way may take, and workers to say what they listen on.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sockets that no worker has.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) admin: Option<Offered>,
    /// Where it is asked.
    pub(crate) place: StdUnixListener,
}

/// What it hands over, and when.
#[derive(Debug)]
pub(crate) struct Giver {
    pub(crate) config: Upgrade,
    pub(crate) own: Own,
    pub(crate) modules: Arc<Modules>,
    pub(crate) stage: Arc<Stage>,
    /// An operator wants the binary started that is there now.
    pub(crate) asked: UnboundedReceiver<()>,
}

/// The same on its thread.
struct Talk {
    config: Upgrade,
    own: Own,
    modules: Arc<Modules>,
    stage: Arc<Stage>,
    /// Somebody takes over,
    busy: Cell<bool>,
    /// or has been started to.
    started: Cell<bool>,
    /// One of these is over.
    changed: Notify,
}

// === impl Giver ===

impl Giver {
    /// Answers until another process has taken over, or this one is told to end.
    pub(crate) fn spawn(self) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let run = move || {
            if let Err(error) = LocalSet::new().block_on(&runtime, self.run()) {
                tracing::error!("upgrade: nothing can be handed over: {error}");
            }
        };
        thread::Builder::new().name("upgrade".to_owned()).spawn(run)
    }

    async fn run(self) -> io::Result<()> {
        let Self {
            config,
            own,
            modules,
            stage,
            mut asked,
        } = self;
        let listener = UnixListener::from_std(own.place.try_clone()?)?;
        let talk = Rc::new(Talk {
            config,
            own,
            modules,
            stage: stage.clone(),
            busy: Cell::new(false),
            started: Cell::new(false),
            changed: Notify::new(),
        });
        while !stage.is_handed_over() {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => drop(tokio::task::spawn_local(talk.clone().meet(Wire::new(stream)))),
                    Err(error) => {
                        tracing::warn!("upgrade: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(()) = asked.recv() => drop(tokio::task::spawn_local(talk.clone().start())),
                () = talk.changed.notified() => {}
                () = stage.ending() => break,
            }
        }
        // Whoever is about to take over is told.
        while talk.busy.get() || talk.started.get() {
            talk.changed.notified().await;
        }
        Ok(())
    }
}

// === impl Talk ===

impl Talk {
    /// Somebody has connected.
    async fn meet(self: Rc<Self>, mut wire: Wire) {
        let pid = match wire.peer() {
            Ok((user, pid)) if user == rustix::process::geteuid().as_raw() => pid.unwrap_or(0),
            peer => {
                tracing::warn!("upgrade: refused to another user: {peer:?}");
                return;
            }
        };
        let greeting = tokio::time::timeout(GREETING, wire.receive());
        let Ok(Ok(Some(Message::Hello(version)))) = greeting.await else {
            // Most likely a process that was started and sees that this one is there.
            tracing::debug!("upgrade: process {pid} connected, and wanted nothing");
            return;
        };
        let outcome = if version != VERSION {
            Err(format!(
                "it speaks version {version} of the hand-over, this one version {VERSION}"
            ))
        } else if self.busy.replace(true) {
            Err("another process is taking over".to_owned())
        } else {
            tracing::info!("upgrade: process {pid} is about to take over");
            let limit = self.config.timeout;
            let outcome = tokio::select! {
                biased;
                outcome = self.hand_over(&mut wire, pid) => outcome,
                why = self.given_up(limit) => Err(why),
            };
            self.busy.set(false);
            outcome
        };
        if let Err(why) = outcome {
            tracing::error!("upgrade: process {pid} does not take over: {why}; this one goes on");
            // It may have gone.
            let refused = Message::Refused(format!("process {} says: {why}", std::process::id()));
            let _ = wire.send(&refused, &[]).await;
        }
        self.changed.notify_one();
    }

    async fn hand_over(&self, wire: &mut Wire, pid: i32) -> Result<(), String> {
        let told = |error: io::Error| error.to_string();
        // A reload would close for both what the other one is given here.
        let hold = tokio::time::timeout(PATIENCE, self.stage.hold()).await;
        let _hold = hold.map_err(|_| "a reload is under way; try again after it".to_owned())?;
        let offered = self.sockets().await?;
        let offer = Message::Offer(offered.len(), std::process::id());
        wire.send(&offer, &[]).await.map_err(told)?;
        let mut agreed = false;
        loop {
            match wire.receive().await.map_err(told)? {
                None => return Err("it has gone before it was ready".to_owned()),
                Some(Message::More(from)) => {
                    let part = offered.iter().skip(from).take(BATCH);
                    let (keys, sockets): (Vec<_>, Vec<_>) = part
                        .map(|offered| (offered.key.clone(), offered.socket.as_fd()))
                        .unzip();
                    let sent = wire.send(&Message::Sockets(keys), &sockets).await;
                    sent.map_err(told)?;
                }
                Some(Message::Ready) => {
                    wire.send(&Message::Go, &[]).await.map_err(told)?;
                    agreed = true;
                }
                Some(Message::Serving(keys)) if agreed => {
                    let keys: BTreeSet<Key> = keys.into_iter().collect();
                    if !self.stage.hand_over(keys) {
                        return Err("this one has been told to end".to_owned());
                    }
                    tracing::info!("upgrade: process {pid} has taken over");
                    notify::tell(&format!("MAINPID={pid}"));
                    // If it does not hear that, it sees us end.
                    let _ = wire.send(&Message::Bye, &[]).await;
                    return Ok(());
                }
                Some(Message::Refused(why)) => return Err(why),
                Some(other) => return Err(format!("it says {other:?} too early")),
            }
        }
    }

    /// Until nobody is to take over any more; why. Never once somebody has: what this process
    /// ends of is that then.
    async fn given_up(&self, limit: Duration) -> String {
        let why = tokio::select! {
            () = self.stage.ending() => "this one has been told to end".to_owned(),
            () = tokio::time::sleep(limit) => format!("it was not ready within {limit:?}"),
        };
        if self.stage.is_handed_over() {
            std::future::pending::<()>().await;
        }
        why
    }

    /// Everything this process listens on.
    async fn sockets(&self) -> Result<Vec<Offered>, String> {
        let told = |error: io::Error| format!("a socket cannot be handed over: {error}");
        let workers = self.modules.blueprint().config.workers;
        let mut all: Vec<Offered> = Vec::new();
        let mut shared = BTreeSet::new();
        let whole = async {
            self.stage.all_listen(workers).await;
            let (answer, mut answers) = unbounded_channel();
            self.modules.sockets(answer);
            while let Some(sockets) = answers.recv().await {
                for offered in sockets.map_err(told)? {
                    // The same one of every worker.
                    if !offered.key.is_shared() || shared.insert(offered.key.clone()) {
                        all.push(offered);
                    }
                }
            }
            Ok::<_, String>(())
        };
        match tokio::time::timeout(PATIENCE, whole).await {
            Ok(collected) => collected?,
            Err(_) => return Err("a worker of this one is stuck".to_owned()),
        }
        let own = |key: Key, socket: io::Result<OwnedFd>| {
            let socket = socket.map_err(told)?;
            Ok::<_, String>(Offered { key, socket })
        };
        if let Some(admin) = &self.own.admin {
            all.push(own(admin.key.clone(), admin.socket.try_clone())?);
        }
        let place = self.own.place.as_fd().try_clone_to_owned();
        all.push(own(Key::of_place(&self.config.socket), place)?);
        Ok(all)
    }

    /// Starts the binary that is there now, to take over.
    async fn start(self: Rc<Self>) {
        if self.busy.get() || self.started.replace(true) {
            tracing::warn!("upgrade: one is under way already; nothing is started");
            return;
        }
        match Successor::start() {
            Ok(successor) => self.look_after(successor).await,
            Err(error) => tracing::error!(
                "upgrade: the binary cannot be started: {error}; this process goes on"
            ),
        }
        self.started.set(false);
        self.changed.notify_one();
    }

    async fn look_after(&self, mut successor: Successor) {
        let (pid, limit) = (successor.pid(), self.config.timeout);
        tracing::info!(
            "upgrade: process {pid} was started to take over: {}",
            successor.command()
        );
        let over = tokio::select! {
            biased;
            // Perhaps to another one; what becomes of this one is its own affair then.
            () = self.stage.handed_over() => return,
            status = successor.ended() => Err(status),
            why = self.given_up(limit) => Ok(why),
        };
        match over {
            Err(status) => tracing::error!(
                "upgrade: process {pid} has ended before it took over ({status}); this one goes on"
            ),
            Ok(why) => {
                tracing::error!("upgrade: process {pid} is ended: {why}");
                successor.end(!self.stage.is_ending());
            }
        }
    }
}
