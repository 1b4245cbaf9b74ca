//! What a listener shows its clients and asks of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use rustls::crypto::ring::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
    WebPkiClientVerifier,
};
use rustls::{RootCertStore, ServerConfig};

use super::listing::{self, Kind, Listed};
use super::names::Names;
use super::pair::Pair;
use super::renewal::{Digest, Inputs, Outcome};
use super::settings::{Resumption, ServerSettings, Verify};
use super::verify::KnownClient;
use super::{Counts, TlsError, Whose, authority, pem, provider};

/// Sessions kept for clients that come back, where they are kept here.
const STORED_SESSIONS: usize = 20_480;

/// TLS of one listener: what its files held when they were last good.
#[derive(Debug)]
pub struct ServerTls {
    /// Whose it is, for messages: `listener web`.
    owner: String,
    settings: ServerSettings,
    now: ArcSwap<Serving>,
    /// What was no good when it was last read, so that it is told once.
    refused: Mutex<Option<Digest>>,
    /// How its handshakes have ended.
    pub counts: Counts,
}

/// What handshakes go by, as long as they have begun with it.
#[derive(Debug)]
pub struct Serving {
    /// Ready to use.
    pub config: Arc<ServerConfig>,
    names: Arc<Names>,
    listed: Vec<Listed>,
    sessions: Sessions,
    /// Of all files.
    files: Digest,
    /// Of those that say which clients are good: whoever resumes was verified by the same.
    trust: Digest,
}

/// How clients resume.
#[derive(Debug, Clone)]
struct Sessions {
    ticketer: Option<Arc<dyn ProducesTickets>>,
    storage: Arc<dyn StoresServerSessions>,
}

// === impl ServerTls ===

impl ServerTls {
    /// TLS of `owner`, with its files as `read` finds them.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn new(
        owner: String,
        settings: ServerSettings,
        read: &dyn Fn(&Path) -> Result<Bytes, String>,
    ) -> Result<Self, Vec<TlsError>> {
        let inputs = inputs(&settings, read);
        let serving = Serving::new(&owner, &settings, inputs, None)?;
        Ok(Self {
            owner,
            settings,
            now: ArcSwap::from_pointee(serving),
            refused: Mutex::default(),
            counts: Counts::default(),
        })
    }

    /// What a handshake that begins now goes by.
    #[must_use]
    pub fn now(&self) -> Arc<Serving> {
        self.now.load_full()
    }

    /// What was configured.
    #[must_use]
    pub fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    /// Its certificates and those of the authorities it trusts.
    #[must_use]
    pub fn listed(&self) -> Vec<Listed> {
        self.now.load().listed.clone()
    }

    /// Every file it is made from.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let pairs = self.settings.pairs.iter();
        let verify = self.settings.verify.iter();
        pairs
            .flat_map(|pair| [pair.certificate.clone(), pair.key.clone()])
            .chain(verify.flat_map(|verify| {
                [Some(verify.ca.clone()), verify.crl.clone()]
                    .into_iter()
                    .flatten()
            }))
            .collect()
    }

    /// Reads its files again; what is no good leaves it as it was.
    pub(super) fn renew(&self, read: &dyn Fn(&Path) -> Result<Bytes, String>) -> Outcome {
        let inputs = inputs(&self.settings, read);
        let before = self.now.load_full();
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = inputs.digest();
        if digest == before.files {
            *refused = None;
            return Outcome::Same;
        }
        match Serving::new(&self.owner, &self.settings, inputs, Some(&before)) {
            Ok(serving) => {
                *refused = None;
                self.now.store(Arc::new(serving));
                Outcome::Renewed
            }
            Err(errors) => {
                let new = refused.replace(digest) != Some(digest);
                let told = errors.iter().map(|error| self.told(error)).collect();
                Outcome::Refused { told, new }
            }
        }
    }

    /// For whom it is: `listener web`.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    fn told(&self, error: &TlsError) -> String {
        let pair = |index: usize| self.settings.pairs.get(index);
        let verify = self.settings.verify.as_ref();
        let file = match error.whose {
            Whose::Both(index) => pair(index).map(|pair| {
                let key = pair.key.display();
                format!("{} and {key}", pair.certificate.display())
            }),
            Whose::Certificate(index) | Whose::Names(index) => {
                pair(index).map(|pair| pair.certificate.display().to_string())
            }
            Whose::Key(index) => pair(index).map(|pair| pair.key.display().to_string()),
            Whose::Ca => verify.map(|verify| verify.ca.display().to_string()),
            Whose::Crl => {
                let crl = verify.and_then(|verify| verify.crl.as_ref());
                crl.map(|crl| crl.display().to_string())
            }
            Whose::Name => None,
        };
        format!("{}: {}", file.unwrap_or_default(), error.what)
    }

    /// What should be known of its certificates beside that they can be used.
    pub(super) fn concerns(&self) -> Vec<String> {
        let serving = self.now.load();
        let mut concerns = listing::concerns(&serving.listed);
        for (pair, name) in serving.names.uncovered(&self.settings.pairs) {
            concerns.push(format!(
                "{}: {}: the certificate is not for {name}, which it is to be shown for: clients \
                 will refuse it",
                self.owner,
                pair.file.display()
            ));
        }
        concerns
    }
}

// === impl Serving ===

impl Serving {
    /// The leaf that a client asking for `name` is shown, in DER.
    #[must_use]
    pub fn shown(&self, name: Option<&str>) -> Option<Arc<[u8]>> {
        self.names.find(name).map(|pair| pair.leaf.clone())
    }

    fn new(
        owner: &str,
        settings: &ServerSettings,
        inputs: Inputs,
        before: Option<&Self>,
    ) -> Result<Self, Vec<TlsError>> {
        let (files, trust) = (
            inputs.digest(),
            inputs.digest_of(|whose| matches!(whose, Whose::Ca | Whose::Crl)),
        );
        let mut errors = inputs.unreadable();
        let mut pairs = Vec::new();
        for (index, pair) in settings.pairs.iter().enumerate() {
            let certificate = inputs.get(Whose::Certificate(index));
            let key = inputs.get(Whose::Key(index));
            match Pair::new(index, pair.certificate.clone(), certificate, key) {
                Ok(pair) => pairs.push((index, pair)),
                Err(more) => errors.extend(more),
            }
        }
        let mut listed: Vec<_> = pairs
            .iter()
            .filter_map(|(_, pair)| Listed::new(owner, Kind::Certificate, &pair.file, &pair.leaf))
            .collect();
        let verifier = settings.verify.as_ref().and_then(|verify| {
            let (verifier, authorities) = verifier(verify, &inputs)
                .map_err(|error| errors.extend(error))
                .ok()?;
            listed.extend(
                authorities
                    .iter()
                    .filter_map(|der| Listed::new(owner, Kind::Authority, &verify.ca, der)),
            );
            Some(verifier)
        });
        let names = Names::new(pairs, &settings.pairs, settings.refuse_unknown)
            .map_err(|error| errors.extend(error));
        let Some(names) = names.ok().filter(|_| errors.is_empty()) else {
            return Err(errors);
        };
        let names = Arc::new(names);
        let sessions = match before {
            Some(before) if before.trust == trust => before.sessions.clone(),
            _ => Sessions::new(settings.resumption).map_err(|error| vec![error])?,
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(settings.min_version.versions())
            .map_err(|error| vec![TlsError::new(Whose::Certificate(0), error.to_string())])?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(names.clone());
        config.alpn_protocols.clone_from(&settings.alpn);
        config.session_storage = sessions.storage.clone();
        match &sessions.ticketer {
            Some(ticketer) => config.ticketer = ticketer.clone(),
            None if settings.resumption == Resumption::Off => config.send_tls13_tickets = 0,
            None => {}
        }
        Ok(Self {
            config: Arc::new(config),
            names,
            listed,
            sessions,
            files,
            trust,
        })
    }
}

// === impl Sessions ===

impl Sessions {
    fn new(resumption: Resumption) -> Result<Self, TlsError> {
        let storage: Arc<dyn StoresServerSessions> = match resumption {
            Resumption::Store => ServerSessionMemoryCache::new(STORED_SESSIONS),
            Resumption::Tickets | Resumption::Off => Arc::new(NoServerSessionStorage {}),
        };
        let ticketer = (resumption == Resumption::Tickets)
            .then(Ticketer::new)
            .transpose()
            .map_err(|error| {
                let what = format!("keys for session tickets cannot be made ({error}); try again");
                TlsError::new(Whose::Key(0), what)
            })?;
        Ok(Self { ticketer, storage })
    }
}

fn inputs(settings: &ServerSettings, read: &dyn Fn(&Path) -> Result<Bytes, String>) -> Inputs {
    let mut inputs = Inputs::default();
    for (index, pair) in settings.pairs.iter().enumerate() {
        inputs.read(Whose::Certificate(index), &pair.certificate, read);
        inputs.read(Whose::Key(index), &pair.key, read);
    }
    if let Some(verify) = &settings.verify {
        inputs.read(Whose::Ca, &verify.ca, read);
        if let Some(crl) = &verify.crl {
            inputs.read(Whose::Crl, crl, read);
        }
    }
    inputs
}

type Verifier = (Arc<dyn ClientCertVerifier>, Vec<Vec<u8>>);

fn verifier(verify: &Verify, inputs: &Inputs) -> Result<Verifier, Vec<TlsError>> {
    // What cannot be read has been told. Both are looked at before either is given up on.
    let ca = (inputs.get(Whose::Ca).ok_or_else(Vec::new))
        .and_then(|ca| roots(ca).map_err(|error| vec![error]));
    let lists = match verify.crl {
        Some(_) => (inputs.get(Whose::Crl).ok_or_else(Vec::new))
            .and_then(|crl| pem::revocations(crl).map_err(|error| vec![error]))
            .map(Some),
        None => Ok(None),
    };
    let ((roots, authorities), lists) = match (ca, lists) {
        (Ok(ca), Ok(lists)) => (ca, lists),
        (ca, lists) => {
            let errors = ca.err().into_iter().chain(lists.err());
            return Err(errors.flatten().collect());
        }
    };
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    if let Some(lists) = lists {
        // As in Envoy and nginx: every authority of a chain needs a list, and one that is in force.
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    if !verify.required {
        builder = builder.allow_unauthenticated();
    }
    let chain = builder.build().map_err(|error| {
        let whose = if verify.crl.is_some() {
            Whose::Crl
        } else {
            Whose::Ca
        };
        let what = format!("clients cannot be verified by it ({error}); give another file");
        vec![TlsError::new(whose, what)]
    })?;
    let verifier: Arc<dyn ClientCertVerifier> = if verify.allowed.is_everybody() {
        chain
    } else {
        Arc::new(KnownClient {
            chain,
            allowed: verify.allowed.clone(),
        })
    };
    Ok((verifier, authorities))
}

/// The authorities of a file, and their certificates in DER.
fn roots(pem: &[u8]) -> Result<(RootCertStore, Vec<Vec<u8>>), TlsError> {
    let roots = authority::named_roots(pem)?;
    let certificates = pem::certificates(pem, Whose::Ca)?;
    Ok((roots, certificates.iter().map(|der| der.to_vec()).collect()))
}
