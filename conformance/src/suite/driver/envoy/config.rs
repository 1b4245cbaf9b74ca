//! Envoy's configuration for a case, as JSON.

use std::net::SocketAddr;

use cofferdam_abi::testing::guest::{CALLBACKS, ENV, WASI};
use serde_json::{Map, Value, json};

use super::super::live::Place;
use crate::suite::case::{Filter, OnFailure, Role};

/// The bootstrap.
///
/// # Errors
/// A guest that cannot be made, or written.
pub(super) fn write(place: &Place<'_>) -> Result<Value, String> {
    let (mut chain, mut services, mut loggers) = (Vec::new(), Vec::new(), Vec::new());
    for filter in place.case.filters() {
        let plugin = plugin(place, filter)?;
        match filter.role {
            Role::Filter => chain.push(plugin),
            Role::Service => services.push(json!({
                "name": "envoy.bootstrap.wasm",
                "typed_config": typed("extensions.wasm.v3.WasmService", json!({
                    "singleton": true, "config": plugin,
                })),
            })),
            Role::AccessLog => loggers.push(json!({
                "name": filter.name,
                "typed_config": typed(
                    "extensions.access_loggers.wasm.v3.WasmAccessLog",
                    json!({ "config": plugin }),
                ),
            })),
        }
    }
    let network = if place.case.tcp {
        tcp(&chain)
    } else {
        vec![http(&chain, &loggers)]
    };
    let mut listener = json!({
        "name": "suite",
        "address": address(place.listen),
        "filter_chains": [{ "filters": network }],
    });
    // One limit for all: that of the filter that has one.
    let limit = place
        .case
        .filters()
        .iter()
        .find_map(|filter| filter.body_limit);
    if let Some(limit) = limit {
        listener["per_connection_buffer_limit_bytes"] = json!(limit);
    }
    let clusters: Vec<Value> = place.clusters.iter().map(cluster).collect();
    Ok(json!({
        "node": { "id": "node-id", "cluster": "node-cluster" },
        "admin": { "address": address(place.admin) },
        "bootstrap_extensions": services,
        "static_resources": { "listeners": [listener], "clusters": clusters },
    }))
}

fn plugin(place: &Place<'_>, filter: &Filter) -> Result<Value, String> {
    let wasm = filter.module()?;
    let file = place.scratch.path().join(format!("{}.wasm", filter.name));
    std::fs::write(&file, wasm).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut vm = json!({
        "vm_id": filter.vm_id,
        "runtime": "envoy.wasm.runtime.v8",
        "code": { "local": { "filename": file } },
    });
    if !filter.vm_configuration.is_empty() {
        vm["configuration"] = text(&filter.vm_configuration);
    }
    if !filter.environment.is_empty() {
        vm["environment_variables"] = json!({ "key_values": filter.environment });
    }
    let mut plugin = json!({
        "name": filter.name,
        "root_id": filter.root_id.as_deref().unwrap_or_default(),
        "vm_config": vm,
        "failure_policy": match filter.on_failure {
            OnFailure::Closed => "FAIL_CLOSED",
            OnFailure::Open => "FAIL_OPEN",
            OnFailure::Reload => "FAIL_RELOAD",
        },
    });
    if !filter.configuration.is_empty() {
        plugin["configuration"] = text(&filter.configuration);
    }
    if filter.allow_on_headers_stop_iteration {
        plugin["allow_on_headers_stop_iteration"] = json!(true);
    }
    if let Some(capabilities) = allowed(filter) {
        plugin["capability_restriction_config"] = json!({ "allowed_capabilities": capabilities });
    }
    Ok(plugin)
}

/// Names of everything a filter may do; `None` for all there is. Envoy has one list for
/// hostcalls and callbacks, so a restriction of the one must name all of the other.
fn allowed(filter: &Filter) -> Option<Map<String, Value>> {
    let capabilities = filter.capabilities.as_ref()?;
    let (hostcalls, callbacks) = (&capabilities.hostcalls, &capabilities.callbacks);
    if hostcalls.is_none() && callbacks.is_none() {
        return None;
    }
    let env = ENV.iter().map(|row| format!("proxy_{}", row.0));
    let wasi = WASI.iter().map(|row| row.0.to_owned());
    let all_hostcalls = || env.chain(wasi).collect();
    let all_callbacks = || {
        CALLBACKS
            .iter()
            .map(|row| format!("proxy_on_{}", row.0))
            .collect()
    };
    let names: [Vec<String>; 2] = [
        hostcalls.clone().unwrap_or_else(all_hostcalls),
        callbacks.clone().unwrap_or_else(all_callbacks),
    ];
    // The allocator and start functions are no callbacks of ours, but capabilities to Envoy.
    let always = [
        "malloc",
        "proxy_on_memory_allocate",
        "_initialize",
        "_start",
        "main",
    ];
    let names = names.into_iter().flatten();
    let names = names.chain(always.map(str::to_owned));
    Some(names.map(|name| (name, json!({}))).collect())
}

fn http(chain: &[Value], loggers: &[Value]) -> Value {
    let mut filters: Vec<Value> = chain
        .iter()
        .map(|plugin| {
            json!({
                "name": plugin["name"],
                "typed_config": typed(
                    "extensions.filters.http.wasm.v3.Wasm",
                    json!({ "config": plugin }),
                ),
            })
        })
        .collect();
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": typed("extensions.filters.http.router.v3.Router", json!({})),
    }));
    let route = |prefix: &str, cluster: &str| {
        json!({
            "name": cluster,
            "match": { "prefix": prefix },
            "route": { "cluster": cluster },
        })
    };
    let manager = json!({
        "stat_prefix": "suite",
        "codec_type": "AUTO",
        "http_protocol_options": { "enable_trailers": true, "accept_http_10": true },
        "route_config": {
            "name": "routes",
            "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [
                    route("/peer/", "peer"),
                    route("/refused/", "refused"),
                    route("/", "upstream"),
                ],
            }],
        },
        "http_filters": filters,
        "access_log": loggers,
    });
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": typed(
            "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            manager,
        ),
    })
}

fn tcp(chain: &[Value]) -> Vec<Value> {
    let mut filters: Vec<Value> = chain
        .iter()
        .map(|plugin| {
            json!({
                "name": plugin["name"],
                "typed_config": typed(
                    "extensions.filters.network.wasm.v3.Wasm",
                    json!({ "config": plugin }),
                ),
            })
        })
        .collect();
    filters.push(json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": typed(
            "extensions.filters.network.tcp_proxy.v3.TcpProxy",
            json!({ "stat_prefix": "suite", "cluster": "upstream" }),
        ),
    }));
    filters
}

fn cluster((name, socket, http2): &(&'static str, SocketAddr, bool)) -> Value {
    let protocol = if *http2 {
        json!({ "http2_protocol_options": {} })
    } else {
        json!({ "http_protocol_options": { "enable_trailers": true } })
    };
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(*socket) } }] }],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                "extensions.upstreams.http.v3.HttpProtocolOptions",
                json!({ "explicit_http_config": protocol }),
            ),
        },
    })
}

/// A message of Envoy's API with its type.
fn typed(name: &str, mut message: Value) -> Value {
    message["@type"] = json!(format!("type.googleapis.com/envoy.{name}"));
    message
}

/// A text in the message that a configuration of a guest must be.
fn text(value: &str) -> Value {
    json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": value })
}

fn address(socket: SocketAddr) -> Value {
    json!({
        "socket_address": { "address": socket.ip().to_string(), "port_value": socket.port() },
    })
}
