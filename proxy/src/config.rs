//! What one configuration file means.
//!
//! The types here are *typed and checked*: nothing past [`load`] has to ask whether a
//! name exists, a range holds or a file can be read. [`mod@yaml`] reads the file into a tree
//! that knows its lines; [`mod@check`] walks that tree, collects **every** mistake with its
//! position, and builds these types; [`mod@reference`] prints the manual from the same list
//! of fields the walk uses.

mod admin;
mod alike;
mod balance;
pub mod check;
mod endpoint;
mod native;
mod network;
pub mod reference;
mod retry;
mod server_names;
mod tracing;
pub mod yaml;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::property::Node;
use cofferdam_abi::shared::Bounds;
use cofferdam_abi::tier::Choice;
use cofferdam_abi::{Capabilities, Compat, Limits};

use crate::tls::renewal::Holders;
use crate::tls::{ClientTls, ServerTls, forwarded};

pub use admin::{Admin, Tag, Token};
pub use alike::{Mark, Marks};
pub use balance::{
    Balance, CircuitBreakers, HealthCheck, LbPolicy, OutlierDetection, Probe, RetryBudget,
};
pub use check::{Diagnostic, load, read_named};
pub use endpoint::{Dns, Endpoint, EndpointAddress, Family};
pub use native::{Artifacts, Compiler, Precompiled};
pub use network::{Network, ProxyProtocol};
pub use retry::{AttemptCount, HashOf, HashPolicy, RetryOn, RetryPolicy};
pub use server_names::ServerNames;
pub use tracing::{Propagation, TraceProtocol, Tracing};

pub use crate::proxy_protocol::Version as ProxyVersion;

/// A whole configuration, as one generation of the proxy runs it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where connections come from, in file order. Never empty.
    pub listeners: Vec<Arc<Listener>>,
    /// Every plugin (a module with one configuration) any chain uses; chains hold indexes
    /// into this list, so that a worker can keep its roots in a plain `Vec`.
    pub plugins: Vec<Arc<PluginConfig>>,
    /// Upstreams; routes hold indexes into this list.
    pub clusters: Vec<Arc<Cluster>>,
    /// How filters call other services.
    pub callouts: Arc<Callouts>,
    /// How names of endpoints, and of servers that filters call, are looked up.
    pub dns: Arc<Dns>,
    /// Who this proxy is: the property `xds.node`.
    pub node: Arc<Node>,
    /// Worker threads, 1..=256. Default: the number of usable cores.
    pub workers: usize,
    /// How long in-flight requests may go on after SIGTERM. Default 30 s.
    pub drain_time: Duration,
    /// Where one line per request goes.
    pub access_log: Option<AccessLogConfig>,
    /// Who collects spans, and of which requests.
    pub tracing: Option<Arc<Tracing>>,
    /// What filters of one VM id may share.
    pub shared: Bounds,
    /// Where the operator looks and acts, over HTTP.
    pub admin: Option<Admin>,
    /// Where another process may take over what this one listens on.
    pub upgrade: Option<Upgrade>,
    /// Where native code is kept, and whose is trusted.
    pub artifacts: Artifacts,
    /// What making it may cost.
    pub compiler: Compiler,
    /// Filters without which the proxy says that it is not ready.
    pub ready_needs: Vec<String>,
    /// How long streams and callouts may go on in a VM that has been replaced. Default 10 min.
    pub filter_drain_time: Duration,
    /// No memory may be mapped for execution: all filters are interpreted.
    pub no_exec_memory: bool,
    /// Address space is scarce: native code is made for small memories without guards.
    pub compact_memory: bool,
    /// What is written in the file, without its secrets.
    pub shown: Arc<serde_json::Value>,
    /// How often its file, and those in [`Config::files`], are looked at for changes.
    pub watch: Option<Duration>,
    /// The files that it names.
    pub files: Vec<PathBuf>,
    /// What its parts are known by.
    pub marks: Marks,
}

// === impl Config ===

impl Config {
    /// Everything in it that has TLS.
    #[must_use]
    pub fn tls(&self) -> Holders {
        let clusters = self.clusters.iter();
        Holders {
            servers: (self.listeners.iter())
                .filter_map(|listener| listener.tls.clone())
                .collect(),
            clients: clusters
                .filter_map(|cluster| Some(cluster.tls.as_ref()?.tls.clone()))
                .chain(self.callouts.tls.clone())
                .collect(),
        }
    }
}

/// `upgrade`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The unix socket at which the process that serves is asked.
    pub socket: PathBuf,
    /// How long the one that takes over may take until it serves. Default 2 min.
    pub timeout: Duration,
}

/// One listening address.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Unique name, used in every message about this listener.
    pub name: String,
    /// Where it listens.
    pub address: Address,
    /// Where that is written, as `FILE:LINE:COLUMN`: for messages of later.
    pub place: String,
    /// Whether connections say where they come from, and who may say it.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// TLS on this listener, if any.
    pub tls: Option<Arc<ServerTls>>,
    /// What becomes of `x-forwarded-client-cert`. Default: it is taken away.
    pub forward_client_cert: forwarded::Mode,
    /// What is put into it beside the hash.
    pub client_cert_details: forwarded::Details,
    /// The chain of requests that match no route, as [`Route::filters`].
    pub filters: Vec<usize>,
    /// Routes in file order; the first match wins.
    pub routes: Vec<Route>,
    /// Its connections are not HTTP: there are no routes then.
    pub tcp: Option<TcpForward>,
    /// Largest header block accepted, in bytes, 1 KiB..=1 MiB. Default 64 KiB.
    pub max_header_bytes: usize,
    /// How long a connection may sit without a request. Default 60 s. With
    /// [`Listener::tcp`]: how long nothing may move on it either way. Default 1 h.
    pub idle_timeout: Duration,
    /// How long the first bytes of a connection may take: a header of the PROXY protocol, a TLS
    /// handshake, the beginning of HTTP/2; and the head of each HTTP/1 request. Default 10 s.
    pub header_timeout: Duration,
    /// How long a client may take nothing of what is sent to it. Default 5 m.
    pub send_timeout: Duration,
    /// From a request's head to the last of its body. Default: unbounded, as Envoy.
    pub request_timeout: Option<Duration>,
    /// Requests at once on an HTTP/2 connection, 1..=10,000. Default 100.
    pub max_concurrent_streams: u32,
    /// What happens to the `server` response header. Default overwrite.
    pub server_header: ServerHeader,
    /// Plugins that log every request, as indexes into [`Config::plugins`].
    pub access_log_filters: Vec<usize>,
    /// Whether clients may say, in `x-envoy-` headers, how long a request may take and when
    /// it is sent again. Default false: such headers are removed.
    pub trust_envoy_headers: bool,
}

/// What becomes of connections that are not HTTP.
#[derive(Debug, Clone)]
pub struct TcpForward {
    /// Where they go by the server name that the client asks for, as indexes into
    /// [`Config::clusters`]. Without TLS here it is looked for in what is passed through.
    pub names: ServerNames,
    /// Where all others go. `None`: they are closed.
    pub cluster: Option<usize>,
    /// Their filters, as [`Route::filters`].
    pub filters: Vec<usize>,
}

/// `127.0.0.1:8080`, `[::1]:80` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP socket address.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Who owns the `server` response header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerHeader {
    /// Ours replaces what the upstream sent.
    #[default]
    Overwrite,
    /// Ours only where the upstream sent none.
    IfAbsent,
    /// Never touched.
    Pass,
}

/// One entry of `routes`.
#[derive(Debug, Clone)]
pub struct Route {
    /// When this route applies.
    pub matcher: Match,
    /// The whole filter chain for this route (listener's and route's, merged), as indexes
    /// into [`Config::plugins`], in request order.
    pub filters: Vec<usize>,
    /// What it does.
    pub action: Action,
    /// Header changes on the way to the upstream and back, after the filters.
    pub request_headers: HeaderEdits,
    /// Likewise for the response.
    pub response_headers: HeaderEdits,
    /// From the complete request head to the end of the response. `None`: unbounded.
    /// Default 15 s, as Envoy.
    pub timeout: Option<Duration>,
    /// Longest silence on a stream in either direction before it is ended. Default 5 min.
    pub idle_timeout: Option<Duration>,
    /// From a request's head to the end of its response, or of the tunnel. Default: unbounded.
    pub max_stream_duration: Option<Duration>,
    /// Whether `Upgrade` requests (WebSocket and others) pass. Default true.
    pub upgrades: bool,
    /// When a request is sent again; requests may ask for it too, where the listener lets
    /// them.
    pub retry: Option<RetryPolicy>,
    /// What the endpoint is chosen by, in clusters that go by a hash.
    pub hash_policy: Vec<HashPolicy>,
    /// Who is told which attempt a request is.
    pub attempt_count: AttemptCount,
}

/// The conditions of a route; all that are present must hold.
#[derive(Debug, Clone, Default)]
pub struct Match {
    /// The authority without its port, compared without case.
    pub host: Option<HostMatch>,
    /// The path without its query.
    pub path: Option<PathMatch>,
    /// Any of these methods; empty is any.
    pub methods: Vec<http::Method>,
    /// Every one of these.
    pub headers: Vec<HeaderMatch>,
}

/// How a host is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostMatch {
    /// The whole name, lower case.
    Exact(String),
    /// `*.example.com`: kept as `.example.com`; at least one label must stand before it.
    Suffix(String),
}

/// How a path is compared.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// A prefix that ends at a segment border (`/api` matches `/api` and `/api/x`, not
    /// `/apix`; `/` matches everything).
    Prefix(String),
    /// A regular expression that must match the whole path.
    Regex(regex::Regex),
}

/// A condition on one request header.
#[derive(Debug, Clone)]
pub struct HeaderMatch {
    /// Its name.
    pub name: http::HeaderName,
    /// What its value must be.
    pub value: ValueMatch,
}

/// What a header's value must be.
#[derive(Debug, Clone)]
pub enum ValueMatch {
    /// Present, or with `false` absent.
    Present(bool),
    /// The whole value.
    Exact(String),
    /// A prefix of it.
    Prefix(String),
    /// A regular expression that must match the whole value.
    Regex(regex::Regex),
}

/// What a matched route does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Proxy to one of these, by weight. Never empty, never all zero.
    Forward {
        /// Index into [`Config::clusters`] and weight, 0..=1,000,000.
        clusters: Vec<(usize, u32)>,
        /// Replaces the matched prefix (or the whole exact path).
        prefix_rewrite: Option<String>,
        /// Replaces the authority sent upstream.
        host_rewrite: Option<String>,
    },
    /// Answer at once.
    Respond {
        /// 200..=599.
        status: http::StatusCode,
        /// May be empty.
        body: Bytes,
    },
    /// Answer with a `location`.
    Redirect {
        /// 301, 302, 303, 307 or 308. Default 301.
        status: http::StatusCode,
        /// `https` or `http`; `None` keeps the request's.
        scheme: Option<String>,
        /// `None` keeps the request's.
        host: Option<String>,
        /// Replaces the whole path; `None` keeps it. The query is kept.
        path: Option<String>,
    },
}

/// Header changes of a route: removals first, then sets, then additions.
#[derive(Debug, Clone, Default)]
pub struct HeaderEdits {
    /// Names to remove.
    pub remove: Vec<http::HeaderName>,
    /// Replace or create.
    pub set: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Append.
    pub add: Vec<(http::HeaderName, http::HeaderValue)>,
}

/// A module with one configuration: what becomes a root context.
#[derive(Debug, Clone)]
pub struct PluginConfig {
    /// The filter's name in the file; also what `plugin_name` answers.
    pub name: String,
    /// Position of its definition, or of the `configuration` of the chain entry that gives it
    /// another one, as `FILE:LINE:COLUMN`: for messages after loading.
    pub position: String,
    /// YAML path of the same place (`filters[0]`).
    pub yaml_path: String,
    /// Positions of keys in it that a guest may turn out not to go with.
    pub places: Vec<(&'static str, String)>,
    /// Which module file, as written (resolved against the configuration file's folder).
    pub file: PathBuf,
    /// The module's bytes, read once per file and shared.
    pub wasm: Bytes,
    /// Its native code as somebody else made it.
    pub precompiled: Option<Precompiled>,
    /// Handed to the guest as is.
    pub root_id: String,
    /// VMs with the same id, VM configuration and code are shared.
    pub vm_id: String,
    /// Buffer 6.
    pub vm_configuration: Bytes,
    /// Buffer 7: JSON text of the YAML, or the string itself.
    pub configuration: Bytes,
    /// WASI environment, in file order.
    pub environment: Vec<(String, String)>,
    /// What its streams get when it crashes.
    pub on_failure: OnFailure,
    /// Bounds on each call and on the VM.
    pub limits: Limits,
    /// Largest body buffered for this filter, in bytes. Default 1 MiB.
    pub body_limit: usize,
    /// Where we part from Envoy, switch by switch.
    pub compat: Compat,
    /// What it may do.
    pub capabilities: Arc<Capabilities>,
    /// Header callbacks answering 1 hold headers only. Default false, as Envoy.
    pub allow_on_headers_stop_iteration: bool,
    /// Names added to `Trailer` on HTTP/1.1, so that this filter's trailers can be sent.
    pub trailers: Vec<http::HeaderName>,
    /// Where it is used, and so where it runs.
    pub uses: Uses,
    /// What the module's SHA-256 must be, in lower case, where that is written.
    pub sha256: Option<String>,
    /// Which engine runs it.
    pub engine: Choice,
    /// When it moves to native code that was made while it ran.
    pub tier_up: TierUp,
    /// Who shares its VMs.
    pub isolation: Isolation,
    /// Memory past which a VM is replaced by a fresh one, in bytes. `None`: half of what
    /// lies between its size after start and [`Limits::memory`].
    pub recycle: Option<usize>,
}

/// When a filter moves to native code that was made while it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TierUp {
    /// As soon as it is there.
    #[default]
    Auto,
    /// With the next reload: its root context has state that should not begin anew before.
    OnReload,
}

/// Who shares a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Isolation {
    /// All streams of a worker, and all filters with the same VM id, configuration and code.
    #[default]
    Worker,
    /// Nobody: each stream has a VM of its own.
    Request,
}

// === impl PluginConfig ===

impl PluginConfig {
    /// Whether it has a root of its own on a worker, from the worker's start on; `first` is
    /// the worker that has the services.
    #[must_use]
    pub fn runs_on(&self, first: bool) -> bool {
        let Uses {
            streams,
            access_log,
            service,
        } = self.uses;
        (streams && self.isolation == Isolation::Worker) || access_log || (service && first)
    }
}

/// What a plugin is for. One that is for nothing is loaded and tried all the same, but
/// runs nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uses {
    /// In a chain: it runs on every worker and opens stream contexts.
    pub streams: bool,
    /// As an access logger: it runs on every worker.
    pub access_log: bool,
    /// As a service: it runs once, on the first worker.
    pub service: bool,
}

/// What a stream gets when its filter crashed (`abi/ABI.md`, section 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// 503 (reset once headers have left); while no VM is usable, 503.
    #[default]
    Closed,
    /// 503 for the stream that crashed; while no VM is usable the filter is skipped.
    Open,
    /// As closed; while no VM is usable, a new one is tried at most once a second.
    Reload,
}

/// One upstream.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Unique name.
    pub name: String,
    /// Where it is. May be empty (every request is answered 503).
    pub endpoints: Vec<Endpoint>,
    /// Which addresses of endpoints that are named are used.
    pub dns_family: Family,
    /// What is spoken to it.
    pub protocol: Protocol,
    /// The header of the PROXY protocol that connections to it begin with, if any.
    pub proxy_protocol: Option<ProxyVersion>,
    /// TLS to it, if any.
    pub tls: Option<UpstreamTls>,
    /// Default 5 s.
    pub connect_timeout: Duration,
    /// How long a pooled connection may sit unused. Default 55 s.
    pub idle_timeout: Duration,
    /// Most idle HTTP/1 connections kept per endpoint and worker. Default 128.
    pub max_idle: usize,
    /// Active checks, if any.
    pub health_check: Option<HealthCheck>,
    /// Which endpoint comes next.
    pub balance: Balance,
    /// What there may be of it at a time.
    pub circuit_breakers: CircuitBreakers,
    /// Passive checks, if any.
    pub outlier_detection: Option<OutlierDetection>,
}

/// Calls that filters make themselves.
#[derive(Debug, Clone)]
pub struct Callouts {
    /// Verifies servers that are named by `https://` URL, with both versions of HTTP on
    /// offer. `None` where no filter may call one.
    pub tls: Option<Arc<ClientTls>>,
    /// How names of servers named by URL are looked up: [`Config::dns`].
    pub dns: Arc<Dns>,
    /// For servers named by URL, name resolution apart. Default 5 s.
    pub connect_timeout: Duration,
    /// How long a pooled connection to a server named by URL may sit unused. Default 55 s.
    pub idle_timeout: Duration,
    /// Longest body of a response, in bytes. Default 1 MiB.
    pub body: usize,
    /// Longest gRPC message of a response, and half of what may wait to be sent on one
    /// stream, in bytes. Default 4 MiB.
    pub message: usize,
}

impl Default for Callouts {
    fn default() -> Self {
        Self {
            tls: None,
            dns: Arc::default(),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(55),
            body: 1 << 20,
            message: 4 << 20,
        }
    }
}

/// What is spoken to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge without.
    Http2,
    /// Over TLS what ALPN says; without TLS, HTTP/1.1.
    Auto,
}

/// How an upstream is verified.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    /// Sent as SNI; and the name its certificate must be for, unless [`Self::tls`] says who it
    /// may be. `None`: nothing is sent, and `tls` says it.
    pub server_name: Option<rustls::pki_types::ServerName<'static>>,
    /// What is shown and who is believed.
    pub tls: Arc<ClientTls>,
    /// Nothing but HTTP/2 will do, whatever [`Cluster::protocol`] is.
    pub only_http2: bool,
}

/// Where the access log goes and how a line looks.
#[derive(Debug, Clone)]
pub struct AccessLogConfig {
    /// `None` is standard output.
    pub file: Option<PathBuf>,
    /// Compiled line.
    pub format: crate::access_log::Format,
}
