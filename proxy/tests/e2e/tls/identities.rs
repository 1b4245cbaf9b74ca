//! SPIFFE identities, and other names, on both sides.

use super::{TELLING, ask, listening, status};
use crate::support::pki::{Authority, Pki};
use crate::support::{Proxy, Setup, Upstream, h2, proxy};

#[test]
fn only_clients_of_an_allowed_identity_are_served() {
    let (authority, setup) = (Authority::new(), Setup::new().with(TELLING));
    let server = authority.named(&["proxy.test"]);
    server.write(&setup.dir, "server");
    let upstream = Upstream::named("ok");
    let tls = "{ certificate: server.pem, key: server.key, client_ca: server-ca.pem, allowed_sans: [\
               spiffe://test/ns/a/sa/web, { prefix: 'spiffe://test/ns/prod/' }, \
               { type: dns, suffix: .good.test }, one.test, 10.0.0.1, { regex: 'urn://[0-9]+' }] }";
    let proxy = setup.start(&listening(upstream.address, tls));
    let asked = |own: &Pki| ask(&proxy, server.client_as(own), "proxy.test");
    for names in [
        &["spiffe://test/ns/a/sa/web"][..],
        &["spiffe://test/ns/prod/sa/any"],
        &["a.good.test"],
        &["bad.test", "one.test"],
        // A wildcard in a certificate stands for what it covers.
        &["*.test"],
        &["10.0.0.1"],
        &["urn://42"],
        // Not SPIFFE: a certificate may have several.
        &["urn://42", "urn://x"],
    ] {
        let (answer, _) =
            asked(&authority.named(names)).unwrap_or_else(|e| panic!("{names:?}: {e}"));
        assert_eq!(answer.text(), "ok");
    }
    let served = upstream.requests().len();
    for names in [
        &["spiffe://test/ns/a/sa/web2"][..],
        &["spiffe://test/ns/production/sa/any"],
        &["spiffe://other/ns/a/sa/web"],
        // One identity, and no other URI beside it.
        &["spiffe://test/ns/a/sa/web", "spiffe://test/ns/b/sa/x"],
        &["spiffe://test/ns/a/sa/web", "urn://42"],
        &["one.test.evil.test"],
        &["10.0.0.2"],
        &["urn://42x"],
        &[],
    ] {
        asked(&authority.named(names)).expect_err("not allowed");
        assert_eq!(upstream.requests().len(), served, "{names:?}");
    }
    proxy.log.wait_for("ApplicationVerificationFailure");
    // An allowed identity that somebody else vouches for.
    asked(&Pki::of(crate::support::pki::named(&[
        "spiffe://test/ns/a/sa/web",
    ])))
    .expect_err("stranger");
    assert_eq!(upstream.requests().len(), served);
}

/// A proxy whose upstream has this certificate, or asks for one of `authority`.
async fn calling(server: &Pki, cluster: &str, asks: Option<&Pki>) -> (h2::Upstream, Proxy) {
    let setup = Setup::new();
    server.write(&setup.dir, "upstream");
    Pki::new(&["any.test"]).write(&setup.dir, "other");
    let config = match asks {
        Some(authority) => server.server_for(authority),
        None => server.server(&["http/1.1"]),
    };
    let upstream = h2::Upstream::new(Some(config), h2::echo).await;
    let before = format!("endpoints: ['{}']", upstream.address);
    let yaml =
        proxy::plain(upstream.address).replace(&before, &format!("{before}, tls: {cluster}"));
    if let Some(authority) = asks {
        authority.write(&setup.dir, "own");
    }
    (upstream, setup.start(&yaml))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_is_known_by_its_identity() {
    let spiffe = Authority::new().named(&["spiffe://test/ns/a/sa/backend"]);
    for (cluster, expected, sent) in [
        (
            "{ ca: upstream-ca.pem, allowed_sans: [spiffe://test/ns/a/sa/backend] }",
            200,
            None,
        ),
        (
            "{ server_name: backend.test, ca: upstream-ca.pem, allowed_sans: [{ prefix: 'spiffe://test/ns/a/' }] }",
            200,
            Some("backend.test"),
        ),
        (
            "{ ca: upstream-ca.pem, allowed_sans: [spiffe://test/ns/b/sa/backend] }",
            503,
            None,
        ),
        (
            "{ ca: upstream-ca.pem, allowed_sans: [{ suffix: /frontend }, 127.0.0.1] }",
            503,
            None,
        ),
        // The right identity does not make up for the wrong authority.
        (
            "{ ca: other-ca.pem, allowed_sans: [spiffe://test/ns/a/sa/backend] }",
            503,
            None,
        ),
        // Without `allowed_sans` it is the name that counts.
        (
            "{ server_name: backend.test, ca: upstream-ca.pem }",
            503,
            None,
        ),
    ] {
        let (upstream, proxy) = calling(&spiffe, cluster, None).await;
        assert_eq!(status(&proxy).await, expected, "{cluster}");
        if expected == 200 {
            let names = upstream.names.lock().unwrap().clone();
            assert_eq!(names, [sent.map(ToOwned::to_owned)], "{cluster}");
        } else {
            assert!(upstream.heads().is_empty(), "{cluster}");
            proxy
                .stdout
                .wait_for("503 UF upstream_connection_failure POST /");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_identity_is_refused() {
    let params = crate::support::pki::named(&["spiffe://test/backend"]);
    let old = Authority::new().issue(crate::support::pki::expired(params));
    let cluster = "{ ca: upstream-ca.pem, allowed_sans: [spiffe://test/backend] }";
    let (upstream, proxy) = calling(&old, cluster, None).await;
    assert_eq!(status(&proxy).await, 503);
    assert!(upstream.heads().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_asks_is_shown_the_clusters_certificate() {
    let (server, own) = (
        Pki::new(&["backend.test"]),
        Authority::new().named(&["spiffe://test/proxy"]),
    );
    let plain = "server_name: backend.test, ca: upstream-ca.pem";
    let with = format!("{{ {plain}, certificate: own.pem, key: own.key }}");
    let (upstream, proxy) = calling(&server, &with, Some(&own)).await;
    assert_eq!(status(&proxy).await, 200);
    let shown = upstream.shown.lock().unwrap().clone();
    assert_eq!(shown, [Some(own.der().to_vec())]);
    // Without one it sends us away.
    let (upstream, proxy) = calling(&server, &format!("{{ {plain} }}"), Some(&own)).await;
    assert_eq!(status(&proxy).await, 503);
    assert!(upstream.heads().is_empty());
}

#[test]
fn mistakes_are_told_with_their_place_and_what_to_do() {
    let dir = crate::support::Dir::new();
    Pki::new(&["a.test"]).write(&dir, "a");
    Pki::new(&["b.test"]).write(&dir, "b");
    for (tls, told, help) in [
        (
            "{ ca: a-ca.pem }",
            ":6:8: clusters[0].tls: `server_name` is missing",
            "or `allowed_sans: …`",
        ),
        (
            "{ server_name: a.test, ca: a-ca.pem, certificate: a.pem }",
            ":6:8: clusters[0].tls: `key` is missing",
            "add `key: …`, or remove the other",
        ),
        (
            "{ server_name: a.test, ca: a-ca.pem, certificate: a.pem, key: b.key }",
            ":6:8: clusters[0].tls: \"a.pem\" and \"b.key\": the key does not belong",
            "give the key",
        ),
        (
            "{ server_name: a.test, ca: a.key }",
            ":6:35: clusters[0].tls.ca: \"a.key\": this is a private key",
            "give the certificate's file",
        ),
        (
            "{ ca: a-ca.pem, allowed_sans: [] }",
            ":6:38: clusters[0].tls.allowed_sans: nobody is allowed here",
            "write who may connect",
        ),
        (
            "{ ca: a-ca.pem, allowed_sans: [{ exact: a, prefix: b }] }",
            "clusters[0].tls.allowed_sans[0].prefix: `prefix` cannot stand beside `exact`",
            "keep one",
        ),
    ] {
        let yaml = format!(
            "listeners:\n- {{ name: web, address: '127.0.0.1:0', routes: [{{ respond: {{}} }}] }}\nclusters:\n- name: c\n  endpoints: []\n  tls: {tls}\n"
        );
        let (status, lines) = proxy::refused(&dir, "check", &yaml);
        assert_eq!(status, Some(64), "{tls}: {lines:?}");
        let found = lines.iter().find(|said| said.contains(told));
        let found = found.unwrap_or_else(|| panic!("no {told} in {lines:#?}"));
        assert!(found.contains(help), "{found} has no {help}");
    }
}

/// `examples/mtls.yaml` with real certificates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_of_a_sidecar_knows_both_sides() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/mtls.yaml");
    let example = std::fs::read_to_string(example).unwrap();
    let (authority, setup) = (Authority::new(), Setup::new());
    let shop = |account: &str| {
        let uri = format!("spiffe://example.org/ns/shop/sa/{account}");
        authority.named(&[&uri, "localhost"])
    };
    let own = shop("cart");
    own.write(&setup.dir, "server");
    setup.dir.write("ca.pem", &own.ca);
    let backend = shop("backend");
    let upstream = h2::Upstream::new(Some(backend.server_for(&own)), h2::echo).await;
    let yaml = example
        .replace("127.0.0.1:8443", "127.0.0.1:0")
        .replace("127.0.0.1:9443", &upstream.address.to_string());
    let proxy = setup.start(&yaml);
    let address = proxy.address("inbound");
    for (account, served) in [("web", true), ("admin", false)] {
        let config = own.client_as(&shop(account));
        let asked = tokio::task::spawn_blocking(move || {
            let mut client = crate::support::Client::connect_tls(address, config, "localhost");
            client.try_send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")?;
            client.try_response("GET")
        });
        assert_eq!(
            asked
                .await
                .unwrap()
                .is_ok_and(|answer| answer.status() == 200),
            served
        );
    }
    let heads = upstream.heads();
    assert_eq!(heads.len(), 1);
    let told = heads[0].headers["x-forwarded-client-cert"]
        .to_str()
        .unwrap();
    assert!(
        told.starts_with("By=spiffe://example.org/ns/shop/sa/cart;Hash="),
        "{told}"
    );
    assert!(
        told.ends_with("URI=spiffe://example.org/ns/shop/sa/web"),
        "{told}"
    );
    assert_eq!(*upstream.shown.lock().unwrap(), [Some(own.der().to_vec())]);
}
