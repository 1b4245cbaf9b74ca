//! `routes`: which requests, through which filters, to where.

use super::chain::{Chain, Chains};
use super::clusters::Clusters;
use super::{action, fields, headers, matching, retry};
use crate::config::yaml::Object;
use crate::config::{Action, AttemptCount, Cluster, Protocol, Route};

/// The routes of a listener; what is wrong with them is noted.
pub(super) fn read(
    listener: &Object<'_>,
    chains: &mut Chains<'_>,
    base: &Chain<'_>,
    clusters: &Clusters,
) -> Vec<Route> {
    let mut routes = Vec::new();
    for node in listener.list("routes") {
        let Some(object) = node.object(&fields::ROUTE) else {
            continue;
        };
        let matcher = object
            .table("match")
            .map(|node| matching::read(&node))
            .unwrap_or_default();
        let filters = chains.route(base, &object.list("filters"));
        let action = action::read(&object, matcher.path.as_ref(), &clusters.names);
        if let Some(Action::Forward { clusters: to, .. }) = &action {
            upgrades(&object, to, clusters);
        }
        // An action with a mistake has been noted: any other stands in for it.
        let stand_in = || Action::Forward {
            clusters: Vec::new(),
            prefix_rewrite: None,
            host_rewrite: None,
        };
        routes.push(Route {
            matcher,
            filters,
            action: action.unwrap_or_else(stand_in),
            request_headers: headers::edits(&object, "request_headers"),
            response_headers: headers::edits(&object, "response_headers"),
            timeout: object.duration_or_none("timeout"),
            idle_timeout: object.duration_or_none("idle_timeout"),
            max_stream_duration: object.duration_or_none("max_stream_duration"),
            upgrades: object.boolean("upgrades"),
            retry: retry::policy(&object),
            hash_policy: retry::hash_policy(&object),
            attempt_count: AttemptCount {
                request: object.boolean("include_request_attempt_count"),
                response: object.boolean("include_attempt_count_in_response"),
            },
        });
    }
    routes
}

/// Upgrades that are asked for need an upstream that can be asked for them.
fn upgrades(route: &Object<'_>, to: &[(usize, u32)], clusters: &Clusters) {
    let Some(node) = route.get("upgrades") else {
        return;
    };
    let mut protocols = to.iter().map(|(index, _)| clusters.built.get(*index));
    let is_http2 = |cluster: Option<&Cluster>| {
        cluster.is_some_and(|cluster| cluster.protocol == Protocol::Http2)
    };
    if !to.is_empty() && route.boolean("upgrades") && protocols.all(is_http2) {
        node.wrong(
            "nothing can be upgraded over `protocol: http2`, which all clusters of this route speak",
            "remove this, or give a cluster `protocol: http1`",
        );
    }
}
