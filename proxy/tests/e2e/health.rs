//! Active health checks: what is found out in the background decides where requests go.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::pki::Pki;
use crate::support::{Proxy, Setup, Upstream};

fn checked(endpoints: &[SocketAddr], check: &str) -> Proxy {
    checked_with(Setup::new(), endpoints, check, "")
}

/// The same of a cluster with these keys.
fn checked_with(setup: Setup, endpoints: &[SocketAddr], check: &str, cluster: &str) -> Proxy {
    let endpoints: Vec<String> = endpoints.iter().map(|it| format!("'{it}'")).collect();
    setup.start(&format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c }}] }}]\n\
         clusters: [{{ name: c, {cluster} endpoints: [{}], health_check: {{ {check} }} }}]\n\
         workers: 1\naccess_log: {{ format: '%RESPONSE_CODE% %RESPONSE_FLAGS%' }}\n",
        endpoints.join(", ")
    ))
}

/// Answers every request of every connection with 200.
fn revive(address: SocketAddr) {
    let listener = TcpListener::bind(address).expect("the port was free a moment ago");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer) {
                    if stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nup")
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn an_endpoint_that_takes_no_connection_is_left_out() {
    let live = Upstream::named("live");
    let proxy = checked(&[live.address, Upstream::nobody()], "interval: 200ms");
    proxy.log.wait_for("endpoint is now unhealthy");
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status(), 200);
    }
}

#[test]
fn without_a_healthy_endpoint_requests_are_503_uh_until_one_is_back() {
    let address = Upstream::free();
    let proxy = checked(&[address], "interval: 200ms");
    proxy.log.wait_for("endpoint is now unhealthy");
    assert_eq!(proxy.get("/").status(), 503);
    proxy.stdout.wait_for("503 UH");
    revive(address);
    proxy.log.wait_for("endpoint is now healthy");
    assert_eq!(proxy.get("/").text(), "up");
}

#[test]
fn a_check_by_path_believes_the_answer_not_the_connection() {
    let sick = Upstream::new(|conn| {
        while let Some(request) = conn.request() {
            let healthy = request.line.contains("/healthy");
            let status = if healthy { "503 Sick" } else { "200 OK" };
            if !conn.send(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")) {
                return;
            }
        }
    });
    let proxy = checked(&[sick.address], "path: /healthy, interval: 200ms");
    proxy.log.wait_for("endpoint is now unhealthy");
    assert_eq!(proxy.get("/").status(), 503);
    proxy.stdout.wait_for("503 UH");
}

#[test]
fn statuses_and_host_of_a_check_may_be_named() {
    let upstream = Upstream::answering("HTTP/1.1 204 None\r\n\r\n");
    let check = "path: /up, host: check.test, expected_statuses: [200-299], interval: 100ms";
    let proxy = checked(&[upstream.address], check);
    upstream.wait_for_requests(3);
    let request = &upstream.requests()[0];
    assert_eq!(request.line, "GET /up HTTP/1.1");
    assert_eq!(request.field("host"), Some("check.test"));
    assert_eq!(proxy.log.count("endpoint is now"), 0);
    // Without them it is 200, at the cluster's name.
    let proxy = checked(&[upstream.address], "path: /up, interval: 100ms");
    proxy.log.wait_for("endpoint is now unhealthy");
    let requests = upstream.requests();
    let by_name = requests.iter().find(|it| it.field("host") == Some("c"));
    assert!(by_name.is_some(), "{requests:?}");
}

#[test]
fn so_many_bad_checks_in_a_row_and_so_many_good_ones() {
    // One bad, one good, two bad, one good, one bad, then good for ever.
    const SICK: [bool; 6] = [true, false, true, true, false, true];
    let turn = AtomicUsize::new(0);
    let upstream = Upstream::new(move |conn| {
        while conn.request().is_some() {
            let turn = turn.fetch_add(1, Ordering::SeqCst);
            let status = if SICK.get(turn) == Some(&true) {
                503
            } else {
                200
            };
            conn.send(format!(
                "HTTP/1.1 {status} Any\r\ncontent-length: 0\r\n\r\n"
            ));
        }
    });
    let check = "path: /, interval: 100ms, unhealthy_threshold: 2, healthy_threshold: 2";
    let proxy = checked(&[upstream.address], check);
    proxy.log.wait_for("endpoint is now unhealthy");
    assert!(upstream.requests().len() >= 4);
    proxy.log.wait_for("endpoint is now healthy");
    assert!(upstream.requests().len() >= 8);
    assert_eq!(proxy.log.count("endpoint is now"), 2);
}

#[test]
fn a_check_that_is_not_answered_in_time_is_a_bad_one() {
    let upstream = Upstream::new(|conn| {
        conn.request();
        conn.rest();
    });
    let proxy = checked(
        &[upstream.address],
        "path: /, interval: 100ms, timeout: 100ms",
    );
    proxy.log.wait_for("endpoint is now unhealthy");
    upstream.wait_for_ended(1);
}

/// A gRPC server that serves `known` while `up`; of other services it knows nothing.
async fn grpc_server(known: &'static str, up: Arc<AtomicBool>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let up = up.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    let up = up.clone();
                    tokio::spawn(answer_check(known, up, request, respond));
                }
            });
        }
    });
    address
}

async fn answer_check(
    known: &str,
    up: Arc<AtomicBool>,
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<bytes::Bytes>,
) {
    let fine = request.uri().path() == "/grpc.health.v1.Health/Check"
        && request.method() == http::Method::POST
        && request.headers()["content-type"] == "application/grpc";
    let mut asked = Vec::new();
    let mut body = request.into_body();
    while let Some(Ok(data)) = body.data().await {
        asked.extend_from_slice(&data);
    }
    let head = http::Response::builder().header("content-type", "application/grpc");
    let mut expected = vec![0, 0, 0, 0, known.len() as u8 + 2, 0x0a, known.len() as u8];
    expected.extend_from_slice(known.as_bytes());
    if !fine || asked != expected {
        let unknown = head.header("grpc-status", "5").body(()).unwrap();
        respond.send_response(unknown, true).unwrap();
        return;
    }
    let mut stream = respond
        .send_response(head.body(()).unwrap(), false)
        .unwrap();
    let status = if up.load(Ordering::SeqCst) { 1 } else { 2 };
    let message = vec![0, 0, 0, 0, 2, 0x08, status];
    stream.send_data(message.into(), false).unwrap();
    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static("0"),
    )]);
    stream.send_trailers(trailers).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_service_says_whether_it_serves() {
    let up = Arc::new(AtomicBool::new(false));
    let server = grpc_server("test.Service", up.clone()).await;
    let cluster = "protocol: http2,";
    let check = "grpc_service: test.Service, interval: 100ms";
    let proxy = checked_with(Setup::new(), &[server], check, cluster);
    proxy.log.wait_for("endpoint is now unhealthy");
    up.store(true, Ordering::SeqCst);
    proxy.log.wait_for("endpoint is now healthy");
    // Of a service that is not known nobody can say that.
    let check = "grpc_service: test.Other, interval: 100ms";
    let proxy = checked_with(Setup::new(), &[server], check, cluster);
    proxy.log.wait_for("endpoint is now unhealthy");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_goes_over_tls_in_the_clusters_protocol() {
    let pki = Pki::new(&["backend.test"]);
    let server = pki.server(&["h2"]);
    let upstream = crate::support::h2::Upstream::new(Some(server), |_| async {
        http::Response::new(crate::support::h2::full("ok"))
    })
    .await;
    let setup = Setup::new();
    setup.dir.write("ca.pem", &pki.ca);
    let cluster =
        |ca: &str| format!("protocol: http2, tls: {{ server_name: backend.test, ca: {ca} }},");
    let check = "path: /up, interval: 100ms";
    let proxy = checked_with(setup, &[upstream.address], check, &cluster("ca.pem"));
    let seen = || upstream.requests.lock().unwrap().len();
    while seen() < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    {
        let requests = upstream.requests.lock().unwrap();
        assert_eq!(requests[0].version, http::Version::HTTP_2);
        assert_eq!(requests[0].uri.to_string(), "https://c/up");
    }
    assert_eq!(proxy.log.count("endpoint is now"), 0);
    // A certificate that nobody vouches for is not healthy.
    let setup = Setup::new();
    setup.dir.write("other.pem", Pki::new(&["backend.test"]).ca);
    let proxy = checked_with(setup, &[upstream.address], check, &cluster("other.pem"));
    proxy.log.wait_for("endpoint is now unhealthy");
}
