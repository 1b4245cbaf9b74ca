//! `health_check`: how a cluster's endpoints are checked.

use std::ops::RangeInclusive;

use super::action::authority;
use super::matching::path;
use super::only_one_of;
use crate::config::yaml::{Node, Object, quote};
use crate::config::{HealthCheck, Probe, Protocol};

/// Longest name of a service.
const LONGEST: usize = 127;

/// The checks of a cluster that speaks `protocol`, with or without TLS.
pub(super) fn read(check: &Object<'_>, protocol: Protocol, tls: bool) -> HealthCheck {
    let http = check.get("path").map(|node| path(&node).map(str::to_owned));
    let grpc = check.get("grpc_service").map(|node| {
        if protocol == Protocol::Http1 || (protocol == Protocol::Auto && !tls) {
            node.wrong(
                "gRPC is spoken over HTTP/2, and this cluster does not speak that",
                "write `protocol: http2` in the cluster, or check a `path`",
            );
        }
        service(&node).unwrap_or_default()
    });
    let written = ["path", "grpc_service"].map(|name| (name, check.get(name)));
    let _ = only_one_of(&written);
    let host = check.get("host").map(|node| authority(&node));
    let expected = check.get("expected_statuses").map(|node| ranges(&node));
    for name in ["host", "expected_statuses"] {
        if let Some(node) = check.get(name).filter(|_| http.is_none()) {
            let what = format!("`{name}` means nothing without `path`");
            node.wrong(what, "add `path`, or remove it");
        }
    }
    HealthCheck {
        probe: match (http, grpc) {
            (Some(path), _) => Probe::Http {
                path: path.unwrap_or_default(),
                host: host.flatten(),
                expected: expected.unwrap_or_else(|| vec![200..=200]),
            },
            (None, Some(service)) => Probe::Grpc { service },
            (None, None) => Probe::Connect,
        },
        interval: check.duration("interval"),
        timeout: check.duration("timeout"),
        healthy_threshold: check.count("healthy_threshold"),
        unhealthy_threshold: check.count("unhealthy_threshold"),
    }
}

fn service(node: &Node<'_>) -> Option<String> {
    let name = node.text()?;
    if name.len() > LONGEST {
        let what = format!("this name of a service has {} bytes", name.len());
        node.wrong(what, format!("write one of at most {LONGEST}"));
    }
    Some(name.to_owned())
}

/// Statuses, and ranges of them such as `200-299`.
fn ranges(node: &Node<'_>) -> Vec<RangeInclusive<u16>> {
    let nodes = node.list().unwrap_or_default();
    if nodes.is_empty() && node.is_list() {
        node.wrong("no status is good", "name at least one");
    }
    nodes.iter().filter_map(range).collect()
}

fn range(node: &Node<'_>) -> Option<RangeInclusive<u16>> {
    let text = node.scalar()?;
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| {
        let status = text.trim().parse::<u16>().ok();
        status.filter(|status| (100..=599).contains(status))
    };
    match (status(from), status(to)) {
        (Some(from), Some(to)) if from <= to => Some(from..=to),
        _ => {
            let what = format!("{} is not a status or a range of them", quote(text));
            node.wrong(
                what,
                "write a number from 100 to 599, or two such as 200-299",
            );
            None
        }
    }
}
