//! Header names and values, and the changes a route makes to headers.

use std::collections::HashSet;

use http::{HeaderName, HeaderValue};

use crate::config::HeaderEdits;
use crate::config::yaml::{Node, Object, quote};

/// Headers that belong to one connection or to the framing: the proxy's own business.
const OURS: [&str; 10] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "host",
];

/// How a route sends another host upstream.
const OTHER_HOST: &str = "to send another host upstream, use `host_rewrite`";

/// The changes under `key` of a route.
pub(super) fn edits(route: &Object<'_>, key: &str) -> HeaderEdits {
    let Some(edits) = route.table(key) else {
        return HeaderEdits::default();
    };
    HeaderEdits {
        remove: names(&edits.list("remove")),
        set: pairs(edits.get("set").as_ref(), false),
        add: pairs(edits.get("add").as_ref(), true),
    }
}

/// A list of header names, each once, none of them the proxy's own.
pub(super) fn names(nodes: &[Node<'_>]) -> Vec<HeaderName> {
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for node in nodes {
        let Some(name) = node
            .text()
            .and_then(|text| changeable(text, node, OTHER_HOST))
        else {
            continue;
        };
        if seen.insert(name.clone()) {
            names.push(name);
        } else {
            node.wrong(format!("`{name}` is named twice"), "remove one of the two");
        }
    }
    names
}

/// A header name. Names are compared without case and kept in lower case.
pub(super) fn name(text: &str, node: &Node<'_>) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    if name.is_none() {
        let help = "use letters, digits and `-`, such as x-request-id";
        node.wrong(format!("{} is not a header name", quote(text)), help);
    }
    name
}

/// A header value: no control bytes but tab.
pub(super) fn value(node: &Node<'_>) -> Option<HeaderValue> {
    let text = node.scalar()?;
    let value = HeaderValue::from_bytes(text.as_bytes()).ok();
    if value.is_none() {
        let what = format!("{} cannot be a header value", quote(text));
        node.wrong(what, "remove its control characters; a header is one line");
    }
    value
}

/// A header that a route may change, or that may be sent to a collector; `other_host` says how
/// to have another host.
pub(super) fn changeable(
    text: &str,
    node: &Node<'_>,
    other_host: &'static str,
) -> Option<HeaderName> {
    let name = name(text, node)?;
    if OURS.contains(&name.as_str()) {
        let help = match name.as_str() {
            "host" => other_host,
            _ => "remove it",
        };
        node.wrong(format!("`{name}` is set by the proxy itself"), help);
        return None;
    }
    Some(name)
}

fn pairs(node: Option<&Node<'_>>, several: bool) -> Vec<(HeaderName, HeaderValue)> {
    let mut seen = HashSet::new();
    let mut pairs = Vec::new();
    for entry in node.and_then(Node::entries).unwrap_or_default() {
        let name = changeable(entry.key, &entry.at_key, OTHER_HOST);
        if name.as_ref().is_some_and(|name| !seen.insert(name.clone())) {
            let what = format!("{} is written twice", quote(entry.key));
            entry
                .at_key
                .wrong(what, "remove one of the two; case makes no difference");
        }
        let values = match several && entry.value.is_list() {
            true => entry.value.list().unwrap_or_default(),
            false => vec![entry.value],
        };
        for node in &values {
            if let (Some(value), Some(name)) = (value(node), &name) {
                pairs.push((name.clone(), value));
            }
        }
    }
    pairs
}
