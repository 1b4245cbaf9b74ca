//! What a handshake settled.

use std::sync::Arc;

use rustls::crypto::SupportedKxGroup;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion, SupportedCipherSuite};

use super::{H2, Serving};

/// What a handshake settled, in the words of the proxy-wasm properties.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// `connection.tls_version`: `TLSv1.2` or `TLSv1.3`.
    pub version: Option<&'static str>,
    /// The cipher suite, as OpenSSL spells it.
    pub cipher: Option<&'static str>,
    /// The group of the key exchange, likewise; none where there was none.
    pub group: Option<&'static str>,
    /// Whether it goes on with what an earlier connection had agreed on.
    pub resumed: bool,
    /// What was asked for, if anything: by the client `connection.requested_server_name`, or by
    /// us of an upstream.
    pub server_name: Option<String>,
    /// Whether the peers agreed on HTTP/2.
    pub http2: bool,
    /// The certificate we have shown, in DER.
    pub own_certificate: Option<Arc<[u8]>>,
    /// The certificate the peer has shown, in DER.
    pub peer_certificate: Option<Box<[u8]>>,
    /// Those a client has shown behind it.
    pub peer_issuers: Box<[Box<[u8]>]>,
}

// === impl Session ===

impl Session {
    /// What the handshake with a client settled, of which `serving` was in charge.
    #[must_use]
    pub fn of_server(connection: &rustls::ServerConnection, serving: &Serving) -> Self {
        let name = connection.server_name();
        Self {
            version: connection.protocol_version().and_then(version_text),
            cipher: connection.negotiated_cipher_suite().and_then(cipher_text),
            group: group_text(connection.negotiated_key_exchange_group()),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            server_name: name.map(str::to_owned),
            http2: connection.alpn_protocol() == Some(H2),
            own_certificate: serving.shown(name),
            peer_certificate: first(connection.peer_certificates()),
            peer_issuers: (connection.peer_certificates().into_iter().flatten())
                .skip(1)
                .map(|der| der.as_ref().into())
                .collect(),
        }
    }

    /// What the handshake with an upstream settled that is called `name`, and to which we would
    /// have shown `own`.
    #[must_use]
    pub fn of_client(
        connection: &rustls::ClientConnection,
        name: &ServerName<'_>,
        own: Option<Arc<[u8]>>,
    ) -> Self {
        Self {
            version: connection.protocol_version().and_then(version_text),
            cipher: connection.negotiated_cipher_suite().and_then(cipher_text),
            group: group_text(connection.negotiated_key_exchange_group()),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            server_name: match name {
                ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
                _ => None,
            },
            http2: connection.alpn_protocol() == Some(H2),
            own_certificate: own,
            peer_certificate: first(connection.peer_certificates()),
            peer_issuers: Box::default(),
        }
    }
}

fn first(chain: Option<&[CertificateDer<'_>]>) -> Option<Box<[u8]>> {
    Some(chain?.first()?.as_ref().into())
}

/// The version as Envoy writes it.
#[must_use]
pub fn version_text(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        _ => None,
    }
}

/// A cipher suite as OpenSSL, and so Envoy and nginx, write it.
fn cipher_text(suite: SupportedCipherSuite) -> Option<&'static str> {
    Some(match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => return None,
    })
}

fn group_text(group: Option<&dyn SupportedKxGroup>) -> Option<&'static str> {
    match group?.name() {
        NamedGroup::X25519 => Some("X25519"),
        NamedGroup::secp256r1 => Some("P-256"),
        NamedGroup::secp384r1 => Some("P-384"),
        _ => None,
    }
}
