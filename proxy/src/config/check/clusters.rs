//! `clusters`: upstreams, their servers, and how they are verified.

use std::collections::HashMap;

use super::host::endpoint_address;
use super::tls::upstream;
use super::{Context, Names, balance, fields, health};
use crate::config::yaml::{Node, Object};
use crate::config::{Cluster, Endpoint, Family, Protocol, ProxyVersion};

/// Every cluster of the file.
pub(super) struct Clusters {
    /// Which number each name has.
    pub(super) names: Names,
    /// By number, as long as nothing is wrong; with a mistake the file is refused anyway.
    pub(super) built: Vec<Cluster>,
}

/// Reads all definitions.
pub(super) fn read(nodes: &[Node<'_>], context: &Context<'_>) -> Clusters {
    let mut names = Names::new("cluster");
    let mut built = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        let Some(object) = node.object(&fields::CLUSTER) else {
            continue;
        };
        let name = object.get("name").and_then(|node| {
            let name = node.name()?;
            names.add(name, &node, number);
            Some(name)
        });
        built.push(cluster(&object, name.unwrap_or(""), context));
    }
    Clusters { names, built }
}

fn cluster(object: &Object<'_>, name: &str, context: &Context<'_>) -> Cluster {
    let protocol = match object.choice("protocol") {
        "http2" => Protocol::Http2,
        "auto" => Protocol::Auto,
        _ => Protocol::Http1,
    };
    Cluster {
        name: name.to_owned(),
        endpoints: endpoints(&object.list("endpoints")),
        dns_family: match object.choice("dns_family") {
            "v4_only" => Family::V4Only,
            "v6_only" => Family::V6Only,
            "auto" => Family::Auto,
            "all" => Family::All,
            _ => Family::V4Preferred,
        },
        protocol,
        proxy_protocol: match object.choice("proxy_protocol") {
            "v1" => Some(ProxyVersion::V1),
            "v2" => Some(ProxyVersion::V2),
            _ => None,
        },
        tls: object
            .table("tls")
            .and_then(|tls| upstream::read(&tls, name, protocol, context)),
        connect_timeout: object.duration("connect_timeout"),
        idle_timeout: object.duration("idle_timeout"),
        max_idle: object.count("max_idle_connections"),
        balance: balance::balance(object),
        circuit_breakers: balance::breakers(object),
        outlier_detection: balance::outlier(object),
        health_check: object
            .table("health_check")
            .map(|check| health::read(&check, protocol, object.get("tls").is_some())),
    }
}

fn endpoints(nodes: &[Node<'_>]) -> Vec<Endpoint> {
    let mut seen = HashMap::new();
    let mut endpoints = Vec::new();
    for node in nodes {
        let (address, weight) = if node.is_table() {
            let Some(object) = node.object(&fields::ENDPOINT) else {
                continue;
            };
            let weight = object.integer("weight").unwrap_or(1);
            let Some(address) = object.get("address") else {
                continue;
            };
            (address, u32::try_from(weight).unwrap_or(u32::MAX))
        } else {
            (node.clone(), 1)
        };
        let Some(at) = endpoint_address(&address) else {
            continue;
        };
        let written = at.to_string().to_ascii_lowercase();
        if let Some(line) = seen.insert(written, address.position().line) {
            let what = format!("the endpoint {at} is already on line {line}");
            let help = "remove one of the two; to send it more, give it a weight";
            address.wrong(what, help);
            continue;
        }
        endpoints.push(Endpoint {
            address: at,
            weight,
        });
    }
    endpoints
}
