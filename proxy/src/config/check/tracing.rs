//! `tracing`: which requests are traced, and who collects their spans.

use std::collections::HashSet;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};

use super::action::authority;
use super::clusters::Clusters;
use super::headers;
use super::matching::path;
use crate::config::yaml::{Node, Object, quote};
use crate::config::{Propagation, Protocol, TraceProtocol, Tracing};

/// The whole of a percentage, in millionths.
const WHOLE: f64 = 1_000_000.0;

/// Where nothing is written nothing is traced.
pub(super) fn read(root: &Object<'_>, clusters: &Clusters) -> Option<Tracing> {
    let object = root.table("tracing")?;
    let protocol = match object.choice("protocol") {
        "grpc" => TraceProtocol::Grpc,
        _ => TraceProtocol::Http,
    };
    let at = object.get("cluster");
    let named = at.as_ref().and_then(|node| Some((node, node.filled()?)));
    let cluster = named.and_then(|(node, name)| clusters.names.find(name, node));
    if let (Some(cluster), Some((node, name)), TraceProtocol::Grpc) = (cluster, named, protocol)
        && let Some(cluster) = clusters.built.get(cluster)
        && cluster.protocol == Protocol::Http1
    {
        let what = format!("gRPC needs HTTP/2, which {} does not speak", quote(name));
        node.wrong(
            what,
            "give that cluster `protocol: http2`, or write `protocol: http` here",
        );
    }
    let written = object.get("path");
    if let (Some(node), TraceProtocol::Grpc) = (&written, protocol) {
        node.wrong(
            "gRPC has a path of its own",
            "remove it, or write `protocol: http`",
        );
    }
    let path = match protocol {
        TraceProtocol::Grpc => {
            PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        }
        TraceProtocol::Http => written
            .as_ref()
            .and_then(|node| path(node)?.parse().ok())
            .unwrap_or_else(|| PathAndQuery::from_static("/v1/traces")),
    };
    let name = named.map_or("", |(_, name)| name);
    let host = object.get("host").and_then(|node| authority(&node));
    Some(Tracing {
        cluster: name.to_owned(),
        protocol,
        path,
        authority: host.unwrap_or_else(|| host_of(name)),
        headers: extra(object.get("headers").as_ref()),
        service_name: object
            .text("service_name")
            .unwrap_or("cofferdam")
            .to_owned(),
        resource: resource(object.get("resource").as_ref()),
        sampling: object
            .get("sampling")
            .map_or(Some(WHOLE as u32), |node| sampling(&node))
            .unwrap_or_default(),
        propagation: propagation(&object),
    })
}

/// The cluster's name where it can be a host.
fn host_of(name: &str) -> String {
    let host = name.parse::<http::uri::Authority>();
    host.map_or_else(|_| "collector".to_owned(), |host| host.to_string())
}

fn sampling(node: &Node<'_>) -> Option<u32> {
    let text = node.scalar()?;
    let number = text.strip_suffix('%').map(str::trim).and_then(|number| {
        let digits = |byte: u8| byte.is_ascii_digit() || byte == b'.';
        let plain = number.bytes().all(digits);
        plain.then(|| number.parse::<f64>().ok()).flatten()
    });
    match number {
        // In range, so nothing is cut off but what a millionth is too coarse for.
        Some(number) if number <= 100.0 => Some((number / 100.0 * WHOLE).round() as u32),
        _ => {
            let what = format!("{} is not a percentage from 0% to 100%", quote(text));
            node.wrong(what, "write one such as 1% or 0.05%");
            None
        }
    }
}

fn propagation(object: &Object<'_>) -> Vec<Propagation> {
    let mut forms = Vec::new();
    for node in object.list("propagation") {
        let form = match node.text() {
            Some("w3c") => Propagation::W3c,
            Some("b3") => Propagation::B3,
            Some("b3_single") => Propagation::B3Single,
            Some(other) => {
                let what = format!("{} is no form of propagation", quote(other));
                node.wrong(what, "write `w3c`, `b3` or `b3_single`");
                continue;
            }
            None => continue,
        };
        if forms.contains(&form) {
            node.wrong("it is named twice", "remove one of the two");
        } else {
            forms.push(form);
        }
    }
    match object.get("propagation") {
        None => vec![Propagation::W3c],
        Some(_) => forms,
    }
}

fn extra(node: Option<&Node<'_>>) -> Vec<(HeaderName, HeaderValue)> {
    let mut pairs = Vec::new();
    for entry in node.and_then(Node::entries).unwrap_or_default() {
        let other_host = "to ask for another host, use `tracing.host`";
        let name = headers::changeable(entry.key, &entry.at_key, other_host);
        let value = headers::value(&entry.value);
        if let (Some(name), Some(mut value)) = (name, value) {
            // Most likely a token: it is shown to nobody.
            value.set_sensitive(true);
            pairs.push((name, value));
        }
    }
    pairs
}

fn resource(node: Option<&Node<'_>>) -> Vec<(String, String)> {
    let mut seen = HashSet::from(["service.name".to_owned()]);
    let mut pairs = Vec::new();
    for entry in node.and_then(Node::entries).unwrap_or_default() {
        if !seen.insert(entry.key.to_owned()) {
            let what = format!("{} is said already", quote(entry.key));
            entry
                .at_key
                .wrong(what, "remove it; `service.name` is `service_name`");
        }
        if let Some(value) = entry.value.scalar() {
            pairs.push((entry.key.to_owned(), value.to_owned()));
        }
    }
    pairs
}
