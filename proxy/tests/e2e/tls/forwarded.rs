//! `x-forwarded-client-cert`, in Envoy's form; and nobody's but ours where it is not wanted.

use rcgen::DnType;
use sha2::Digest as _;

use super::listening;
use crate::support::pki::{Authority, Pki, named};
use crate::support::{Client, Setup, Upstream, proxy};

/// What a client claims to be.
const FORGED: &str = "Hash=0000;URI=spiffe://test/admin";

/// What the upstream is told, by clients with and without a certificate.
struct Told {
    with: Vec<String>,
    without: Vec<String>,
}

struct World {
    server: Pki,
    client: Pki,
}

fn world() -> World {
    let authority = Authority::new();
    let mut params = named(&["spiffe://test/ns/a/sa/web", "web.test", "second.test"]);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Tests, \"Inc.\"");
    World {
        server: authority.named(&["spiffe://test/proxy", "proxy.test"]),
        client: authority.issue(params),
    }
}

impl World {
    /// Both kinds of clients send `lines` to a listener with these settings.
    fn told(&self, settings: &str, lines: &[&str]) -> Told {
        let setup = Setup::new();
        self.server.write(&setup.dir, "server");
        let upstream = Upstream::named("ok");
        let tls = format!(
            "{{ certificate: server.pem, key: server.key, client_ca: server-ca.pem, client_certificate: optional }}\n{settings}"
        );
        let proxy = setup.start(&listening(upstream.address, &tls));
        let mut request = "GET / HTTP/1.1\r\nhost: test\r\n".to_owned();
        for line in lines {
            request.push_str(&format!("x-forwarded-client-cert: {line}\r\n"));
        }
        request.push_str("\r\n");
        for config in [self.server.client_as(&self.client), self.server.client(&[])] {
            let mut client = Client::connect_tls(proxy.web(), config, "proxy.test");
            // The second request of a connection is told the same.
            for _ in 0..2 {
                assert_eq!(client.request(&request).text(), "ok");
            }
        }
        let requests = upstream.requests();
        let told: Vec<Vec<String>> = requests
            .iter()
            .map(|request| {
                let all = request.all("x-forwarded-client-cert");
                all.into_iter().map(ToOwned::to_owned).collect()
            })
            .collect();
        assert_eq!(told.len(), 4);
        assert_eq!((&told[0], &told[2]), (&told[1], &told[3]));
        Told {
            with: told[0].clone(),
            without: told[2].clone(),
        }
    }

    /// `By` and `Hash`, as they are always there.
    fn by_and_hash(&self) -> String {
        let digest = sha2::Sha256::digest(self.client.der());
        let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("By=spiffe://test/proxy;Hash={hash}")
    }
}

#[test]
fn what_a_client_claims_is_taken_away() {
    let world = world();
    for settings in ["", "  forward_client_cert: sanitize\n"] {
        let told = world.told(settings, &[FORGED, FORGED]);
        assert_eq!((told.with.len(), told.without.len()), (0, 0), "{settings}");
    }
}

#[test]
fn what_a_client_claims_is_passed_on_only_from_one_with_a_certificate() {
    let told = world().told("  forward_client_cert: forward_only\n", &[FORGED]);
    assert_eq!(
        (&told.with[..], told.without.len()),
        (&[FORGED.to_owned()][..], 0)
    );
}

#[test]
fn what_is_known_is_added_to_what_came() {
    let world = world();
    let told = world.told(
        "  forward_client_cert: append_forward\n",
        &["Hash=1", "Hash=2"],
    );
    let expected = format!("Hash=1,Hash=2,{}", world.by_and_hash());
    assert_eq!((&told.with[..], told.without.len()), (&[expected][..], 0));
    let told = world.told("  forward_client_cert: append_forward\n", &[]);
    assert_eq!(told.with, [world.by_and_hash()]);
}

#[test]
fn what_is_known_takes_the_place_of_what_came() {
    let world = world();
    let told = world.told("  forward_client_cert: sanitize_set\n", &[FORGED]);
    assert_eq!(
        (&told.with[..], told.without.len()),
        (&[world.by_and_hash()][..], 0)
    );
}

#[test]
fn everybody_may_be_believed() {
    let told = world().told("  forward_client_cert: always_forward_only\n", &[FORGED]);
    assert_eq!(
        (&told.with[..], &told.without[..]),
        (&[FORGED.to_owned()][..], &[FORGED.to_owned()][..])
    );
}

#[test]
fn details_stand_in_envoys_order_and_form() {
    let world = world();
    let settings = "  forward_client_cert: sanitize_set\n  client_cert_details: [dns, uri, subject, chain, cert]\n";
    let told = world.told(settings, &[FORGED]);
    let pem: String = world
        .client
        .certificate
        .replace("\r\n", "\n")
        .chars()
        .map(|char| match char {
            '\n' => "%0A".to_owned(),
            ' ' => "%20".to_owned(),
            '+' => "%2B".to_owned(),
            '/' => "%2F".to_owned(),
            '=' => "%3D".to_owned(),
            char => char.to_string(),
        })
        .collect();
    let subject = "O=Tests\\, \\\"Inc.\\\",CN=rcgen self signed cert";
    let expected = format!(
        "{};Cert=\"{pem}\";Chain=\"{pem}\";Subject=\"{subject}\";URI=spiffe://test/ns/a/sa/web;DNS=web.test;DNS=second.test",
        world.by_and_hash()
    );
    assert_eq!(told.with, [expected]);
}

#[test]
fn what_a_certificate_says_cannot_pass_for_more() {
    let authority = Authority::new();
    let world = World {
        server: authority.named(&["proxy.test"]),
        client: authority.named(&["urn://x;URI=spiffe://test/admin,By=\"a\\"]),
    };
    let settings = "  forward_client_cert: sanitize_set\n  client_cert_details: [uri]\n";
    let told = world.told(settings, &[]);
    let hash = world.by_and_hash().replace("By=spiffe://test/proxy;", "");
    let expected = format!("{hash};URI=\"urn://x;URI=spiffe://test/admin,By=\\\"a\\\\\"");
    assert_eq!(told.with, [expected]);
}

#[test]
fn without_tls_nobody_is_believed_either() {
    let upstream = Upstream::named("ok");
    for (setting, passed) in [
        ("", false),
        ("  forward_client_cert: forward_only\n", false),
        ("  forward_client_cert: append_forward\n", false),
        ("  forward_client_cert: always_forward_only\n", true),
    ] {
        let address = "  address: 127.0.0.1:0\n";
        let yaml = proxy::plain(upstream.address).replace(address, &format!("{address}{setting}"));
        let proxy = Setup::new().start(&yaml);
        let request =
            format!("GET / HTTP/1.1\r\nhost: test\r\nx-forwarded-client-cert: {FORGED}\r\n\r\n");
        assert_eq!(proxy.client().request(&request).text(), "ok");
        let requests = upstream.requests();
        let told = requests.last().unwrap().field("x-forwarded-client-cert");
        assert_eq!(told, passed.then_some(FORGED), "{setting}");
    }
}
