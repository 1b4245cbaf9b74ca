//! `/clusters`.

use serde_json::{Map, Value, json};

use super::State;
use crate::config::Protocol;
use crate::upstream::backends::EndpointStatus;
use crate::upstream::host::Word;
use crate::upstream::load::{Count, Load};

pub(super) fn shown(state: &State) -> Value {
    let blueprint = state.subject.shared.modules.blueprint();
    let clusters = blueprint.config.clusters.iter().zip(&blueprint.clusters);
    clusters
        .map(|(cluster, served)| {
            let endpoints: Vec<Value> = served.backends.status().iter().map(endpoint).collect();
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
                "counts": counts(&served.backends.load),
            })
        })
        .collect()
}

fn endpoint(status: &EndpointStatus) -> Value {
    let words = Word::ALL.iter().zip(status.words);
    let words: Map<_, _> = words
        .map(|(word, sum)| (word.name().to_owned(), sum.into()))
        .collect();
    json!({
        "address": status.address.to_string(),
        "hostname": status.name,
        "weight": status.weight,
        "healthy": status.healthy,
        "ejected": status.ejected,
        "counts": words,
    })
}

fn counts(load: &Load) -> Value {
    let counts = Count::ALL.iter();
    counts
        .map(|count| (count.name().to_owned(), load.counted(*count).into()))
        .collect::<Map<_, _>>()
        .into()
}
