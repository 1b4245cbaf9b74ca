//! `listeners[].proxy_protocol`: whose word on where a connection comes from is taken.

use crate::config::yaml::{Node, Object, quote};
use crate::config::{Network, ProxyProtocol};

/// What is written; on a unix socket who may connect is the file's matter.
pub(super) fn read(table: &Object<'_>, on_unix: bool) -> ProxyProtocol {
    let from = match table.get("from") {
        Some(node) if on_unix => {
            let what = "who connects to a unix socket has no address";
            node.wrong(what, "remove `from`: whoever may connect is believed");
            None
        }
        Some(node) => Some(networks(&node)),
        None => {
            if !on_unix && !table.slipped(&["from"]) {
                let help = "add `from: …` (the addresses of the load balancers); with \
                            `[0.0.0.0/0, \"::/0\"]` every client may say what it likes";
                let what = "it is not said who may say where connections come from";
                table.node().wrong(what, help);
            }
            None
        }
    };
    ProxyProtocol {
        from,
        required: table.boolean("required"),
    }
}

fn networks(node: &Node<'_>) -> Vec<Network> {
    let nodes = node.list().unwrap_or_default();
    if nodes.is_empty() && node.is_list() {
        node.wrong("nobody is believed", "name at least one address or network");
    }
    let network = |node: &Node<'_>| {
        let text = node.filled()?;
        let parsed = Network::parse(text).map_err(|why| {
            let help = "write an address such as 10.1.2.3, or a network such as 10.0.0.0/8";
            node.wrong(format!("{} {why}", quote(text)), help);
        });
        parsed.ok()
    };
    nodes.iter().filter_map(network).collect()
}
