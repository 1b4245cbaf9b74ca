//! Connections that go on with what an earlier one agreed on.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use rustls::HandshakeKind;

use super::{listening, status};
use crate::support::pki::{Authority, Pki};
use crate::support::{Client, Proxy, Setup, Upstream, h2, proxy};

/// How the handshake of a connection with one request went.
fn handshake(proxy: &Proxy, config: &Arc<rustls::ClientConfig>) -> HandshakeKind {
    let mut client = Client::connect_tls(proxy.web(), config.clone(), "proxy.test");
    // Tickets come with the answer.
    assert_eq!(client.get("/").text(), "ok");
    match client.tls().handshake_kind().unwrap() {
        // Another group was asked for: a full one all the same.
        HandshakeKind::FullWithHelloRetryRequest => HandshakeKind::Full,
        kind => kind,
    }
}

#[test]
fn a_client_resumes_as_the_listener_lets_it() {
    use rustls::version::{TLS12, TLS13};
    for (setting, second) in [
        ("", HandshakeKind::Resumed),
        (", resumption: tickets", HandshakeKind::Resumed),
        (", resumption: store", HandshakeKind::Resumed),
        (", resumption: off", HandshakeKind::Full),
    ] {
        let (pki, setup) = (Pki::new(&["proxy.test"]), Setup::new());
        pki.write(&setup.dir, "server");
        let tls = format!("{{ certificate: server.pem, key: server.key{setting} }}");
        // A ticket is good with any worker.
        let yaml =
            listening(Upstream::named("ok").address, &tls).replace("workers: 1", "workers: 2");
        let proxy = setup.start(&yaml);
        for version in [&TLS13, &TLS12] {
            let config = pki.client_of(version);
            let kinds = [handshake(&proxy, &config), handshake(&proxy, &config)];
            assert_eq!(
                kinds,
                [HandshakeKind::Full, second],
                "{setting} {version:?}"
            );
        }
    }
}

#[test]
fn a_client_that_resumes_is_still_known() {
    let (authority, setup) = (Authority::new(), Setup::new());
    let server = authority.named(&["proxy.test"]);
    server.write(&setup.dir, "server");
    let upstream = Upstream::named("ok");
    let tls = "{ certificate: server.pem, key: server.key, client_ca: server-ca.pem }\n  \
               forward_client_cert: sanitize_set\n  client_cert_details: [uri]";
    let proxy = setup.start(&listening(upstream.address, tls));
    let config = server.client_as(&authority.named(&["spiffe://test/web"]));
    assert_eq!(handshake(&proxy, &config), HandshakeKind::Full);
    assert_eq!(handshake(&proxy, &config), HandshakeKind::Resumed);
    for request in upstream.requests() {
        let told = request.field("x-forwarded-client-cert").unwrap();
        assert!(told.ends_with(";URI=spiffe://test/web"), "{told}");
    }
}

#[test]
fn sessions_outlive_a_new_certificate_but_not_new_authorities() {
    let (authority, setup) = (Authority::new(), Setup::new());
    let server = authority.named(&["proxy.test"]);
    server.write(&setup.dir, "server");
    setup.dir.write("clients.pem", &server.ca);
    let tls = "{ certificate: server.pem, key: server.key, client_ca: clients.pem, client_certificate: optional }";
    let proxy = setup.start(&listening(Upstream::named("ok").address, tls));
    let config = server.client_as(&authority.named(&["client.test"]));
    assert_eq!(handshake(&proxy, &config), HandshakeKind::Full);
    let next = authority.named(&["proxy.test"]);
    proxy.dir.write("server.key", &next.key);
    proxy.dir.write("server.pem", &next.certificate);
    proxy
        .log
        .wait_for("listener web: certificates were read again");
    assert_eq!(handshake(&proxy, &config), HandshakeKind::Resumed);
    // Whom nobody vouches for any more does not come in by an old ticket.
    let seen = proxy.log.count("certificates were read again");
    proxy.dir.write("clients.pem", &Pki::new(&["any.test"]).ca);
    let counted = std::cell::Cell::new(0);
    let again = |line: &str| {
        counted.set(counted.get() + usize::from(line.contains("certificates were read again")));
        counted.get() > seen
    };
    proxy.log.find(again).expect("read again");
    let mut client = Client::connect_tls(proxy.web(), config, "proxy.test");
    let answer = client
        .try_send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        .and_then(|()| client.try_response("GET"));
    answer.expect_err("nobody vouches for it");
}

/// Answers, and ends the connection.
async fn once(_: Request<Incoming>) -> Response<h2::Feed> {
    let answer = Response::builder().header("connection", "close");
    answer.body(h2::full("hello")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_resumes_with_upstreams() {
    for (setting, second) in [("", true), (", resumption: false", false)] {
        let (pki, setup) = (Pki::new(&["backend.test"]), Setup::new());
        pki.write(&setup.dir, "upstream");
        let upstream = h2::Upstream::new(Some(pki.server(&["http/1.1"])), once).await;
        let before = format!("endpoints: ['{}']", upstream.address);
        let tls = format!("tls: {{ server_name: backend.test, ca: upstream-ca.pem{setting} }}");
        let yaml = proxy::plain(upstream.address).replace(&before, &format!("{before}, {tls}"));
        let proxy = setup.start(&yaml);
        for _ in 0..2 {
            assert_eq!(status(&proxy).await, 200);
        }
        assert_eq!(
            *upstream.resumed.lock().unwrap(),
            [false, second],
            "{setting}"
        );
    }
}

#[test]
fn handshakes_are_counted_and_certificates_have_their_ends_on_the_metrics_page() {
    let (pki, setup) = (Pki::new(&["proxy.test"]), Setup::new());
    pki.write(&setup.dir, "server");
    let tls = "{ certificate: server.pem, key: server.key }";
    let yaml = listening(Upstream::named("ok").address, tls);
    let proxy = setup.start(&format!("{yaml}admin: {{ address: 127.0.0.1:0 }}\n"));
    let config = pki.client(&[]);
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        assert_eq!(handshake(&proxy, &config), kind);
    }
    let stranger = Pki::new(&["proxy.test"]).client(&[]);
    let mut client = Client::connect_tls(proxy.web(), stranger, "proxy.test");
    client.try_send("GET").expect_err("not believed");
    drop(client);
    let counted = |result: &str| {
        format!(
            "cofferdam_tls_handshakes_total{{side=\"listener\",name=\"web\",result=\"{result}\"}} 1"
        )
    };
    // The proxy learns of the client's refusal in its own time.
    let until = std::time::Instant::now() + crate::support::LONGEST;
    let page = loop {
        let page = crate::support::client::get(proxy.address("admin"), "/metrics").text();
        if page.contains(&counted("failed")) {
            break page;
        }
        assert!(std::time::Instant::now() < until, "{page}");
    };
    for result in ["full", "resumed"] {
        assert!(page.contains(&counted(result)), "{result} in {page}");
    }
    let line = page
        .lines()
        .find(|line| line.starts_with("cofferdam_certificate_expiration_timestamp_seconds{"))
        .unwrap_or_else(|| panic!("no certificate in {page}"));
    assert!(
        line.contains("used_as=\"certificate\"") && line.contains("server.pem"),
        "{line}"
    );
    // The maker of test certificates gives them until the year 4096.
    assert!(line.ends_with(" 67090118400"), "{line}");
}
