//! What is known of a client's connection, once, for all its requests.

use std::net::SocketAddr;

use http::HeaderValue;

use crate::tls::Session;

/// One accepted connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Number of the connection in this process, for logs and the property `connection.id`.
    pub(crate) id: u64,
    /// Position of its listener in the configuration.
    pub(crate) listener: usize,
    /// Who connected; unix sockets have no address.
    pub(crate) peer: Option<SocketAddr>,
    /// Who connected, as `x-forwarded-for` names it.
    pub(crate) forwarded_for: Option<HeaderValue>,
    /// The address it came in on.
    pub(crate) local: Option<SocketAddr>,
    /// Its TLS session, if any.
    pub(crate) tls: Option<Session>,
}

// === impl Connection ===

impl Connection {
    /// `https` or `http`.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}
