//! Host names and addresses: how they may look.

use std::net::{IpAddr, SocketAddr};

use crate::config::EndpointAddress;
use crate::config::yaml::{Node, quote};

/// `HOST:PORT`.
pub(super) fn endpoint_address(node: &Node<'_>) -> Option<EndpointAddress> {
    let text = node.filled()?;
    let help = "write host:port, such as 127.0.0.1:9000, [::1]:9000 or backend:9000";
    let wrong = |what: &str| {
        node.wrong(format!("{} {what}", quote(text)), help);
        None
    };
    let Some((host, port)) = text.rsplit_once(':') else {
        return wrong("has no port");
    };
    let port = match port.parse::<u16>() {
        Ok(number) if number > 0 && number.to_string() == port => number,
        _ => return wrong("has no port from 1 to 65535"),
    };
    if let Ok(address) = text.parse() {
        return Some(EndpointAddress::Fixed(address));
    }
    if !is_host(host) {
        return wrong("is not host:port");
    }
    // All digits and dots, and yet no address.
    if host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return wrong("is no address");
    }
    Some(EndpointAddress::Named {
        host: host.to_owned(),
        port,
    })
}

/// A name server: an address, and a port where it is not 53.
pub(super) fn name_server(node: &Node<'_>) -> Option<SocketAddr> {
    let text = node.filled()?;
    let address = text.parse::<IpAddr>().map(|ip| (ip, 53).into());
    let address = address.or_else(|_| text.parse::<SocketAddr>());
    if address.is_err() {
        let help = "write an address, with a port or without, such as 10.0.0.2 or [::1]:5353";
        node.wrong(format!("{} is no address", quote(text)), help);
    }
    address.ok()
}

/// Whether this is a host name or an IPv4 address by its looks.
pub(super) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(allowed)
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

/// Whether this can stand in `host:` of a request: a host name or address, in brackets if
/// it is IPv6, with or without a port.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0));
    port_ok && (is_host(host) || is_bracketed(host))
}

/// Whether this is an IPv6 address in brackets.
pub(super) fn is_bracketed(text: &str) -> bool {
    text.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}
