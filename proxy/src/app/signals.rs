//! What signals do: SIGTERM and SIGINT drain, SIGHUP reads the configuration again and the
//! files it names, SIGUSR1 opens the access log's anew, SIGUSR2 starts the binary anew.

use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use async_trait::async_trait;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::crew::Place;
use crate::access_log::LogFile;
use crate::compile::Compilers;
use crate::handover::Stage;
use crate::notify;

/// Has `act` called with every such signal.
pub(super) fn on_signal(
    name: &'static str,
    signal: io::Result<Signal>,
    act: impl Fn() + Send + 'static,
) {
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

pub(super) fn reopen(log: Option<&LogFile>) {
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
/// only, so the second is ours to watch.) So does another process that has taken over; then the
/// first signal only ends the patience with connections that are idle.
pub(super) struct Signals {
    pub(super) watched: Arc<Notify>,
    pub(super) compilers: Arc<Compilers>,
    pub(super) stage: Arc<Stage>,
    /// Of the thread by which Pingora ends its runtime, and panics where there is none.
    pub(super) last: Mutex<Option<Place>>,
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
        let handed_over = tokio::select! {
            _ = terminate.recv() => false,
            _ = interrupt.recv() => false,
            handed_over = self.stage.over() => handed_over,
        };
        if !handed_over {
            // One that has not come to serve is nobody's main process.
            if self.stage.end() {
                notify::tell("STOPPING=1");
            }
        }
        let (watching, watched) = std::sync::mpsc::channel();
        let stage = self.stage.clone();
        let again = thread::Builder::new()
            .name("second-signal".to_owned())
            .spawn(move || Self::watch_again(&watching, handed_over.then_some(&stage)));
        // A moment only, on a thread that has nothing else to do.
        if again.is_err() || watched.recv().is_err() {
            tracing::warn!("a second signal will not be seen");
        }
        if handed_over {
            tracing::info!(
                "draining: another process takes new connections, requests under way may finish"
            );
        } else {
            tracing::info!(
                "draining: no new connections, requests under way may finish; a second signal ends at once"
            );
        }
        // Nothing that is compiled from now on would serve anybody; and a start that waits
        // for it must not wait on. (Tasks may never run again: Pingora ends their runtime.)
        self.compilers.close();
        // After all that may take it in its stead.
        if let Some(last) = self
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            last.leave();
        }
        ShutdownSignal::GracefulTerminate
    }
}

// === impl Signals ===

impl Signals {
    /// Watches for one that ends at once, and with `patient` for one before that.
    fn watch_again(watching: &Sender<()>, patient: Option<&Arc<Stage>>) {
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
            let mut next = async || {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            let _ = watching.send(());
            if let Some(stage) = patient {
                next().await;
                tracing::info!(
                    "draining: idle connections are closed now; another signal ends at once"
                );
                stage.end();
            }
            next().await;
            tracing::warn!("second signal: ending at once");
            std::process::exit(1);
        });
    }
}
