//! Our program's configuration for a case, as JSON.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::live::Place;
use super::Code;
use crate::suite::case::{Filter, OnFailure, Profile, Role};

/// The configuration.
///
/// # Errors
/// A guest that cannot be made, or written.
pub(super) fn write(
    place: &Place<'_>,
    profile: Profile,
    code: &Code,
    measured: bool,
) -> Result<Value, String> {
    let filters = place.case.filters();
    let each = filters.iter().map(|filter| one(place, filter, code));
    let all: Result<Vec<Value>, String> = each.collect();
    let named = |role: Role| -> Vec<&str> {
        let of_role = filters.iter().filter(|filter| filter.role == role);
        of_role.map(|filter| &*filter.name).collect()
    };
    let chain = named(Role::Filter);
    let mut listener = json!({ "name": "suite", "address": place.listen.to_string() });
    if place.case.tcp {
        listener["tcp"] = json!({ "cluster": "upstream", "filters": chain });
    } else {
        let route = |prefix: &str, cluster: &str| json!({ "match": { "prefix": prefix }, "cluster": cluster });
        listener["filters"] = json!(chain);
        listener["routes"] = json!([
            route("/peer/", "peer"),
            route("/refused/", "refused"),
            route("/", "upstream"),
        ]);
    }
    let loggers = named(Role::AccessLog);
    if !loggers.is_empty() {
        listener["access_log_filters"] = json!(loggers);
    }
    let clusters: Vec<Value> = place
        .clusters
        .iter()
        .map(|(name, address, http2)| {
            json!({
                "name": name,
                "endpoints": [address.to_string()],
                "protocol": if *http2 { "http2" } else { "http1" },
                "connect_timeout": "1s",
            })
        })
        .collect();
    let mut configuration = json!({
        "node": { "id": "node-id", "cluster": "node-cluster" },
        "workers": 1,
        "drain_time": "2s",
        "compat": profile.name(),
        "listeners": [listener],
        "filters": all?,
        "clusters": clusters,
    });
    if let Code::Native(artifacts) = code {
        configuration["artifacts"] = json!({ "directory": artifacts.directory() });
    }
    if measured {
        configuration["admin"] = json!({ "address": place.admin.to_string() });
    }
    let services = named(Role::Service);
    if !services.is_empty() {
        configuration["services"] = json!(services);
    }
    Ok(configuration)
}

/// Writes a filter's module to its file, aside first: the proxy may be looking.
pub(super) fn module(place: &Place<'_>, filter: &str, wasm: &[u8]) -> Result<PathBuf, String> {
    let file = place.scratch.path().join(format!("{filter}.wasm"));
    let aside = file.with_extension("new");
    std::fs::write(&aside, wasm)
        .and_then(|()| std::fs::rename(&aside, &file))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file)
}

fn one(place: &Place<'_>, filter: &Filter, code: &Code) -> Result<Value, String> {
    let file = module(place, &filter.name, &filter.module()?)?;
    let mut table = json!({
        "name": filter.name,
        "module": { "file": file },
        "root_id": filter.root_id.as_deref().unwrap_or_default(),
        "vm_id": filter.vm_id,
        "environment": filter.environment,
        "on_failure": match filter.on_failure {
            OnFailure::Closed => "closed",
            OnFailure::Open => "open",
            OnFailure::Reload => "reload",
        },
        "allow_on_headers_stop_iteration": filter.allow_on_headers_stop_iteration,
        // Not `auto`: a move to native code in the middle of a case would begin a new VM.
        "engine": match code {
            Code::Interpreted => "interpreter",
            Code::Native(_) => "aot",
        },
    });
    for (key, text) in [
        ("configuration", &filter.configuration),
        ("vm_configuration", &filter.vm_configuration),
    ] {
        if !text.is_empty() {
            table[key] = json!(text);
        }
    }
    let mut limits = json!({});
    if let Some(bytes) = filter.body_limit {
        limits["body"] = json!(bytes);
    }
    if let Some(bytes) = filter.memory_limit {
        limits["memory"] = json!(bytes);
    }
    if let Some(limit) = filter.callback_limit {
        limits["callback"] = json!(format!("{}ms", limit.0.as_millis()));
    }
    if limits != json!({}) {
        table["limits"] = limits;
    }
    if let Some(capabilities) = &filter.capabilities {
        let mut granted = json!({});
        for (key, names) in [
            ("hostcalls", &capabilities.hostcalls),
            ("callbacks", &capabilities.callbacks),
            ("callouts", &capabilities.callouts),
            ("shared", &capabilities.shared),
        ] {
            if let Some(names) = names {
                granted[key] = json!(names);
            }
        }
        table["capabilities"] = granted;
    }
    Ok(table)
}
