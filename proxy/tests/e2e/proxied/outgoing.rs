//! Headers that go out to upstreams.

use std::net::SocketAddr;
use std::sync::Arc;

use cofferdam_abi::testing::guest::{Shape, module};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::{V1, binary};
use crate::nginx::Nginx;
use crate::support::pki::Pki;
use crate::support::upstream::Conn;
use crate::support::{Client, LONGEST, Message, Proxy, Setup, Upstream, h2};

/// A listener `web` in front of `backend`, which is told of clients.
fn yaml(address: SocketAddr, version: &str, listener: &str, cluster: &str) -> String {
    format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, {listener} }}]\n\
         clusters: [{{ name: backend, endpoints: ['{address}'], proxy_protocol: {version}{cluster} }}]\n\
         workers: 1\n"
    )
}

fn start(address: SocketAddr, version: &str, cluster: &str) -> Proxy {
    Proxy::start(&yaml(
        address,
        version,
        "routes: [{ cluster: backend }]",
        cluster,
    ))
}

/// The header of a connection as it should be for this client.
fn expected(version: &str, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (source, destination) else {
        panic!("{source} {destination}");
    };
    match version {
        "v1" => {
            let (from_ip, to_ip) = (from.ip(), to.ip());
            let (from, to) = (from.port(), to.port());
            format!("PROXY TCP4 {from_ip} {to_ip} {from} {to}\r\n").into_bytes()
        }
        _ => super::v2(
            0x21,
            0x11,
            &[
                &from.ip().octets()[..],
                &to.ip().octets(),
                &from.port().to_be_bytes(),
                &to.port().to_be_bytes(),
            ]
            .concat(),
        ),
    }
}

/// What is said where there is nothing to say.
fn nothing(version: &str) -> Vec<u8> {
    match version {
        "v1" => b"PROXY UNKNOWN\r\n".to_vec(),
        _ => super::v2(0x20, 0, b""),
    }
}

/// The header that a connection begins with, and nothing behind it.
fn header(conn: &mut Conn) -> Option<Vec<u8>> {
    let mut header = conn.bytes(1).ok()?;
    if header == b"P" {
        while !header.ends_with(b"\r\n") {
            header.extend(conn.bytes(1).ok()?);
        }
        return Some(header);
    }
    header.extend(conn.bytes(15).ok()?);
    let length = u16::from_be_bytes([header[14], header[15]]);
    header.extend(conn.bytes(length.into()).ok()?);
    Some(header)
}

/// Answers each request with its connection's header, in hexadecimal.
fn telling() -> Upstream {
    Upstream::new(|conn| {
        let Some(header) = header(conn) else { return };
        while conn.request().is_some() {
            conn.respond(hex(&header));
        }
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn each_client_has_connections_that_name_it_and_no_others() {
    for version in ["v1", "v2"] {
        let upstream = telling();
        let proxy = start(upstream.address, version, "");
        let mut clients: Vec<_> = (0..5).map(|_| proxy.client()).collect();
        for round in 0..4 {
            for client in &mut clients {
                let own = client.stream().local_addr().unwrap();
                let told = client.get(&format!("/{round}")).text();
                assert_eq!(told, hex(&expected(version, own, proxy.web())));
            }
        }
        // One for each, used again and again.
        assert_eq!(upstream.connections(), 5);
        assert_eq!(upstream.requests().len(), 20);
        // They end with their clients, though they might have been kept much longer.
        clients.truncate(2);
        upstream.wait_for_ended(3);
        let told = clients[0].get("/").text();
        let own = clients[0].stream().local_addr().unwrap();
        assert_eq!(told, hex(&expected(version, own, proxy.web())));
        assert_eq!(upstream.connections(), 5);
    }
}

#[test]
fn clients_that_come_and_go_in_a_crowd_are_never_mixed_up() {
    let upstream = telling();
    let proxy = start(upstream.address, "v2", "");
    let web = proxy.web();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let mut client = proxy.client();
                    let own = client.stream().local_addr().unwrap();
                    for _ in 0..3 {
                        let told = client.get("/").text();
                        assert_eq!(told, hex(&expected("v2", own, web)));
                    }
                }
            });
        }
    });
    upstream.wait_for_ended(upstream.connections());
}

#[test]
fn who_came_through_a_load_balancer_is_passed_on() {
    let upstream = telling();
    let listener = "proxy_protocol: { from: [127.0.0.1] }, routes: [{ cluster: backend }]";
    for (version, told) in [("v1", V1.to_vec()), ("v2", binary())] {
        let proxy = Proxy::start(&yaml(upstream.address, version, listener, ""));
        // Whichever form it came in.
        for header in [V1.to_vec(), binary()] {
            let mut client = proxy.client();
            assert_eq!(client.send(header).get("/").text(), hex(&told));
        }
    }
    // Two connections of the balancer are two clients, even with the same address.
    assert_eq!(upstream.connections(), 4);
}

#[test]
fn a_client_without_an_address_is_unknown() {
    for version in ["v1", "v2"] {
        let upstream = telling();
        let setup = Setup::new();
        let path = setup.dir.join("web.sock");
        let at = format!("address: 'unix:{}'", path.display());
        let yaml = yaml(
            upstream.address,
            version,
            "routes: [{ cluster: backend }]",
            "",
        );
        let proxy = setup.spawn(&yaml.replacen("address: 127.0.0.1:0", &at, 1));
        proxy.log.wait_for("listening: web ");
        let mut client = Client::connect_unix(&path);
        assert_eq!(client.get("/").text(), hex(&nothing(version)));
    }
}

#[test]
fn what_is_idle_for_too_long_ends_before_its_client() {
    let upstream = telling();
    let proxy = start(upstream.address, "v1", ", idle_timeout: 100ms");
    let mut client = proxy.client();
    let first = client.get("/").text();
    upstream.wait_for_ended(1);
    assert_eq!(client.get("/").text(), first);
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn where_connections_are_few_one_that_nobody_uses_makes_room() {
    let upstream = telling();
    let few = ", circuit_breakers: { max_connections: 2 }";
    let proxy = start(upstream.address, "v2", few);
    let mut clients: Vec<_> = (0..6).map(|_| proxy.client()).collect();
    for _ in 0..3 {
        for client in &mut clients {
            let own = client.stream().local_addr().unwrap();
            assert_eq!(
                client.get("/").text(),
                hex(&expected("v2", own, proxy.web()))
            );
        }
    }
}

#[test]
fn health_checks_say_that_it_is_the_proxy_itself() {
    for version in ["v1", "v2"] {
        let upstream = telling();
        let check = ", health_check: { path: /healthy, interval: 1s }";
        let proxy = start(upstream.address, version, check);
        upstream.wait_for_requests(1);
        assert_eq!(upstream.requests()[0].line, "GET /healthy HTTP/1.1");
        assert!(upstream.bytes().starts_with(&nothing(version)));
        let mut client = proxy.client();
        let own = client.stream().local_addr().unwrap();
        assert_eq!(
            client.get("/").text(),
            hex(&expected(version, own, proxy.web()))
        );
    }
}

#[test]
fn what_a_filter_asks_for_itself_is_nobodys() {
    for version in ["v1", "v2"] {
        let upstream = telling();
        let setup = Setup::new().with(&["--log", "info,filter=trace"]);
        let guest = "on request_headers
            (global.set $g (local.get $a))
            (drop (!http_call {\"backend\"} {pairs \":method\" \"GET\" \":path\" \"/call\" \":authority\" \"b\"} #0 #0 #0 #0 #5000 #40))
            (return #1)
            on http_call_response
            (drop (!set_effective_context (global.get $g)))
            (drop (!continue_stream #0))";
        let wasm = wat::parse_str(module(guest, Shape::default())).unwrap();
        let file = setup.dir.write("guest.wasm", wasm);
        let listener = "filters: [guest], routes: [{ cluster: backend }]";
        let proxy = setup.start(&format!(
            "{}filters: [{{ name: guest, module: {{ file: '{}' }} }}]\n",
            yaml(upstream.address, version, listener, ""),
            file.display()
        ));
        for _ in 0..3 {
            let mut client = proxy.client();
            let own = client.stream().local_addr().unwrap();
            let told = hex(&expected(version, own, proxy.web()));
            assert_eq!(client.get("/").text(), told);
            assert_eq!(client.get("/").text(), told);
        }
        // One connection for all calls, beside those of the clients.
        assert_eq!(upstream.connections(), 4);
        assert_eq!(upstream.requests().len(), 12);
        assert!(upstream.bytes().starts_with(&nothing(version)));
    }
}

#[test]
fn what_is_not_http_begins_with_it_too() {
    for version in ["v1", "v2"] {
        let upstream = Upstream::new(|conn| {
            let Some(header) = header(conn) else { return };
            conn.send(hex(&header));
            let rest = conn.rest();
            conn.send(rest.unwrap_or_default());
        });
        let proxy = Proxy::start(&yaml(
            upstream.address,
            version,
            "tcp: { cluster: backend }",
            "",
        ));
        let mut client = proxy.client();
        let own = client.stream().local_addr().unwrap();
        client.send("and what the client says").shutdown();
        let told = hex(&expected(version, own, proxy.web())) + "and what the client says";
        assert_eq!(String::from_utf8(client.rest().0).unwrap(), told);
    }
}

/// Reads a header, then TLS, then a request, which is answered with the header.
async fn tls_upstream(listener: tokio::net::TcpListener, pki: Arc<rustls::ServerConfig>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let acceptor = TlsAcceptor::from(pki.clone());
        tokio::spawn(async move {
            let mut header = vec![0; 28];
            stream.read_exact(&mut header).await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut seen = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                seen.push(byte);
                if seen.ends_with(b"\r\n\r\n") {
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: 56\r\n\r\n{}",
                        hex(&header)
                    );
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                }
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stands_before_tls() {
    let back = Pki::new(&["back.test"]);
    let setup = Setup::new();
    back.write(&setup.dir, "back");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = ", tls: { server_name: back.test, ca: back-ca.pem }";
    let routes = "routes: [{ cluster: backend }]";
    let yaml = yaml(listener.local_addr().unwrap(), "v2", routes, tls);
    tokio::spawn(tls_upstream(listener, back.server(&[])));
    let asking = tokio::task::spawn_blocking(move || {
        let proxy = setup.start(&yaml);
        for _ in 0..2 {
            let mut client = proxy.client();
            let own = client.stream().local_addr().unwrap();
            let told = hex(&expected("v2", own, proxy.web()));
            assert_eq!(client.get("/").text(), told);
            assert_eq!(client.get("/again").text(), told);
        }
    });
    tokio::time::timeout(3 * LONGEST, asking)
        .await
        .unwrap()
        .unwrap();
}

/// An HTTP/2 upstream that answers with the header of its connection.
async fn h2_upstream(listener: tokio::net::TcpListener) {
    use http_body_util::Full;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut header = vec![0; 28];
            stream.read_exact(&mut header).await.unwrap();
            let header = hex(&header);
            let service = hyper::service::service_fn(move |_request| {
                let body = Full::new(bytes::Bytes::from(header.clone()));
                async move { Ok::<_, std::convert::Infallible>(http::Response::new(body)) }
            });
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = serving
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_is_shared_by_the_requests_of_one_client_alone() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let routes = "routes: [{ cluster: backend }]";
    let yaml = yaml(
        listener.local_addr().unwrap(),
        "v2",
        routes,
        ", protocol: http2",
    );
    tokio::spawn(h2_upstream(listener));
    let proxy = tokio::task::spawn_blocking(move || Proxy::start(&yaml))
        .await
        .unwrap();
    let work = async {
        for _ in 0..3 {
            let stream = tokio::net::TcpStream::connect(proxy.web()).await.unwrap();
            let told = hex(&expected("v2", stream.local_addr().unwrap(), proxy.web()));
            let client = h2::over(stream).await;
            let requests = (0..8).map(|_| {
                let mut client = client.clone();
                tokio::spawn(async move {
                    let request = http::Request::get("http://test/")
                        .body(h2::empty())
                        .unwrap();
                    let response = client.send_request(request).await.unwrap();
                    h2::whole(response.into_body()).await.unwrap().body
                })
            });
            for response in requests.collect::<Vec<_>>() {
                assert_eq!(response.await.unwrap(), told);
            }
        }
    };
    tokio::time::timeout(LONGEST, work).await.unwrap();
}

#[test]
fn nginx_understands_it() {
    let told = "$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port";
    let started = Nginx::start(|address, _| {
        format!(
            "server {{ listen {address} proxy_protocol; location / {{ return 200 '{told}'; }} }}"
        )
    });
    let Some(nginx) = started else { return };
    for version in ["v1", "v2"] {
        let proxy = start(nginx.address, version, "");
        for _ in 0..3 {
            let mut client = proxy.client();
            let told = format!("{} {}", client.stream().local_addr().unwrap(), proxy.web());
            for _ in 0..2 {
                let answer: Message = client.get("/");
                assert_eq!((answer.status(), answer.text()), (200, told.clone()));
            }
        }
    }
}
