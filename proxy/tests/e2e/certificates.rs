//! What filters are told of TLS on both sides, from real handshakes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::Request;
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DnType, SanType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::support::pki::{Authority, Pki};
use crate::support::{Client, Dir, Setup, h2, proxy};

const PATHS: &[&str] = &[
    "requested_server_name",
    "tls_version",
    "subject_local_certificate",
    "subject_peer_certificate",
    "dns_san_local_certificate",
    "dns_san_peer_certificate",
    "uri_san_local_certificate",
    "uri_san_peer_certificate",
    "sha256_peer_certificate_digest",
    "peer_certificate",
];

/// A guest that puts each property of `connection` and `upstream` into a response header:
/// `status value`.
fn asker(dir: &Dir) -> PathBuf {
    let mut source = "on response_headers\n".to_owned();
    for side in ["connection", "upstream"] {
        for path in PATHS {
            source.push_str(&format!(
                "(if (i32.eqz (!get_property {{\"{side}\\00{path}\"}} @out))
                    (then (drop (!add_header_map_value #2 {{\"x-{side}-{path}\"}} (i32.load #16) (i32.load #20)))))\n"
            ));
        }
    }
    // One byte that is no text.
    source.push_str(
        "(if (i32.eqz (!get_property {\"connection\\00mtls\"} @out))
            (then (if (i32.load8_u (i32.load #16))
                (then (drop (!add_header_map_value #2 {\"x-connection-mtls\"} {\"yes\"}))))))\n",
    );
    let wat = cofferdam_abi::testing::guest::module(&source, Default::default());
    crate::support::guest::write(dir, "asker", &wat)
}

fn certificate(name: &str) -> Pki {
    Pki::of(params(name))
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    let subject = &mut params.distinguished_name;
    // What must be escaped: a comma, a leading and a trailing space, an umlaut.
    subject.push(DnType::OrganizationName, " Tests, \"Inc.\" ");
    subject.push(DnType::OrganizationalUnitName, "Gerät");
    subject.push(DnType::CommonName, name);
    let ia5 = |text: &str| Ia5String::try_from(text.to_owned()).expect("ASCII");
    params.subject_alt_names = vec![
        SanType::URI(ia5(&format!("spiffe://test/{name}"))),
        SanType::DnsName(ia5(name)),
        SanType::DnsName(ia5("second.test")),
    ];
    params
}

/// As `openssl x509 -subject -nameopt RFC2253` prints it.
fn subject(name: &str) -> String {
    format!("OU=Ger\\C3\\A4t,O=\\ Tests\\, \\\"Inc.\\\"\\ ,CN={name}")
}

fn told(headers: impl Iterator<Item = (String, String)>, side: &str) -> BTreeMap<String, String> {
    let own = format!("x-{side}-");
    headers
        .filter_map(|(name, value)| Some((name.strip_prefix(&own)?.to_owned(), value)))
        .collect()
}

fn expected(pairs: &[(&str, String)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_are_told_of_the_upstreams_certificate() {
    for (protocol, requests) in [("http1", 2), ("http2", 2)] {
        let (pki, setup) = (certificate("backend.internal"), Setup::new());
        pki.write(&setup.dir, "upstream");
        let asker = asker(&setup.dir);
        let upstream = h2::Upstream::new(Some(pki.server(&["h2", "http/1.1"])), h2::echo).await;
        let before = format!("endpoints: ['{}']", upstream.address);
        let tls = format!(
            "{before}, protocol: {protocol}, tls: {{ server_name: backend.internal, ca: upstream-ca.pem }}"
        );
        let yaml = proxy::filtered(upstream.address, &asker.display().to_string());
        let proxy = setup.start(&yaml.replace(&before, &tls));
        let client = h2::connect(proxy.web()).await;
        // The second goes over the pooled connection.
        for _ in 0..requests {
            let request = Request::get("http://client.test/")
                .body(h2::empty())
                .unwrap();
            let (head, _) = h2::fetch(&client, request).await;
            let headers = || {
                let headers = head.headers.iter();
                headers.map(|(name, value)| {
                    (
                        name.to_string(),
                        String::from_utf8_lossy(value.as_bytes()).into_owned(),
                    )
                })
            };
            let mut upstream = told(headers(), "upstream");
            let der = CertificateDer::from_pem_slice(pki.certificate.as_bytes()).unwrap();
            let digest = {
                use sha2::Digest as _;
                let digest = sha2::Sha256::digest(&der);
                digest
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>()
            };
            let pem = upstream.remove("peer_certificate").expect("a certificate");
            assert!(!pem.contains(['\n', ' ', '+', '/', '=']), "{pem}");
            let decoded = [
                ("%0A", "\n"),
                ("%20", " "),
                ("%2B", "+"),
                ("%2F", "/"),
                ("%3D", "="),
            ]
            .iter()
            .fold(pem, |pem, (escaped, plain)| pem.replace(escaped, plain));
            assert!(
                decoded.starts_with("-----BEGIN CERTIFICATE-----\n"),
                "{decoded}"
            );
            assert_eq!(decoded.lines().nth(1).map(str::len), Some(64));
            assert_eq!(
                CertificateDer::from_pem_slice(decoded.as_bytes()).unwrap(),
                der
            );
            let expected = expected(&[
                ("tls_version", "TLSv1.3".to_owned()),
                ("subject_local_certificate", String::new()),
                ("subject_peer_certificate", subject("backend.internal")),
                ("dns_san_peer_certificate", "backend.internal".to_owned()),
                (
                    "uri_san_peer_certificate",
                    "spiffe://test/backend.internal".to_owned(),
                ),
                ("sha256_peer_certificate_digest", digest),
            ]);
            assert_eq!(upstream, expected, "{protocol}");
            // The client's side has no TLS.
            let connection = told(headers(), "connection");
            assert_eq!(
                connection,
                self::expected(&[("requested_server_name", String::new())])
            );
        }
    }
}

#[test]
fn filters_are_told_of_the_listeners_certificate() {
    let (pki, setup) = (certificate("proxy.test"), Setup::new());
    pki.write(&setup.dir, "server");
    let asker = asker(&setup.dir);
    let upstream = crate::support::Upstream::named("ok");
    let listener = "  address: 127.0.0.1:0\n";
    let tls = format!("{listener}  tls: {{ certificate: server.pem, key: server.key }}\n");
    let yaml = proxy::filtered(upstream.address, &asker.display().to_string());
    let proxy = setup.start(&yaml.replace(listener, &tls));
    let mut client = Client::connect_tls(proxy.web(), pki.client(&[]), "proxy.test");
    let answer = client.get("/");
    assert_eq!(answer.text(), "ok");
    let headers = || answer.fields.iter().cloned();
    let expected = expected(&[
        ("requested_server_name", "proxy.test".to_owned()),
        ("tls_version", "TLSv1.3".to_owned()),
        ("subject_local_certificate", subject("proxy.test")),
        ("dns_san_local_certificate", "proxy.test".to_owned()),
        (
            "uri_san_local_certificate",
            "spiffe://test/proxy.test".to_owned(),
        ),
        // Clients are not asked for one.
        ("subject_peer_certificate", String::new()),
    ]);
    assert_eq!(told(headers(), "connection"), expected);
    assert_eq!(told(headers(), "upstream"), BTreeMap::new(), "plain");
}

/// What filters are told of `peer`.
fn of_peer(peer: &Pki, name: &str) -> BTreeMap<String, String> {
    let der = peer.der();
    let digest = {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(&der);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    expected(&[
        ("subject_peer_certificate", subject(name)),
        ("dns_san_peer_certificate", name.to_owned()),
        ("uri_san_peer_certificate", format!("spiffe://test/{name}")),
        ("sha256_peer_certificate_digest", digest),
        ("tls_version", "TLSv1.3".to_owned()),
    ])
}

fn of_own(name: &str) -> BTreeMap<String, String> {
    expected(&[
        ("subject_local_certificate", subject(name)),
        ("dns_san_local_certificate", name.to_owned()),
        ("uri_san_local_certificate", format!("spiffe://test/{name}")),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_are_told_of_both_certificates_on_both_sides() {
    let (authority, setup) = (Authority::new(), Setup::new());
    let issue = |name: &str| authority.issue(params(name));
    let (front, client, own, back) = (
        issue("proxy.test"),
        issue("client.test"),
        issue("caller.test"),
        issue("backend.test"),
    );
    front.write(&setup.dir, "front");
    own.write(&setup.dir, "own");
    let asker = asker(&setup.dir);
    let upstream = h2::Upstream::new(Some(back.server_for(&own)), h2::echo).await;
    let endpoints = format!("endpoints: ['{}']", upstream.address);
    let cluster = format!(
        "{endpoints}, tls: {{ server_name: backend.test, ca: front-ca.pem, certificate: own.pem, key: own.key }}"
    );
    let address = "  address: 127.0.0.1:0\n";
    let listener = format!(
        "{address}  tls: {{ certificate: front.pem, key: front.key, client_ca: front-ca.pem }}\n"
    );
    let yaml = proxy::filtered(upstream.address, &asker.display().to_string());
    let proxy = setup.start(
        &yaml
            .replace(address, &listener)
            .replace(&endpoints, &cluster),
    );
    let web = proxy.web();
    // The second time it resumes: the client shows nothing, and is known all the same.
    let config = front.client_as(&client);
    for _ in 0..2 {
        let config = config.clone();
        let asked = tokio::task::spawn_blocking(move || {
            Client::connect_tls(web, config, "proxy.test").get("/")
        });
        let answer = asked.await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut connection = told(answer.fields.iter().cloned(), "connection");
        let pem = connection.remove("peer_certificate").unwrap();
        assert!(pem.starts_with("-----BEGIN%20CERTIFICATE-----%0A"), "{pem}");
        let mut wanted = of_peer(&client, "client.test");
        wanted.extend(of_own("proxy.test"));
        wanted.extend(expected(&[
            ("requested_server_name", "proxy.test".to_owned()),
            ("mtls", "yes".to_owned()),
        ]));
        assert_eq!(connection, wanted);
        let mut upstream = told(answer.fields.iter().cloned(), "upstream");
        upstream.remove("peer_certificate").unwrap();
        let mut wanted = of_peer(&back, "backend.test");
        wanted.extend(of_own("caller.test"));
        assert_eq!(upstream, wanted);
    }
}
