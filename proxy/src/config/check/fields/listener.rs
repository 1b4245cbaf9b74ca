//! The keys of listeners and of what a chain entry may say.

use super::{ANY_KIND, CHAIN_KIND, DAY, HOUR, LISTENER_TLS, MILLI, ROUTE, bound, duration, field};
use crate::config::yaml::Absent::{Default, Means, Required};
use crate::config::yaml::{Kind, Table};

/// `listeners[]`.
pub static LISTENER: Table = Table {
    name: "listeners[]",
    doc: "One listening address, with its `routes` (HTTP) or with `tcp` (anything else).",
    fields: &[
        field(
            "name",
            Kind::Text("name"),
            Required,
            "Its name, in every message about it; no two alike.",
        ),
        field(
            "address",
            Kind::Text("address"),
            Required,
            "Where it listens: `127.0.0.1:8080`, `[::1]:8080` or `unix:/path`. A unix path may be at most 107 bytes long.",
        ),
        field(
            "proxy_protocol",
            Kind::Table(&PROXY_PROTOCOL),
            Means("connections come from who has connected"),
            "A load balancer before this listener says where connections come from.",
        ),
        field(
            "tls",
            Kind::Table(&LISTENER_TLS),
            Means("clear text"),
            "TLS for its connections, with HTTP/2 and HTTP/1.1 by ALPN.",
        ),
        field(
            "forward_client_cert",
            Kind::Choice(&[
                "sanitize",
                "forward_only",
                "append_forward",
                "sanitize_set",
                "always_forward_only",
            ]),
            Default("sanitize"),
            "The `x-forwarded-client-cert` of requests: taken away; passed on as it came, if the client has shown a certificate; likewise, with what is known of this client added; replaced by that; or passed on whoever sent it, which only a listener that nobody else can reach should do. What is known is `By` (the URIs of our own certificate), `Hash`, and `client_cert_details`, in Envoy's form.",
        ),
        field(
            "client_cert_details",
            Kind::Other("list of `subject`, `cert`, `chain`, `dns`, `uri`", &[]),
            Means("the hash alone"),
            "What `x-forwarded-client-cert` says of a client beside the hash of its certificate.",
        ),
        field(
            "filters",
            CHAIN_KIND,
            Means("no filters"),
            "The filters of every route, in request order.",
        ),
        field(
            "routes",
            Kind::Tables(&ROUTE),
            Means("there is `tcp`"),
            "What is done with a request; the first route that matches wins, and where none does the answer is 404.",
        ),
        field(
            "tcp",
            Kind::Table(&LISTENER_TCP),
            Means("there are `routes`"),
            "What is done with connections that are not HTTP: their bytes go to a cluster and back, through filters that look at them. Beside it stand `name`, `address`, `proxy_protocol`, `tls` (without ALPN, unless it is written), `idle_timeout` and `header_timeout` only.",
        ),
        field(
            "max_header_bytes",
            Kind::Size {
                min: 1 << 10,
                max: 1 << 20,
            },
            Default("64KiB"),
            "Largest header block accepted; past it the answer is 431.",
        ),
        field(
            "idle_timeout",
            duration(MILLI, DAY),
            Default("60s"),
            "How long a connection may sit without a request. With `tcp`: how long nothing may move either way, and 1h if absent.",
        ),
        field(
            "header_timeout",
            duration(MILLI, HOUR),
            Default("10s"),
            "How long the first bytes of a connection may take, all together: the header of the PROXY protocol, a TLS handshake, what tells HTTP/2 from HTTP/1. Then how long the beginning of HTTP/2 may take, and the head of each HTTP/1 request from its first byte on.",
        ),
        field(
            "send_timeout",
            duration(MILLI, DAY),
            Default("5m"),
            "How long a client may take nothing of what waits to be sent to it; then its connection is closed.",
        ),
        field(
            "request_timeout",
            bound(MILLI, DAY),
            Default("none"),
            "How long a request may take from its head until the last of its body has been handed on; past it the answer is 408. It ends with the beginning of the response.",
        ),
        field(
            "max_concurrent_streams",
            Kind::Integer {
                min: 1,
                max: 10_000,
            },
            Default("100"),
            "Requests at once on an HTTP/2 connection; those past it are refused (REFUSED_STREAM).",
        ),
        field(
            "access_log_filters",
            CHAIN_KIND,
            Means("none"),
            "Filters that are told of every request when it is over: `proxy_on_log` of the root context, which reads the request and its response. They need no place in a chain and get no stream contexts.",
        ),
        field(
            "server_header",
            Kind::Choice(&["overwrite", "if_absent", "pass"]),
            Default("overwrite"),
            "The `server` response header: always ours, ours where the upstream sent none, or never touched.",
        ),
        field(
            "trust_envoy_headers",
            Kind::Boolean,
            Default("false"),
            "Whether clients may say how long a request may take and when it is sent again: `x-envoy-upstream-rq-timeout-ms`, `x-envoy-upstream-rq-per-try-timeout-ms`, `x-envoy-max-retries`, `x-envoy-retry-on`, `x-envoy-retry-grpc-on`, `x-envoy-retriable-status-codes`, `x-envoy-retriable-header-names`. Without it these headers, and the others that Envoy takes from its own network only, are removed from requests. Filters may set them in any case.",
        ),
    ],
};

/// `listeners[].proxy_protocol`.
pub static PROXY_PROTOCOL: Table = Table {
    name: "listeners[].proxy_protocol",
    doc: "The PROXY protocol, version 1 or 2, by which of them comes. Its header stands before everything else, TLS too. The client is then who it says, and the address it came in on the one it says: for `x-forwarded-for`, the access log, `source_ip` of `hash_policy` and filters. `LOCAL` and `UNKNOWN` leave what is known. Who sends something else as a header is cut off.",
    fields: &[
        field(
            "from",
            Kind::Other("list of addresses, and networks such as `10.0.0.0/8`", &[]),
            Means("whoever can connect, on a unix socket; required elsewhere"),
            "Who may say it: the load balancers, and nobody else who could say what they like.",
        ),
        field(
            "required",
            Kind::Boolean,
            Default("true"),
            "Whether a connection without a header is closed, and with it everyone's who is not in `from`. Without this such connections are served as they are; then a client in `from` must speak first.",
        ),
    ],
};

/// `listeners[].tcp`.
pub static LISTENER_TCP: Table = Table {
    name: "listeners[].tcp",
    doc: "Connections that are not HTTP. The cluster's `protocol` does not matter to them; its `tls` does.",
    fields: &[
        field(
            "cluster",
            Kind::Text("name of a cluster"),
            Means("there are `routes`, and connections that match none are closed"),
            "Where they go, each over a connection of its own; with `routes`, those that match none.",
        ),
        field(
            "routes",
            Kind::Tables(&TCP_ROUTE),
            Means("all go to `cluster`"),
            "Where they go by the name that the client asks for (SNI). With `tls` that is what was asked for in the handshake. Without it the first bytes of the client are looked at, within `header_timeout` and up to 16 KiB, and sent on as they came: its TLS is the upstream's. The client must speak first then. What is not TLS, or asks for no name, matches no route.",
        ),
        field(
            "filters",
            CHAIN_KIND,
            Means("no filters"),
            "Their filters: what the client sends passes them in this order, what the upstream sends in reverse.",
        ),
    ],
};

/// `listeners[].tcp.routes[]`.
pub static TCP_ROUTE: Table = Table {
    name: "listeners[].tcp.routes[]",
    doc: "Names and where they lead. The name itself goes before a wildcard, the longer wildcard before the shorter, whatever their order.",
    fields: &[
        field(
            "sni",
            Kind::Other("list of names, `*.` before one for all names below it", &[]),
            Required,
            "The names; each may be there once.",
        ),
        field(
            "cluster",
            Kind::Text("name of a cluster"),
            Required,
            "Where connections go.",
        ),
    ],
};

/// An entry of a filter chain that is a table.
pub static CHAIN_ENTRY: Table = Table {
    name: "filters[] of a listener or route",
    doc: "One place in a chain. A bare name is short for a table with that name only.",
    fields: &[
        field(
            "name",
            Kind::Text("name of a filter"),
            Required,
            "Which filter.",
        ),
        field(
            "configuration",
            ANY_KIND,
            Means("the configuration the chain or the filter already has"),
            "Handed to the guest instead of the filter's own, as another root context in the same VM.",
        ),
        field(
            "disabled",
            Kind::Boolean,
            Default("false"),
            "Takes the filter out of the chain.",
        ),
    ],
};
