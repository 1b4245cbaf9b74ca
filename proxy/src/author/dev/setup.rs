//! What runs: the module, what it is told, whom it can call; and the proxy's configuration
//! made of that.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cofferdam_abi::{Callback, Module};
use serde_json::{Value, json};

use crate::author::build::{self, Failure};
use crate::author::test::{Cluster, surroundings};

/// The filter and its surroundings.
pub(super) struct Plan {
    /// Where it is built; `None`: it is a module that something else builds.
    pub(super) source: Option<PathBuf>,
    pub(super) module: PathBuf,
    /// It looks at connections, not at exchanges.
    pub(super) is_tcp: bool,
    pub(super) clusters: Vec<Cluster>,
    configuration: String,
    hold_headers: bool,
}

/// The listener with the filter, and the one without.
const FILTERED: &str = "filtered";
const PLAIN: &str = "plain";

// === impl Plan ===

impl Plan {
    /// Builds the filter, and reads what there is beside it.
    pub(super) fn new(dir: &Path, configuration: Option<&Path>) -> Result<Self, Failure> {
        let (source, module) = if dir.is_dir() {
            (Some(dir.to_owned()), build::folder(dir)?.file)
        } else {
            (None, dir.to_owned())
        };
        let wrong =
            |file: &Path, what: String| Failure::Unusable(format!("{}: {what}", file.display()));
        let bytes = std::fs::read(&module).map_err(|error| wrong(&module, error.to_string()))?;
        let parsed =
            Module::parse(bytes.into()).map_err(|error| wrong(&module, error.to_string()))?;
        let cases = module.with_file_name("tests.yaml");
        let around = match std::fs::read(&cases) {
            Ok(bytes) => {
                surroundings(&cases.display().to_string(), &bytes).map_err(|problems| {
                    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
                    Failure::Unusable(lines.join("\n"))
                })?
            }
            Err(_) => crate::author::test::Surroundings::default(),
        };
        let configuration = match configuration {
            Some(file) => {
                std::fs::read_to_string(file).map_err(|error| wrong(file, error.to_string()))?
            }
            None => around.configuration,
        };
        Ok(Self {
            source,
            module: module.canonicalize().unwrap_or(module),
            is_tcp: is_tcp(&parsed),
            clusters: around.clusters,
            configuration,
            hold_headers: around.hold_headers,
        })
    }

    /// The proxy's configuration.
    pub(super) fn configuration(
        &self,
        listen: SocketAddr,
        echo: SocketAddr,
        clusters: &[(String, SocketAddr)],
    ) -> String {
        let all = json!([{ "match": { "prefix": "/" }, "cluster": "echo" }]);
        let listeners = match self.is_tcp {
            true => json!([{
                "name": FILTERED,
                "address": listen.to_string(),
                "tcp": { "cluster": "echo", "filters": ["filter"] },
            }]),
            false => json!([
                { "name": FILTERED, "address": "127.0.0.1:0", "filters": ["filter"], "routes": all },
                { "name": PLAIN, "address": "127.0.0.1:0", "routes": all },
            ]),
        };
        let cluster = |name: &str, address: &SocketAddr| json!({ "name": name, "endpoints": [address.to_string()] });
        let mut all: Vec<Value> = vec![cluster("echo", &echo)];
        // One named like ours answers as ours does.
        let others = clusters.iter().filter(|(name, _)| name != "echo");
        all.extend(others.map(|(name, address)| cluster(name, address)));
        let mut filter = json!({
            "name": "filter",
            "module": { "file": self.module.display().to_string() },
            "on_failure": "reload",
        });
        if !self.configuration.is_empty() {
            filter["configuration"] = Value::from(&*self.configuration);
        }
        if self.hold_headers {
            filter["allow_on_headers_stop_iteration"] = Value::from(true);
        }
        let whole = json!({
            "listeners": listeners,
            "clusters": all,
            "filters": [filter],
            "workers": 1,
            "drain_time": "1s",
        });
        whole.to_string()
    }
}

/// Where the two listeners of HTTP are.
pub(super) fn addresses(listening: &[String]) -> Option<(SocketAddr, SocketAddr)> {
    let of = |name: &str| {
        let mut lines = listening.iter();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.parse().ok()
    };
    Some((of(FILTERED)?, of(PLAIN)?))
}

fn is_tcp(module: &Module) -> bool {
    let any = |of: &[Callback]| of.iter().any(|one| module.callbacks.contains(one));
    let tcp = [
        Callback::NewConnection,
        Callback::DownstreamData,
        Callback::UpstreamData,
    ];
    let http = [
        Callback::RequestHeaders,
        Callback::RequestBody,
        Callback::ResponseHeaders,
        Callback::ResponseBody,
    ];
    // Some libraries export everything: then it is HTTP that is looked at.
    any(&tcp) && !any(&http)
}
