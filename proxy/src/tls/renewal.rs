//! Certificates, keys and authorities are read from their files again while they are in use:
//! when the operator asks ([`Renewal::renew`]), and when a file has changed.
//!
//! Each listener and cluster is renewed by itself and whole: all of its files are good, or it
//! stays as it was and the log says which is not. Handshakes that have begun, connections and
//! what is pooled are not touched.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::watch::Watch;
use super::{ClientTls, Listed, ServerTls, TlsError, Whose};
use crate::config::check::read_again;

/// SHA-256 of what was read.
pub(super) type Digest = [u8; 32];

/// Everything of a configuration that has TLS.
#[derive(Debug, Clone, Default)]
pub struct Holders {
    /// Of listeners.
    pub servers: Vec<Arc<ServerTls>>,
    /// Of clusters, and of calls to servers by their URL.
    pub clients: Vec<Arc<ClientTls>>,
}

/// Keeps the TLS of the running configuration new.
#[derive(Debug, Default)]
pub struct Renewal {
    holders: Mutex<Holders>,
    /// Held while files are read: one at a time.
    renewing: Mutex<()>,
    watch: Mutex<Option<Arc<Watch>>>,
}

/// The files of one holder as they were read.
#[derive(Debug, Default)]
pub(super) struct Inputs(Vec<(Whose, Result<Bytes, String>)>);

/// What came of reading again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The files hold what they held.
    Same,
    Renewed,
    Refused {
        /// One line for each mistake, beginning with the file.
        told: Vec<String>,
        /// Whether it has not been told before.
        new: bool,
    },
}

// === impl Holders ===

impl Holders {
    /// Every certificate in use.
    #[must_use]
    pub fn listed(&self) -> Vec<Listed> {
        let servers = self.servers.iter().flat_map(|server| server.listed());
        servers
            .chain(self.clients.iter().flat_map(|client| client.listed()))
            .collect()
    }

    /// Tells the log of certificates that have expired, are not valid yet or are not for the
    /// names they are shown for.
    pub fn tell_concerns(&self) {
        let servers = self.servers.iter().flat_map(|server| server.concerns());
        let clients = self.clients.iter().flat_map(|client| client.concerns());
        for concern in servers.chain(clients) {
            tracing::warn!("{concern}");
        }
    }

    fn files(&self) -> BTreeSet<PathBuf> {
        let servers = self.servers.iter().flat_map(|server| server.files());
        servers
            .chain(self.clients.iter().flat_map(|client| client.files()))
            .collect()
    }

    /// `asked`: whatever is wrong is told, even if it has been told before.
    fn renew(&self, asked: bool) {
        let read = |path: &Path| read_again(path);
        for server in &self.servers {
            let concerns = || server.concerns();
            tell(server.owner(), server.renew(&read), asked, concerns);
        }
        for client in &self.clients {
            let concerns = || client.concerns();
            tell(client.owner(), client.renew(&read), asked, concerns);
        }
    }
}

fn tell(owner: &str, outcome: Outcome, asked: bool, concerns: impl Fn() -> Vec<String>) {
    match outcome {
        Outcome::Same => {}
        Outcome::Renewed => {
            tracing::info!("{owner}: certificates were read again");
            for concern in concerns() {
                tracing::warn!("{concern}");
            }
        }
        Outcome::Refused { told, new } => {
            if !new && !asked {
                return;
            }
            for told in told {
                tracing::error!("{owner}: {told}");
            }
            tracing::error!("{owner}: the certificates in use stay");
        }
    }
}

// === impl Renewal ===

impl Renewal {
    /// For a configuration that begins to run.
    #[must_use]
    pub fn start(holders: Holders) -> Arc<Self> {
        let renewal = Arc::new(Self::default());
        renewal.follow(holders);
        renewal
    }

    /// Another configuration runs now.
    pub fn follow(self: &Arc<Self>, holders: Holders) {
        let files = holders.files();
        *self.held() = holders;
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if watch.is_none() && !files.is_empty() {
            *watch = self.watching();
        }
        if let Some(watch) = &*watch {
            watch.follow(files);
        }
    }

    /// Reads all files again. It blocks, as reading files does.
    pub fn renew(&self) {
        self.renew_as(true);
    }

    fn renew_as(&self, asked: bool) {
        let _one_at_a_time = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        let holders = self.held().clone();
        holders.renew(asked);
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread that sleeps until one of the files changes.
    fn watching(self: &Arc<Self>) -> Option<Arc<Watch>> {
        let failed = |error: &std::io::Error| {
            tracing::warn!("certificate files are not watched, SIGHUP reads them: {error}");
        };
        let watch = Watch::new().map_err(|error| failed(&error)).ok()?;
        let watch = Arc::new(watch);
        let (watched, renewal) = (watch.clone(), Arc::downgrade(self));
        let spawned = std::thread::Builder::new()
            .name("certificates".to_owned())
            .spawn(move || {
                loop {
                    if let Err(error) = watched.wait() {
                        tracing::warn!("certificate files are watched no more: {error}");
                        return;
                    }
                    let Some(renewal) = renewal.upgrade() else {
                        return;
                    };
                    renewal.renew_as(false);
                }
            });
        match spawned {
            Ok(_) => Some(watch),
            Err(error) => {
                failed(&error);
                None
            }
        }
    }
}

// === impl Inputs ===

impl Inputs {
    pub(super) fn read(
        &mut self,
        whose: Whose,
        path: &Path,
        read: &dyn Fn(&Path) -> Result<Bytes, String>,
    ) {
        self.0.push((whose, read(path)));
    }

    pub(super) fn get(&self, whose: Whose) -> Option<&Bytes> {
        let mut all = self.0.iter();
        let (_, bytes) = all.find(|(other, _)| *other == whose)?;
        bytes.as_ref().ok()
    }

    /// What could not be read.
    pub(super) fn unreadable(&self) -> Vec<TlsError> {
        self.0
            .iter()
            .filter_map(|(whose, read)| {
                let why = read.as_ref().err()?;
                let what = format!("this file cannot be read: {why}; check its permissions");
                Some(TlsError {
                    is_unread: true,
                    ..TlsError::new(*whose, what)
                })
            })
            .collect()
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest_of(|_| true)
    }

    pub(super) fn digest_of(&self, wanted: impl Fn(Whose) -> bool) -> Digest {
        let mut digest = Sha256::new();
        for (_, read) in self.0.iter().filter(|(whose, _)| wanted(*whose)) {
            let (mark, bytes) = match read {
                Ok(bytes) => (0, &bytes[..]),
                Err(why) => (1, why.as_bytes()),
            };
            digest.update([mark]);
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        }
        digest.finalize().into()
    }
}
