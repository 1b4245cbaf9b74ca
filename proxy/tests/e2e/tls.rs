//! TLS towards upstreams: who is believed, what is sent, what is spoken.

mod clients;
mod forwarded;
mod identities;
mod names;
mod reloaded;
mod sessions;

use http::Request;

use crate::support::pki::Pki;
use crate::support::{Proxy, Setup, h2, proxy};

/// A proxy with a cluster of these settings, in front of an upstream with this certificate;
/// `other-ca.pem` is an authority that has nothing to do with it.
async fn setup(names: &[&str], alpn: &[&str], cluster: &str) -> (h2::Upstream, Proxy) {
    let (pki, setup) = (Pki::new(names), Setup::new());
    pki.write(&setup.dir, "upstream");
    Pki::new(names).write(&setup.dir, "other");
    let upstream = h2::Upstream::new(Some(pki.server(alpn)), h2::echo).await;
    let before = format!("endpoints: ['{}']", upstream.address);
    let yaml = proxy::plain(upstream.address).replace(&before, &format!("{before}, {cluster}"));
    (upstream, setup.start(&yaml))
}

async fn status(proxy: &Proxy) -> u16 {
    let client = h2::connect(proxy.web()).await;
    let request = Request::post("http://client.test/")
        .body(h2::full("hello"))
        .unwrap();
    let (head, whole) = h2::fetch(&client, request).await;
    if head.status == 200 {
        assert_eq!(whole.body, "hello");
    }
    head.status.as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_of_the_right_authority_and_name_is_believed_and_told_the_name() {
    for (protocol, version) in [
        ("http1", http::Version::HTTP_11),
        ("http2", http::Version::HTTP_2),
        ("auto", http::Version::HTTP_2),
    ] {
        let tls = format!(
            "protocol: {protocol}, tls: {{ server_name: backend.internal, ca: upstream-ca.pem }}"
        );
        let (upstream, proxy) = setup(&["backend.internal"], &["h2", "http/1.1"], &tls).await;
        assert_eq!(status(&proxy).await, 200, "{protocol}");
        assert_eq!(
            upstream.names.lock().unwrap()[..],
            [Some("backend.internal".to_owned())]
        );
        let heads = upstream.heads();
        assert_eq!(heads[0].version, version, "{protocol}");
        let host = match heads[0].uri.authority() {
            Some(authority) => authority.as_str(),
            None => heads[0].headers["host"].to_str().unwrap(),
        };
        assert_eq!(
            host, "client.test",
            "the client's host is for the upstream, the name for TLS"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auto_falls_back_to_http_1_where_the_upstream_offers_nothing_else() {
    for alpn in [&["http/1.1"][..], &[]] {
        let tls = "protocol: auto, tls: { server_name: backend.internal, ca: upstream-ca.pem }";
        let (upstream, proxy) = setup(&["backend.internal"], alpn, tls).await;
        assert_eq!(status(&proxy).await, 200);
        assert_eq!(upstream.heads()[0].version, http::Version::HTTP_11);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_cannot_be_believed_gets_no_request() {
    for (why, cluster) in [
        (
            "another authority",
            "tls: { server_name: backend.internal, ca: other-ca.pem }",
        ),
        (
            "the system's roots",
            "tls: { server_name: backend.internal }",
        ),
        (
            "another name",
            "tls: { server_name: wrong.internal, ca: upstream-ca.pem }",
        ),
        (
            "another address",
            "tls: { server_name: 127.0.0.2, ca: upstream-ca.pem }",
        ),
    ] {
        let (upstream, proxy) =
            setup(&["backend.internal", "127.0.0.1"], &["http/1.1"], cluster).await;
        assert_eq!(status(&proxy).await, 503, "{why}");
        assert!(upstream.heads().is_empty(), "{why}");
        proxy
            .stdout
            .wait_for("503 UF upstream_connection_failure POST /");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_can_be_the_name() {
    let tls = "tls: { server_name: 127.0.0.1, ca: upstream-ca.pem }";
    let (upstream, proxy) = setup(&["127.0.0.1"], &["http/1.1"], tls).await;
    assert_eq!(status(&proxy).await, 200);
    assert_eq!(
        upstream.names.lock().unwrap()[..],
        [None],
        "addresses are not sent as SNI"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_is_not_spoken_to_an_upstream_that_does_not_offer_it() {
    let tls = "protocol: http2, tls: { server_name: backend.internal, ca: upstream-ca.pem }";
    let (_upstream, proxy) = setup(&["backend.internal"], &["http/1.1"], tls).await;
    assert_eq!(status(&proxy).await, 503);
    proxy.stdout.wait_for("503 UF ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_without_tls_is_not_taken_for_one_with_it() {
    let setup = Setup::new();
    Pki::new(&["backend.internal"]).write(&setup.dir, "any");
    let upstream = crate::support::Upstream::named("ok");
    let before = format!("endpoints: ['{}']", upstream.address);
    let tls = format!("{before}, tls: {{ server_name: backend.internal, ca: any-ca.pem }}");
    let proxy = setup.start(&proxy::plain(upstream.address).replace(&before, &tls));
    assert_eq!(status(&proxy).await, 503);
    assert!(upstream.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_speaks_no_tls_to_a_tls_listener_is_dropped_and_others_are_served() {
    let (pki, setup) = (Pki::new(&["proxy.test"]), Setup::new());
    pki.write(&setup.dir, "server");
    let upstream = crate::support::Upstream::named("ok");
    let listener = "  address: 127.0.0.1:0\n";
    let tls = format!("{listener}  tls: {{ certificate: server.pem, key: server.key }}\n");
    let proxy = setup.start(&proxy::plain(upstream.address).replace(listener, &tls));
    let mut plain = proxy.client();
    plain.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    plain.rest();
    let mut client =
        crate::support::Client::connect_tls(proxy.web(), pki.client(&[]), "proxy.test");
    assert_eq!(client.get("/").text(), "ok");
    assert_eq!(upstream.requests().len(), 1);
}

/// [`proxy::plain`] with TLS on its listener, as `tls` and what follows say.
fn listening(upstream: std::net::SocketAddr, tls: &str) -> String {
    let listener = "  address: 127.0.0.1:0\n";
    proxy::plain(upstream).replace(listener, &format!("{listener}  tls: {tls}\n"))
}

/// Tells why a client was sent away.
const TELLING: &[&str] = &["--log", "info,cofferdam=debug"];

/// One GET by a client of its own: the answer, and the leaf it was shown.
fn ask(
    proxy: &Proxy,
    config: std::sync::Arc<rustls::ClientConfig>,
    name: &str,
) -> std::io::Result<(crate::support::Message, Vec<u8>)> {
    let mut client = crate::support::Client::connect_tls(proxy.web(), config, name);
    client.try_send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")?;
    let answer = client.try_response("GET")?;
    let leaf = client.tls().peer_certificates().unwrap()[0].to_vec();
    Ok((answer, leaf))
}
