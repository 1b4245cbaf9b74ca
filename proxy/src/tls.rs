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

pub mod certificate;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, ProtocolVersion, RootCertStore, ServerConfig};

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
}

/// The input that a [`TlsError`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Certificate and key, which do not fit each other.
    Both,
    /// The certificate authorities an upstream is verified against.
    Ca,
    /// The certificate (chain) of a listener.
    Certificate,
    /// The private key of a listener.
    Key,
    /// The name of a server.
    Name,
}

/// What a handshake settled, in the words of the proxy-wasm properties.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// `connection.tls_version`: `TLSv1.2` or `TLSv1.3`.
    pub version: Option<&'static str>,
    /// `connection.requested_server_name`: what the client asked for, if anything.
    pub server_name: Option<String>,
    /// Whether the peers agreed on HTTP/2.
    pub http2: bool,
    /// The certificate we have shown, in DER.
    pub own_certificate: Option<Arc<[u8]>>,
    /// The certificate the peer has shown, in DER.
    pub peer_certificate: Option<Box<[u8]>>,
}

/// What a listener needs: its certificate chain and key, with HTTP/2 and HTTP/1.1 on offer
/// (in that order of preference); and the certificate itself, in DER.
///
/// # Errors
/// Text that is not PEM, holds nothing of the wanted kind, or a key of another certificate.
pub fn server_config(
    certificate_pem: &[u8],
    key_pem: &[u8],
) -> Result<(Arc<ServerConfig>, Arc<[u8]>), TlsError> {
    let provider = provider();
    let chain = certificates(certificate_pem, Whose::Certificate)?;
    let own: Arc<[u8]> = chain.first().map_or(&[][..], |own| own).into();
    let key = (provider.key_provider)
        .load_private_key(private_key(key_pem)?)
        .map_err(|error| {
            let what = format!(
                "this private key cannot be used ({error}); give an RSA (2048 bits or more), \
                 ECDSA P-256 or P-384, or Ed25519 key"
            );
            TlsError::new(Whose::Key, what)
        })?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().or_else(|error| match error {
        // Not every kind of key can tell; the handshake will.
        rustls::Error::InconsistentKeys(InconsistentKeys::Unknown) => Ok(()),
        rustls::Error::InconsistentKeys(_) => Err(TlsError::new(
            Whose::Both,
            "the key does not belong to the certificate; give the key the certificate was \
             issued for (and put the server's own certificate first in its file)",
        )),
        error => Err(TlsError::new(
            Whose::Certificate,
            format!("the first certificate cannot be read ({error}); have it issued anew"),
        )),
    })?;

    let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(certified));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(Whose::Certificate, error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
    Ok((Arc::new(config), own))
}

/// What a cluster needs: whom to trust (`None`: the certificate authorities of this
/// system) and what to offer. There is no way to switch verification off.
///
/// # Errors
/// Text that is not PEM or holds no certificate; a system without authorities.
pub fn client_config(ca_pem: Option<&[u8]>, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match ca_pem {
        Some(pem) => named_roots(pem)?,
        None => system_roots()?,
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(Whose::Ca, error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
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

// === impl Session ===

impl Session {
    /// What the handshake with a client settled.
    pub fn of_server(connection: &rustls::ServerConnection, own: &Arc<[u8]>) -> Self {
        Self {
            version: connection.protocol_version().and_then(version_text),
            server_name: connection.server_name().map(str::to_owned),
            http2: connection.alpn_protocol() == Some(H2),
            own_certificate: Some(own.clone()),
            peer_certificate: first(connection.peer_certificates()),
        }
    }

    /// What the handshake with an upstream settled; its name is known to the cluster.
    pub fn of_client(connection: &rustls::ClientConnection) -> Self {
        Self {
            version: connection.protocol_version().and_then(version_text),
            server_name: None,
            http2: connection.alpn_protocol() == Some(H2),
            own_certificate: None,
            peer_certificate: first(connection.peer_certificates()),
        }
    }
}

fn first(chain: Option<&[CertificateDer<'_>]>) -> Option<Box<[u8]>> {
    Some(chain?.first()?.as_ref().into())
}

/// The version as Envoy writes it.
pub fn version_text(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        _ => None,
    }
}

// === impl TlsError ===

impl TlsError {
    fn new(whose: Whose, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { what, whose }
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

fn named_roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates(pem, Whose::Ca)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| {
            let what = format!(
                "certificate {} cannot be used as an authority ({error}); take it out or \
                 have it issued anew",
                index + 1
            );
            TlsError::new(Whose::Ca, what)
        })?;
    }
    Ok(roots)
}

/// Single unreadable files of a system's store are common and harmless; none at all is not.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let reason = match found.errors.first() {
        Some(error) => format!(" ({error})"),
        None => String::new(),
    };
    let what = format!(
        "this system has no certificate authorities{reason}; install ca-certificates, or name \
         a file with `ca`"
    );
    Err(TlsError::new(Whose::Ca, what))
}

/// Every certificate of a PEM text; never an empty list.
fn certificates(pem: &[u8], whose: Whose) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| not_pem(whose, &error))?;
    if !found.is_empty() {
        return Ok(found);
    }
    let what = if PrivateKeyDer::from_pem_slice(pem).is_ok() {
        "this is a private key where a certificate is wanted; give the certificate's file \
         (are the two exchanged?)"
    } else {
        "no certificate in it; give a PEM file with a `-----BEGIN CERTIFICATE-----` section"
    };
    Err(TlsError::new(whose, what))
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        if !matches!(error, pem::Error::NoItemsFound) {
            return not_pem(Whose::Key, &error);
        }
        // The reader skips sections it does not know, and an encrypted key is one of them.
        let what = if contains(pem, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") {
            "the private key is encrypted; decrypt it first, for example with `openssl pkey -in \
             FILE -out NEW`"
        } else if contains_section(pem, SectionKind::Certificate) {
            "this is a certificate where a private key is wanted; give the key's file (are the \
             two exchanged?)"
        } else {
            "no private key in it; give a PEM file with a `-----BEGIN PRIVATE KEY-----` section"
        };
        TlsError::new(Whose::Key, what)
    })
}

fn not_pem(whose: Whose, error: &pem::Error) -> TlsError {
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no END line".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed".to_owned(),
        error => error.to_string(),
    };
    let what = format!("this is not valid PEM ({why}); export the file again");
    TlsError::new(whose, what)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn contains_section(pem: &[u8], wanted: SectionKind) -> bool {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(pem)
        .any(|item| item.is_ok_and(|(kind, _)| kind == wanted))
}
