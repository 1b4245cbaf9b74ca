//! `match`: the conditions of a route.

use std::collections::HashSet;

use http::Method;
use regex::Regex;

use super::host::{is_bracketed, is_host};
use super::{fields, headers, one_condition, only_one_of};
use crate::config::yaml::{Node, Object, quote};
use crate::config::{HeaderMatch, HostMatch, Match, PathMatch, ValueMatch};

/// All conditions; one with a mistake is noted and left out.
pub(super) fn read(conditions: &Object<'_>) -> Match {
    Match {
        host: conditions.get("host").and_then(|node| host(&node)),
        path: path_match(conditions),
        methods: conditions
            .get("method")
            .map(|node| methods(&node))
            .unwrap_or_default(),
        headers: conditions
            .get("headers")
            .map(|node| header_matches(&node))
            .unwrap_or_default(),
    }
}

/// A path as a request has it, before its query.
pub(super) fn path<'t>(node: &Node<'t>) -> Option<&'t str> {
    let text = node.filled()?;
    let what = if !text.starts_with('/') {
        "does not begin with `/`"
    } else if text.contains(['?', '#']) {
        "has a query or a fragment, which is not part of a path"
    } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
        "has characters that a path cannot have"
    } else {
        return Some(text);
    };
    node.wrong(
        format!("{} {what}", quote(text)),
        "write a path such as /api, percent-encoded",
    );
    None
}

fn host(node: &Node<'_>) -> Option<HostMatch> {
    let text = node.filled()?;
    // The final dot of an absolute name is never compared.
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let help = if text == "*" {
        "leave `host` out to match every host"
    } else if text.contains(':') && !is_bracketed(text) {
        "write the host without its port: every port matches"
    } else {
        "write a host name, or `*.` and a host name"
    };
    match name.strip_prefix('*') {
        Some(suffix) if suffix.starts_with('.') && is_host(&suffix[1..]) => {
            return Some(HostMatch::Suffix(suffix.to_owned()));
        }
        None if is_host(&name) || is_bracketed(&name) => return Some(HostMatch::Exact(name)),
        _ => {}
    }
    node.wrong(format!("{} is not a host to match", quote(text)), help);
    None
}

fn path_match(conditions: &Object<'_>) -> Option<PathMatch> {
    let written = ["path", "prefix", "regex"].map(|name| (name, conditions.get(name)));
    let (chosen, node) = only_one_of(&written)?;
    match chosen {
        // What `OPTIONS *` has.
        "path" if node.as_text() == Some("*") => Some(PathMatch::Exact("*".to_owned())),
        "path" => path(node).map(|path| PathMatch::Exact(path.to_owned())),
        "prefix" => path(node).map(|path| PathMatch::Prefix(path.to_owned())),
        _ => whole(node).map(PathMatch::Regex),
    }
}

/// A regular expression that must match the whole of a text.
pub(super) fn whole(node: &Node<'_>) -> Option<Regex> {
    let text = node.filled()?;
    // Alone first: it must be right by itself, not only inside the group around it.
    match Regex::new(text).and_then(|_| Regex::new(&format!(r"\A(?:{text})\z"))) {
        Ok(regex) => Some(regex),
        Err(error) => {
            let message = error.to_string();
            let why = message.lines().last().unwrap_or("").trim();
            let why = why
                .strip_prefix("error: ")
                .unwrap_or(why)
                .trim_end_matches('.');
            let what = format!("{} is not a regular expression: {why}", quote(text));
            node.wrong(
                what,
                "mend it; look-around and back-references do not exist here",
            );
            None
        }
    }
}

fn methods(node: &Node<'_>) -> Vec<Method> {
    if !node.is_list() {
        return method(node).into_iter().collect();
    }
    let nodes = node.list().unwrap_or_default();
    if nodes.is_empty() {
        node.wrong(
            "there is no method here",
            "name one, or leave `method` out to match any",
        );
    }
    let mut seen = HashSet::new();
    let mut methods = Vec::new();
    for node in nodes {
        let Some(method) = method(&node) else {
            continue;
        };
        if seen.insert(method.clone()) {
            methods.push(method);
        } else {
            node.wrong(format!("{method} is listed twice"), "remove one of the two");
        }
    }
    methods
}

fn method(node: &Node<'_>) -> Option<Method> {
    let text = node.filled()?;
    let capitals = text.to_ascii_uppercase();
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if text == capitals => Some(method),
        Ok(_) => {
            node.wrong(
                format!("{} is not in capitals", quote(text)),
                format!("write {capitals}"),
            );
            None
        }
        Err(_) => {
            node.wrong(
                format!("{} is not a method", quote(text)),
                "write one such as GET",
            );
            None
        }
    }
}

fn header_matches(node: &Node<'_>) -> Vec<HeaderMatch> {
    let mut seen = HashSet::new();
    let mut matches = Vec::new();
    for entry in node.entries().unwrap_or_default() {
        let name = headers::name(entry.key, &entry.at_key);
        if name.as_ref().is_some_and(|name| !seen.insert(name.clone())) {
            let what = format!("{} is written twice", quote(entry.key));
            entry
                .at_key
                .wrong(what, "remove one of the two; case makes no difference");
        }
        if let (Some(value), Some(name)) = (value_match(&entry.value), name) {
            matches.push(HeaderMatch { name, value });
        }
    }
    matches
}

/// The keys of a condition on a header.
const CONDITIONS: [&str; 4] = ["exact", "prefix", "regex", "present"];

fn value_match(node: &Node<'_>) -> Option<ValueMatch> {
    if !node.is_table() {
        return node.scalar().map(|text| ValueMatch::Exact(text.to_owned()));
    }
    let table = node.object(&fields::HEADER_MATCH)?;
    let (chosen, condition) = one_condition(&table, CONDITIONS)?;
    match chosen {
        "exact" => condition
            .scalar()
            .map(|text| ValueMatch::Exact(text.to_owned())),
        "prefix" => condition
            .scalar()
            .map(|text| ValueMatch::Prefix(text.to_owned())),
        "regex" => whole(&condition).map(ValueMatch::Regex),
        _ => condition.boolean().map(ValueMatch::Present),
    }
}
