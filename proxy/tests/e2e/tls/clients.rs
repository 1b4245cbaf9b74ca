//! Which clients a listener lets in: by certificate, version and protocol.

use rcgen::SerialNumber;

use super::{TELLING, ask, listening};
use crate::support::pki::{Authority, Pki, expired, named};
use crate::support::{Proxy, Setup, Upstream};

struct World {
    proxy: Proxy,
    upstream: Upstream,
    /// Of the listener; its `ca` vouches for good clients too.
    server: Pki,
    authority: Authority,
}

/// A listener that verifies clients as `settings` say.
fn world(settings: &str) -> World {
    let (authority, setup) = (Authority::new(), Setup::new().with(TELLING));
    let server = authority.named(&["proxy.test"]);
    server.write(&setup.dir, "server");
    setup.dir.write("revoked.pem", authority.revoking(&[7]));
    let upstream = Upstream::named("ok");
    let tls = format!("{{ certificate: server.pem, key: server.key{settings} }}");
    let proxy = setup.start(&listening(upstream.address, &tls));
    World {
        proxy,
        upstream,
        server,
        authority,
    }
}

impl World {
    fn is_served(&self, own: &Pki) {
        let (answer, _) = ask(&self.proxy, self.server.client_as(own), "proxy.test").unwrap();
        assert_eq!(answer.text(), "ok");
    }

    /// Sent away before any request, for this reason.
    fn is_refused(&self, own: Option<&Pki>, why: &str) {
        let config = match own {
            Some(own) => self.server.client_as(own),
            None => self.server.client(&[]),
        };
        let before = self.upstream.requests().len();
        ask(&self.proxy, config, "proxy.test").expect_err(why);
        self.proxy.log.wait_for(why);
        assert_eq!(self.upstream.requests().len(), before, "{why}");
    }
}

#[test]
fn a_client_must_show_a_certificate_that_the_authority_vouches_for() {
    let world = world(", client_ca: server-ca.pem");
    world.is_served(&world.authority.named(&["client.test"]));
    world.is_refused(None, "peer sent no certificates");
    let stranger = Pki::new(&["client.test"]);
    world.is_refused(Some(&stranger), "invalid peer certificate: ");
    let old = world.authority.issue(expired(named(&["client.test"])));
    world.is_refused(Some(&old), "certificate expired");
    world.is_served(&world.authority.named(&["client.test"]));
}

#[test]
fn a_client_may_be_asked_without_being_compelled() {
    let world = world(", client_ca: server-ca.pem, client_certificate: optional");
    let (answer, _) = ask(&world.proxy, world.server.client(&[]), "proxy.test").unwrap();
    assert_eq!(answer.text(), "ok");
    world.is_served(&world.authority.named(&["client.test"]));
    // What is shown must be good all the same.
    let stranger = Pki::new(&["client.test"]);
    world.is_refused(Some(&stranger), "invalid peer certificate: ");
}

#[test]
fn a_revoked_certificate_is_refused() {
    let world = world(", client_ca: server-ca.pem, client_crl: revoked.pem");
    let numbered = |number: u64| {
        let mut params = named(&["client.test"]);
        params.serial_number = Some(SerialNumber::from(number));
        world.authority.issue(params)
    };
    world.is_served(&numbered(8));
    world.is_refused(Some(&numbered(7)), "invalid peer certificate: Revoked");
}

#[test]
fn an_old_version_is_refused_where_the_listener_says_so() {
    use rustls::version::{TLS12, TLS13};
    for (settings, spoken) in [
        ("", [true, true]),
        (", min_version: 1.2", [true, true]),
        (", min_version: 1.3", [false, true]),
        (", min_version: '1.3'", [false, true]),
    ] {
        let world = world(settings);
        for (version, spoken) in [&TLS12, &TLS13].into_iter().zip(spoken) {
            let asked = ask(&world.proxy, world.server.client_of(version), "proxy.test");
            match asked {
                Ok((answer, _)) => assert!(spoken && answer.text() == "ok", "{settings}"),
                Err(error) => {
                    assert!(!spoken, "{settings}: {error}");
                    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
                    let why = world.proxy.log.wait_for("no TLS with this client: ");
                    assert!(why.contains("listener=\"web\""), "{why}");
                }
            }
        }
    }
}

#[test]
fn protocols_are_offered_as_the_listener_says() {
    for (settings, chosen) in [
        ("", Some(&b"h2"[..])),
        (", alpn: [http/1.1]", Some(b"http/1.1")),
        (", alpn: [http/1.1, h2]", Some(b"http/1.1")),
        (", alpn: []", None),
    ] {
        let world = world(settings);
        let config = world.server.client(&["h2", "http/1.1"]);
        let mut client =
            crate::support::Client::connect_tls(world.proxy.web(), config, "proxy.test");
        // The handshake is done with the first byte.
        client.try_send("").unwrap();
        if chosen != Some(b"h2") {
            assert_eq!(client.get("/").text(), "ok", "{settings}");
        } else {
            client.try_send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        }
        assert_eq!(client.tls().alpn_protocol(), chosen, "{settings}");
    }
}
