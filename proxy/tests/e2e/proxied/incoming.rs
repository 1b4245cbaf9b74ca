//! Headers that come in.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::{V1, admin, binary, happened, v2};
use crate::support::pki::Pki;
use crate::support::{Client, LONGEST, Proxy, Setup, Upstream, h2};

const TRUSTED: &str = "proxy_protocol: { from: [127.0.0.0/8] }";

/// A listener `web` with more keys in front of `backend`, and the client's addresses in the
/// access log.
fn yaml(address: SocketAddr, listener: &str) -> String {
    format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, {listener} }}]\n\
         clusters: [{{ name: backend, endpoints: ['{address}'] }}]\nworkers: 1\n\
         admin: {{ address: '127.0.0.1:0' }}\n\
         access_log: {{ format: '%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% \
         %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%' }}\n"
    )
}

fn start(address: SocketAddr, listener: &str) -> Proxy {
    Proxy::start(&yaml(
        address,
        &format!("{listener}, routes: [{{ cluster: backend }}]"),
    ))
}

#[test]
fn the_client_is_who_the_header_says_in_whatever_pieces_it_comes() {
    let upstream = Upstream::echo();
    let proxy = start(upstream.address, TRUSTED);
    let admin = admin(&proxy);
    let request = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody";
    for (event, header) in [("v1", V1.to_vec()), ("v2", binary())] {
        let whole = [&header[..], request].concat();
        // All at once, cut around the header's end, and byte for byte.
        let cuts: &[&[usize]] = &[
            &[],
            &[1],
            &[header.len() - 1],
            &[header.len()],
            &[header.len() + 1],
        ];
        for cuts in cuts {
            let mut client = proxy.client();
            let mut from = 0;
            for cut in cuts.iter().chain([&whole.len()]) {
                client.send(&whole[from..*cut]);
                from = *cut;
            }
            assert_eq!(client.response().text(), "body");
            // Once for the connection.
            assert_eq!(client.get("/again").status(), 200);
        }
        let mut client = proxy.client();
        for byte in &whole {
            client.send([*byte]);
        }
        assert_eq!(client.response().text(), "body");
        happened(admin, &format!("proxy_proto.versions.{event}.found"), 6.0);
    }
    let requests = upstream.requests();
    assert_eq!(requests.len(), 22);
    for request in requests {
        assert_eq!(request.field("x-forwarded-for"), Some("192.0.2.1"));
        assert!(!request.line.contains("PROXY"));
    }
    proxy
        .stdout
        .wait_for("192.0.2.1:40000 198.51.100.2:443 127.0.0.1");
}

#[test]
fn the_header_stands_before_tls() {
    let upstream = Upstream::named("ok");
    let pki = Pki::new(&["front.test"]);
    let setup = Setup::new();
    pki.write(&setup.dir, "front");
    let tls = "tls: { certificate: front.pem, key: front.key }";
    let routes = "routes: [{ cluster: backend }]";
    let proxy = setup.start(&yaml(
        upstream.address,
        &format!("{TRUSTED}, {tls}, {routes}"),
    ));
    for header in [V1.to_vec(), binary()] {
        let config = pki.client(&["http/1.1"]);
        let mut client = Client::connect_tls_behind(&header, proxy.web(), config, "front.test");
        assert_eq!(client.get("/").text(), "ok");
    }
    for request in upstream.requests() {
        assert_eq!(request.field("x-forwarded-for"), Some("192.0.2.1"));
        assert_eq!(request.field("x-forwarded-proto"), Some("https"));
    }
    // Within TLS it is none.
    let admin = admin(&proxy);
    let config = pki.client(&["http/1.1"]);
    let mut client = Client::connect_tls(proxy.web(), config, "front.test");
    assert!(client.try_send(V1).is_err());
    happened(admin, "proxy_proto.not_found_disallowed", 1.0);
}

#[tokio::test]
async fn http2_may_stand_behind_it() {
    use tokio::io::AsyncWriteExt as _;
    let upstream = Upstream::named("ok");
    let proxy = start(upstream.address, TRUSTED);
    let mut stream = tokio::net::TcpStream::connect(proxy.web()).await.unwrap();
    stream.write_all(&binary()).await.unwrap();
    let mut client = h2::over(stream).await;
    let request = http::Request::get("http://test/")
        .body(h2::empty())
        .unwrap();
    let response = client.send_request(request);
    let response = tokio::time::timeout(LONGEST, response)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(response.status(), 200);
    let request = upstream.only_request();
    assert_eq!(request.field("x-forwarded-for"), Some("192.0.2.1"));
}

#[test]
fn bytes_behind_it_go_on_where_it_is_not_http() {
    let upstream = Upstream::new(|conn| {
        let bytes = conn.bytes(5).unwrap();
        conn.send(bytes);
    });
    let proxy = Proxy::start(&yaml(
        upstream.address,
        &format!("{TRUSTED}, tcp: {{ cluster: backend }}"),
    ));
    for header in [V1.to_vec(), binary()] {
        let mut client = proxy.client();
        client.send([&header[..], b"hello"].concat());
        assert_eq!(client.bytes(5), b"hello");
        drop(client);
        proxy
            .stdout
            .wait_for("192.0.2.1:40000 198.51.100.2:443 127.0.0.1");
    }
    upstream.wait_for_ended(2);
    assert_eq!(upstream.bytes(), b"hellohello");
}

#[test]
fn what_says_nothing_of_a_client_changes_nothing() {
    let upstream = Upstream::named("ok");
    let proxy = start(upstream.address, TRUSTED);
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ::1 ::2 3 4\r\n".to_vec(),
        v2(0x20, 0, b""),
        v2(0x20, 0x11, &binary()[16..]),
        v2(0x21, 0, b""),
    ] {
        let mut client = proxy.client();
        assert_eq!(client.send(header).get("/").text(), "ok");
    }
    for request in upstream.requests() {
        assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    }
    // A client on a unix socket has no address.
    let mut client = proxy.client();
    let header = v2(0x21, 0x31, &[0; 216]);
    assert_eq!(client.send(header).get("/").text(), "ok");
    let requests = upstream.requests();
    assert_eq!(requests.last().unwrap().field("x-forwarded-for"), None);
    proxy.stdout.wait_for("- - 127.0.0.1");
}

#[test]
fn a_malformed_header_or_none_closes_the_connection_and_is_counted() {
    let upstream = Upstream::named("ok");
    let proxy = start(upstream.address, TRUSTED);
    let admin = admin(&proxy);
    let request = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    for (event, headers) in [
        (
            "versions.v1.error",
            vec![
                b"PROXY TCP4 192.0.2.1 198.51.100.2 40000\r\n".to_vec(),
                [b'x'; 200].to_vec(),
            ],
        ),
        (
            "versions.v2.error",
            vec![v2(0x2f, 0x11, &binary()[16..]), v2(0x21, 0x11, b"")],
        ),
        ("not_found_disallowed", vec![b"".to_vec(), b"\r\n".to_vec()]),
    ] {
        for (times, header) in headers.iter().enumerate() {
            let mut client = proxy.client();
            // The second of the first kind is a line without an end.
            let header = match header[..] {
                [b'x', ..] => [&b"PROXY UNKNOWN "[..], header].concat(),
                _ => header.clone(),
            };
            client.send([&header[..], request].concat());
            client.assert_ended();
            happened(admin, &format!("proxy_proto.{event}"), 1.0 + times as f64);
        }
    }
    // Cut off within it; nothing at all is no mistake.
    let mut client = proxy.client();
    client.send(&V1[..20]).shutdown();
    client.assert_ended();
    happened(admin, "proxy_proto.versions.v1.error", 3.0);
    let mut client = proxy.client();
    client.shutdown();
    client.assert_ended();
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn whoever_is_not_believed_is_cut_off_or_is_who_has_connected() {
    let upstream = Upstream::named("ok");
    let others = "from: [192.0.2.0/24, 127.0.0.2]";
    let proxy = start(upstream.address, &format!("proxy_protocol: {{ {others} }}"));
    for header in [V1, b""] {
        let mut client = proxy.client();
        client.send([header, b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"].concat());
        client.assert_ended();
    }
    happened(admin(&proxy), "proxy_proto.untrusted", 2.0);
    assert_eq!(upstream.connections(), 0);
    let proxy = start(
        upstream.address,
        &format!("proxy_protocol: {{ {others}, required: false }}"),
    );
    assert_eq!(proxy.get("/").text(), "ok");
    let request = upstream.only_request();
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    // To the codec it is a request like any other, and no good one.
    let mut client = proxy.client();
    client.send([V1, b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"].concat());
    assert_eq!(client.response().status(), 400);
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn where_it_is_not_required_a_connection_without_it_is_served() {
    let upstream = Upstream::named("ok");
    let proxy = start(
        upstream.address,
        "proxy_protocol: { from: [127.0.0.1], required: false }",
    );
    let admin = admin(&proxy);
    assert_eq!(proxy.get("/").text(), "ok");
    happened(admin, "proxy_proto.not_found_allowed", 1.0);
    // As far as it goes it might be one.
    let mut client = proxy.client();
    client
        .send("P")
        .send("RO")
        .send("PFIND / HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
    let mut client = proxy.client();
    assert_eq!(client.send(V1).get("/").text(), "ok");
    let requests = upstream.requests();
    let from: Vec<_> = requests
        .iter()
        .map(|request| request.field("x-forwarded-for"))
        .collect();
    let (own, said) = (Some("127.0.0.1"), Some("192.0.2.1"));
    assert_eq!(from, [own, own, said]);
    // What begins as one and is none is malformed all the same.
    let mut client = proxy.client();
    client
        .send("PROXY / HTTP/1.1\r\nhost: test\r\n\r\n")
        .assert_ended();
    happened(admin, "proxy_proto.versions.v1.error", 1.0);
}

#[test]
fn a_header_that_does_not_come_in_time_ends_the_connection() {
    let upstream = Upstream::named("ok");
    let proxy = start(
        upstream.address,
        &format!("{TRUSTED}, header_timeout: 200ms"),
    );
    for begun in [&b""[..], &V1[..V1.len() - 1], &binary()[..27]] {
        let mut client = proxy.client();
        client.send(begun).assert_ended();
    }
    happened(admin(&proxy), "downstream_pre_cx_timeout", 3.0);
}

#[test]
fn clients_on_a_unix_socket_may_come_from_elsewhere() {
    let upstream = Upstream::named("ok");
    let setup = Setup::new();
    let path = setup.dir.join("web.sock");
    let listener = "proxy_protocol: { required: true }, routes: [{ cluster: backend }]";
    let at = format!("address: 'unix:{}'", path.display());
    let yaml = yaml(upstream.address, listener).replacen("address: 127.0.0.1:0", &at, 1);
    let proxy = setup.spawn(&yaml);
    proxy.log.wait_for("listening: web ");
    let mut client = Client::connect_unix(&path);
    assert_eq!(client.send(V1).get("/").text(), "ok");
    let request = upstream.only_request();
    assert_eq!(request.field("x-forwarded-for"), Some("192.0.2.1"));
    proxy.stdout.wait_for("192.0.2.1:40000 198.51.100.2:443 -");
}

#[test]
fn the_endpoint_may_be_chosen_by_the_address_it_says() {
    let upstreams = ["a", "b", "c", "d"].map(Upstream::named);
    let endpoints = upstreams
        .each_ref()
        .map(|it| format!("'{}'", it.address))
        .join(", ");
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, {TRUSTED}, \
         routes: [{{ cluster: c, hash_policy: [{{ source_ip: true }}] }}] }}]\n\
         clusters: [{{ name: c, endpoints: [{endpoints}], lb_policy: maglev }}]\nworkers: 2\n"
    ));
    let reached = |client: usize| {
        let header = format!("PROXY TCP4 192.0.2.{client} 10.0.0.1 {client} 80\r\n");
        proxy.client().send(header).get("/").text()
    };
    let all: BTreeSet<_> = (0..60)
        .map(|client| {
            let first = reached(client);
            assert_eq!(reached(client), first);
            first
        })
        .collect();
    assert_eq!(all.len(), 4);
}
