//! News of shared queues, on their way to the worker whose filter registered.
//!
//! Whoever enqueues, on whichever thread, puts a note into the target worker's channel. The
//! worker takes them out one by one, with its other work in between: a guest that enqueues
//! for itself keeps its worker busy, not stuck. Queues bound how many notes there can be.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use cofferdam_abi::shared::{QueueNotifier, QueueReady};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::worker::Worker;

/// A worker's end.
#[derive(Debug)]
pub(crate) struct News {
    sender: Arc<Sender>,
    /// Until the worker begins to read.
    receiver: RefCell<Option<UnboundedReceiver<QueueReady>>>,
}

/// The end that is given away with every registration.
#[derive(Debug)]
struct Sender(UnboundedSender<QueueReady>);

// === impl News ===

impl News {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self {
            sender: Arc::new(Sender(sender)),
            receiver: RefCell::new(Some(receiver)),
        }
    }

    pub(crate) fn notifier(&self) -> Arc<dyn QueueNotifier> {
        self.sender.clone()
    }

    /// Tells guests from now on, until the worker is gone.
    pub(crate) fn deliver(&self, worker: &Rc<Worker>) {
        if let Some(receiver) = self.receiver.take() {
            tokio::task::spawn_local(deliver(Rc::downgrade(worker), receiver));
        }
    }
}

impl QueueNotifier for Sender {
    fn ready(&self, ready: QueueReady) {
        // A worker that has ended has no guests to tell.
        let _ = self.0.send(ready);
    }
}

async fn deliver(worker: Weak<Worker>, mut receiver: UnboundedReceiver<QueueReady>) {
    while let Some(ready) = receiver.recv().await {
        let Some(worker) = worker.upgrade() else {
            return;
        };
        worker.plugins.queue_ready(&worker, ready);
        drop(worker);
        tokio::task::yield_now().await;
    }
}
