//! `/listeners`.

use serde_json::{Value, json};

use super::State;

pub(super) fn shown(state: &State) -> Value {
    let blueprint = state.subject.shared.modules.blueprint();
    let listeners = blueprint.config.listeners.iter();
    listeners
        .zip(&blueprint.addresses)
        .map(|(listener, address)| {
            json!({
                "name": listener.name,
                "address": address,
                "kind": if listener.tcp.is_some() { "tcp" } else { "http" },
                "tls": listener.tls.is_some(),
                "routes": listener.routes.len(),
            })
        })
        .collect()
}
