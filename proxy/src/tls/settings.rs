//! What the configuration says of TLS, files by name: what is needed to read them again.

use std::path::PathBuf;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use super::identity::Allowed;

/// Of a listener.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Its certificates, the default first. Never empty.
    pub pairs: Vec<PairFiles>,
    /// Which clients it wants to see a certificate of, if any.
    pub verify: Option<Verify>,
    /// The oldest version it speaks.
    pub min_version: MinVersion,
    /// The protocols it offers, best first; empty: it does not take part in ALPN.
    pub alpn: Vec<Vec<u8>>,
    /// How clients may go on with what an earlier connection agreed on.
    pub resumption: Resumption,
    /// Whether a client that asks for a name of no certificate, or for none, is sent away
    /// instead of being shown the default.
    pub refuse_unknown: bool,
}

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone)]
pub struct PairFiles {
    /// Leaf first.
    pub certificate: PathBuf,
    /// Of the leaf.
    pub key: PathBuf,
    /// The names it is shown for, in lower case; `None`: its own DNS names.
    pub names: Option<Vec<String>>,
}

/// How clients are verified.
#[derive(Debug, Clone)]
pub struct Verify {
    /// The authorities they are verified against.
    pub ca: PathBuf,
    /// Certificates that are good no more.
    pub crl: Option<PathBuf>,
    /// Whether one that shows none is sent away.
    pub required: bool,
    /// Who they may be; empty: anybody whom the authorities vouch for.
    pub allowed: Allowed,
}

/// Of a cluster.
#[derive(Debug, Clone, Default)]
pub struct ClientSettings {
    /// The authorities its servers are verified against; `None`: this system's.
    pub ca: Option<PathBuf>,
    /// What is shown to servers that ask.
    pub pair: Option<PairFiles>,
    /// Who its servers may be, where that is not the server name that is asked for.
    pub allowed: Allowed,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// What is offered to servers of HTTP, best first.
    pub alpn: Vec<Vec<u8>>,
    /// Whether to go on with what an earlier connection agreed on.
    pub resumption: bool,
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinVersion {
    /// 1.2, and 1.3.
    #[default]
    Tls12,
    /// 1.3 alone.
    Tls13,
}

/// How a listener lets clients resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resumption {
    /// Clients keep the session, sealed with keys that change every six hours.
    #[default]
    Tickets,
    /// The process keeps the last sessions.
    Store,
    /// Every handshake is a full one.
    Off,
}

// === impl MinVersion ===

impl MinVersion {
    pub(super) const fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => &BOTH,
            Self::Tls13 => &NEWEST,
        }
    }
}

static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
static NEWEST: [&SupportedProtocolVersion; 1] = [&TLS13];
