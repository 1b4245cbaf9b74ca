//! How a cluster's load is spread, bounded and kept from servers that fail.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How an endpoint is chosen, and when the unhealthy ones are too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// Default round robin.
    pub policy: LbPolicy,
    /// While fewer endpoints than this share are usable, in percent, all are used. Default 0.
    pub panic_threshold: u8,
}

/// Which endpoint comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LbPolicy {
    /// Each in turn, by weight.
    #[default]
    RoundRobin,
    /// Of two drawn by weight, the one with fewer requests of this worker under way.
    LeastRequest,
    /// Drawn by weight.
    Random,
    /// By the request's hash, on Ketama's ring.
    RingHash,
    /// By the request's hash, in Maglev's table.
    Maglev,
}

/// Bounds of one cluster, over all workers. `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitBreakers {
    /// Connections. Each worker may have one to each endpoint whatever the bound.
    pub max_connections: Option<u64>,
    /// Requests that wait for a connection.
    pub max_pending_requests: Option<u64>,
    /// Requests under way.
    pub max_requests: Option<u64>,
    /// Retries under way. Default 3. Not used beside [`CircuitBreakers::retry_budget`].
    pub max_retries: Option<u64>,
    /// The bound on retries, as a share of requests.
    pub retry_budget: Option<RetryBudget>,
}

/// How many retries may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// Of the requests under way, in percent, 0..=100. Default 20.
    pub budget_percent: u8,
    /// So many always. Default 3.
    pub min_retry_concurrency: u64,
}

/// When an endpoint is left out for what it has answered (Envoy's fields and meaning).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlierDetection {
    /// Answers of 5xx in a row, and requests without an answer. Default 5.
    pub consecutive_5xx: u32,
    /// Answers of 502, 503 or 504 in a row, and requests without an answer. Default 5.
    pub consecutive_gateway_failure: u32,
    /// Requests without an answer in a row. Default 5.
    pub consecutive_local_origin_failure: u32,
    /// Whether requests without an answer count by themselves. Default false.
    pub split_external_local_origin_errors: bool,
    /// How often success rates are compared and ejections reconsidered. Default 10 s.
    pub interval: Duration,
    /// The first ejection's length; each further one is as much longer. Default 30 s.
    pub base_ejection_time: Duration,
    /// The longest ejection. Default 5 min.
    pub max_ejection_time: Duration,
    /// Most endpoints that are ejected at a time, in percent. Default 10.
    pub max_ejection_percent: u8,
    /// One may be ejected whatever the share. Default false.
    pub always_eject_one_host: bool,
    /// Chance, in percent, that [`OutlierDetection::consecutive_5xx`] ejects. Default 100.
    pub enforcing_consecutive_5xx: u8,
    /// The same of gateway failures. Default 0.
    pub enforcing_consecutive_gateway_failure: u8,
    /// The same of requests without an answer. Default 100.
    pub enforcing_consecutive_local_origin_failure: u8,
    /// The same of success rates. Default 100.
    pub enforcing_success_rate: u8,
    /// Endpoints with enough requests that there must be. Default 5.
    pub success_rate_minimum_hosts: u32,
    /// What is enough, in an interval. Default 100.
    pub success_rate_request_volume: u64,
    /// How many thousandths of a standard deviation below the mean is too low. Default 1900.
    pub success_rate_stdev_factor: u32,
}

/// Active health checking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is tried.
    pub probe: Probe,
    /// From the end of a round of checks to the next. Default 5 s.
    pub interval: Duration,
    /// Of one check, connecting included. Default 1 s.
    pub timeout: Duration,
    /// Good checks in a row that make an endpoint healthy again. Default 1.
    pub healthy_threshold: usize,
    /// Bad ones that make it unhealthy. Default 1.
    pub unhealthy_threshold: usize,
}

/// What a check tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A connection, TLS included.
    Connect,
    /// A GET.
    Http {
        /// Begins with `/`.
        path: String,
        /// Default: the cluster's name.
        host: Option<String>,
        /// Statuses that are good. Default 200.
        expected: Vec<RangeInclusive<u16>>,
    },
    /// gRPC's health protocol.
    Grpc {
        /// Which service; empty is the whole server. At most 127 bytes.
        service: String,
    },
}

// === impl LbPolicy ===

impl LbPolicy {
    /// Whether it goes by a hash of the request.
    #[must_use]
    pub const fn hashes(self) -> bool {
        matches!(self, Self::RingHash | Self::Maglev)
    }
}

impl Default for CircuitBreakers {
    fn default() -> Self {
        Self {
            max_connections: None,
            max_pending_requests: None,
            max_requests: None,
            max_retries: Some(3),
            retry_budget: None,
        }
    }
}
