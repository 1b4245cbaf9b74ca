//! What is under way in one cluster, over all workers, and the bounds on it: Envoy's circuit
//! breakers.
//!
//! Where there is no bound nothing is counted here, so that workers of an ordinary cluster
//! share no cache line. What happens rarely (a retry, an overflow) always is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::CircuitBreakers;

/// What one cluster has under way.
#[derive(Debug, Default)]
pub(crate) struct Load {
    bounds: CircuitBreakers,
    connections: AtomicU64,
    pending: AtomicU64,
    requests: AtomicU64,
    retries: AtomicU64,
    counts: [AtomicU64; Count::ALL.len()],
}

/// Something that happens to a cluster, by Envoy's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    ConnectionOverflow,
    PendingOverflow,
    Retry,
    RetrySuccess,
    RetryOverflow,
    RetryLimitExceeded,
    Timeout,
    PerTryTimeout,
    Ejected,
    DnsLookup,
    DnsFailure,
}

/// Room for one more of something; free again when it goes.
#[derive(Debug)]
pub(crate) struct Place {
    load: Arc<Load>,
    of: Of,
}

#[derive(Debug, Clone, Copy)]
enum Of {
    Connections,
    Pending,
    Requests,
    Retries,
}

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

// === impl Load ===

impl Load {
    pub(crate) fn new(bounds: CircuitBreakers) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            ..Self::default()
        })
    }

    /// Whether connections are bounded.
    pub(crate) const fn bounds_connections(&self) -> bool {
        self.bounds.max_connections.is_some()
    }

    /// Room for a connection; `Ok(None)` where that is not counted. For whoever asks `again`
    /// because there was none, its want is not counted once more.
    pub(crate) fn connection(
        self: &Arc<Self>,
        whatever: bool,
        again: bool,
    ) -> Result<Option<Place>, Full> {
        let Some(most) = self.bounds.max_connections else {
            return Ok(None);
        };
        let most = if whatever { u64::MAX } else { most };
        self.place(Of::Connections, most).inspect_err(|_| {
            if !again {
                self.count(Count::ConnectionOverflow);
            }
        })
    }

    /// Room to wait for a connection.
    pub(crate) fn pending(self: &Arc<Self>) -> Result<Option<Place>, Full> {
        let Some(most) = self.bounds.max_pending_requests else {
            return Ok(None);
        };
        self.place(Of::Pending, most).inspect_err(|_| {
            self.count(Count::PendingOverflow);
        })
    }

    /// Room for a request.
    pub(crate) fn request(self: &Arc<Self>) -> Result<Option<Place>, Full> {
        let most = match (self.bounds.max_requests, self.bounds.retry_budget) {
            (Some(most), _) => most,
            (None, Some(_)) => u64::MAX,
            (None, None) => return Ok(None),
        };
        self.place(Of::Requests, most).inspect_err(|_| {
            self.count(Count::PendingOverflow);
        })
    }

    /// Room for a retry.
    pub(crate) fn retry(self: &Arc<Self>) -> Result<Option<Place>, Full> {
        let most = match self.bounds.retry_budget {
            Some(budget) => {
                // Those that wait for a connection are among them.
                let under_way = self.requests.load(Ordering::Relaxed);
                let share = under_way.saturating_mul(u64::from(budget.budget_percent)) / 100;
                share.max(budget.min_retry_concurrency)
            }
            None => self.bounds.max_retries.unwrap_or(u64::MAX),
        };
        self.place(Of::Retries, most).inspect_err(|_| {
            self.count(Count::RetryOverflow);
        })
    }

    fn place(self: &Arc<Self>, of: Of, most: u64) -> Result<Option<Place>, Full> {
        let word = self.word(of);
        if word.fetch_add(1, Ordering::Relaxed) >= most {
            word.fetch_sub(1, Ordering::Relaxed);
            return Err(Full);
        }
        let load = self.clone();
        Ok(Some(Place { load, of }))
    }

    const fn word(&self, of: Of) -> &AtomicU64 {
        match of {
            Of::Connections => &self.connections,
            Of::Pending => &self.pending,
            Of::Requests => &self.requests,
            Of::Retries => &self.retries,
        }
    }

    /// It has happened once more.
    pub(crate) fn count(&self, what: Count) {
        self.counts[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has happened.
    pub(crate) fn counted(&self, what: Count) -> u64 {
        self.counts[what as usize].load(Ordering::Relaxed)
    }
}

// === impl Count ===

impl Count {
    /// All there are, by number.
    pub(crate) const ALL: [Self; 11] = [
        Self::ConnectionOverflow,
        Self::PendingOverflow,
        Self::Retry,
        Self::RetrySuccess,
        Self::RetryOverflow,
        Self::RetryLimitExceeded,
        Self::Timeout,
        Self::PerTryTimeout,
        Self::Ejected,
        Self::DnsLookup,
        Self::DnsFailure,
    ];

    /// Envoy's name, below `cluster.NAME.`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ConnectionOverflow => "upstream_cx_overflow",
            Self::PendingOverflow => "upstream_rq_pending_overflow",
            Self::Retry => "upstream_rq_retry",
            Self::RetrySuccess => "upstream_rq_retry_success",
            Self::RetryOverflow => "upstream_rq_retry_overflow",
            Self::RetryLimitExceeded => "upstream_rq_retry_limit_exceeded",
            Self::Timeout => "upstream_rq_timeout",
            Self::PerTryTimeout => "upstream_rq_per_try_timeout",
            Self::Ejected => "outlier_detection.ejections_enforced_total",
            Self::DnsLookup => "update_attempt",
            Self::DnsFailure => "update_failure",
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.load.word(self.of).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RetryBudget;

    #[test]
    fn a_bound_holds_until_somebody_goes() {
        let load = Load::new(CircuitBreakers {
            max_requests: Some(2),
            ..CircuitBreakers::default()
        });
        let first = load.request().expect("room");
        let second = load.request().expect("room");
        assert_eq!(load.request().err(), Some(Full));
        drop(first);
        let third = load.request().expect("room");
        assert!(second.is_some() && third.is_some());
        assert_eq!(load.counted(Count::PendingOverflow), 1);
    }

    #[test]
    fn without_bounds_only_retries_are_counted() {
        let load = Load::new(CircuitBreakers::default());
        assert!(load.request().expect("room").is_none());
        assert!(load.pending().expect("room").is_none());
        assert!(load.connection(false, false).expect("room").is_none());
        let held: Vec<_> = (0..4).map(|_| load.retry()).collect();
        assert_eq!(held.iter().filter(|place| place.is_ok()).count(), 3);
    }

    #[test]
    fn a_budget_grows_with_the_requests_under_way() {
        let load = Load::new(CircuitBreakers {
            retry_budget: Some(RetryBudget {
                budget_percent: 50,
                min_retry_concurrency: 1,
            }),
            ..CircuitBreakers::default()
        });
        let first = load.retry().expect("one always");
        assert_eq!(load.retry().err(), Some(Full));
        let requests: Vec<_> = (0..4).map(|_| load.request()).collect();
        let second = load.retry().expect("half of four");
        assert_eq!(load.retry().err(), Some(Full));
        assert!(first.is_some() && second.is_some() && requests.len() == 4);
    }
}
