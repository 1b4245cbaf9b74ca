//! When a request is sent again, and what its endpoint is chosen by.

use std::ops::BitOr;
use std::time::Duration;

use http::{HeaderName, StatusCode};

/// When and how often a request is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Conditions, any of which is enough.
    pub on: RetryOn,
    /// Most retries. Default 1.
    pub num_retries: u32,
    /// How long one attempt may take to bring response headers. Default: as long as the
    /// route has.
    pub per_try_timeout: Option<Duration>,
    /// Of the jittered exponential back-off. Default 25 ms.
    pub base_interval: Duration,
    /// Its longest interval. Default ten times the base.
    pub max_interval: Duration,
    /// For [`RetryOn::RETRIABLE_STATUS_CODES`].
    pub retriable_status_codes: Vec<StatusCode>,
    /// For [`RetryOn::RETRIABLE_HEADERS`]: response headers.
    pub retriable_headers: Vec<HeaderName>,
    /// Longest request body that can be sent again, in bytes. Default 64 KiB.
    pub buffer_limit: usize,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            on: RetryOn::default(),
            num_retries: 1,
            per_try_timeout: None,
            base_interval: Duration::from_millis(25),
            max_interval: Duration::from_millis(250),
            retriable_status_codes: Vec::new(),
            retriable_headers: Vec::new(),
            buffer_limit: 64 << 10,
        }
    }
}

/// A set of conditions of Envoy's `retry_on` and `x-envoy-retry-grpc-on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryOn(u32);

/// One part of what a request's endpoint is chosen by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashPolicy {
    /// What is hashed.
    pub of: HashOf,
    /// If it is there, the rest of the list is not looked at.
    pub terminal: bool,
}

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOf {
    /// The values of a request header.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(String),
    /// The client's address, without its port.
    SourceIp,
}

/// Who is told which attempt a request is, in `x-envoy-attempt-count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttemptCount {
    /// The upstream.
    pub request: bool,
    /// The client.
    pub response: bool,
}

// === impl RetryOn ===

impl RetryOn {
    /// 5xx, or no response at all.
    pub const SERVER_ERROR: Self = Self(1);
    /// 502, 503 or 504, or no response at all.
    pub const GATEWAY_ERROR: Self = Self(1 << 1);
    /// No response at all.
    pub const RESET: Self = Self(1 << 2);
    /// No connection.
    pub const CONNECT_FAILURE: Self = Self(1 << 3);
    /// 409.
    pub const RETRIABLE_4XX: Self = Self(1 << 4);
    /// The upstream has reset the stream with `REFUSED_STREAM`.
    pub const REFUSED_STREAM: Self = Self(1 << 5);
    /// A status that is listed.
    pub const RETRIABLE_STATUS_CODES: Self = Self(1 << 6);
    /// A response header that is listed.
    pub const RETRIABLE_HEADERS: Self = Self(1 << 7);
    /// No response at all, and the request was not on its way yet.
    pub const RESET_BEFORE_REQUEST: Self = Self(1 << 8);
    /// The response has `x-envoy-ratelimited`.
    pub const ENVOY_RATELIMITED: Self = Self(1 << 9);

    /// The words of `retry_on`.
    const WORDS: [(&'static str, Self); 10] = [
        ("5xx", Self::SERVER_ERROR),
        ("gateway-error", Self::GATEWAY_ERROR),
        ("reset", Self::RESET),
        ("connect-failure", Self::CONNECT_FAILURE),
        ("retriable-4xx", Self::RETRIABLE_4XX),
        ("refused-stream", Self::REFUSED_STREAM),
        ("retriable-status-codes", Self::RETRIABLE_STATUS_CODES),
        ("retriable-headers", Self::RETRIABLE_HEADERS),
        ("reset-before-request", Self::RESET_BEFORE_REQUEST),
        ("envoy-ratelimited", Self::ENVOY_RATELIMITED),
    ];
    /// Words of gRPC, and the code each means.
    const GRPC: [(&'static str, u32); 5] = [
        ("cancelled", 1),
        ("deadline-exceeded", 4),
        ("internal", 13),
        ("resource-exhausted", 8),
        ("unavailable", 14),
    ];

    /// The condition of that name, of HTTP or of gRPC.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let http = Self::WORDS.iter().find(|(name, _)| *name == word);
        http.map(|(_, on)| *on).or_else(|| Self::parse_grpc(word))
    }

    /// The condition of gRPC of that name.
    #[must_use]
    pub fn parse_grpc(word: &str) -> Option<Self> {
        let grpc = Self::GRPC.iter().find(|(name, _)| *name == word);
        grpc.map(|(_, code)| Self::grpc(*code))
    }

    /// Every word there is.
    pub fn words() -> impl Iterator<Item = &'static str> {
        let http = Self::WORDS.iter().map(|(name, _)| *name);
        http.chain(Self::GRPC.iter().map(|(name, _)| *name))
    }

    /// The condition that a response without a body has this status of gRPC, 0..=16.
    #[must_use]
    pub const fn grpc(code: u32) -> Self {
        match code {
            1 | 4 | 8 | 13 | 14 => Self(1 << (16 + code - 1)),
            _ => Self(0),
        }
    }

    /// Whether any condition of `other` is set.
    #[must_use]
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether no condition is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for RetryOn {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
