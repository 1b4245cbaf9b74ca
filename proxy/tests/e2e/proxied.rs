//! The PROXY protocol: what a load balancer says of clients.

mod incoming;
mod outgoing;

use std::net::SocketAddr;
use std::time::Instant;

use crate::support::openmetrics::Page;
use crate::support::{LONGEST, Proxy, client};

/// Version 2 of a header.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    [&signature[..], &[command, family], &length, rest].concat()
}

/// 192.0.2.1:40000 to 198.51.100.2:443.
pub(crate) const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n";

/// The same.
fn binary() -> Vec<u8> {
    let addresses = [192, 0, 2, 1, 198, 51, 100, 2, 0x9c, 0x40, 1, 0xbb];
    v2(0x21, 0x11, &addresses)
}

/// The operator's page.
pub(crate) fn admin(proxy: &Proxy) -> SocketAddr {
    let line = proxy.log.wait_for("listening: admin ");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Waits until an event has happened so often.
pub(crate) fn happened(admin: SocketAddr, event: &str, times: f64) {
    let series = format!(
        "cofferdam_downstream_connection_events_total{{listener=\"web\",event=\"{event}\"}}"
    );
    let until = Instant::now() + LONGEST;
    loop {
        let page = Page::parse(&client::get(admin, "/metrics").text());
        if page.get(&series) == Some(times) {
            return;
        }
        assert!(Instant::now() < until, "{event}: {:#?}", page.samples);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
