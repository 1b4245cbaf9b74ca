//! `/clusters`.

use serde_json::{Value, json};

use super::State;
use crate::config::Protocol;

pub(super) fn shown(state: &State) -> Value {
    let shared = &state.subject.shared;
    let clusters = shared.config.clusters.iter().zip(&shared.backends);
    clusters
        .map(|(cluster, backends)| {
            let usable = backends.usable();
            let endpoints: Vec<Value> = cluster
                .endpoints
                .iter()
                .map(|endpoint| {
                    let healthy = usable
                        .iter()
                        .any(|(address, _)| *address == endpoint.address);
                    json!({
                        "address": endpoint.address.to_string(),
                        "weight": endpoint.weight,
                        "healthy": healthy,
                    })
                })
                .collect();
            let protocol = match cluster.protocol {
                Protocol::Http1 => "http1",
                Protocol::Http2 => "http2",
                Protocol::Auto => "auto",
            };
            json!({
                "name": cluster.name,
                "protocol": protocol,
                "tls": cluster.tls.is_some(),
                "health_checked": cluster.health_check.is_some(),
                "endpoints": endpoints,
            })
        })
        .collect()
}
