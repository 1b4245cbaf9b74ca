//! Servers of clusters, by address or by name, and how names become addresses.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// One server of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// 1..=1000. Default 1.
    pub weight: u32,
}

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointAddress {
    /// There.
    Fixed(SocketAddr),
    /// Where DNS says, at each of its addresses.
    Named {
        /// As it is written.
        host: String,
        /// 1..=65535.
        port: u16,
    },
}

/// Which addresses of a name are used, by Envoy's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// IPv4, and IPv6 where there is no other.
    #[default]
    V4Preferred,
    /// IPv6, and IPv4 where there is no other.
    Auto,
    /// IPv4 alone.
    V4Only,
    /// IPv6 alone.
    V6Only,
    /// Both.
    All,
}

/// How names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Who is asked; nobody here: those in `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// For one name, all attempts together. Default 5 s.
    pub timeout: Duration,
    /// Addresses are good for no less than this, whatever the answer says. Default 5 s.
    pub min_ttl: Duration,
    /// And for no more than this. Default 5 min.
    pub max_ttl: Duration,
}

// === impl Endpoint ===

impl Endpoint {
    /// Its host, where that has to be looked up.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.address {
            EndpointAddress::Fixed(_) => None,
            EndpointAddress::Named { host, .. } => Some(host),
        }
    }
}

// === impl EndpointAddress ===

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(address) => address.fmt(f),
            Self::Named { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

// === impl Dns ===

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_secs(300),
        }
    }
}
