//! Handshakes in memory between our two sides, with certificates made here, and mistakes in files
//! of certificates.

use std::io;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use bytes::Bytes;
use std::path::Path;

use super::*;

/// An authority and a certificate for `backend.internal` that it signed.
struct Pki {
    ca: String,
    certificate: String,
    key: String,
}

fn pki() -> Pki {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["backend.internal".to_owned(), "127.0.0.1".to_owned()];
    let leaf = CertificateParams::new(names).unwrap();
    Pki {
        certificate: leaf.signed_by(&key, &ca).unwrap().pem(),
        ca: ca.pem(),
        key: key.serialize_pem(),
    }
}

/// A listener with this certificate and key.
fn server(certificate: &str, key: &str) -> Result<ServerTls, Vec<TlsError>> {
    let settings = ServerSettings {
        pairs: vec![PairFiles {
            certificate: "certificate".into(),
            key: "key".into(),
            names: None,
        }],
        verify: None,
        min_version: MinVersion::default(),
        alpn: vec![H2.to_vec(), HTTP1.to_vec()],
        resumption: Resumption::default(),
        refuse_unknown: false,
    };
    let read = |path: &Path| {
        let text = if path == Path::new("key") {
            key
        } else {
            certificate
        };
        Ok(Bytes::copy_from_slice(text.as_bytes()))
    };
    ServerTls::new("listener test".to_owned(), settings, &read)
}

/// What is wrong with them, which must be one thing.
fn refused(certificate: &str, key: &str) -> TlsError {
    let mut errors = server(certificate, key).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

/// A cluster that believes this authority.
fn client(ca: &str, alpn: &[&[u8]]) -> Result<ClientTls, Vec<TlsError>> {
    let settings = ClientSettings {
        ca: Some("ca".into()),
        alpn: alpn.iter().map(|protocol| protocol.to_vec()).collect(),
        ..ClientSettings::default()
    };
    let read = |_: &Path| Ok(Bytes::copy_from_slice(ca.as_bytes()));
    ClientTls::new("cluster test".to_owned(), settings, &read)
}

/// Shakes hands over memory: what the client and what the server saw.
async fn handshake(
    server: &Pki,
    ca: &str,
    name: &str,
    alpn: &[&[u8]],
) -> (io::Result<Session>, io::Result<Session>) {
    let serving = self::server(&server.certificate, &server.key)
        .unwrap()
        .now();
    let (client, own) = client(ca, alpn).unwrap().now(Speaks::Http);
    assert_eq!(own, None);
    let (near, far) = tokio::io::duplex(64 * 1024);
    let connector = TlsConnector::from(client);
    let acceptor = TlsAcceptor::from(serving.config.clone());
    // Both streams live until both are through: a server still sends tickets at the end.
    let (client, server) = tokio::join!(
        connector.connect(server_name(name).unwrap(), near),
        acceptor.accept(far),
    );
    (
        client
            .as_ref()
            .map(|stream| Session::of_client(stream.get_ref().1, &server_name(name).unwrap(), None))
            .map_err(same),
        server
            .as_ref()
            .map(|stream| Session::of_server(stream.get_ref().1, &serving))
            .map_err(same),
    )
}

fn same(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

#[tokio::test]
async fn the_right_authority_and_name_shake_hands() {
    let pki = pki();
    let (client, server) = handshake(&pki, &pki.ca, "backend.internal", &[H2, HTTP1]).await;
    let server = server.unwrap();
    assert_eq!(server.version, Some("TLSv1.3"));
    assert_eq!(server.server_name.as_deref(), Some("backend.internal"));
    assert!(server.http2);
    let client = client.unwrap();
    assert_eq!(client.version, Some("TLSv1.3"));
    assert_eq!(client.server_name.as_deref(), Some("backend.internal"));
    assert_eq!((client.cipher, client.group), (server.cipher, server.group));
    assert!(
        client
            .cipher
            .is_some_and(|cipher| cipher.starts_with("TLS_"))
    );
    assert_eq!((client.group, client.resumed), (Some("X25519"), false));
    assert!(client.http2);
}

#[tokio::test]
async fn alpn_is_what_both_offer() {
    let pki = pki();
    let (client, server) = handshake(&pki, &pki.ca, "backend.internal", &[HTTP1]).await;
    assert!(!client.unwrap().http2);
    assert!(!server.unwrap().http2);
}

#[tokio::test]
async fn an_address_is_verified_too_and_sends_no_server_name() {
    let pki = pki();
    let (client, server) = handshake(&pki, &pki.ca, "127.0.0.1", &[]).await;
    client.unwrap();
    assert_eq!(server.unwrap().server_name, None);
    let (client, _) = handshake(&pki, &pki.ca, "127.0.0.2", &[]).await;
    client.unwrap_err();
}

#[tokio::test]
async fn another_authority_is_refused() {
    let (client, server) = handshake(&pki(), &pki().ca, "backend.internal", &[]).await;
    let error = client.unwrap_err().to_string();
    assert!(
        error.contains("UnknownIssuer") || error.contains("BadSignature"),
        "{error}"
    );
    server.unwrap_err();
}

#[tokio::test]
async fn another_name_is_refused() {
    let pki = pki();
    let (client, server) = handshake(&pki, &pki.ca, "frontend.internal", &[]).await;
    let error = client.unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "{error}");
    server.unwrap_err();
}

#[test]
fn a_key_of_another_certificate_is_an_error_of_both() {
    let (one, two) = (pki(), pki());
    let error = refused(&one.certificate, &two.key);
    assert_eq!(error.whose, Whose::Both(0));
    assert!(
        error.to_string().starts_with("the key does not belong"),
        "{error}"
    );
}

#[test]
fn exchanged_files_are_named() {
    let pki = pki();
    let error = refused(&pki.key, &pki.key);
    assert_eq!(error.whose, Whose::Certificate(0));
    assert!(error.what.contains("exchanged"), "{error}");
    let error = refused(&pki.certificate, &pki.certificate);
    assert_eq!(error.whose, Whose::Key(0));
    assert!(error.what.contains("exchanged"), "{error}");
}

#[test]
fn what_is_no_pem_is_named_with_its_file() {
    let pki = pki();
    let (certificate, key) = (&*pki.certificate, &*pki.key);
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let (chain, private) = (Whose::Certificate(0), Whose::Key(0));
    let cases = [
        ("", key, chain, "no certificate"),
        ("0\u{2}", key, chain, "no certificate"),
        ("-----BEGIN CERTIFICATE-----\nMIIB", key, chain, "END line"),
        (
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            key,
            chain,
            "cannot be read",
        ),
        (certificate, "nothing", private, "no private key"),
        (certificate, encrypted, private, "decrypt it first"),
        (
            certificate,
            "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
            private,
            "cannot be used",
        ),
    ];
    for (certificate, key, whose, text) in cases {
        let error = refused(certificate, key);
        assert_eq!(error.whose, whose, "{error}");
        assert!(error.what.contains(text), "{error}");
    }
}

#[test]
fn a_ca_file_without_certificates_is_an_error() {
    for pem in [
        "",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    ] {
        let errors = client(pem, &[]).unwrap_err();
        assert_eq!((errors.len(), errors[0].whose), (1, Whose::Ca));
    }
}

#[test]
fn server_names_are_checked() {
    for name in ["", "a b", "https://a", "a:443", "*.a.example"] {
        let error = server_name(name).unwrap_err();
        assert_eq!(error.whose, Whose::Name, "{name}");
    }
    assert!(server_name("").unwrap_err().what.contains("empty"));
    for name in ["a.example", "10.0.0.1", "::1"] {
        server_name(name).unwrap();
    }
}
