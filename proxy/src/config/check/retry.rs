//! When a route's requests are sent again, and what their endpoint is chosen by.

use http::StatusCode;

use super::{fields, headers, only_one_of};
use crate::config::yaml::{Node, Object, quote};
use crate::config::{HashOf, HashPolicy, RetryOn, RetryPolicy};

/// `retry_policy` of a route.
pub(super) fn policy(route: &Object<'_>) -> Option<RetryPolicy> {
    let table = route.table("retry_policy")?;
    let back_off = table.table("retry_back_off");
    let default = RetryPolicy::default();
    let base_interval =
        (back_off.as_ref()).map_or(default.base_interval, |it| it.duration("base_interval"));
    let written = back_off.as_ref().and_then(|it| {
        let node = it.get("max_interval")?;
        let longest = it.duration("max_interval");
        if !longest.is_zero() && longest < base_interval {
            node.wrong(
                "`max_interval` is shorter than `base_interval`",
                "make it at least as long",
            );
        }
        Some(longest)
    });
    let on = conditions(&table);
    let retriable_status_codes = statuses(&table.list("retriable_status_codes"));
    let retriable_headers = (table.list("retriable_headers").iter())
        .filter_map(|node| headers::name(node.text()?, node))
        .collect();
    for (name, condition) in [
        ("retriable_status_codes", RetryOn::RETRIABLE_STATUS_CODES),
        ("retriable_headers", RetryOn::RETRIABLE_HEADERS),
    ] {
        let word = name.replace('_', "-");
        let listed = table.get(name);
        if let Some(node) = &listed
            && !on.any(condition)
        {
            let what = format!("`{name}` means nothing without `{word}` in `retry_on`");
            node.wrong(what, format!("add `{word}` to `retry_on`, or remove it"));
        }
        if on.any(condition) && listed.is_none() {
            let what = format!("`{word}` has nothing to go by");
            let at = table.get("retry_on");
            at.as_ref()
                .unwrap_or_else(|| table.node())
                .wrong(what, format!("add `{name}`"));
        }
    }
    Some(RetryPolicy {
        on,
        num_retries: u32::try_from(table.integer("num_retries").unwrap_or(0)).unwrap_or(u32::MAX),
        per_try_timeout: table
            .get("per_try_timeout")
            .map(|_| table.duration("per_try_timeout")),
        base_interval,
        max_interval: written.unwrap_or(base_interval * 10),
        retriable_status_codes,
        retriable_headers,
        buffer_limit: table.size("buffer_limit"),
    })
}

fn conditions(table: &Object<'_>) -> RetryOn {
    let Some(node) = table.get("retry_on") else {
        return RetryOn::CONNECT_FAILURE | RetryOn::REFUSED_STREAM;
    };
    let nodes = if node.is_list() {
        node.list().unwrap_or_default()
    } else {
        vec![node.clone()]
    };
    if nodes.is_empty() {
        node.wrong("there is no condition here", "name at least one");
    }
    let mut on = RetryOn::default();
    for node in nodes {
        for word in node.scalar().unwrap_or("").split(',').map(str::trim) {
            match RetryOn::parse(word) {
                Some(condition) => on = on | condition,
                None => {
                    let what = format!("{} is not a condition of retries", quote(word));
                    let words: Vec<_> = RetryOn::words().collect();
                    node.wrong(what, format!("write any of {}", words.join(", ")));
                }
            }
        }
    }
    on
}

fn statuses(nodes: &[Node<'_>]) -> Vec<StatusCode> {
    let status = |node: &Node<'_>| {
        let text = node.scalar()?;
        let status = text
            .parse::<u16>()
            .ok()
            .filter(|it| (200..=599).contains(it));
        let status = status.and_then(|it| StatusCode::from_u16(it).ok());
        if status.is_none() {
            let what = format!("{} is not the status of a response", quote(text));
            node.wrong(what, "write a number from 200 to 599");
        }
        status
    };
    nodes.iter().filter_map(status).collect()
}

/// `hash_policy` of a route.
pub(super) fn hash_policy(route: &Object<'_>) -> Vec<HashPolicy> {
    let mut parts = Vec::new();
    for node in route.list("hash_policy") {
        let Some(object) = node.object(&fields::HASH) else {
            continue;
        };
        let terminal = object.boolean("terminal");
        let source = object.get("source_ip");
        let by_source = source.as_ref().map(Node::boolean);
        let unreadable = by_source == Some(None);
        let source = source.filter(|_| by_source == Some(Some(true)));
        let written = [
            ("header", object.get("header")),
            ("cookie", object.get("cookie")),
            ("source_ip", source),
        ];
        let Some((chosen, node)) = only_one_of(&written) else {
            if !unreadable && !object.slipped(&["header", "cookie", "source_ip"]) {
                let help = "add one of `header`, `cookie` and `source_ip: true`";
                node.wrong("there is nothing to go by", help);
            }
            continue;
        };
        let of = match chosen {
            "header" => node
                .filled()
                .and_then(|text| headers::name(text, node))
                .map(HashOf::Header),
            "cookie" => cookie(node).map(HashOf::Cookie),
            _ => Some(HashOf::SourceIp),
        };
        parts.extend(of.map(|of| HashPolicy { of, terminal }));
    }
    parts
}

fn cookie(node: &Node<'_>) -> Option<String> {
    let name = node.filled()?;
    let token = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b);
    if !name.bytes().all(token) {
        let what = format!("{} is not the name of a cookie", quote(name));
        node.wrong(what, "write it without spaces and separators");
        return None;
    }
    Some(name.to_owned())
}
