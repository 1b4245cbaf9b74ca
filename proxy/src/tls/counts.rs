//! How handshakes of one listener or cluster have ended.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Session;

/// Counts by relaxed additions, one for each connection.
#[derive(Debug, Default)]
pub struct Counts {
    full: AtomicU64,
    resumed: AtomicU64,
    failed: AtomicU64,
}

// === impl Counts ===

impl Counts {
    /// A handshake has come to this.
    pub fn settled(&self, session: &Session) {
        let count = if session.resumed {
            &self.resumed
        } else {
            &self.full
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// One has come to nothing: the peer was refused, has refused us, or went.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// So far, by what they came to: `full`, `resumed` or `failed`.
    #[must_use]
    pub fn now(&self) -> [(&'static str, u64); 3] {
        [
            ("full", &self.full),
            ("resumed", &self.resumed),
            ("failed", &self.failed),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}
