//! What went wrong with a request, in Envoy's letters.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of response flags. Names and bits are Envoy's, so that dashboards and filters
/// that read `response.flags` carry over; the two of our own use bits that Envoy is far
/// from.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u64);

// === impl Flags ===

impl Flags {
    /// UH: no endpoint, or none that is healthy.
    pub const NO_HEALTHY_UPSTREAM: Self = Self(1 << 1);
    /// UT: the route's timeout ended the request.
    pub const UPSTREAM_TIMEOUT: Self = Self(1 << 2);
    /// LR: this proxy reset the stream.
    pub const LOCAL_RESET: Self = Self(1 << 3);
    /// UR: the upstream reset the stream.
    pub const UPSTREAM_REMOTE_RESET: Self = Self(1 << 4);
    /// UF: no connection to the upstream could be made.
    pub const UPSTREAM_CONNECTION_FAILURE: Self = Self(1 << 5);
    /// UC: the upstream closed or reset the connection.
    pub const UPSTREAM_CONNECTION_TERMINATION: Self = Self(1 << 6);
    /// UO: a circuit breaker is open.
    pub const UPSTREAM_OVERFLOW: Self = Self(1 << 7);
    /// NR: no route.
    pub const NO_ROUTE: Self = Self(1 << 8);
    /// DC: the client went away.
    pub const DOWNSTREAM_CONNECTION_TERMINATION: Self = Self(1 << 14);
    /// URX: all retries are used up.
    pub const UPSTREAM_RETRY_LIMIT_EXCEEDED: Self = Self(1 << 15);
    /// SI: nothing moved on the stream for too long.
    pub const STREAM_IDLE_TIMEOUT: Self = Self(1 << 16);
    /// DPE: the client's request was not valid HTTP.
    pub const DOWNSTREAM_PROTOCOL_ERROR: Self = Self(1 << 18);
    /// UPE: the upstream's response was not valid HTTP.
    pub const UPSTREAM_PROTOCOL_ERROR: Self = Self(1 << 23);
    /// BL, ours: a body went over its limit.
    pub const BODY_LIMIT: Self = Self(1 << 48);
    /// WF, ours: a filter failed.
    pub const WASM_FAILURE: Self = Self(1 << 49);

    /// No flag at all.
    pub const fn none() -> Self {
        Self(0)
    }

    /// Whether no flag is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The value of the `response.flags` property: Envoy's bits, and ours above them.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The letters of the flags that are set, in the order of their bits.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.set().map(|(name, _)| name)
    }

    /// Their names in full, likewise.
    pub fn long_names(self) -> impl Iterator<Item = &'static str> {
        self.set().map(|(_, name)| name)
    }

    /// The letters of the flag that has this bit, if one does.
    pub(crate) fn letters(bit: u32) -> Option<&'static str> {
        let mut known = NAMES.iter();
        known
            .find(|(flag, ..)| flag.0 == 1 << bit)
            .map(|(_, letters, _)| *letters)
    }

    fn set(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        (NAMES.iter())
            .filter(move |(flag, ..)| self.contains(*flag))
            .map(|&(_, name, long)| (name, long))
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Names with commas between them, `-` for none: as in the log.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (at, name) in self.names().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}

const NAMES: [(Flags, &str, &str); 15] = [
    (Flags::NO_HEALTHY_UPSTREAM, "UH", "NoHealthyUpstream"),
    (Flags::UPSTREAM_TIMEOUT, "UT", "UpstreamRequestTimeout"),
    (Flags::LOCAL_RESET, "LR", "LocalReset"),
    (Flags::UPSTREAM_REMOTE_RESET, "UR", "UpstreamRemoteReset"),
    (
        Flags::UPSTREAM_CONNECTION_FAILURE,
        "UF",
        "UpstreamConnectionFailure",
    ),
    (
        Flags::UPSTREAM_CONNECTION_TERMINATION,
        "UC",
        "UpstreamConnectionTermination",
    ),
    (Flags::UPSTREAM_OVERFLOW, "UO", "UpstreamOverflow"),
    (Flags::NO_ROUTE, "NR", "NoRouteFound"),
    (
        Flags::DOWNSTREAM_CONNECTION_TERMINATION,
        "DC",
        "DownstreamConnectionTermination",
    ),
    (
        Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED,
        "URX",
        "UpstreamRetryLimitExceeded",
    ),
    (Flags::STREAM_IDLE_TIMEOUT, "SI", "StreamIdleTimeout"),
    (
        Flags::DOWNSTREAM_PROTOCOL_ERROR,
        "DPE",
        "DownstreamProtocolError",
    ),
    (
        Flags::UPSTREAM_PROTOCOL_ERROR,
        "UPE",
        "UpstreamProtocolError",
    ),
    (Flags::BODY_LIMIT, "BL", "BodyLimit"),
    (Flags::WASM_FAILURE, "WF", "WasmFailure"),
];
