//! Certificates in use, as the operator is told of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::certificate;

/// A certificate in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Who uses it: `listener web`, `cluster backend`.
    pub owner: String,
    /// What for.
    pub kind: Kind,
    /// The file it is from.
    pub file: PathBuf,
    /// Its subject, as RFC 2253 writes it.
    pub subject: String,
    /// Who vouches for it, likewise.
    pub issuer: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// Its DNS names.
    pub dns_names: Vec<String>,
    /// Its URIs, SPIFFE identities among them.
    pub uris: Vec<String>,
    /// Its IP addresses.
    pub addresses: Vec<String>,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// From when on it is good.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
}

/// What a certificate is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is shown to peers.
    Certificate,
    /// Peers are verified against it.
    Authority,
}

// === impl Listed ===

impl Listed {
    pub(super) fn new(owner: &str, kind: Kind, file: &Path, der: &[u8]) -> Option<Self> {
        let validity = certificate::validity(der)?;
        Some(Self {
            owner: owner.to_owned(),
            kind,
            file: file.to_owned(),
            subject: certificate::subject(der)?,
            issuer: certificate::issuer(der)?,
            serial: certificate::serial(der)?,
            dns_names: certificate::dns_names(der),
            uris: certificate::uri_names(der),
            addresses: certificate::ip_names(der),
            sha256: certificate::digest(der),
            not_before: time(validity.0),
            not_after: time(validity.1),
        })
    }

    /// What it is used for, in a word: `certificate` or `ca`.
    #[must_use]
    pub const fn used_as(&self) -> &'static str {
        match self.kind {
            Kind::Certificate => "certificate",
            Kind::Authority => "ca",
        }
    }

    /// How long it is still good; `None` once it is not.
    #[must_use]
    pub fn left(&self, now: SystemTime) -> Option<Duration> {
        self.not_after.duration_since(now).ok()
    }

    /// Why it is no good at this time, if so.
    #[must_use]
    pub fn concern(&self, now: SystemTime) -> Option<String> {
        let (file, owner) = (self.file.display(), &self.owner);
        let subject = &self.subject;
        let what = match self.kind {
            Kind::Certificate => "certificate",
            Kind::Authority => "authority",
        };
        if self.left(now).is_none() {
            let since = date(self.not_after);
            return Some(format!(
                "{owner}: {file}: the {what} {subject} has expired on {since}; peers will refuse \
                 it: put a new one in its place"
            ));
        }
        (self.not_before > now).then(|| {
            let from = date(self.not_before);
            format!(
                "{owner}: {file}: the {what} {subject} is not valid before {from}; is this \
                 machine's clock right?"
            )
        })
    }
}

/// What is wrong with any of them now.
pub(super) fn concerns(listed: &[Listed]) -> Vec<String> {
    let now = SystemTime::now();
    listed
        .iter()
        .filter_map(|listed| listed.concern(now))
        .collect()
}

/// A date as people and programs read it, in UTC.
#[must_use]
pub fn date(time: SystemTime) -> String {
    let time: chrono::DateTime<chrono::Utc> = time.into();
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Seconds since 1970. Certificates name years from 1950 to 9999.
fn time(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}
