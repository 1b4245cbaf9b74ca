//! `listeners[].tcp`: connections that are not HTTP.

use std::time::Duration;

use super::Names;
use super::chain::Chains;
use crate::config::TcpForward;
use crate::config::yaml::Object;

/// How long nothing may move where the file does not say, as in Envoy.
pub(super) const IDLE: Duration = Duration::from_secs(3_600);

/// Keys of a listener that speak of requests.
const OF_HTTP: [(&str, &str); 7] = [
    ("routes", "keep one of the two"),
    ("filters", "write them as `filters` of `tcp`"),
    ("max_header_bytes", "remove it"),
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
    let node = tcp.get("cluster")?;
    let cluster = clusters.find(node.filled()?, &node)?;
    Some(TcpForward { cluster, filters })
}
