//! Who a peer is, beside who vouches for it: webpki verifies the chain, then its names are
//! held against what the configuration allows. Nothing here makes verification weaker: a
//! peer that webpki does not take is never looked at.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::identity::Allowed;
use super::provider;

/// Clients whom an authority vouches for and the configuration allows.
#[derive(Debug)]
pub(super) struct KnownClient {
    pub(super) chain: Arc<dyn ClientCertVerifier>,
    pub(super) allowed: Allowed,
}

/// Servers likewise; their names are held against the configuration instead of the server
/// name, which a SPIFFE identity does not have.
#[derive(Debug)]
pub(super) struct KnownServer {
    pub(super) roots: Arc<RootCertStore>,
    /// Verifies signatures of handshakes.
    pub(super) signatures: Arc<WebPkiServerVerifier>,
    pub(super) allowed: Allowed,
}

/// The answer to a peer that is somebody else.
const NOT_ALLOWED: Error =
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);

impl ClientCertVerifier for KnownClient {
    fn offer_client_auth(&self) -> bool {
        self.chain.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = (self.chain).verify_client_cert(end_entity, intermediates, now)?;
        if self.allowed.permits(end_entity) {
            Ok(verified)
        } else {
            Err(NOT_ALLOWED)
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        (self.chain).verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        (self.chain).verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

impl ServerCertVerifier for KnownServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        // `permits` of an empty list is everybody: this verifier is never made with one, and
        // would refuse if it were.
        if !self.allowed.is_everybody() && self.allowed.permits(end_entity) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(NOT_ALLOWED)
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        (self.signatures).verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        (self.signatures).verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}
