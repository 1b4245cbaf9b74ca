//! What the VMs of a process have in common: data and queues by VM id, metrics by name
//! (sections 2.8 to 2.10).
//!
//! The one part of this crate that several threads use at once. Data and queues live in a
//! [`Space`] for each VM id, which its VMs hold and which goes with the last of them. Locks
//! are per space and per queue, held for one operation and never across a call into a
//! guest: what is handed out is [`Bytes`], a reference.
//!
//! [`Bytes`]: bytes::Bytes

mod metrics;
mod order;
mod queue;
mod space;
mod store;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

pub use metrics::{BUCKETS, Counter, Histogram, Metric, MetricKind, Metrics};
pub(crate) use metrics::{Defined, TooMany};
pub(crate) use queue::{Queue, Target};
pub use queue::{QueueNotifier, QueueReady};
pub(crate) use space::Room;
pub use space::Space;
pub(crate) use store::SetError;

use crate::callbacks::Callback;
use crate::usage::{CalledOut, Counted, Resident, Usage, Used};

/// Everything that VMs of different workers share. Workers hold it in an [`Arc`].
#[derive(Debug)]
pub struct Shared {
    bounds: Bounds,
    spaces: Mutex<HashMap<String, Weak<Space>>>,
    /// By their number. Spaces own them.
    queues: RwLock<HashMap<u32, Weak<Queue>>>,
    next_queue: AtomicU32,
    cas: Arc<AtomicU32>,
    next_vm: AtomicU64,
    metrics: Metrics,
    usages: Mutex<Vec<(String, Arc<Usage>)>>,
}

/// How much the VMs of one VM id may keep, all of them together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Most entries of shared data. Default 10,000.
    pub entries: usize,
    /// Most bytes of shared data, keys and values. Default 16 MiB.
    pub bytes: usize,
    /// What makes room past either. Default [`Eviction::Slru`].
    pub eviction: Eviction,
    /// How long an entry lives after it was last set. Default: for ever.
    pub ttl: Option<Duration>,
    /// Most queues. Default 1,000.
    pub queues: usize,
    /// Most items in all queues. Default 10,000.
    pub queue_items: usize,
    /// Most bytes in all queues. Default 16 MiB.
    pub queue_bytes: usize,
}

/// Which entries make room for new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eviction {
    /// Segmented: those used but once go before those used again, each lot least recently
    /// used first. A flood of new keys does not wash out the ones in use.
    #[default]
    Slru,
    /// The least recently used.
    Lru,
    /// None: what has no room is refused.
    None,
}

/// A VM among all of a process; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VmId(u64);

impl VmId {
    /// A number that is most likely another for another VM.
    pub(crate) const fn seed(self) -> u32 {
        (self.0 ^ self.0 >> 32) as u32
    }
}

// === impl Shared ===

impl Shared {
    /// Nothing shared yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            spaces: Mutex::default(),
            queues: RwLock::default(),
            next_queue: AtomicU32::new(1),
            cas: Arc::new(AtomicU32::new(1)),
            next_vm: AtomicU64::new(1),
            metrics: Metrics::default(),
            usages: Mutex::default(),
        }
    }

    /// The one with default bounds for embedders that have none of their own.
    #[must_use]
    pub fn of_process() -> &'static Arc<Self> {
        static SHARED: LazyLock<Arc<Shared>> = LazyLock::new(Arc::default);
        &SHARED
    }

    /// The space of a VM id, for as long as the answer is held: data and queues go with the
    /// last holder. Every VM holds its own; an embedder may, to keep them while it has none.
    #[must_use]
    pub fn join(&self, vm_id: &str) -> Arc<Space> {
        let mut spaces = lock(&self.spaces);
        if let Some(space) = spaces.get(vm_id).and_then(Weak::upgrade) {
            return space;
        }
        spaces.retain(|_, space| space.strong_count() > 0);
        let evictions = self.metrics.counter(
            "cofferdam_shared_data_evictions",
            "Entries of shared data that made room for others.",
            &[("vm_id", vm_id)],
        );
        let space = Arc::new(Space::new(
            vm_id,
            self.bounds.clone(),
            self.cas.clone(),
            evictions,
        ));
        spaces.insert(vm_id.to_owned(), Arc::downgrade(&space));
        space
    }

    /// The space of a VM id that some VM has.
    pub(crate) fn find(&self, vm_id: &str) -> Option<Arc<Space>> {
        lock(&self.spaces).get(vm_id).and_then(Weak::upgrade)
    }

    /// Every space there is.
    #[must_use]
    pub fn spaces(&self) -> Vec<Arc<Space>> {
        let spaces = lock(&self.spaces);
        spaces.values().filter_map(Weak::upgrade).collect()
    }

    /// Evictions by VM id since this was last asked.
    #[must_use]
    pub fn take_evictions(&self) -> Vec<(String, u64)> {
        self.spaces()
            .iter()
            .map(|space| (space.vm_id().to_owned(), space.take_evictions()))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Metrics, of guests and of the host.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Where one thread counts what the plugin of that name uses. For the thread to keep and
    /// to ask for once: it is kept here for ever.
    #[must_use]
    pub fn new_usage(&self, plugin: &str) -> Arc<Usage> {
        let usage = Arc::<Usage>::default();
        lock(&self.usages).push((plugin.to_owned(), usage.clone()));
        usage
    }

    /// What all threads together have used, by plugin, in the order of names, tiers and
    /// callbacks.
    #[must_use]
    pub fn used(&self) -> Vec<(String, Used)> {
        let mut sums = BTreeMap::new();
        for (plugin, usage) in &*lock(&self.usages) {
            for used in usage.read() {
                let sum = sums
                    .entry((
                        plugin.clone(),
                        used.tier,
                        used.callback.map(|one| one as usize),
                    ))
                    .or_insert(Used {
                        calls: 0,
                        cost: 0,
                        ..used
                    });
                sum.calls += used.calls;
                sum.cost = sum.cost.saturating_add(used.cost);
            }
        }
        let names = sums.into_iter();
        names.map(|((plugin, ..), used)| (plugin, used)).collect()
    }

    /// How long calls into plugins took, likewise.
    #[must_use]
    pub fn times(&self) -> Vec<(String, Callback, Counted)> {
        let mut sums: BTreeMap<_, (Callback, Counted)> = BTreeMap::new();
        for (plugin, usage) in &*lock(&self.usages) {
            for (callback, counted) in usage.times() {
                sums.entry((plugin.clone(), callback as usize))
                    .and_modify(|(_, sum)| sum.add(&counted))
                    .or_insert((callback, counted));
            }
        }
        let sums = sums.into_iter();
        sums.map(|((plugin, _), (callback, sum))| (plugin, callback, sum))
            .collect()
    }

    /// What plugins keep in their VMs, and how many answers each made itself.
    #[must_use]
    pub fn residents(&self) -> Vec<(String, Resident, u64)> {
        let mut sums: BTreeMap<String, (Resident, u64)> = BTreeMap::new();
        for (plugin, usage) in &*lock(&self.usages) {
            let (resident, replies) = sums.entry(plugin.clone()).or_default();
            resident.add(usage.resident());
            *replies += usage.replies();
        }
        let sums = sums.into_iter();
        sums.map(|(plugin, (resident, replies))| (plugin, resident, replies))
            .collect()
    }

    /// Calls of other services that have ended, by plugin and kind.
    #[must_use]
    pub fn called_out(&self) -> Vec<(String, CalledOut)> {
        let mut sums: BTreeMap<_, CalledOut> = BTreeMap::new();
        for (plugin, usage) in &*lock(&self.usages) {
            for called in usage.callouts() {
                sums.entry((plugin.clone(), called.kind as usize))
                    .and_modify(|sum| {
                        sum.times.add(&called.times);
                        sum.failed += called.failed;
                    })
                    .or_insert(called);
            }
        }
        let sums = sums.into_iter();
        sums.map(|((plugin, _), sum)| (plugin, sum)).collect()
    }

    /// A number for a new VM.
    pub(crate) fn next_vm(&self) -> VmId {
        VmId(self.next_vm.fetch_add(1, Ordering::Relaxed))
    }

    /// The queue of that name, made if it is not there; `target` is who is told of items
    /// from now on (section 2.9). `None` when there is no room for another.
    pub(crate) fn register_queue(
        &self,
        space: &Space,
        name: &[u8],
        target: Option<Target>,
    ) -> Option<Arc<Queue>> {
        let queue = space.queue_or_insert(name, || {
            // Four billion registrations are out of reach: each needs a name of its own.
            let id = self.next_queue.fetch_add(1, Ordering::Relaxed);
            let queue = Arc::new(space.new_queue(id));
            let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
            queues.retain(|_, queue| queue.strong_count() > 0);
            queues.insert(id, Arc::downgrade(&queue));
            queue
        })?;
        queue.set_target(target);
        Some(queue)
    }

    /// The news has arrived where the VM it names is no more (section 2.9): it goes on to
    /// whoever else has registered, the newest first. With [`crate::Vm::queue_ready`] for
    /// all others, every [`QueueReady`] is accounted for; a queue does not send more of them
    /// than it may hold items.
    pub fn queue_ready_missed(&self, ready: QueueReady) {
        if let Some(queue) = self.queue(ready.queue) {
            queue.missed(ready, true);
        }
    }

    /// The news has arrived at a VM in whose place there is another: where that one, or any
    /// other, has registered since, it goes there. Whether it does; if not, the VM that it
    /// names is still the one to be told.
    #[must_use]
    pub fn queue_ready_moves_on(&self, ready: QueueReady) -> bool {
        let newer = |queue: &Arc<Queue>| queue.has_newer(ready.vm);
        let Some(queue) = self.queue(ready.queue).filter(newer) else {
            return false;
        };
        queue.missed(ready, false);
        true
    }

    /// The queue of that number.
    pub(crate) fn queue(&self, id: u32) -> Option<Arc<Queue>> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.get(&id).and_then(Weak::upgrade)
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new(Bounds::default())
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            entries: 10_000,
            bytes: 16 << 20,
            eviction: Eviction::default(),
            ttl: None,
            queues: 1_000,
            queue_items: 10_000,
            queue_bytes: 16 << 20,
        }
    }
}

/// What a lock guards is whole between any two steps, so a thread that ended in the middle
/// of one need not end the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
