//! Keys and values within bounds: what one VM id has as shared data.
//!
//! Entries are in a table by number, with three orders over their numbers. Keys are counted
//! once, though index and entry both refer to them.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use super::order::Order;
use super::{Bounds, Eviction};

/// The data of one VM id.
#[derive(Debug, Default)]
pub(super) struct Store {
    index: HashMap<Bytes, u32>,
    entries: Vec<Entry>,
    /// Numbers of `entries` that are not in use.
    free: Vec<u32>,
    /// Keys and values, in bytes.
    bytes: usize,
    /// Used once since it came, or since it fell out of `protected`; the next to go first.
    probation: Order,
    /// Used again ([`Eviction::Slru`] only).
    protected: Order,
    protected_bytes: usize,
    /// In order of the last time they were set (with a time to live only).
    age: Order,
}

#[derive(Debug, Default)]
struct Entry {
    key: Bytes,
    value: Bytes,
    cas: u32,
    expires: Duration,
    protected: bool,
}

/// Why a value was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetError {
    /// The entry has been set since.
    Mismatch,
    /// There is no room, and none may be made.
    Full,
    /// Likewise, because there are as many entries as whoever sets this may add to.
    Crowded,
}

// === impl Store ===

impl Store {
    /// The value and its CAS number.
    pub(super) fn get(
        &mut self,
        bounds: &Bounds,
        key: &[u8],
        now: Duration,
    ) -> Option<(Bytes, u32)> {
        let number = *self.index.get(key)?;
        if bounds.ttl.is_some() && self.entries[number as usize].expires <= now {
            self.remove(bounds, number);
            return None;
        }
        self.touch(bounds, number);
        let entry = &self.entries[number as usize];
        Some((entry.value.clone(), entry.cas))
    }

    /// Stores a value; answers how many entries had to make room for it.
    ///
    /// `expected` is 0 for any; for a key that is not there it does not matter (section
    /// 2.8). Where there are `most` entries or more, whoever sets this adds none: another
    /// goes. `next_cas` is asked once the value is sure to be stored.
    pub(super) fn set(
        &mut self,
        bounds: &Bounds,
        (key, value): (&[u8], Bytes),
        expected: u32,
        most: usize,
        now: Duration,
        next_cas: impl FnOnce() -> u32,
    ) -> Result<u64, SetError> {
        self.expire(bounds, now);
        let found = self.index.get(key).copied();
        if let Some(number) = found
            && expected != 0
            && self.entries[number as usize].cas != expected
        {
            return Err(SetError::Mismatch);
        }
        let size = key.len().saturating_add(value.len());
        let (old, more) = found.map_or((0, 1), |number| (self.entries[number as usize].size(), 0));
        if size > bounds.bytes || more > bounds.entries.min(most) {
            return Err(SetError::Full);
        }
        if let Some(number) = found {
            // Last in line, so that it is not what makes room for itself.
            self.touch(bounds, number);
        }
        // Others may be allowed more: what they have stays, but for one.
        let entries = bounds.entries.min(most.max(self.index.len()));
        let mut evicted = 0;
        while self.index.len() + more > entries || self.bytes - old + size > bounds.bytes {
            if bounds.eviction == Eviction::None {
                return Err(SetError::Full);
            }
            self.evict(bounds);
            evicted += 1;
        }
        let number = match found {
            Some(number) => number,
            None => self.insert(bounds, key),
        };
        self.replace(bounds, number, value, next_cas());
        if let Some(ttl) = bounds.ttl {
            self.entries[number as usize].expires = now.saturating_add(ttl);
            self.age.move_to_back(number);
        }
        Ok(evicted)
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        self.index.contains_key(key)
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// A new entry without a value.
    fn insert(&mut self, bounds: &Bounds, key: &[u8]) -> u32 {
        let key = Bytes::copy_from_slice(key);
        let number = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::default());
            // There are never more than `bounds.entries`, which no memory has 2^32 of.
            u32::try_from(self.entries.len() - 1).unwrap_or(0)
        });
        self.bytes += key.len();
        self.entries[number as usize].key = key.clone();
        self.index.insert(key, number);
        if bounds.eviction != Eviction::None {
            self.probation.push_back(number);
        }
        if bounds.ttl.is_some() {
            self.age.push_back(number);
        }
        number
    }

    fn replace(&mut self, bounds: &Bounds, number: u32, value: Bytes, cas: u32) {
        let entry = &mut self.entries[number as usize];
        let (old, new) = (entry.value.len(), value.len());
        entry.value = value;
        entry.cas = cas;
        self.bytes = self.bytes - old + new;
        if entry.protected {
            self.protected_bytes = self.protected_bytes - old + new;
            self.demote(bounds);
        }
    }

    /// An entry is used.
    fn touch(&mut self, bounds: &Bounds, number: u32) {
        let entry = &mut self.entries[number as usize];
        match bounds.eviction {
            Eviction::None => {}
            Eviction::Lru => self.probation.move_to_back(number),
            Eviction::Slru if entry.protected => self.protected.move_to_back(number),
            Eviction::Slru => {
                entry.protected = true;
                self.protected_bytes += entry.size();
                self.probation.remove(number);
                self.protected.push_back(number);
                self.demote(bounds);
            }
        }
    }

    /// Keeps a fifth of the room for entries that have not been used again yet.
    fn demote(&mut self, bounds: &Bounds) {
        while self.protected.len() > bounds.entries / 5 * 4
            || self.protected_bytes > bounds.bytes / 5 * 4
        {
            let Some(number) = self.protected.front() else {
                return;
            };
            let entry = &mut self.entries[number as usize];
            entry.protected = false;
            self.protected_bytes -= entry.size();
            self.protected.remove(number);
            self.probation.push_back(number);
        }
    }

    fn evict(&mut self, bounds: &Bounds) {
        let next = self.probation.front().or_else(|| self.protected.front());
        if let Some(number) = next {
            self.remove(bounds, number);
        }
    }

    /// Removes what is past its time.
    fn expire(&mut self, bounds: &Bounds, now: Duration) {
        while let Some(number) = self.age.front() {
            if self.entries[number as usize].expires > now {
                break;
            }
            self.remove(bounds, number);
        }
    }

    fn remove(&mut self, bounds: &Bounds, number: u32) {
        let entry = std::mem::take(&mut self.entries[number as usize]);
        self.bytes -= entry.size();
        self.index.remove(&entry.key);
        if entry.protected {
            self.protected_bytes -= entry.size();
            self.protected.remove(number);
        } else if bounds.eviction != Eviction::None {
            self.probation.remove(number);
        }
        if bounds.ttl.is_some() {
            self.age.remove(number);
        }
        self.free.push(number);
    }
}

// === impl Entry ===

impl Entry {
    fn size(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

#[cfg(test)]
mod tests;
