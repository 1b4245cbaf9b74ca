//! The proxy, or Envoy: a process with the filter under test, until it is dropped.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::super::message::Seen;
use super::super::target::Target;
use super::peers;
use crate::pairs::Pairs;

/// How long a start may take: compiling modules is part of it.
const START: Duration = Duration::from_secs(60);

/// What is run.
pub(super) struct Plan<'a> {
    pub(super) target: Target,
    pub(super) module: &'a Path,
    pub(super) configuration: &'a str,
    /// Headers wait for bodies.
    pub(super) holds: bool,
    /// Its connections are not HTTP.
    pub(super) tcp: bool,
    /// Clusters by name; the first is the upstream.
    pub(super) clusters: Vec<(String, SocketAddr)>,
}

/// See the [module](self).
pub(super) struct Program {
    child: Child,
    folder: PathBuf,
    log: Log,
    is_envoy: bool,
    /// Where it serves.
    pub(super) address: SocketAddr,
    admin: SocketAddr,
}

type Log = Arc<Mutex<String>>;

// === impl Program ===

impl Program {
    /// Starts it.
    ///
    /// # Errors
    /// What it says where it does not.
    pub(super) fn start(plan: &Plan<'_>) -> Result<Self, String> {
        let is_envoy = plan.target == Target::Envoy;
        let (variable, usual) = match is_envoy {
            true => ("ENVOY", None),
            false => ("COFFERDAM", Some("cofferdam")),
        };
        let named = named(variable, std::env::var_os(variable), usual)?;
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("cofferdam-test-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let (file, text) = match is_envoy {
            true => ("envoy.json", envoy(plan)),
            false => ("proxy.yaml", cofferdam(plan)),
        };
        let file = folder.join(file);
        fs::write(&file, text).map_err(|error| error.to_string())?;
        let mut command = Command::new(named);
        match is_envoy {
            true => {
                command.arg("--config-path").arg(&file);
                command
                    .arg("--admin-address-path")
                    .arg(folder.join("admin"));
                // Several may run on one machine.
                command.args(["--concurrency", "1", "--use-dynamic-base-id"]);
                command.args([
                    "--log-level",
                    "warning",
                    "--component-log-level",
                    "wasm:trace",
                ]);
            }
            false => {
                command.args(["run", "--log", "info,filter=trace", "--config"]);
                command.arg(&file);
                command.env_remove("COFFERDAM_LOG");
                command.env_remove("COFFERDAM_LOG_FORMAT");
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| {
            let _ = fs::remove_dir_all(&folder);
            let program = command.get_program().display();
            format!("{program}: {error}; say by {variable} where the program is")
        })?;
        let log = Log::default();
        if let Some(lines) = child.stderr.take() {
            collect(lines, log.clone());
        }
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut program = Self {
            child,
            folder,
            log,
            is_envoy,
            address: nowhere,
            admin: nowhere,
        };
        let until = Instant::now() + START;
        loop {
            if let Some((address, admin)) = program.addresses() {
                (program.address, program.admin) = (address, admin);
                return Ok(program);
            }
            let ended = program.child.try_wait();
            if ended.is_ok_and(|status| status.is_some()) {
                // What it has said last is still on its way.
                return Err(program.said_to_the_end());
            }
            if Instant::now() > until {
                return Err(format!("not ready in {START:?}: {}", program.said()));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Where it listens, and where its figures are; `None`: not yet.
    fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        if self.is_envoy {
            let admin = fs::read_to_string(self.folder.join("admin")).ok()?;
            let admin = admin.trim().parse().ok()?;
            let listeners = get(admin, "/listeners")?;
            let web = listeners
                .lines()
                .find_map(|line| line.strip_prefix("web::"));
            let ready = get(admin, "/ready").is_some_and(|said| said.contains("LIVE"));
            return ready.then_some((web?.trim().parse().ok()?, admin));
        }
        let said = self.said();
        let at = |name: &str| {
            let (_, after) = said.split_once(&format!("listening: {name} "))?;
            after.lines().next()?.split(' ').next()?.parse().ok()
        };
        Some((at("web")?, at("admin")?))
    }

    /// All it has said so far.
    pub(super) fn said(&self) -> String {
        self.log.lock().map(|log| log.clone()).unwrap_or_default()
    }

    fn said_to_the_end(&self) -> String {
        let until = Instant::now() + Duration::from_secs(5);
        // Its end of the log is dropped when the last line has been read.
        while Arc::strong_count(&self.log) > 1 && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        self.said()
    }

    /// The value of a guest's metric; `None` where there is none.
    pub(super) fn metric(&self, name: &str) -> Option<u64> {
        let page = match self.is_envoy {
            true => get(self.admin, "/stats"),
            false => get(self.admin, "/metrics"),
        }?;
        let value = |text: &str| {
            page.lines()
                .find_map(|line| line.strip_prefix(text)?.parse().ok())
        };
        if self.is_envoy {
            return value(&format!("wasmcustom.{name}: "));
        }
        let allowed = |letter: char| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '_'
            }
        };
        let name: String = name.chars().map(allowed).collect();
        let family = name.strip_suffix("_total").unwrap_or(&name);
        value(&format!("{family}_total ")).or_else(|| value(&format!("{name} ")))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The program that `variable` names, or else the `usual` one. Empty is as good as not set.
fn named(variable: &str, value: Option<OsString>, usual: Option<&str>) -> Result<OsString, String> {
    value
        .filter(|value| !value.is_empty())
        .or_else(|| usual.map(OsString::from))
        .ok_or_else(|| format!("{variable} names no program: say by it where the program is"))
}

fn collect(from: impl Read + Send + 'static, log: Log) {
    thread::spawn(move || {
        let mut lines = BufReader::new(from);
        let mut line = Vec::new();
        while lines
            .read_until(b'\n', &mut line)
            .is_ok_and(|size| size > 0)
        {
            if let Ok(mut log) = log.lock() {
                log.push_str(&String::from_utf8_lossy(&line));
            }
            line.clear();
        }
    });
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let pair = |name: &str, value: &str| (name.into(), value.into());
    let headers = vec![
        pair(":authority", "admin"),
        pair(":path", path),
        pair(":method", "GET"),
    ];
    let mut seen = Seen::default();
    peers::exchange(address, headers, Vec::new(), Pairs::new(), &mut seen).ok()?;
    String::from_utf8(seen.body).ok()
}

/// A text as JSON, which is YAML too.
fn text(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

fn cofferdam(plan: &Plan<'_>) -> String {
    let engine = match plan.target {
        Target::Aot => "aot",
        _ => "auto",
    };
    let routes = match plan.tcp {
        true => "tcp: { cluster: upstream, filters: [filter] }",
        false => "filters: [filter]\n    routes: [{ match: { prefix: / }, cluster: upstream }]",
    };
    let mut out = format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
  - name: web
    address: 127.0.0.1:0
    {routes}
filters:
  - name: filter
    module: {{ file: {} }}
    engine: {engine}
    configuration: {}
clusters:
",
        text(&plan.module.display().to_string()),
        text(plan.configuration),
    );
    for (name, address) in &plan.clusters {
        let _ = writeln!(
            out,
            "  - {{ name: {}, endpoints: ['{address}'] }}",
            text(name)
        );
    }
    out
}

fn envoy(plan: &Plan<'_>) -> String {
    let kind = |name: &str| text(&format!("type.googleapis.com/envoy.{name}"));
    let address = |address: SocketAddr| {
        let (ip, port) = (address.ip(), address.port());
        format!(r#"{{"socket_address": {{"address": "{ip}", "port_value": {port}}}}}"#)
    };
    let any = address(SocketAddr::from(([127, 0, 0, 1], 0)));
    let clusters = plan.clusters.iter().map(|(name, at)| {
        format!(
            r#"{{"name": {name}, "type": "STATIC", "connect_timeout": "5s",
            "load_assignment": {{"cluster_name": {name}, "endpoints": [{{"lb_endpoints":
                [{{"endpoint": {{"address": {}}}}}]}}]}},
            "typed_extension_protocol_options": {{
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {{
                    "@type": {}, "explicit_http_config":
                        {{"http_protocol_options": {{"enable_trailers": true}}}}}}}}}}"#,
            address(*at),
            kind("extensions.upstreams.http.v3.HttpProtocolOptions"),
            name = text(name),
        )
    });
    let clusters: Vec<String> = clusters.collect();
    let wasm = |of: &str| {
        format!(
            r#"{{"name": "filter", "typed_config": {{"@type": {}, "config": {{
                "name": "filter", "allow_on_headers_stop_iteration": {},
                "vm_config": {{"vm_id": "filter", "runtime": "envoy.wasm.runtime.v8",
                    "code": {{"local": {{"filename": {}}}}}}},
                "configuration": {{"@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": {}}}}}}}}}"#,
            kind(&format!("extensions.filters.{of}.wasm.v3.Wasm")),
            plan.holds,
            text(&plan.module.display().to_string()),
            text(plan.configuration),
        )
    };
    let filters = match plan.tcp {
        true => format!(
            r#"{}, {{"name": "tcp", "typed_config": {{"@type": {}, "stat_prefix": "web",
                "cluster": "upstream"}}}}"#,
            wasm("network"),
            kind("extensions.filters.network.tcp_proxy.v3.TcpProxy"),
        ),
        false => format!(
            r#"{{"name": "http", "typed_config": {{"@type": {}, "stat_prefix": "web",
                "http_protocol_options": {{"enable_trailers": true}},
                "route_config": {{"virtual_hosts": [{{"name": "all", "domains": ["*"],
                    "routes": [{{"match": {{"prefix": "/"}},
                        "route": {{"cluster": "upstream"}}}}]}}]}},
                "http_filters": [{},
                    {{"name": "router", "typed_config": {{"@type": {}}}}}]}}}}"#,
            kind("extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            wasm("http"),
            kind("extensions.filters.http.router.v3.Router"),
        ),
    };
    format!(
        r#"{{"admin": {{"address": {any}}}, "static_resources": {{
        "listeners": [{{"name": "web", "address": {any},
            "filter_chains": [{{"filters": [{filters}]}}]}}],
        "clusters": [{}]}}}}"#,
        clusters.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn a_program_that_nobody_names_is_the_usual_one_or_an_error_that_says_how_to_name_it() {
        let of = |value: Option<&str>, usual| {
            let named = named("ENVOY", value.map(Into::into), usual);
            named.map(|program| program.into_string().unwrap())
        };
        for nothing in [None, Some("")] {
            assert_eq!(of(nothing, Some("cofferdam")), Ok("cofferdam".to_owned()));
            let said = "ENVOY names no program: say by it where the program is";
            assert_eq!(of(nothing, None), Err(said.to_owned()));
        }
        assert_eq!(of(Some("/a/b"), Some("cofferdam")), Ok("/a/b".to_owned()));
    }
}
