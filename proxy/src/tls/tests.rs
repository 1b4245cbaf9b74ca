use std::io;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::{TlsAcceptor, TlsConnector};

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

/// Shakes hands over memory: what the client and what the server saw.
async fn handshake(
    server: &Pki,
    ca: &str,
    name: &str,
    alpn: &[&[u8]],
) -> (io::Result<Session>, io::Result<Session>) {
    let (server, own) =
        server_config(server.certificate.as_bytes(), server.key.as_bytes()).unwrap();
    let client = client_config(Some(ca.as_bytes()), alpn).unwrap();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let connector = TlsConnector::from(client);
    let acceptor = TlsAcceptor::from(server);
    // Both streams live until both are through: a server still sends tickets at the end.
    let (client, server) = tokio::join!(
        connector.connect(server_name(name).unwrap(), near),
        acceptor.accept(far),
    );
    (
        client
            .as_ref()
            .map(|stream| Session::of_client(stream.get_ref().1))
            .map_err(same),
        server
            .as_ref()
            .map(|stream| Session::of_server(stream.get_ref().1, &own))
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
    let error = server_config(one.certificate.as_bytes(), two.key.as_bytes()).unwrap_err();
    assert_eq!(error.whose, Whose::Both);
    assert!(
        error.to_string().starts_with("the key does not belong"),
        "{error}"
    );
}

#[test]
fn exchanged_files_are_named() {
    let pki = pki();
    let error = server_config(pki.key.as_bytes(), pki.certificate.as_bytes()).unwrap_err();
    assert_eq!(error.whose, Whose::Certificate);
    assert!(error.what.contains("exchanged"), "{error}");
    let error = server_config(pki.certificate.as_bytes(), pki.certificate.as_bytes()).unwrap_err();
    assert_eq!(error.whose, Whose::Key);
    assert!(error.what.contains("exchanged"), "{error}");
}

#[test]
fn what_is_no_pem_is_named_with_its_file() {
    let pki = pki();
    let cases: [(&[u8], &[u8], Whose, &str); 6] = [
        (
            b"",
            pki.key.as_bytes(),
            Whose::Certificate,
            "no certificate",
        ),
        (
            b"\x30\x82",
            pki.key.as_bytes(),
            Whose::Certificate,
            "no certificate",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nMIIB",
            pki.key.as_bytes(),
            Whose::Certificate,
            "END line",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            pki.key.as_bytes(),
            Whose::Certificate,
            "cannot be read",
        ),
        (
            pki.certificate.as_bytes(),
            b"nothing",
            Whose::Key,
            "no private key",
        ),
        (
            pki.certificate.as_bytes(),
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
            Whose::Key,
            "decrypt it first",
        ),
    ];
    for (certificate, key, whose, text) in cases {
        let error = server_config(certificate, key).unwrap_err();
        assert_eq!(error.whose, whose, "{error}");
        assert!(error.what.contains(text), "{error}");
    }
    let error = server_config(
        pki.certificate.as_bytes(),
        b"-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
    )
    .unwrap_err();
    assert_eq!(error.whose, Whose::Key);
}

#[test]
fn a_ca_file_without_certificates_is_an_error() {
    for pem in [
        &b""[..],
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    ] {
        assert_eq!(client_config(Some(pem), &[]).unwrap_err().whose, Whose::Ca);
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
