//! Shared queues (section 2.9): first in, first out, and somebody who is told.
//!
//! Who is told lives on a thread of its own, so telling is a message to its worker: the
//! embedder's [`QueueNotifier`] carries it there, and the worker calls
//! [`crate::Vm::queue_ready`] when the VM is idle.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::{VmId, lock};
use crate::vm::RootId;

/// Most VMs that are remembered to have registered for one queue: more than there are
/// workers, so that what is forgotten is certainly gone.
const MAX_TARGETS: usize = 1_024;

/// Carries the news of an item to the worker that registered for it.
pub trait QueueNotifier: Send + Sync {
    /// An item has come. Called on the thread that enqueued it, in the middle of a guest's
    /// call: must not block, and must not enter a guest.
    fn ready(&self, ready: QueueReady);
}

/// Which root is to be told of an item, and of which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueReady {
    /// The VM. One that is gone need not be told.
    pub vm: VmId,
    /// Its root.
    pub root: RootId,
    /// The queue's number.
    pub queue: u32,
}

/// One queue.
#[derive(Debug)]
pub(crate) struct Queue {
    id: u32,
    vm_id: Arc<str>,
    usage: Arc<Usage>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    items: VecDeque<Bytes>,
    /// Those who have registered, the newest last: it is told, and where it is gone the one
    /// before it.
    targets: Vec<Target>,
    /// Notifications on their way.
    pending: usize,
}

/// Who is told of items.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) notifier: Arc<dyn QueueNotifier>,
    pub(crate) vm: VmId,
    pub(crate) root: RootId,
}

/// What all queues of one VM id hold together.
#[derive(Debug)]
pub(super) struct Usage {
    items: AtomicUsize,
    bytes: AtomicUsize,
    most_items: usize,
    most_bytes: usize,
}

// === impl Queue ===

impl Queue {
    pub(super) fn new(id: u32, vm_id: Arc<str>, usage: Arc<Usage>) -> Self {
        Self {
            id,
            vm_id,
            usage,
            inner: Mutex::default(),
        }
    }

    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    /// The VM id it belongs to.
    pub(crate) fn vm_id(&self) -> &str {
        &self.vm_id
    }

    pub(super) fn set_target(&self, target: Option<Target>) {
        // What is on its way to the one before still counts: a guest that registers again
        // and again must not have more on its way than there can be items.
        let targets = &mut lock(&self.inner).targets;
        let Some(target) = target else {
            targets.clear();
            return;
        };
        targets.retain(|other| other.vm != target.vm);
        if targets.len() == MAX_TARGETS {
            targets.remove(0);
        }
        targets.push(target);
    }

    /// Whether somebody else has registered since `vm` did.
    pub(super) fn has_newer(&self, vm: VmId) -> bool {
        let inner = lock(&self.inner);
        inner.targets.last().is_some_and(|target| target.vm != vm)
    }

    /// A notification has come to where nobody hears it: it goes to whoever is told now.
    pub(super) fn missed(&self, ready: QueueReady, gone: bool) {
        let mut inner = lock(&self.inner);
        if gone {
            inner.targets.retain(|target| target.vm != ready.vm);
        }
        let target = inner.targets.last().cloned();
        let Some(target) = target.filter(|target| target.vm != ready.vm) else {
            inner.pending = inner.pending.saturating_sub(1);
            return;
        };
        drop(inner);
        target.tell(self.id);
    }

    /// Whether there was room for `item`. Its target is told, once for each item.
    pub(crate) fn enqueue(&self, item: Bytes) -> bool {
        if !self.usage.take(item.len()) {
            return false;
        }
        let mut inner = lock(&self.inner);
        inner.items.push_back(item);
        // With one for every item there can be on its way, one more would say nothing new.
        let room = inner.pending < self.usage.most_items;
        let target = inner.targets.last().filter(|_| room).cloned();
        // What is told to nobody never arrives, to make room for another.
        inner.pending += usize::from(target.is_some());
        drop(inner);
        if let Some(target) = target {
            target.tell(self.id);
        }
        true
    }

    pub(crate) fn dequeue(&self) -> Option<Bytes> {
        let item = lock(&self.inner).items.pop_front()?;
        self.usage.give_back(1, item.len());
        Some(item)
    }

    /// One notification has arrived.
    pub(crate) fn told(&self) {
        let mut inner = lock(&self.inner);
        inner.pending = inner.pending.saturating_sub(1);
    }
}

// === impl Target ===

impl Target {
    fn tell(&self, queue: u32) {
        self.notifier.ready(QueueReady {
            vm: self.vm,
            root: self.root,
            queue,
        });
    }
}

// === impl Usage ===

impl Usage {
    pub(super) const fn new(most_items: usize, most_bytes: usize) -> Self {
        Self {
            items: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            most_items,
            most_bytes,
        }
    }

    pub(super) fn now(&self) -> (usize, usize) {
        (
            self.items.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    fn take(&self, size: usize) -> bool {
        let within = |counter: &AtomicUsize, more: usize, most: usize| {
            counter
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
                    old.checked_add(more).filter(|new| *new <= most)
                })
                .is_ok()
        };
        if !within(&self.items, 1, self.most_items) {
            return false;
        }
        let room = within(&self.bytes, size, self.most_bytes);
        if !room {
            self.give_back(1, 0);
        }
        room
    }

    fn give_back(&self, items: usize, bytes: usize) {
        self.items.fetch_sub(items, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("vm", &self.vm)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}
