//! `listeners`: addresses, TLS, and the routes behind them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::chain::Chains;
use super::clusters::Clusters;
use super::tls::downstream;
use super::{Context, Names, proxied, routes, tcp};
use crate::config::yaml::{Node, Object, Position, quote};
use crate::config::{Address, Listener, ServerHeader};

/// Longest path of a unix socket, as the kernel has it: 108 bytes with the closing zero.
const MAX_UNIX_PATH: usize = 107;

/// All listeners; what is wrong with them is noted.
pub(super) fn read(
    root: &Object<'_>,
    context: &Context<'_>,
    chains: &mut Chains<'_>,
    clusters: &Clusters,
) -> Vec<Listener> {
    let Some(node) = root.get("listeners") else {
        return Vec::new();
    };
    let Some(nodes) = node.list() else {
        return Vec::new();
    };
    if nodes.is_empty() {
        node.wrong("there are no listeners", "add at least one");
    }
    let mut names = Names::new("listener");
    let mut taken = HashMap::new();
    let mut listeners = Vec::new();
    for node in nodes {
        let Some(object) = node.object(&super::fields::LISTENER) else {
            continue;
        };
        let name = object.get("name").and_then(|node| {
            let name = node.name()?;
            names.add(name, &node, 0);
            Some(name)
        });
        let address = address(&object, context, name.unwrap_or(""), &mut taken);
        let on_unix = matches!(address, Some(Address::Unix(_)));
        let proxy_protocol = object
            .table("proxy_protocol")
            .map(|table| proxied::read(&table, on_unix));
        let is_http = object.get("tcp").is_none();
        let tls = object.table("tls").and_then(|tls| {
            let owner = format!("listener {}", name.unwrap_or(""));
            downstream::read(&tls, owner, is_http, context)
        });
        let (forward_client_cert, client_cert_details) = downstream::forwarded(&object);
        let base = chains.base(&object.list("filters"));
        let filters = chains.route(&base, &[]);
        let routes = routes::read(&object, chains, &base, clusters);
        let loggers = chains.loggers(&object.list("access_log_filters"));
        let forward = tcp::read(&object, chains, &clusters.names);
        let mut idle_timeout = object.duration("idle_timeout");
        if forward.is_some() && object.get("idle_timeout").is_none() {
            idle_timeout = tcp::IDLE;
        }
        listeners.push(Listener {
            name: name.unwrap_or_default().to_owned(),
            // Without an address the file is refused; this one stands in until then.
            address: address.unwrap_or_else(|| Address::Unix(PathBuf::new())),
            place: (object.get("address")).map_or_else(|| node.place(), |node| node.place()),
            proxy_protocol,
            tls: tls.map(Arc::new),
            forward_client_cert,
            client_cert_details,
            filters,
            routes,
            tcp: forward,
            max_header_bytes: object.size("max_header_bytes"),
            idle_timeout,
            header_timeout: object.duration("header_timeout"),
            send_timeout: object.duration("send_timeout"),
            request_timeout: object.duration_or_none("request_timeout"),
            max_concurrent_streams: u32::try_from(object.count("max_concurrent_streams"))
                .unwrap_or(u32::MAX),
            server_header: match object.choice("server_header") {
                "if_absent" => ServerHeader::IfAbsent,
                "pass" => ServerHeader::Pass,
                _ => ServerHeader::Overwrite,
            },
            access_log_filters: loggers,
            trust_envoy_headers: object.boolean("trust_envoy_headers"),
        });
    }
    listeners
}

/// The address, unless another listener has it.
fn address(
    listener: &Object<'_>,
    context: &Context<'_>,
    name: &str,
    taken: &mut HashMap<Address, (String, Position)>,
) -> Option<Address> {
    let node = listener.get("address")?;
    let text = node.filled()?;
    let address = match text.strip_prefix("unix:") {
        Some(path) => unix(path, &node, context)?,
        None => Address::Tcp(socket(text, &node)?),
    };
    // The system picks another port for each listener that asks for port 0.
    if matches!(address, Address::Tcp(address) if address.port() == 0) {
        return Some(address);
    }
    if let Some((other, first)) = taken.get(&address) {
        let what = format!(
            "listeners {} (line {}) and {} have the same address {text}",
            quote(other),
            first.line,
            quote(name)
        );
        node.wrong(what, "give one of them another address");
        return None;
    }
    taken.insert(address.clone(), (name.to_owned(), node.position()));
    Some(address)
}

fn socket(text: &str, node: &Node<'_>) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        let help = "write an IP address and a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or \
                    [::]:8080, or unix:/path";
        node.wrong(
            format!("{} is not an address to listen on", quote(text)),
            help,
        );
    }
    address
}

fn unix(path: &str, node: &Node<'_>, context: &Context<'_>) -> Option<Address> {
    if path.is_empty() || path.contains('\0') {
        node.wrong("this unix address has no path", "write unix:/path");
        return None;
    }
    let path: PathBuf = context.files.locate(path);
    let length = path.as_os_str().as_bytes().len();
    if length > MAX_UNIX_PATH {
        let what = format!("the path of this unix address is {length} bytes long");
        node.wrong(what, format!("use a path of at most {MAX_UNIX_PATH} bytes"));
        return None;
    }
    Some(Address::Unix(path))
}
