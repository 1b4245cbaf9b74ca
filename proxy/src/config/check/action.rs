//! What a route does: forward, respond or redirect, exactly one of them.

use std::collections::HashSet;

use bytes::Bytes;
use http::StatusCode;

use super::host::is_authority;
use super::matching::path;
use super::{Names, fields, only_one_of};
use crate::config::yaml::{Node, Object, quote};
use crate::config::{Action, PathMatch};

/// The keys that say what a route does.
const ACTIONS: [&str; 4] = ["cluster", "weighted_clusters", "respond", "redirect"];

/// The action of `route`, whose path condition is `matched`.
pub(super) fn read(
    route: &Object<'_>,
    matched: Option<&PathMatch>,
    clusters: &Names,
) -> Option<Action> {
    // All are looked at, so that what is wrong inside the one to be removed is told too.
    let cluster = route
        .get("cluster")
        .map(|node| one_cluster(&node, clusters));
    let weighted = route
        .get("weighted_clusters")
        .map(|node| weighted_clusters(&node, clusters));
    let respond = route.table("respond").and_then(|table| respond(&table));
    let redirect = route.table("redirect").and_then(|table| redirect(&table));

    let written = ACTIONS.map(|name| (name, route.get(name)));
    let Some((chosen, _)) = only_one_of(&written) else {
        if !route.slipped(&ACTIONS) {
            let help = format!("add one of {}", ACTIONS.join(", "));
            route.node().wrong("this route does nothing", help);
        }
        return None;
    };
    if chosen == "respond" || chosen == "redirect" {
        for name in [
            "prefix_rewrite",
            "host_rewrite",
            "retry_policy",
            "hash_policy",
        ] {
            if let Some(node) = route.get(name) {
                let what = format!("`{name}` means nothing beside `{chosen}`");
                node.wrong(what, "remove it: nothing is forwarded here");
            }
        }
    }
    let clusters = match chosen {
        "cluster" => cluster.flatten(),
        "weighted_clusters" => weighted.flatten(),
        "respond" => return respond,
        _ => return redirect,
    };
    let prefix_rewrite = prefix_rewrite(route, matched);
    let host_rewrite = host_rewrite(route);
    Some(Action::Forward {
        clusters: clusters?,
        prefix_rewrite,
        host_rewrite,
    })
}

fn one_cluster(node: &Node<'_>, clusters: &Names) -> Option<Vec<(usize, u32)>> {
    let name = node.filled()?;
    Some(vec![(clusters.find(name, node)?, 1)])
}

fn weighted_clusters(node: &Node<'_>, clusters: &Names) -> Option<Vec<(usize, u32)>> {
    let nodes = node.list()?;
    if nodes.is_empty() {
        node.wrong("there are no clusters here", "add at least one");
        return None;
    }
    let mut seen = HashSet::new();
    let mut chosen = Vec::new();
    let mut sum = 0;
    for node in &nodes {
        let Some(object) = node.object(&fields::WEIGHTED) else {
            continue;
        };
        // A weight that cannot be read has been noted; it is not also a zero.
        let weight = object
            .integer("weight")
            .map_or(1, |w| u32::try_from(w).unwrap_or(u32::MAX));
        sum += u64::from(weight);
        let Some(node) = object.get("cluster") else {
            continue;
        };
        let Some(name) = node.filled() else { continue };
        if !seen.insert(name) {
            node.wrong(
                format!("{} is listed twice", quote(name)),
                "add the two weights up",
            );
        }
        if let Some(index) = clusters.find(name, &node) {
            chosen.push((index, weight));
        }
    }
    if sum == 0 && nodes.iter().all(Node::is_table) {
        node.wrong(
            "all weights are 0",
            "give at least one cluster a weight above 0",
        );
    }
    Some(chosen)
}

fn prefix_rewrite(route: &Object<'_>, matched: Option<&PathMatch>) -> Option<String> {
    let node = route.get("prefix_rewrite")?;
    let to = path(&node)?;
    if !matches!(matched, Some(PathMatch::Prefix(_) | PathMatch::Exact(_))) {
        // Not where the condition itself is what is wrong.
        let condition = route.table("match").is_some_and(|conditions| {
            conditions
                .get("prefix")
                .or_else(|| conditions.get("path"))
                .is_some()
        });
        if !condition {
            let what = "`prefix_rewrite` has nothing to replace";
            node.wrong(what, "add `match.prefix` or `match.path`");
        }
    }
    Some(to.to_owned())
}

fn host_rewrite(route: &Object<'_>) -> Option<String> {
    authority(&route.get("host_rewrite")?)
}

/// A host, with a port or without.
pub(super) fn authority(node: &Node<'_>) -> Option<String> {
    let host = node.filled()?;
    if !is_authority(host) {
        let help = "write a host name or address, with or without a port";
        node.wrong(format!("{} is not a host", quote(host)), help);
        return None;
    }
    Some(host.to_owned())
}

fn respond(table: &Object<'_>) -> Option<Action> {
    let body = table.text("body").unwrap_or("");
    let status = status(table)?;
    let bodiless = matches!(status.as_u16(), 204 | 205 | 304);
    if let Some(node) = table.get("body").filter(|_| bodiless && !body.is_empty()) {
        let what = format!("a response with status {} has no body", status.as_u16());
        node.wrong(what, "remove the body, or use another status");
    }
    Some(Action::Respond {
        status,
        body: Bytes::copy_from_slice(body.as_bytes()),
    })
}

fn redirect(table: &Object<'_>) -> Option<Action> {
    let scheme = table
        .get("scheme")
        .map(|_| table.choice("scheme").to_owned());
    let host = table
        .get("host")
        .map(|node| authority(&node).unwrap_or_default());
    let path = table
        .get("path")
        .map(|node| path(&node).unwrap_or_default().to_owned());
    if scheme.is_none() && host.is_none() && path.is_none() {
        let what = "this redirects every request to itself";
        table.node().wrong(what, "add `scheme`, `host` or `path`");
    }
    let status = status(table)?;
    let redirects = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    if let Some(node) = table.get("status").filter(|_| !redirects) {
        let what = format!("status {} does not redirect", status.as_u16());
        node.wrong(what, "write 301, 302, 303, 307 or 308");
    }
    Some(Action::Redirect {
        status,
        scheme,
        host,
        path,
    })
}

fn status(table: &Object<'_>) -> Option<StatusCode> {
    let status = table.integer("status")?;
    StatusCode::from_u16(u16::try_from(status).ok()?).ok()
}
