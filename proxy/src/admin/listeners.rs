//! `/listeners`.

use serde_json::{Value, json};

use super::State;

pub(super) fn shown(state: &State) -> Value {
    let listeners = state.subject.shared.config.listeners.iter();
    listeners
        .map(|listener| {
            let addresses = state.subject.addresses.iter();
            let real = addresses
                .filter_map(|line| line.rsplit_once(' '))
                .find(|(name, _)| *name == listener.name)
                .map(|(_, address)| address);
            json!({
                "name": listener.name,
                "address": real.map_or_else(|| listener.address.to_string(), str::to_owned),
                "kind": if listener.tcp.is_some() { "tcp" } else { "http" },
                "tls": listener.tls.is_some(),
                "routes": listener.routes.len(),
            })
        })
        .collect()
}
