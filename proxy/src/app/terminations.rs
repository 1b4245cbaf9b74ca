//! SIGTERM and SIGINT, watched from the first moment of a start to the end of the process, by a
//! thread of its own: the system's default would lose them where the proxy is the first process of
//! a container, and at the end a runtime that could be told of them may be gone already.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::Builder;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::handover::Stage;

/// The signals that end the process, and what they do now.
#[derive(Debug, Clone)]
pub struct Terminations(Arc<watch::Sender<Then>>);

/// What the next one does.
#[derive(Debug)]
enum Then {
    /// It ends the process: nothing is under way.
    End,
    /// Whoever serves is told.
    Tell,
    /// Nothing: that has not yet begun to drain.
    Wait,
    /// Idle connections are closed.
    Impatience(Arc<Stage>),
    /// It ends the process, whatever is under way.
    Cut,
}

// === impl Terminations ===

impl Terminations {
    /// Watches them from now on. One that comes before somebody serves ends the process.
    ///
    /// # Errors
    /// When there is no thread, or nothing to watch them by.
    pub fn watch() -> io::Result<Self> {
        let this = Self(Arc::new(watch::Sender::new(Then::End)));
        let (tell, watching) = channel();
        let watched = this.clone();
        Builder::new()
            .name("signals".to_owned())
            .spawn(move || watched.run(&tell))?;
        let gone = |_| Err(io::Error::other("its thread panicked"));
        watching.recv().unwrap_or_else(gone).map(|()| this)
    }

    fn run(&self, tell: &Sender<io::Result<()>>) {
        let watched = || {
            let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
            let _within = runtime.enter();
            let signals = (
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
            );
            Ok((runtime, signals))
        };
        let (runtime, signals) = match watched() {
            Ok(watched) => watched,
            Err(error) => {
                // Who asked waits for it.
                let _ = tell.send(Err(error));
                return;
            }
        };
        let _ = tell.send(Ok(()));
        runtime.block_on(self.act_on(signals));
    }

    async fn act_on(&self, (mut terminate, mut interrupt): (Signal, Signal)) {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // Under the lock, so that nobody begins to serve in a process that ends.
            self.0.send_modify(Then::act);
        }
    }

    /// They are told from now on, and end nothing by themselves.
    pub(super) fn serve(&self) {
        self.0.send_modify(|then| *then = Then::Tell);
    }

    /// Until there is one.
    pub(super) async fn told(&self) {
        // It cannot fail: the sender is here.
        let _ = (self.0.subscribe())
            .wait_for(|then| matches!(then, Then::Wait))
            .await;
    }

    /// The process drains: the next one ends it at once; or only its patience, where it has some.
    pub(super) fn drains(&self, patient: Option<&Arc<Stage>>) {
        self.0.send_modify(|then| {
            let next = patient.map_or(Then::Cut, |stage| Then::Impatience(stage.clone()));
            // One may have come since another process has taken over.
            let early = matches!(std::mem::replace(then, next), Then::Wait);
            if early && patient.is_some() {
                then.act();
            }
        });
    }
}

// === impl Then ===

impl Then {
    fn act(&mut self) {
        match self {
            Self::End => {
                tracing::info!("told to end while starting: nothing has been served");
                std::process::exit(0);
            }
            Self::Tell => *self = Self::Wait,
            Self::Wait => {}
            Self::Impatience(stage) => {
                tracing::info!(
                    "draining: idle connections are closed now; another signal ends at once"
                );
                stage.end();
                *self = Self::Cut;
            }
            Self::Cut => {
                tracing::warn!("second signal: ending at once");
                std::process::exit(1);
            }
        }
    }
}
