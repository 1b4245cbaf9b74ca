//! Cofferdam with one listener, one chain, one cluster and one worker.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::{Filter, Setup};
use crate::process::Server;
use crate::scratch::Scratch;
use crate::{Error, Result};

/// Starts the program at `path`.
///
/// # Errors
/// There is no such program, or it cannot be started.
pub fn start(
    path: &Path,
    setup: &Setup,
    listen: SocketAddr,
    upstream: SocketAddr,
    scratch: &Scratch,
) -> Result<Server> {
    let path = path
        .canonicalize()
        .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
    let name = format!("cofferdam-{}", listen.port());
    // JSON is YAML.
    let text = configuration(setup, listen, upstream).to_string();
    let file = scratch.write(&format!("{name}.yaml"), &text)?;
    let file = file.display().to_string();
    let arguments = ["--log", "error", "run", "--config", &file];
    let log = scratch.path().join(format!("{name}.log"));
    Server::start("cofferdam", &path, arguments, log)
}

fn configuration(setup: &Setup, listen: SocketAddr, upstream: SocketAddr) -> Value {
    let filters: Vec<Value> = setup.filters.iter().enumerate().map(filter).collect();
    let names: Vec<&Value> = filters.iter().map(|filter| &filter["name"]).collect();
    let prefixes = (0..setup.routes).map(|number| format!("/r{number}"));
    let routes: Vec<Value> = prefixes
        .chain(["/".to_owned()])
        .map(|prefix| json!({ "match": { "prefix": prefix }, "cluster": "upstream" }))
        .collect();
    let mut top = json!({
        "workers": 1,
        "listeners": [{
            "name": "bench",
            "address": listen.to_string(),
            // As Envoy's: idle connections must last for a measurement.
            "idle_timeout": "1h",
            "filters": names,
            "routes": routes,
        }],
        "clusters": [{
            "name": "upstream",
            "endpoints": [upstream.to_string()],
            "protocol": "http1",
        }],
    });
    if let Some(folder) = &setup.artifacts {
        top["artifacts"] = json!({ "directory": folder });
    }
    top["filters"] = Value::Array(filters);
    top
}

fn filter((number, filter): (usize, &Filter)) -> Value {
    let mut table = json!({
        "name": format!("f{number}"),
        "module": { "file": filter.module },
        "vm_id": format!("vm{number}"),
    });
    if !filter.configuration.is_empty() {
        table["configuration"] = json!(filter.configuration);
    }
    if let Some(engine) = filter.engine {
        table["engine"] = json!(engine);
    }
    table
}
