//! What signals do: SIGTERM and SIGINT drain, SIGHUP reads the configuration again and the
//! files it names, SIGUSR1 opens the access log's anew, SIGUSR2 starts the binary anew.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::Signal;
use tokio::sync::Notify;

use super::crew::Place;
use super::terminations::Terminations;
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

/// What SIGTERM and SIGINT do; so does another process that has taken over, and then the first
/// signal only ends the patience with connections that are idle.
pub(super) struct Signals {
    pub(super) terminations: Terminations,
    /// Told once the runtime of what serves may be ended.
    pub(super) endable: Arc<Notify>,
    pub(super) compilers: Arc<Compilers>,
    pub(super) stage: Arc<Stage>,
    /// Of the thread by which Pingora ends its runtime, and panics where there is none.
    pub(super) last: Mutex<Option<Place>>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let handed_over = tokio::select! {
            () = self.terminations.told() => false,
            handed_over = self.stage.over() => handed_over,
        };
        // The signal may have come first, and Pingora ends at once the runtime of what has not.
        self.endable.notified().await;
        if !handed_over {
            // One that has not come to serve is nobody's main process.
            if self.stage.end() {
                notify::tell("STOPPING=1");
            }
        }
        self.terminations.drains(handed_over.then_some(&self.stage));
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
        if let Some(last) = (self.last.lock().unwrap_or_else(PoisonError::into_inner)).take() {
            last.leave();
        }
        ShutdownSignal::GracefulTerminate
    }
}
