//! `dns`: how names are looked up.

use super::host::name_server;
use crate::config::Dns;
use crate::config::yaml::Object;

/// Where nothing is written the defaults hold.
pub(super) fn read(root: &Object<'_>) -> Dns {
    let Some(object) = root.table("dns") else {
        return Dns::default();
    };
    let servers = object.list("servers");
    let (min_ttl, max_ttl) = (object.duration("min_ttl"), object.duration("max_ttl"));
    if let Some(node) = object.get("max_ttl").filter(|_| max_ttl < min_ttl) {
        node.wrong("it is less than `min_ttl`", "write no less than that");
    }
    Dns {
        servers: servers.iter().filter_map(name_server).collect(),
        timeout: object.duration("timeout"),
        min_ttl,
        max_ttl,
    }
}
