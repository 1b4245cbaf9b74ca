//! When something of a request happened, as `%COMMON_DURATION(FROM:TO:UNIT)%` and its
//! shorthands tell it.

use std::time::Duration;

/// What is known of a request's times, all since its head was complete. What has not
/// happened, or is not HTTP's, is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// The whole request had been handed to the upstream (or there was no body).
    pub request_complete: Option<Duration>,
    /// It began to be sent to the upstream.
    pub upstream_begun: Option<Duration>,
    /// The head of the upstream's response had come.
    pub response_begun: Option<Duration>,
    /// How long the request waited for a connection to the upstream.
    pub pool_ready: Option<Duration>,
}

/// A point in a request's life, by Envoy's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    RequestBegun,
    RequestComplete,
    UpstreamBegun,
    ResponseBegun,
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
    pub(super) const NAMES: [(&'static str, Self); 7] = [
        ("DS_RX_BEG", Self::RequestBegun),
        ("DS_RX_END", Self::RequestComplete),
        ("US_TX_BEG", Self::UpstreamBegun),
        ("US_TX_END", Self::RequestComplete),
        ("US_RX_BEG", Self::ResponseBegun),
        ("DS_TX_BEG", Self::ResponseBegun),
        ("DS_TX_END", Self::Over),
    ];

    pub(super) fn of(name: &str) -> Option<Self> {
        let mut names = Self::NAMES.iter();
        names
            .find(|(known, _)| *known == name)
            .map(|(_, moment)| *moment)
    }

    fn at(self, times: &Times, over: Duration) -> Option<Duration> {
        match self {
            Self::RequestBegun => Some(Duration::ZERO),
            Self::RequestComplete => times.request_complete,
            Self::UpstreamBegun => times.upstream_begun,
            Self::ResponseBegun => times.response_begun,
            Self::Over => Some(over),
        }
    }
}

/// From one to the other. None where either has not happened, or they came the other way.
pub(super) fn between(from: Moment, to: Moment, times: &Times, over: Duration) -> Option<Duration> {
    to.at(times, over)?.checked_sub(from.at(times, over)?)
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
