//! What the VMs of one VM id share: data and named queues.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::queue::{Queue, Usage};
use super::store::{SetError, Store};
use super::{Bounds, Counter, lock};

/// Data and queues of one VM id.
#[derive(Debug)]
pub struct Space {
    vm_id: Arc<str>,
    bounds: Bounds,
    store: Mutex<Store>,
    /// One for all spaces (section 2.8).
    cas: Arc<AtomicU32>,
    queues: Mutex<HashMap<Bytes, Arc<Queue>>>,
    usage: Arc<Usage>,
    // What `store` holds, for those who only look.
    entries: AtomicUsize,
    bytes: AtomicUsize,
    evictions: Arc<Counter>,
    /// Evictions nobody has been told about.
    untold: AtomicU64,
}

/// What room there was for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Enough.
    Enough,
    /// What another entry had.
    Made,
    /// Likewise, because the plugin may not add to as many entries as there are.
    Crowded,
}

// === impl Space ===

impl Space {
    pub(super) fn new(
        vm_id: &str,
        bounds: Bounds,
        cas: Arc<AtomicU32>,
        evictions: Arc<Counter>,
    ) -> Self {
        Self {
            vm_id: vm_id.into(),
            usage: Arc::new(Usage::new(bounds.queue_items, bounds.queue_bytes)),
            bounds,
            store: Mutex::default(),
            cas,
            queues: Mutex::default(),
            entries: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            evictions,
            untold: AtomicU64::new(0),
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn vm_id(&self) -> &str {
        &self.vm_id
    }

    /// Entries and bytes of shared data.
    #[must_use]
    pub fn data_size(&self) -> (usize, usize) {
        (
            self.entries.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    /// Items and bytes in all queues.
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        self.usage.now()
    }

    /// Whether the time matters to what is stored: reading a clock is not free.
    pub(crate) const fn has_time(&self) -> bool {
        self.bounds.ttl.is_some()
    }

    /// The value of `key` and its CAS number. `now` is of any clock that never goes back,
    /// the same for all users.
    pub fn get(&self, key: &[u8], now: Duration) -> Option<(Bytes, u32)> {
        lock(&self.store).get(&self.bounds, key, now)
    }

    /// Stores `value`, for a plugin that may add to fewer than `most` entries; says what
    /// room there was for it.
    pub(crate) fn set(
        &self,
        key: &[u8],
        value: Bytes,
        expected: u32,
        most: usize,
        now: Duration,
    ) -> Result<Room, SetError> {
        let mut store = lock(&self.store);
        let crowded = store.len() >= most && !store.contains(key);
        let evicted = store.set(&self.bounds, (key, value), expected, most, now, || {
            next_cas(&self.cas)
        });
        self.entries.store(store.len(), Ordering::Relaxed);
        self.bytes.store(store.bytes(), Ordering::Relaxed);
        drop(store);
        let evicted = match evicted {
            Err(SetError::Full) if crowded => return Err(SetError::Crowded),
            evicted => evicted?,
        };
        if evicted == 0 {
            return Ok(Room::Enough);
        }
        self.evictions.add(evicted);
        self.untold.fetch_add(evicted, Ordering::Relaxed);
        Ok(if crowded { Room::Crowded } else { Room::Made })
    }

    /// Evictions since this was last asked.
    pub(super) fn take_evictions(&self) -> u64 {
        self.untold.swap(0, Ordering::Relaxed)
    }

    /// The queue of that name.
    pub(crate) fn queue(&self, name: &[u8]) -> Option<Arc<Queue>> {
        lock(&self.queues).get(name).cloned()
    }

    pub(super) fn new_queue(&self, id: u32) -> Queue {
        Queue::new(id, self.vm_id.clone(), self.usage.clone())
    }

    /// The queue of that name; where it is not there, what `make` makes, if there is room.
    pub(super) fn queue_or_insert(
        &self,
        name: &[u8],
        make: impl FnOnce() -> Arc<Queue>,
    ) -> Option<Arc<Queue>> {
        let mut queues = lock(&self.queues);
        if let Some(queue) = queues.get(name) {
            return Some(queue.clone());
        }
        if queues.len() >= self.bounds.queues {
            return None;
        }
        let queue = make();
        queues.insert(Bytes::copy_from_slice(name), queue.clone());
        Some(queue)
    }
}

/// 1, 2, 3 and so on, and after the highest 1 again: 0 means "any" on the wire.
fn next_cas(counter: &AtomicU32) -> u32 {
    loop {
        let cas = counter.fetch_add(1, Ordering::Relaxed);
        if cas != 0 {
            return cas;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cas_numbers_skip_zero() {
        let counter = AtomicU32::new(u32::MAX);
        assert_eq!(next_cas(&counter), u32::MAX);
        assert_eq!(next_cas(&counter), 1);
        assert_eq!(next_cas(&counter), 2);
    }
}
