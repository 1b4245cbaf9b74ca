//! What is shown to upstreams, and whom they must be.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use rustls::ClientConfig;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::sign::SingleCertAndKey;

use super::listing::{self, Kind, Listed};
use super::pair::Pair;
use super::renewal::{Digest, Inputs, Outcome};
use super::settings::ClientSettings;
use super::verify::KnownServer;
use super::{Counts, H2, TlsError, Whose, authority, pem, provider};

/// TLS to one cluster: what its files held when they were last good.
#[derive(Debug)]
pub struct ClientTls {
    /// Whose it is, for messages: `cluster backend`.
    owner: String,
    settings: ClientSettings,
    now: ArcSwap<Calling>,
    refused: Mutex<Option<Digest>>,
    /// How its handshakes have ended.
    pub counts: Counts,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP, as the cluster's protocol has it.
    Http,
    /// HTTP/2 and nothing else.
    Http2,
    /// Anything else: without ALPN.
    Raw,
}

#[derive(Debug)]
struct Calling {
    http: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    raw: Arc<ClientConfig>,
    /// What is shown to those that ask, in DER.
    own: Option<Arc<[u8]>>,
    listed: Vec<Listed>,
    files: Digest,
}

// === impl ClientTls ===

impl ClientTls {
    /// TLS of `owner`, with its files as `read` finds them.
    ///
    /// # Errors
    /// Everything that is wrong with them; a system without authorities where no file is named.
    pub fn new(
        owner: String,
        settings: ClientSettings,
        read: &dyn Fn(&Path) -> Result<Bytes, String>,
    ) -> Result<Self, Vec<TlsError>> {
        let calling = Calling::new(&owner, &settings, inputs(&settings, read))?;
        Ok(Self {
            owner,
            settings,
            now: ArcSwap::from_pointee(calling),
            refused: Mutex::default(),
            counts: Counts::default(),
        })
    }

    /// What a connection that is opened now goes by, and the certificate that it shows to
    /// those that ask, in DER.
    #[must_use]
    pub fn now(&self, speaks: Speaks) -> (Arc<ClientConfig>, Option<Arc<[u8]>>) {
        let now = self.now.load();
        let config = match speaks {
            Speaks::Http => &now.http,
            Speaks::Http2 => &now.http2,
            Speaks::Raw => &now.raw,
        };
        (config.clone(), now.own.clone())
    }

    /// What was configured.
    #[must_use]
    pub fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// Its certificate and those of the authorities it trusts, this system's left out.
    #[must_use]
    pub fn listed(&self) -> Vec<Listed> {
        self.now.load().listed.clone()
    }

    /// Whose it is: `cluster backend`.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Every file it is made from.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let pair = self.settings.pair.iter();
        pair.flat_map(|pair| [pair.certificate.clone(), pair.key.clone()])
            .chain(self.settings.ca.clone())
            .collect()
    }

    /// Reads its files again; what is no good leaves it as it was. Connections that are open
    /// stay.
    pub(super) fn renew(&self, read: &dyn Fn(&Path) -> Result<Bytes, String>) -> Outcome {
        let inputs = inputs(&self.settings, read);
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = inputs.digest();
        if digest == self.now.load().files {
            *refused = None;
            return Outcome::Same;
        }
        match Calling::new(&self.owner, &self.settings, inputs) {
            Ok(calling) => {
                *refused = None;
                self.now.store(Arc::new(calling));
                Outcome::Renewed
            }
            Err(errors) => {
                let new = refused.replace(digest) != Some(digest);
                let told = errors.iter().map(|error| self.told(error)).collect();
                Outcome::Refused { told, new }
            }
        }
    }

    pub(super) fn concerns(&self) -> Vec<String> {
        listing::concerns(&self.now.load().listed)
    }

    fn told(&self, error: &TlsError) -> String {
        let pair = self.settings.pair.as_ref();
        let shown = |path: &PathBuf| path.display().to_string();
        let file = match error.whose {
            Whose::Both(_) => pair.map(|pair| {
                let key = pair.key.display();
                format!("{} and {key}", pair.certificate.display())
            }),
            Whose::Key(_) => pair.map(|pair| shown(&pair.key)),
            Whose::Certificate(_) => pair.map(|pair| shown(&pair.certificate)),
            _ => self.settings.ca.as_ref().map(shown),
        };
        format!("{}: {}", file.unwrap_or_default(), error.what)
    }
}

// === impl Calling ===

impl Calling {
    fn new(owner: &str, settings: &ClientSettings, inputs: Inputs) -> Result<Self, Vec<TlsError>> {
        let files = inputs.digest();
        let mut errors = inputs.unreadable();
        let mut listed = Vec::new();
        let mut own = None;
        if let Some(pair) = &settings.pair {
            let certificate = inputs.get(Whose::Certificate(0));
            let key = inputs.get(Whose::Key(0));
            match Pair::new(0, pair.certificate.clone(), certificate, key) {
                Ok(pair) => {
                    listed.extend(Listed::new(
                        owner,
                        Kind::Certificate,
                        &pair.file,
                        &pair.leaf,
                    ));
                    own = Some(pair);
                }
                Err(more) => errors.extend(more),
            }
        }
        let roots = match (&settings.ca, inputs.get(Whose::Ca)) {
            (Some(file), Some(ca)) => {
                for der in pem::certificates(ca, Whose::Ca).unwrap_or_default() {
                    listed.extend(Listed::new(owner, Kind::Authority, file, &der));
                }
                authority::named_roots(ca).map(Some)
            }
            (Some(_), None) => Ok(None),
            (None, _) => authority::system_roots().map(Some),
        };
        let roots = roots.unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        let Some(roots) = roots.filter(|_| errors.is_empty()) else {
            return Err(errors);
        };
        let failed = |error: String| vec![TlsError::new(Whose::Ca, error)];
        let roots = Arc::new(roots);
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(settings.min_version.versions())
            .map_err(|error| failed(error.to_string()))?;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider())
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let builder = if settings.allowed.is_everybody() {
            builder.with_webpki_verifier(verifier)
        } else {
            let known = KnownServer {
                roots,
                signatures: verifier,
                allowed: settings.allowed.clone(),
            };
            // Custom, not dangerous: the chain is webpki's to judge there too.
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(known))
        };
        let mut http = match &own {
            Some(pair) => {
                let shown = SingleCertAndKey::from((*pair.certified).clone());
                builder.with_client_cert_resolver(Arc::new(shown))
            }
            None => builder.with_no_client_auth(),
        };
        if !settings.resumption {
            http.resumption = Resumption::disabled();
        }
        http.alpn_protocols.clone_from(&settings.alpn);
        // They share what is known of earlier sessions: it was verified by the same.
        let with = |alpn: Vec<Vec<u8>>| {
            let mut config = http.clone();
            config.alpn_protocols = alpn;
            Arc::new(config)
        };
        Ok(Self {
            http2: with(vec![H2.to_vec()]),
            raw: with(Vec::new()),
            http: Arc::new(http),
            own: own.map(|pair| pair.leaf),
            listed,
            files,
        })
    }
}

fn inputs(settings: &ClientSettings, read: &dyn Fn(&Path) -> Result<Bytes, String>) -> Inputs {
    let mut inputs = Inputs::default();
    if let Some(pair) = &settings.pair {
        inputs.read(Whose::Certificate(0), &pair.certificate, read);
        inputs.read(Whose::Key(0), &pair.key, read);
    }
    if let Some(ca) = &settings.ca {
        inputs.read(Whose::Ca, ca, read);
    }
    inputs
}
