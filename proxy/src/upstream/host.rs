//! What all workers know of one endpoint: whether it is ejected, and what each of them has
//! had of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    /// What it is called, where its address is known by that.
    pub(crate) name: Option<Box<str>>,
    pub(crate) weight: u32,
    pub(super) ejected: AtomicBool,
    /// In a row; written only where outliers are looked for.
    pub(super) server_errors: AtomicU32,
    pub(super) gateway_failures: AtomicU32,
    pub(super) local_failures: AtomicU32,
    /// One for each worker that has had to do with it. The lock is taken when a worker
    /// comes, and by whoever adds up.
    tallies: Mutex<Vec<Arc<Tally>>>,
}

/// What one worker has had of one endpoint. Only that worker writes.
#[derive(Debug, Default)]
pub(crate) struct Tally([AtomicU64; Word::ALL.len()]);

/// A word of a [`Tally`], by Envoy's name on `/clusters`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    ConnectionsActive,
    ConnectFailed,
    Connections,
    Active,
    /// Answers of 5xx, and requests without an answer.
    Errors,
    /// Answers below 500.
    Successes,
    Timeouts,
    Requests,
}

// === impl Host ===

impl Host {
    pub(crate) fn new(address: SocketAddr, weight: u32) -> Arc<Self> {
        Self::named(address, weight, None)
    }

    pub(crate) fn named(address: SocketAddr, weight: u32, name: Option<&str>) -> Arc<Self> {
        Arc::new(Self {
            address,
            name: name.map(Into::into),
            weight,
            ejected: AtomicBool::new(false),
            server_errors: AtomicU32::new(0),
            gateway_failures: AtomicU32::new(0),
            local_failures: AtomicU32::new(0),
            tallies: Mutex::default(),
        })
    }

    /// A tally for one more worker: one that nobody writes any more, so that endpoints that
    /// come and go do not gather them.
    pub(crate) fn tally(&self) -> Arc<Tally> {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = tallies.iter().find(|tally| Arc::strong_count(tally) == 1) {
            // Whatever its last writer has written is seen here.
            fence(Ordering::Acquire);
            return left.clone();
        }
        let tally = Arc::<Tally>::default();
        tallies.push(tally.clone());
        tally
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }

    /// The sum of what the workers have had.
    pub(crate) fn sum(&self, word: Word) -> u64 {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let words = tallies.iter().map(|tally| tally.get(word));
        words.fold(0, u64::wrapping_add)
    }
}

// === impl Tally ===

impl Tally {
    /// One more. There is one thread that writes, so no addition need be atomic.
    pub(crate) fn add(&self, word: Word) {
        self.set(word, self.get(word).wrapping_add(1));
    }

    /// One less.
    pub(crate) fn subtract(&self, word: Word) {
        self.set(word, self.get(word).wrapping_sub(1));
    }

    pub(crate) fn get(&self, word: Word) -> u64 {
        self.0[word as usize].load(Ordering::Relaxed)
    }

    fn set(&self, word: Word, value: u64) {
        self.0[word as usize].store(value, Ordering::Relaxed);
    }
}

// === impl Word ===

impl Word {
    /// All there are, by number.
    pub(crate) const ALL: [Self; 8] = [
        Self::ConnectionsActive,
        Self::ConnectFailed,
        Self::Connections,
        Self::Active,
        Self::Errors,
        Self::Successes,
        Self::Timeouts,
        Self::Requests,
    ];

    /// Envoy's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ConnectionsActive => "cx_active",
            Self::ConnectFailed => "cx_connect_fail",
            Self::Connections => "cx_total",
            Self::Active => "rq_active",
            Self::Errors => "rq_error",
            Self::Successes => "rq_success",
            Self::Timeouts => "rq_timeout",
            Self::Requests => "rq_total",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_have_had_is_added_up_whoever_is_still_there() {
        let host = Host::new(([127, 0, 0, 1], 80).into(), 1);
        let (one, other) = (host.tally(), host.tally());
        one.add(Word::Requests);
        other.add(Word::Requests);
        other.add(Word::Active);
        other.subtract(Word::Active);
        drop(one);
        assert_eq!((host.sum(Word::Requests), host.sum(Word::Active)), (2, 0));
        // The next takes over where the one that has gone left off.
        let next = host.tally();
        assert_eq!(next.get(Word::Requests), 1);
        next.add(Word::Requests);
        assert_eq!(host.sum(Word::Requests), 3);
        assert_eq!(host.tallies.lock().expect("whole").len(), 2);
    }
}
