//! Every key a configuration may have, described once: the walk takes its allowed keys,
//! ranges and defaults from here, and the reference is printed from here.

mod balance;
mod callouts;
mod cluster;
mod dns;
mod filter;
mod limits;
mod listener;
mod native;
mod node;
mod reload;
mod route;
mod shared;
mod tls;
mod tracing;

use std::time::Duration;

use crate::config::yaml::Absent::{Default, Means, Required};
use crate::config::yaml::{Absent, Field, Kind, Table};

pub use balance::{BACK_OFF, BREAKERS, BUDGET, HASH, OUTLIER, RETRY};
pub use callouts::CALLOUTS;
pub use cluster::{CLUSTER, ENDPOINT, HEALTH};
pub use dns::DNS;
pub use filter::{CAPABILITIES, FILTER, MODULE};
pub use limits::LIMITS;
pub use listener::{CHAIN_ENTRY, LISTENER, LISTENER_TCP, PROXY_PROTOCOL, TCP_ROUTE};
pub use native::{ARTIFACTS, COMPILER};
pub use node::NODE;
pub use reload::{RELOAD, UPGRADE};
pub use route::{EDITS, HEADER_MATCH, MATCH, REDIRECT, RESPOND, ROUTE, WEIGHTED};
pub use shared::{ADMIN, SHARED_DATA, SHARED_QUEUES, TAG};
pub use tls::{ALLOWED_SAN, CLUSTER_TLS, LISTENER_CERTIFICATE, LISTENER_TLS};
pub use tracing::TRACING;

/// The whole file.
pub static ROOT: Table = Table {
    name: "$",
    doc: "The top of the file.",
    fields: &[
        field(
            "listeners",
            Kind::Tables(&LISTENER),
            Required,
            "Where connections come from, at least one listener.",
        ),
        field(
            "filters",
            Kind::Tables(&FILTER),
            Means("no filters"),
            "Every filter that a chain may name.",
        ),
        field(
            "services",
            CHAIN_KIND,
            Means("none"),
            "Filters that run for themselves: one VM in the whole process, with timers, callouts and queues, and no streams. One that crashes is started again, at once unless it keeps crashing.",
        ),
        field(
            "clusters",
            Kind::Tables(&CLUSTER),
            Means("no upstreams"),
            "Every upstream that a route may name.",
        ),
        field(
            "callouts",
            Kind::Table(&CALLOUTS),
            Means("the defaults"),
            "How filters call other services.",
        ),
        field(
            "dns",
            Kind::Table(&DNS),
            Means("the defaults"),
            "How names are looked up.",
        ),
        field(
            "shared_data",
            Kind::Table(&SHARED_DATA),
            Means("the defaults"),
            "Bounds on shared data.",
        ),
        field(
            "shared_queues",
            Kind::Table(&SHARED_QUEUES),
            Means("the defaults"),
            "Bounds on shared queues.",
        ),
        field(
            "node",
            Kind::Table(&NODE),
            Means("no names"),
            "Who this proxy is, for filters that ask.",
        ),
        field(
            "compat",
            COMPAT_KIND,
            Default("superset"),
            "Where this proxy parts from Envoy, for every filter that says nothing else.",
        ),
        field(
            "workers",
            Kind::Integer { min: 1, max: 256 },
            Means("the number of usable cores"),
            "Worker threads.",
        ),
        field(
            "drain_time",
            duration(ZERO, DAY),
            Default("30s"),
            "How long requests in flight may go on after SIGTERM or SIGINT. At most two seconds later the process has ended, even if a guest has not returned.",
        ),
        field(
            "filter_drain_time",
            duration(ZERO, DAY),
            Default("10m"),
            "How long streams and callouts may go on in a filter's VM in whose place another has been put. What is left then fails like a stream whose filter crashed, and the VM goes, even if its guest has answered `proxy_on_done` with false and has not called `proxy_done` since. Its timers stop when the other is put there, unless its guest holds a stream back. The VM of an `isolation: request` has as long after its stream. Before that the oldest go when a filter's VMs without a stream together keep more than its `limits.memory` (256 KiB each at least) on a worker.",
        ),
        field(
            "no_exec_memory",
            Kind::Boolean,
            Default("false"),
            "Whether the process must not map memory for execution: every filter is interpreted then.",
        ),
        field(
            "memory",
            Kind::Choice(&["default", "compact"]),
            Default("default"),
            "`compact` is for processes whose address space is limited: a native filter's VM takes 64 MiB of it instead of 4 GiB, and its code compares every address with the end of its memory, which costs about a sixth more CPU. Under `ulimit -v` the allocators reserve less, too. A filter for whose next VM there is no room is interpreted until the next reload.",
        ),
        field(
            "access_log",
            Kind::Other("`stdout`, or a table", &[&ACCESS_LOG]),
            Means("no access log"),
            "Where one line per request goes.",
        ),
        field(
            "tracing",
            Kind::Table(&TRACING),
            Means("no tracing"),
            "OpenTelemetry spans of requests.",
        ),
        field(
            "admin",
            Kind::Table(&ADMIN),
            Means("nowhere"),
            "Where an operator looks and acts: metrics, readiness, what runs, levels of the log, draining.",
        ),
        field(
            "artifacts",
            Kind::Table(&ARTIFACTS),
            Means("the defaults"),
            "Where native code of modules is kept.",
        ),
        field(
            "compiler",
            Kind::Table(&COMPILER),
            Means("the defaults"),
            "What making native code may cost.",
        ),
        field(
            "reload",
            Kind::Table(&RELOAD),
            Means("on SIGHUP only"),
            "When this file is read again.",
        ),
        field(
            "upgrade",
            Kind::Table(&UPGRADE),
            Means("no process takes over from this one"),
            "How another process takes over without a connection being lost.",
        ),
        field(
            "ready_needs",
            Kind::Other("list of names of filters", &[]),
            Means("no filters"),
            "While one of these filters has no VM on some worker, `/ready` of `admin` answers 503 and names it.",
        ),
    ],
};

/// `access_log`.
pub static ACCESS_LOG: Table = Table {
    name: "access_log",
    doc: "One line per request. At most one of `format` and `json`.",
    fields: &[
        field(
            "file",
            Kind::Text("file name, or `stdout`"),
            Default("stdout"),
            "Where the lines go; a file is appended to, and opened anew on SIGUSR1 (after `mv`, as logrotate does it).",
        ),
        field(
            "format",
            Kind::Text("template"),
            Means("the default line"),
            "A line of text with operators.",
        ),
        field(
            "json",
            Kind::Other("table of name to template", &[]),
            Means("a line of text"),
            "One JSON object per line instead.",
        ),
    ],
};

const COMPAT_KIND: Kind = Kind::Other("name of a preset, or a table of switches (below)", &[]);
const CHAIN_KIND: Kind = Kind::Other("list of names or tables", &[&CHAIN_ENTRY]);
const ANY_KIND: Kind = Kind::Other("anything", &[]);

const ZERO: Duration = Duration::ZERO;
const MILLI: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

const fn field(name: &'static str, kind: Kind, absent: Absent, doc: &'static str) -> Field {
    Field {
        name,
        kind,
        absent,
        doc,
    }
}

const fn duration(min: Duration, max: Duration) -> Kind {
    Kind::Duration {
        min,
        max,
        unbounded: false,
    }
}

const fn bound(min: Duration, max: Duration) -> Kind {
    Kind::Duration {
        min,
        max,
        unbounded: true,
    }
}
