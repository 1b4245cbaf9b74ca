//! What parts of a configuration are known by, so that a reload can tell what has changed:
//! digests of what is written.
//!
//! They are taken of the text and not of what was made of it: a field that is new takes part
//! without a word here, and things that cannot be compared need not be. What is in files is
//! none of theirs: modules are compared one by one, and TLS keeps its own files new
//! (`crate::tls::renewal`).

use std::sync::Arc;

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use crate::config::yaml::{Node, Object};
use crate::config::{Cluster, Mark, Marks};

/// What of a listener says nothing about its connections, but about what is done with
/// requests.
const OF_REQUESTS: &[&str] = &["name", "routes", "filters", "access_log_filters"];

/// Of a file in which nothing is wrong.
pub(super) fn of(root: &Object<'_>, clusters: &[Arc<Cluster>]) -> Marks {
    let json = |name: &str| root.get(name).and_then(|node| node.json());
    let mark = |name: &str| digest(&json(name).unwrap_or_default(), &[]);
    let each = |name: &str| root.list(name).iter().map(Node::json).collect::<Vec<_>>();
    let listeners = |but: &'static [&str]| {
        let each = each("listeners").into_iter();
        let marks = each.map(|json| digest(&json.unwrap_or_default(), but));
        marks.collect::<Vec<Mark>>()
    };
    let clusters = each("clusters").into_iter().zip(clusters);
    let clusters = clusters.map(|(json, cluster)| {
        let mut hasher = Sha256::new();
        hasher.update(digest(&json.unwrap_or_default(), &[]));
        if cluster.endpoints.iter().any(|it| it.name().is_some()) {
            hasher.update(mark("dns"));
        }
        hasher.finalize().into()
    });
    let clusters: Vec<Mark> = clusters.collect();
    let all = root.node().json().unwrap_or_default();
    let mut whole = Sha256::new();
    whole.update(digest(&all, &[]));
    clusters.iter().for_each(|mark| whole.update(mark));
    Marks {
        whole: whole.finalize().into(),
        keys: (all.as_object().into_iter().flatten())
            .map(|(key, value)| (key.clone(), digest(value, &[])))
            .collect(),
        access_log: mark("access_log"),
        callouts: {
            let mut hasher = Sha256::new();
            hasher.update(mark("callouts"));
            hasher.update(mark("dns"));
            hasher.finalize().into()
        },
        listeners: listeners(OF_REQUESTS),
        whole_listeners: listeners(&[]),
        clusters,
    }
}

/// Of a value without the keys in `but`.
fn digest(json: &Json, but: &[&str]) -> Mark {
    let mut hasher = Sha256::new();
    match json {
        Json::Object(map) => {
            for (key, value) in map.iter().filter(|(key, _)| !but.contains(&&key[..])) {
                hasher.update(format!("{key}: {value}\n"));
            }
        }
        other => hasher.update(other.to_string()),
    }
    hasher.finalize().into()
}
