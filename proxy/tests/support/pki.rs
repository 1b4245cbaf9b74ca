//! Certificates made for one test.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::Dir;

/// An authority and a certificate that it signed, PEM.
#[derive(Debug)]
pub(crate) struct Pki {
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

// === impl Pki ===

impl Pki {
    /// A certificate for these names.
    pub(crate) fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Self::of(CertificateParams::new(names).unwrap())
    }

    /// Whatever certificate that is.
    pub(crate) fn of(leaf: CertificateParams) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // OpenSSL takes a certificate whose two names are the same for one that signed itself.
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority for tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: leaf.signed_by(&key, &ca).unwrap().pem(),
            ca: ca.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Writes `NAME.pem`, `NAME.key` and `NAME-ca.pem`.
    pub(crate) fn write(&self, dir: &Dir, name: &str) {
        dir.write(&format!("{name}.pem"), &self.certificate);
        dir.write(&format!("{name}.key"), &self.key);
        dir.write(&format!("{name}-ca.pem"), &self.ca);
    }

    /// A client that trusts this authority and offers these protocols.
    pub(crate) fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap())
            .unwrap();
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols(alpn);
        Arc::new(config)
    }

    /// A server that shows this certificate and takes these protocols.
    pub(crate) fn server(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = protocols(alpn);
        Arc::new(config)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn protocols(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}
