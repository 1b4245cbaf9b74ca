//! When something of a request happened, as `%COMMON_DURATION(FROM:TO:UNIT)%` and its
//! shorthands tell it.

use std::time::{Duration, Instant};

/// What is known of a request's times. What has not happened, or is not HTTP's, is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Its head was complete.
    pub begun: Option<Instant>,
    /// The whole request had been handed to the upstream (or there was no body).
    pub request_complete: Option<Instant>,
    /// The connection to the upstream began to be made; for a request that found one there,
    /// long before.
    pub connect_begun: Option<Instant>,
    /// The upstream had let it in.
    pub connected: Option<Instant>,
    /// TLS was settled on it.
    pub secured: Option<Instant>,
    /// It began to be sent to the upstream.
    pub upstream_begun: Option<Instant>,
    /// The head of the upstream's response had come.
    pub response_begun: Option<Instant>,
    /// Something of that response's body had come.
    pub body_begun: Option<Instant>,
    /// All of that response had come.
    pub response_complete: Option<Instant>,
    /// How long the request waited for a connection to the upstream.
    pub pool_ready: Option<Duration>,
}

/// A point in a request's life, by Envoy's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    RequestBegun,
    RequestComplete,
    ConnectBegun,
    Connected,
    Secured,
    UpstreamBegun,
    ResponseBegun,
    BodyBegun,
    ResponseComplete,
    /// The last byte of the response has left for the client.
    Over,
}

/// What a duration is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

// === impl Moment ===

impl Moment {
    /// The names that are known. What the client has sent is known to be complete when it has
    /// been handed on, so that is the end of both.
    pub(super) const NAMES: [(&'static str, Self); 12] = [
        ("DS_RX_BEG", Self::RequestBegun),
        ("DS_RX_END", Self::RequestComplete),
        ("US_CX_BEG", Self::ConnectBegun),
        ("US_CX_END", Self::Connected),
        ("US_HS_END", Self::Secured),
        ("US_TX_BEG", Self::UpstreamBegun),
        ("US_TX_END", Self::RequestComplete),
        ("US_RX_BEG", Self::ResponseBegun),
        ("US_RX_BODY_BEG", Self::BodyBegun),
        ("US_RX_END", Self::ResponseComplete),
        ("DS_TX_BEG", Self::ResponseBegun),
        ("DS_TX_END", Self::Over),
    ];

    pub(super) fn of(name: &str) -> Option<Self> {
        let mut names = Self::NAMES.iter();
        names
            .find(|(known, _)| *known == name)
            .map(|(_, moment)| *moment)
    }

    /// Whether it is noted only where somebody asks.
    pub(super) const fn is_noted(self) -> bool {
        matches!(
            self,
            Self::ConnectBegun
                | Self::Connected
                | Self::Secured
                | Self::BodyBegun
                | Self::ResponseComplete
        )
    }

    fn at(self, times: &Times, over: Duration) -> Option<Instant> {
        match self {
            Self::RequestBegun => times.begun,
            Self::RequestComplete => times.request_complete,
            Self::ConnectBegun => times.connect_begun,
            Self::Connected => times.connected,
            Self::Secured => times.secured,
            Self::UpstreamBegun => times.upstream_begun,
            Self::ResponseBegun => times.response_begun,
            Self::BodyBegun => times.body_begun,
            Self::ResponseComplete => times.response_complete,
            Self::Over => times.begun?.checked_add(over),
        }
    }
}

/// From one to the other. None where either has not happened, or they came the other way.
pub(super) fn between(from: Moment, to: Moment, times: &Times, over: Duration) -> Option<Duration> {
    let (from, to) = (from.at(times, over)?, to.at(times, over)?);
    to.checked_duration_since(from)
}

// === impl Unit ===

impl Unit {
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "ms" => Some(Self::Millis),
            "us" => Some(Self::Micros),
            "ns" => Some(Self::Nanos),
            _ => None,
        }
    }

    pub(super) fn count(self, duration: Duration) -> u64 {
        let count = match self {
            Self::Millis => duration.as_millis(),
            Self::Micros => duration.as_micros(),
            Self::Nanos => duration.as_nanos(),
        };
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}
