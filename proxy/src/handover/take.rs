//! A process takes over: first it gets the sockets, then it starts, then it serves.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use super::message::{Message, VERSION};
use super::wire::Wire;
use super::{Hold, Inheritance, Key, Offered, Stage, place};
use crate::config::Upgrade;
use crate::readiness::Readiness;

/// How long the other process may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often is looked whether filters that are needed can work.
const LOOK: Duration = Duration::from_millis(50);

/// The line to the process that serves.
#[derive(Debug)]
pub(crate) struct Taker {
    runtime: Runtime,
    wire: Wire,
    /// Of the other process.
    pid: u32,
    timeout: Duration,
}

/// What comes when.
pub(crate) struct Plan {
    pub(crate) stage: Arc<Stage>,
    pub(crate) workers: usize,
    pub(crate) readiness: Arc<Readiness>,
    /// Until all is said: what came is where the configuration of the start has it.
    pub(crate) hold: Option<Hold>,
    /// What is listened on of what there was.
    pub(crate) keys: BTreeSet<Key>,
    /// Takes connections in.
    pub(crate) open: Box<dyn FnOnce() + Send>,
    /// The other process has nothing to say any more.
    pub(crate) settled: Box<dyn FnOnce() + Send>,
}

/// What the other process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    Agrees,
    /// It has ended without a word: nobody serves if not this one.
    Gone,
}

/// Asks the process that serves for its sockets. `None` when there is no such process.
///
/// # Errors
/// Why it does not give them.
pub(crate) fn ask(config: &Upgrade) -> Result<Option<(Taker, Inheritance)>, String> {
    let shown = config.socket.display();
    let Some(stream) = place::connect(&config.socket)? else {
        tracing::info!("upgrade: nobody answers at {shown}: nothing to take over");
        return Ok(None);
    };
    let failed = |error: io::Error| format!("{shown}: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let asked = runtime.block_on(async {
        let talk = async {
            let mut wire = open(stream).map_err(failed)?;
            let (pid, inherited) = receive(&mut wire).await?;
            Ok::<_, String>((wire, pid, inherited))
        };
        let talked = tokio::time::timeout(PATIENCE, talk).await;
        talked.map_err(|_| format!("{shown}: no answer within {PATIENCE:?}"))?
    });
    let (wire, pid, inherited) = asked?;
    tracing::info!(
        "upgrade: process {pid} has handed over {} sockets",
        inherited.sockets.len()
    );
    let taker = Taker {
        runtime,
        wire,
        pid,
        timeout: config.timeout,
    };
    Ok(Some((taker, inherited)))
}

fn open(stream: StdUnixStream) -> io::Result<Wire> {
    stream.set_nonblocking(true)?;
    let wire = Wire::new(UnixStream::from_std(stream)?);
    let (user, _) = wire.peer()?;
    let ours = rustix::process::geteuid().as_raw();
    if user != ours {
        return Err(io::Error::other(format!(
            "user {user} answers there, and not {ours} who runs this"
        )));
    }
    Ok(wire)
}

/// Whose sockets, and all of them.
async fn receive(wire: &mut Wire) -> Result<(u32, Inheritance), String> {
    let told = |error: io::Error| format!("the process that serves cannot be asked: {error}");
    wire.send(&Message::Hello(VERSION), &[])
        .await
        .map_err(told)?;
    let Message::Offer(count, pid) = heard(wire.receive().await.map_err(told)?)? else {
        return Err("the process that serves does not say what it has".to_owned());
    };
    let mut sockets = Vec::new();
    while sockets.len() < count {
        let more = Message::More(sockets.len());
        wire.send(&more, &[]).await.map_err(told)?;
        match heard(wire.receive().await.map_err(told)?)? {
            Message::Sockets(keys) if !keys.is_empty() => {
                let came = wire.take(keys.len()).map_err(told)?;
                let came = keys.into_iter().zip(came);
                sockets.extend(came.map(|(key, socket)| Offered { key, socket }));
            }
            _ => return Err("the process that serves has fewer sockets than it said".to_owned()),
        }
    }
    let inherited = Inheritance {
        sockets,
        taken: BTreeSet::new(),
    };
    Ok((pid, inherited))
}

fn heard(message: Option<Message>) -> Result<Message, String> {
    match message {
        Some(Message::Refused(why)) => Err(why),
        Some(message) => Ok(message),
        None => Err("the process that serves has ended".to_owned()),
    }
}

// === impl Taker ===

impl Taker {
    /// Sees it through, on a thread of its own.
    pub(crate) fn spawn(self, mut plan: Plan) -> io::Result<()> {
        let run = move || {
            let Self {
                runtime,
                wire,
                pid,
                timeout,
            } = self;
            let (stage, hold) = (plan.stage.clone(), plan.hold.take());
            let talk = Talk { wire, pid };
            if let Err(why) = runtime.block_on(talk.run(plan, timeout)) {
                stage.fail(format!("upgrade: this process does not take over: {why}"));
            }
            drop(hold);
        };
        thread::Builder::new()
            .name("take-over".to_owned())
            .spawn(run)
            .map(drop)
    }
}

/// The same on its thread.
struct Talk {
    wire: Wire,
    pid: u32,
}

impl Talk {
    async fn run(mut self, plan: Plan, limit: Duration) -> Result<(), String> {
        let (pid, stage) = (self.pid, plan.stage.clone());
        let agreed = tokio::select! {
            agreed = tokio::time::timeout(limit, self.agree(&plan)) => agreed,
            // Nobody is told: the other process sees this one end.
            () = stage.ending() => return Ok(()),
        };
        let mut other = agreed.map_err(|_| format!("it was not ready within {limit:?}"))??;
        (plan.open)();
        tokio::select! {
            () = stage.all_listen(plan.workers) => {}
            () = stage.ending() => {}
        }
        if other == Other::Agrees {
            let serving = Message::Serving(plan.keys.into_iter().collect());
            other = match self.wire.send(&serving, &[]).await {
                Ok(()) => self.listen(&Message::Bye).await?,
                Err(_) => Other::Gone,
            };
        }
        match other {
            Other::Agrees => tracing::info!("upgrade: this process has taken over from {pid}"),
            Other::Gone => tracing::warn!(
                "upgrade: process {pid} has ended without a word; this one serves in its place"
            ),
        }
        (plan.settled)();
        Ok(())
    }

    /// Waits until everything has started, and then for the other's word.
    async fn agree(&mut self, plan: &Plan) -> Result<Other, String> {
        let started = async {
            plan.stage.all_started(plan.workers).await;
            let mut missing = plan.readiness.missing();
            if !missing.is_empty() {
                let missing = missing.join(", ");
                tracing::info!("upgrade: waiting for filters that are needed: {missing}");
            }
            while !missing.is_empty() {
                tokio::time::sleep(LOOK).await;
                missing = plan.readiness.missing();
            }
        };
        tokio::pin!(started);
        let heard = tokio::select! {
            () = &mut started => None,
            heard = self.wire.receive() => Some(heard),
        };
        if let Some(heard) = heard {
            // Nothing was asked: it is no, or it has gone.
            let Ok(Some(said)) = heard else {
                started.await;
                return Ok(Other::Gone);
            };
            return Err(match said {
                Message::Refused(why) => why,
                other => format!("process {} says {other:?}", self.pid),
            });
        }
        match self.wire.send(&Message::Ready, &[]).await {
            Ok(()) => self.listen(&Message::Go).await,
            Err(_) => Ok(Other::Gone),
        }
    }

    async fn listen(&mut self, wanted: &Message) -> Result<Other, String> {
        match tokio::time::timeout(PATIENCE, self.wire.receive()).await {
            Ok(Ok(Some(said))) if said == *wanted => Ok(Other::Agrees),
            Ok(Ok(Some(Message::Refused(why)))) => Err(why),
            Ok(Ok(Some(other))) => Err(format!("process {} says {other:?}", self.pid)),
            Ok(Ok(None) | Err(_)) => Ok(Other::Gone),
            Err(_) => Err(format!("process {} does not answer", self.pid)),
        }
    }
}
