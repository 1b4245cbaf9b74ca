//! The keys of filters.

use super::{ANY_KIND, COMPAT_KIND, LIMITS, field};
use crate::config::yaml::Absent::{Default, Means, Required};
use crate::config::yaml::{Kind, Table};

/// `filters[]`.
pub static FILTER: Table = Table {
    name: "filters[]",
    doc: "A proxy-wasm module and how it runs.",
    fields: &[
        field(
            "name",
            Kind::Text("name"),
            Required,
            "Its name in chains and messages, and what the guest reads as `plugin_name`; no two alike.",
        ),
        field("module", Kind::Table(&MODULE), Required, "The code."),
        field(
            "root_id",
            Kind::Text("text"),
            Default(""),
            "Which root context the guest makes, for modules with several.",
        ),
        field(
            "vm_id",
            Kind::Text("text"),
            Default(""),
            "Filters share a VM on each worker where the code, `vm_id`, `vm_configuration`, `environment`, `limits` (`body` apart), `compat`, `capabilities`, `engine` and `tier_up` of both are equal, and `isolation` is `worker`.",
        ),
        field(
            "vm_configuration",
            ANY_KIND,
            Means("empty"),
            "Handed to the guest when its VM starts.",
        ),
        field(
            "environment",
            Kind::Other("table of name to text", &[]),
            Means("empty"),
            "Environment variables the guest sees through WASI.",
        ),
        field(
            "configuration",
            ANY_KIND,
            Means("empty"),
            "Handed to the guest as JSON; a text is handed over as it is. Where the module carries a JSON schema (custom section `filter.schema`), it has to fit that.",
        ),
        field(
            "on_failure",
            Kind::Choice(&["closed", "open", "reload"]),
            Default("closed"),
            "What requests get while no VM is usable because the guest keeps crashing: 503, no filter, or 503 with a new try once a second. The stream that crashed gets 503 in every case. A VM that crashed is replaced at once; five crashes within ten seconds hold the filter back for 1 s, the next five for 2 s, and so on up to 60 s, until a minute has been quiet. Every worker counts the crashes of its own VMs and holds the filter back by itself: the others go on serving with it.",
        ),
        field(
            "engine",
            Kind::Choice(&["auto", "interpreter", "aot"]),
            Default("auto"),
            "What runs the module. `auto`: native code from the first request if it has been made before, else the interpreter until what it costs there has earned the compiler. `interpreter`: never native code. `aot`: native code from the first request, compiled before anything is served if need be; where that cannot be done it is interpreted, and the log says so.",
        ),
        field(
            "tier_up",
            Kind::Choice(&["auto", "on_reload"]),
            Default("auto"),
            "When it moves to native code that was made while it ran. Moving starts a new VM, so what the root context had in memory begins anew: with `on_reload` that waits for the next reload.",
        ),
        field(
            "isolation",
            Kind::Choice(&["worker", "request"]),
            Default("worker"),
            "Who shares a VM: all streams of a worker, or none. With `request` every stream starts a VM, with its root context configured, and ends it; access loggers and services are as with `worker`.",
        ),
        field(
            "recycle_memory",
            Kind::Size {
                min: 64 << 10,
                max: 4 << 30,
            },
            Means("half of what lies between its size after start and `limits.memory`"),
            "A VM whose memory has grown to this is replaced by a fresh one, and finishes the streams it has. Never less than one and a half times its size after start. On each worker ten are replaced at once and then ten a second, and none while eight of the filter's VMs still drain: until then it goes on in the one it has, and crashes at `limits.memory`.",
        ),
        field(
            "limits",
            Kind::Table(&LIMITS),
            Means("the defaults"),
            "Bounds on the guest.",
        ),
        field(
            "compat",
            COMPAT_KIND,
            Means("the top-level `compat`"),
            "Where this proxy parts from Envoy for this filter.",
        ),
        field(
            "capabilities",
            Kind::Table(&CAPABILITIES),
            Means("everything but callouts to URLs"),
            "What the guest may do; what it is refused is logged with a count.",
        ),
        field(
            "allow_on_headers_stop_iteration",
            Kind::Boolean,
            Default("false"),
            "Whether a header callback that answers 1 holds the headers only; otherwise it stops the body too, as in Envoy. Modules with a custom section `filter.hold_headers` need not be told.",
        ),
        field(
            "trailers",
            Kind::Other("list of header names", &[]),
            Means("none"),
            "Names added to `Trailer` on HTTP/1.1, so that the trailers this filter adds can be sent. Bodies are chunked for them, whatever `content-length` said; responses only to clients that sent `te: trailers`.",
        ),
    ],
};

/// `filters[].module`.
pub static MODULE: Table = Table {
    name: "filters[].module",
    doc: "Where a filter's code is.",
    fields: &[
        field(
            "file",
            Kind::Text("file name"),
            Required,
            "The wasm module.",
        ),
        field(
            "sha256",
            Kind::Text("64 hexadecimal digits"),
            Means("not checked"),
            "What the file's SHA-256 must be.",
        ),
        field(
            "precompiled",
            Kind::Text("file name"),
            Means("made here, when it pays"),
            "Its native code, as `cofferdam compile --output` of the same version wrote it elsewhere. What does not match the module, this version and this machine, or is not signed by one of `artifacts.trusted_keys`, is not used, and the log says why.",
        ),
        field(
            "signature",
            Kind::Text("file name"),
            Means("none"),
            "The Ed25519 signature of `precompiled`, as `cofferdam compile --sign` writes it; the two stand together.",
        ),
    ],
};

/// `filters[].capabilities`.
pub static CAPABILITIES: Table = Table {
    name: "filters[].capabilities",
    doc: "What one guest may do. Filters share a VM only if they may do the same.",
    fields: &[
        field(
            "hostcalls",
            Kind::Other("list of names such as `proxy_log` and `fd_write`", &[]),
            Means("all"),
            "The functions it may call, by their names on the wire. The others answer INTERNAL_FAILURE, those of WASI NOTCAPABLE.",
        ),
        field(
            "callbacks",
            Kind::Other("list of names such as `proxy_on_log`", &[]),
            Means("all"),
            "The callbacks it gets; the others are as if it did not export them.",
        ),
        field(
            "callouts",
            Kind::Other(
                "list of `cluster:NAME`, `https://HOST` and `http://HOST`, each host with or without a port",
                &[],
            ),
            Means("every cluster, no URL"),
            "Whom it may call. An entry allows that cluster, or that scheme, host and port, with any path.",
        ),
        field(
            "shared",
            Kind::Other("list of VM ids", &[]),
            Means("all"),
            "Whose shared queues it may look for, besides those of its own `vm_id`.",
        ),
    ],
};
