//! `listeners[].tcp`: connections that are not HTTP.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::chain::Chains;
use super::host::is_host;
use super::{Names, fields};
use crate::config::yaml::{Node, Object, quote};
use crate::config::{ServerNames, TcpForward};

/// How long nothing may move where the file does not say, as in Envoy.
pub(super) const IDLE: Duration = Duration::from_secs(3_600);

/// Keys of a listener that speak of requests.
const OF_HTTP: [(&str, &str); 10] = [
    ("routes", "keep one of the two"),
    ("filters", "write them as `filters` of `tcp`"),
    ("max_header_bytes", "remove it"),
    ("send_timeout", "remove it"),
    ("request_timeout", "remove it"),
    ("max_concurrent_streams", "remove it"),
    ("server_header", "remove it"),
    ("access_log_filters", "remove it"),
    ("forward_client_cert", "remove it"),
    ("client_cert_details", "remove it"),
];

/// What a listener does with its connections; `None` where it serves HTTP, or has a mistake.
pub(super) fn read(
    listener: &Object<'_>,
    chains: &mut Chains<'_>,
    clusters: &Names,
) -> Option<TcpForward> {
    if listener.get("tcp").is_none() {
        if listener.get("routes").is_none() && !listener.slipped(&["routes", "tcp"]) {
            let help = "add `routes: …` (what is done with a request), or `tcp: …` for \
                        connections that are not HTTP";
            listener.node().wrong("this listener does nothing", help);
        }
        return None;
    }
    for (name, help) in OF_HTTP {
        if let Some(node) = listener.get(name) {
            node.wrong(format!("`{name}` cannot stand beside `tcp`"), help);
        }
    }
    let tcp = listener.table("tcp")?;
    let base = chains.base(&tcp.list("filters"));
    let filters = chains.route(&base, &[]);
    let cluster = tcp.get("cluster").map(|node| find(&node, clusters));
    let names = tcp.get("routes").map(|node| routes(&node, clusters));
    if cluster.is_none() && names.is_none() && !tcp.slipped(&["cluster", "routes"]) {
        let help = "add `cluster: …`, or `routes: …` by the name that clients ask for";
        tcp.node().wrong("connections go nowhere", help);
    }
    Some(TcpForward {
        names: names.unwrap_or_default(),
        cluster: cluster.flatten(),
        filters,
    })
}

fn find(node: &Node<'_>, clusters: &Names) -> Option<usize> {
    clusters.find(node.filled()?, node)
}

fn routes(node: &Node<'_>, clusters: &Names) -> ServerNames {
    let mut names = ServerNames::default();
    let mut known = HashMap::new();
    let nodes = node.list().unwrap_or_default();
    if nodes.is_empty() && node.is_list() {
        node.wrong("there are no routes", "add one, or remove the key");
    }
    for node in nodes {
        let Some(route) = node.object(&fields::TCP_ROUTE) else {
            continue;
        };
        let cluster = route.get("cluster").and_then(|node| find(&node, clusters));
        let Some(sni) = route.get("sni") else {
            continue;
        };
        for (name, node) in asked_names(&sni) {
            match known.insert(name.clone(), node.position().line) {
                None => names.insert(&name, cluster.unwrap_or_default()),
                Some(line) => {
                    let what = format!("the name {name} is already on line {line}");
                    node.wrong(what, "remove one of the two");
                }
            }
        }
    }
    names
}

/// Names as clients ask for them, in lower case.
fn asked_names<'t>(node: &Node<'t>) -> Vec<(String, Node<'t>)> {
    let nodes = node.list().unwrap_or_default();
    if nodes.is_empty() && node.is_list() {
        node.wrong("there are no names here", "write the names that lead here");
    }
    let name = |node: Node<'t>| {
        let text = node.filled()?;
        let name = text.to_ascii_lowercase();
        let rest = name.strip_prefix("*.").unwrap_or(&name);
        if !is_host(rest) || rest.ends_with('.') || rest.parse::<IpAddr>().is_ok() {
            let help = match text {
                "*" => "for every other connection write `cluster: …` beside `routes`",
                _ => "write a DNS name, or `*.` and one; clients do not ask for addresses",
            };
            node.wrong(format!("{} is not a name to ask for", quote(text)), help);
            return None;
        }
        Some((name, node))
    };
    nodes.into_iter().filter_map(name).collect()
}
