//! Host names: how they may look, and what they resolve to.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use crate::config::yaml::{Node, quote};

/// How a host name becomes addresses.
pub(super) type Resolve = fn(&str) -> io::Result<Vec<IpAddr>>;

/// Looks every name up once, however many endpoints name it.
#[derive(Debug)]
pub(super) struct Resolver {
    resolve: Resolve,
    known: RefCell<HashMap<String, Result<Vec<IpAddr>, String>>>,
}

/// The system's resolver.
pub(super) fn system(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0)
        .to_socket_addrs()?
        .map(|address| address.ip())
        .collect())
}

// === impl Resolver ===

impl Resolver {
    pub(super) fn new(resolve: Resolve) -> Self {
        Self {
            resolve,
            known: RefCell::default(),
        }
    }

    /// The addresses of `HOST:PORT`, at least one.
    pub(super) fn addresses(&self, node: &Node<'_>) -> Option<Vec<SocketAddr>> {
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
            Ok(port) if port > 0 && port_text(port) == text[host.len() + 1..] => port,
            _ => return wrong("has no port from 1 to 65535"),
        };
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(vec![address]);
        }
        if !is_host(host) {
            return wrong("is not host:port");
        }
        let addresses = self.look_up(host, node)?;
        Some(
            addresses
                .into_iter()
                .map(|ip| SocketAddr::new(ip, port))
                .collect(),
        )
    }

    fn look_up(&self, host: &str, node: &Node<'_>) -> Option<Vec<IpAddr>> {
        let key = host.to_ascii_lowercase();
        let known = self.known.borrow().get(&key).cloned();
        let found = known.unwrap_or_else(|| {
            let found = (self.resolve)(host).map_err(|error| error.to_string());
            self.known.borrow_mut().insert(key, found.clone());
            found
        });
        let why = match found {
            Ok(addresses) if !addresses.is_empty() => return Some(one_family(&addresses)),
            Ok(_) => "it has no address".to_owned(),
            Err(why) => why,
        };
        let what = format!("the host {} cannot be resolved: {why}", quote(host));
        node.wrong(what, "check the name and the resolver, or write an address");
        None
    }
}

fn port_text(port: u16) -> String {
    port.to_string()
}

/// All IPv4 addresses, else all IPv6 ones, each once: a name that has both is usually one
/// server, and often listens on one of the two only.
fn one_family(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let v4 = addresses.iter().any(IpAddr::is_ipv4);
    let mut chosen = Vec::new();
    for address in addresses.iter().filter(|address| address.is_ipv4() == v4) {
        if !chosen.contains(address) {
            chosen.push(*address);
        }
    }
    chosen
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
