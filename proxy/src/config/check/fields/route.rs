//! The keys of routes: conditions, actions and header changes.

use super::balance::{HASH, RETRY};
use super::{CHAIN_KIND, DAY, MILLI, bound, field};
use crate::config::yaml::Absent::{Default, Means, Required};
use crate::config::yaml::{Kind, Table};

/// `listeners[].routes[]`.
pub static ROUTE: Table = Table {
    name: "listeners[].routes[]",
    doc: "One rule: which requests, through which filters, to where. Exactly one of `cluster`, `weighted_clusters`, `respond` and `redirect` says where.",
    fields: &[
        field(
            "match",
            Kind::Table(&MATCH),
            Means("every request"),
            "Which requests; all conditions must hold.",
        ),
        field(
            "filters",
            CHAIN_KIND,
            Means("the listener's chain as it is"),
            "Changes to the listener's chain. A filter that is in it takes its place with this configuration, or none with `disabled: true`; any other is appended. The chain is that of the route a request matched when it arrived, even if a filter then changes what it is routed by.",
        ),
        field(
            "cluster",
            Kind::Text("name of a cluster"),
            Means("another action"),
            "Forward to this cluster.",
        ),
        field(
            "weighted_clusters",
            Kind::Tables(&WEIGHTED),
            Means("another action"),
            "Forward to one of these, by weight.",
        ),
        field(
            "respond",
            Kind::Table(&RESPOND),
            Means("another action"),
            "Answer at once.",
        ),
        field(
            "redirect",
            Kind::Table(&REDIRECT),
            Means("another action"),
            "Answer with a `location`.",
        ),
        field(
            "prefix_rewrite",
            Kind::Text("path"),
            Means("the path is kept"),
            "Replaces what `match.prefix` or `match.path` matched, before the request is forwarded.",
        ),
        field(
            "host_rewrite",
            Kind::Text("host, with or without a port"),
            Means("the host is kept"),
            "Replaces the host sent upstream.",
        ),
        field(
            "request_headers",
            Kind::Table(&EDITS),
            Means("no changes"),
            "Header changes on the way to the upstream, after the filters.",
        ),
        field(
            "response_headers",
            Kind::Table(&EDITS),
            Means("no changes"),
            "Header changes on the way back, after the filters.",
        ),
        field(
            "timeout",
            bound(MILLI, DAY),
            Default("15s"),
            "From the end of the request to the end of the response; past it the answer is 504, or a cut once headers have left.",
        ),
        field(
            "idle_timeout",
            bound(MILLI, DAY),
            Default("5m"),
            "Longest silence on a stream, in either direction. Silent is also an HTTP/2 stream whose client gives it no window for what waits to be sent.",
        ),
        field(
            "max_stream_duration",
            bound(MILLI, DAY),
            Default("none"),
            "How long all of it may last, from the request's head to the end of the response or of the tunnel; past it the answer is 408, or a cut once headers have left.",
        ),
        field(
            "upgrades",
            Kind::Boolean,
            Default("true"),
            "Whether `Upgrade` requests (WebSocket and others), and HTTP/2's extended CONNECT, pass. Without, HTTP/1 is answered as if there were no `Upgrade`, and CONNECT 405; so it is where the cluster has `protocol: http2`, which nothing can be upgraded over; of one with `protocol: auto` the endpoint must choose HTTP/1.1, or it gets a plain request.",
        ),
        field(
            "retry_policy",
            Kind::Table(&RETRY),
            Means("a request is sent once"),
            "When a request is sent again.",
        ),
        field(
            "hash_policy",
            Kind::Tables(&HASH),
            Means("nothing: any endpoint will do"),
            "What the endpoint is chosen by, in clusters that go by a hash.",
        ),
        field(
            "include_request_attempt_count",
            Kind::Boolean,
            Default("false"),
            "Whether the upstream is told which attempt a request is, in `x-envoy-attempt-count`.",
        ),
        field(
            "include_attempt_count_in_response",
            Kind::Boolean,
            Default("false"),
            "Whether the client is told how many attempts there were, in `x-envoy-attempt-count`.",
        ),
    ],
};

/// `listeners[].routes[].match`.
pub static MATCH: Table = Table {
    name: "listeners[].routes[].match",
    doc: "The conditions of a route. At most one of `path`, `prefix` and `regex`.",
    fields: &[
        field(
            "host",
            Kind::Text("host"),
            Means("any host"),
            "The host without its port, compared without case; `*.example.com` is any name below `example.com`.",
        ),
        field(
            "path",
            Kind::Text("path"),
            Means("any path"),
            "The whole path, without its query.",
        ),
        field(
            "prefix",
            Kind::Text("path"),
            Means("any path"),
            "The beginning of the path, up to a `/`: `/api` matches `/api` and `/api/x`, not `/apix`.",
        ),
        field(
            "regex",
            Kind::Text("regular expression"),
            Means("any path"),
            "A regular expression that matches the whole path.",
        ),
        field(
            "method",
            Kind::Other("a method, or a list of them", &[]),
            Means("any method"),
            "Any of these methods, in capitals.",
        ),
        field(
            "headers",
            Kind::Other(
                "table of header name to a text (the whole value) or a table",
                &[&HEADER_MATCH],
            ),
            Means("no conditions"),
            "What request headers must be: of one with several lines any of these, as in Envoy.",
        ),
    ],
};

/// `listeners[].routes[].match.headers.*`.
pub static HEADER_MATCH: Table = Table {
    name: "listeners[].routes[].match.headers.*",
    doc: "A condition on one request header: exactly one of these.",
    fields: &[
        field(
            "exact",
            Kind::Text("text"),
            Means("another condition"),
            "The whole value.",
        ),
        field(
            "prefix",
            Kind::Text("text"),
            Means("another condition"),
            "The beginning of the value.",
        ),
        field(
            "regex",
            Kind::Text("regular expression"),
            Means("another condition"),
            "A regular expression that matches the whole value.",
        ),
        field(
            "present",
            Kind::Boolean,
            Means("another condition"),
            "Whether the header is there at all.",
        ),
    ],
};

/// `listeners[].routes[].weighted_clusters[]`.
pub static WEIGHTED: Table = Table {
    name: "listeners[].routes[].weighted_clusters[]",
    doc: "One cluster of several.",
    fields: &[
        field(
            "cluster",
            Kind::Text("name of a cluster"),
            Required,
            "Which cluster.",
        ),
        field(
            "weight",
            Kind::Integer {
                min: 0,
                max: 1_000_000,
            },
            Default("1"),
            "Its share, relative to the others'; not all may be 0.",
        ),
    ],
};

/// `listeners[].routes[].respond`.
pub static RESPOND: Table = Table {
    name: "listeners[].routes[].respond",
    doc: "An answer without an upstream.",
    fields: &[
        field(
            "status",
            Kind::Integer { min: 200, max: 599 },
            Default("200"),
            "Its status.",
        ),
        field(
            "body",
            Kind::Text("text"),
            Means("an empty body"),
            "Its body.",
        ),
    ],
};

/// `listeners[].routes[].redirect`.
pub static REDIRECT: Table = Table {
    name: "listeners[].routes[].redirect",
    doc: "An answer that sends the client elsewhere; at least one of `scheme`, `host` and `path`. The query is kept.",
    fields: &[
        field(
            "status",
            Kind::Integer { min: 301, max: 308 },
            Default("301"),
            "301, 302, 303, 307 or 308.",
        ),
        field(
            "scheme",
            Kind::Choice(&["http", "https"]),
            Means("the request's"),
            "The scheme.",
        ),
        field(
            "host",
            Kind::Text("host, with or without a port"),
            Means("the request's"),
            "The host.",
        ),
        field(
            "path",
            Kind::Text("path"),
            Means("the request's"),
            "Replaces the whole path.",
        ),
    ],
};

/// `request_headers` and `response_headers`.
pub static EDITS: Table = Table {
    name: "listeners[].routes[].request_headers, response_headers",
    doc: "Header changes: removals first, then sets, then additions.",
    fields: &[
        field(
            "remove",
            Kind::Other("list of header names", &[]),
            Means("nothing"),
            "Headers to remove.",
        ),
        field(
            "set",
            Kind::Other("table of header name to text", &[]),
            Means("nothing"),
            "Headers to replace or create.",
        ),
        field(
            "add",
            Kind::Other("table of header name to text or a list of texts", &[]),
            Means("nothing"),
            "Values to append.",
        ),
    ],
};
