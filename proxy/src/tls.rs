//! TLS both ways, straight on rustls.
//!
//! Three rules hold here and nowhere else has to think of them: the *ring* provider is
//! named explicitly (a process-wide default could be set by any dependency), peers are
//! always verified, and a server name is never empty (some connectors read an empty name
//! as "do not verify").
//!
//! Everything is checked when it is loaded: a key that does not belong to its certificate
//! is a configuration error, not a handshake failure an hour later. [`TlsError::whose`]
//! says which setting a message belongs to.
//!
//! What a listener ([`ServerTls`]) or cluster ([`ClientTls`]) shows and trusts can be read
//! from its files again while it serves ([`renewal`]): a handshake takes what is there when
//! it begins, and keeps it.

mod authority;
pub mod certificate;
mod client;
mod counts;
pub mod forwarded;
pub(crate) mod hello;
pub mod identity;
mod listing;
mod names;
mod pair;
mod pem;
pub mod renewal;
mod server;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod verify;
mod watch;

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;

pub use client::{ClientTls, Speaks};
pub use counts::Counts;
pub use listing::{Kind, Listed, date};
pub use server::{ServerTls, Serving};
pub use session::{Session, version_text};
pub use settings::{ClientSettings, MinVersion, PairFiles, Resumption, ServerSettings, Verify};

/// HTTP/2 as ALPN spells it.
pub const H2: &[u8] = b"h2";
/// HTTP/1.1 as ALPN spells it.
pub const HTTP1: &[u8] = b"http/1.1";

/// Why something cannot be used for TLS: what is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError {
    /// One sentence: what is wrong; what to do.
    pub what: String,
    /// Which input it is about.
    pub whose: Whose,
    /// Its file cannot be read, which whoever looks for that knows already.
    pub is_unread: bool,
}

/// The input that a [`TlsError`] is about. Certificates of a listener are counted from 0, its
/// default first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Certificate and key, which do not fit each other.
    Both(usize),
    /// The certificate authorities a peer is verified against.
    Ca,
    /// A certificate (chain).
    Certificate(usize),
    /// The list of certificates that have been revoked.
    Crl,
    /// The private key of a certificate.
    Key(usize),
    /// The names a certificate is for.
    Names(usize),
    /// The name of a server.
    Name,
}

/// The name that is sent to a server and that its certificate must be for: a DNS name or
/// an IP address.
///
/// # Errors
/// An empty name, or text that is neither.
pub fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    if name.is_empty() {
        return Err(TlsError::new(
            Whose::Name,
            "the server name is empty; give the name the upstream's certificate is issued for \
             (a certificate cannot be verified without one)",
        ));
    }
    ServerName::try_from(name.to_owned()).map_err(|_| {
        let what = format!(
            "`{name}` is not a server name; give a DNS name or an IP address, without scheme, \
             port or wildcard"
        );
        TlsError::new(Whose::Name, what)
    })
}

// === impl TlsError ===

impl TlsError {
    fn new(whose: Whose, what: impl Into<String>) -> Self {
        let what = what.into();
        Self {
            what,
            whose,
            is_unread: false,
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for TlsError {}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
