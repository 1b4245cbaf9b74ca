//! News on their way to a worker: of shared queues whose filter has registered there, of
//! other code for its filters, and of another configuration.
//!
//! Whoever enqueues, on whichever thread, puts a note into the target worker's channel. The
//! worker takes them out one by one, with its other work in between: a guest that enqueues
//! for itself keeps its worker busy, not stuck. Queues bound how many notes there can be.
//! Nobody asks whether there is anything: an idle worker is not woken.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use cofferdam_abi::shared::{QueueNotifier, QueueReady};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::modules::Message;
use crate::worker::Worker;

/// A worker's end.
#[derive(Debug)]
pub(crate) struct News {
    sender: Arc<Sender>,
    publisher: UnboundedSender<Message>,
    /// Until the worker begins to read.
    receivers: RefCell<Option<Receivers>>,
}

type Receivers = (UnboundedReceiver<QueueReady>, UnboundedReceiver<Message>);

/// The end that is given away with every registration.
#[derive(Debug)]
struct Sender(UnboundedSender<QueueReady>);

// === impl News ===

impl News {
    pub(crate) fn new() -> Self {
        let (sender, queues) = unbounded_channel();
        let (publisher, publications) = unbounded_channel();
        Self {
            sender: Arc::new(Sender(sender)),
            publisher,
            receivers: RefCell::new(Some((queues, publications))),
        }
    }

    pub(crate) fn notifier(&self) -> Arc<dyn QueueNotifier> {
        self.sender.clone()
    }

    /// Where other code is to be sent.
    pub(crate) fn publications(&self) -> UnboundedSender<Message> {
        self.publisher.clone()
    }

    /// Delivers from now on, until the worker is gone.
    pub(crate) fn deliver(&self, worker: &Rc<Worker>) {
        if let Some((queues, publications)) = self.receivers.take() {
            tokio::task::spawn_local(tell(Rc::downgrade(worker), queues));
            tokio::task::spawn_local(publish(Rc::downgrade(worker), publications));
        }
    }
}

impl QueueNotifier for Sender {
    fn ready(&self, ready: QueueReady) {
        // A worker that has ended has no guests to tell.
        let _ = self.0.send(ready);
    }
}

async fn tell(worker: Weak<Worker>, mut receiver: UnboundedReceiver<QueueReady>) {
    while let Some(ready) = receiver.recv().await {
        let Some(worker) = worker.upgrade() else {
            return;
        };
        worker.plugins.queue_ready(&worker, ready);
        drop(worker);
        tokio::task::yield_now().await;
    }
}

async fn publish(worker: Weak<Worker>, mut receiver: UnboundedReceiver<Message>) {
    while let Some(message) = receiver.recv().await {
        let Some(worker) = worker.upgrade() else {
            return;
        };
        match message {
            Message::Code(publication) => worker.plugins.publish(&worker, publication).await,
            Message::Prepare(blueprint, told) => {
                let prepared = worker.prepare(&blueprint).await;
                // Whoever has gone wants nothing any more.
                let _ = told.send(prepared);
            }
            Message::Adopt(blueprint, told) => {
                worker.adopt(&blueprint).await;
                let _ = told.send(());
            }
            Message::Abandon => worker.abandon(),
            Message::Sockets(told) => {
                let _ = told.send(worker.sockets());
            }
        }
    }
}
