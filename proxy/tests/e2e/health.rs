//! Active health checks: what is found out in the background decides where requests go.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use crate::support::{Proxy, Upstream};

fn checked(endpoints: &[SocketAddr], check: &str) -> Proxy {
    let endpoints: Vec<String> = endpoints.iter().map(|it| format!("'{it}'")).collect();
    Proxy::start(&format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c }}] }}]\n\
         clusters: [{{ name: c, endpoints: [{}], health_check: {{ {check} }} }}]\n\
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
    let address = Upstream::nobody();
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
