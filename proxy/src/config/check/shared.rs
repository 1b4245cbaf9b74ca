//! `shared_data`, `shared_queues` and `admin`.

use std::net::SocketAddr;

use cofferdam_abi::shared::{Bounds, Eviction};

use crate::config::yaml::{Object, quote};
use crate::config::{Address, Listener};

/// What filters may share; the defaults where nothing is written.
pub(super) fn bounds(root: &Object<'_>) -> Bounds {
    let mut bounds = Bounds::default();
    if let Some(data) = root.table("shared_data") {
        bounds.entries = data.count("entries");
        bounds.bytes = data.size("bytes");
        bounds.ttl = data.duration_or_none("ttl");
        bounds.eviction = match data.choice("eviction") {
            "lru" => Eviction::Lru,
            "none" => Eviction::None,
            _ => Eviction::Slru,
        };
    }
    if let Some(queues) = root.table("shared_queues") {
        bounds.queue_items = queues.count("items");
        bounds.queue_bytes = queues.size("bytes");
        bounds.queues = queues.count("queues");
    }
    bounds
}

/// Where the operator may look.
pub(super) fn admin(root: &Object<'_>, listeners: &[Listener]) -> Option<SocketAddr> {
    let node = root.table("admin")?.get("address")?;
    let text = node.filled()?;
    let Ok(address) = text.parse() else {
        let what = format!("{} is not an IP address and a port", quote(text));
        node.wrong(what, "write one such as 127.0.0.1:9901");
        return None;
    };
    let same = |listener: &&Listener| matches!(listener.address, Address::Tcp(other) if other == address && other.port() != 0);
    if let Some(listener) = listeners.iter().find(same) {
        let what = format!(
            "the listener {} has the same address {address}",
            quote(&listener.name)
        );
        node.wrong(what, "give one of them another address");
        return None;
    }
    Some(address)
}
