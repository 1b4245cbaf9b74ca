//! Certificates made for one test.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
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

/// Issues several certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

const ALL_VERSIONS: &[&rustls::SupportedProtocolVersion] =
    &[&rustls::version::TLS13, &rustls::version::TLS12];

// === impl Authority ===

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // OpenSSL takes a certificate whose two names are the same for one that signed itself.
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority for tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn issue(&self, leaf: CertificateParams) -> Pki {
        let key = KeyPair::generate().unwrap();
        Pki {
            certificate: leaf.signed_by(&key, &self.0).unwrap().pem(),
            ca: self.0.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A certificate for these names; those with a scheme are URIs.
    pub(crate) fn named(&self, names: &[&str]) -> Pki {
        self.issue(named(names))
    }

    /// A list that revokes these serial numbers.
    pub(crate) fn revoking(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2044, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

/// What a certificate for these names says; those with a scheme are URIs.
pub(crate) fn named(names: &[&str]) -> CertificateParams {
    let (uris, others): (Vec<&str>, Vec<&str>) =
        names.iter().partition(|name| name.contains("://"));
    let others: Vec<String> = others.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(others).unwrap();
    for uri in uris {
        let uri = uri.to_owned().try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
    }
    params
}

/// The same, good no more.
pub(crate) fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 2, 3);
    params
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
        Authority::new().issue(leaf)
    }

    /// Writes `NAME.pem`, `NAME.key` and `NAME-ca.pem`.
    pub(crate) fn write(&self, dir: &Dir, name: &str) {
        dir.write(&format!("{name}.pem"), &self.certificate);
        dir.write(&format!("{name}.key"), &self.key);
        dir.write(&format!("{name}-ca.pem"), &self.ca);
    }

    /// A client that trusts this authority and offers these protocols.
    pub(crate) fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut config = self.trusting(ALL_VERSIONS).with_no_client_auth();
        config.alpn_protocols = protocols(alpn);
        Arc::new(config)
    }

    /// The same, which speaks one version only.
    pub(crate) fn client_of(
        &self,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        Arc::new(self.trusting(&[version]).with_no_client_auth())
    }

    /// A client that trusts this authority and shows `own`.
    pub(crate) fn client_as(&self, own: &Self) -> Arc<ClientConfig> {
        let (chain, key) = own.chain();
        let config = self.trusting(ALL_VERSIONS);
        Arc::new(config.with_client_auth_cert(chain, key).unwrap())
    }

    fn trusting(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap())
            .unwrap();
        roots
    }

    fn chain(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        (chain.map(Result::unwrap).collect(), key)
    }

    /// The leaf, in DER.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()
    }

    /// A server that shows this certificate to clients of `authority`.
    pub(crate) fn server_for(&self, authority: &Self) -> Arc<ServerConfig> {
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(authority.roots()),
            provider(),
        );
        let (chain, key) = self.chain();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain, key)
            .unwrap();
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
