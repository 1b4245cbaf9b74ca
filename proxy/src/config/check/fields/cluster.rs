//! The keys of clusters.

use super::balance::{BREAKERS, CHECKS, OUTLIER};
use super::{CLUSTER_TLS, DAY, HOUR, MILLI, duration, field};
use crate::config::yaml::Absent::{Default, Means, Required};
use crate::config::yaml::{Kind, Table};

/// `clusters[]`.
pub static CLUSTER: Table = Table {
    name: "clusters[]",
    doc: "An upstream: one or more servers that are as good as each other.",
    fields: &[
        field(
            "name",
            Kind::Text("name"),
            Required,
            "Its name in routes and messages; no two alike.",
        ),
        field(
            "endpoints",
            Kind::Other("list of `host:port`, or tables", &[&ENDPOINT]),
            Required,
            "Its servers. May be empty: every request is then answered 503. A host name is as many servers as it has addresses, each with the weight of the endpoint; `dns` says how it is looked up and followed.",
        ),
        field(
            "dns_family",
            Kind::Choice(&["v4_preferred", "auto", "v4_only", "v6_only", "all"]),
            Default("v4_preferred"),
            "Which addresses of a host name are used. `v4_preferred`: IPv4, or IPv6 if there is no other; `auto`: IPv6, or IPv4 if there is no other.",
        ),
        field(
            "protocol",
            Kind::Choice(&["http1", "http2", "auto"]),
            Default("http1"),
            "What is spoken to it; `auto` is what ALPN says over TLS, and HTTP/1.1 without TLS. An HTTP/2 connection carries as many requests at a time as the endpoint allows on it; for more, others are opened.",
        ),
        field(
            "proxy_protocol",
            Kind::Choice(&["off", "v1", "v2"]),
            Default("off"),
            "Whether connections to it begin, before TLS, with a header of the PROXY protocol that names the client and the address that it had connected to. Such a connection carries the requests of one connection of a client and ends with it. Health checks and what filters ask for themselves say `UNKNOWN` (v1) or `LOCAL` (v2), as does what comes from a unix socket.",
        ),
        field(
            "tls",
            Kind::Table(&CLUSTER_TLS),
            Means("clear text"),
            "TLS to it; its certificate is always verified.",
        ),
        field(
            "connect_timeout",
            duration(MILLI, HOUR),
            Default("5s"),
            "How long connecting may take, TLS included; past it the answer is 503.",
        ),
        field(
            "idle_timeout",
            duration(MILLI, DAY),
            Default("55s"),
            "How long an unused connection is kept. Of HTTP/2 each worker keeps one to each endpoint.",
        ),
        field(
            "max_idle_connections",
            Kind::Integer {
                min: 0,
                max: 100_000,
            },
            Default("128"),
            "Most unused HTTP/1 connections that each worker keeps to each endpoint.",
        ),
        field(
            "lb_policy",
            Kind::Choice(&[
                "round_robin",
                "least_request",
                "random",
                "ring_hash",
                "maglev",
            ]),
            Default("round_robin"),
            "Which endpoint comes next, on each worker for itself. `round_robin`: each in turn, by weight. `least_request`: of two drawn by weight, the one with fewer requests under way. `random`: drawn by weight. `ring_hash` and `maglev`: by what the route's `hash_policy` names, so that the same goes to the same.",
        ),
        field(
            "healthy_panic_threshold",
            Kind::Integer { min: 0, max: 100 },
            Default("0"),
            "While a smaller share of the endpoints than this, in percent, is neither unhealthy nor ejected, all are used.",
        ),
        field(
            "circuit_breakers",
            Kind::Table(&BREAKERS),
            Means("no bounds but that of retries, which is 3"),
            "What there may be of it at a time.",
        ),
        field(
            "outlier_detection",
            Kind::Table(&OUTLIER),
            Means("nothing is ejected"),
            "Passive checks of its endpoints.",
        ),
        field(
            "health_check",
            Kind::Table(&HEALTH),
            Means("no checks: every endpoint counts as healthy"),
            "Active checks of its endpoints.",
        ),
    ],
};

/// `clusters[].endpoints[]`.
pub static ENDPOINT: Table = Table {
    name: "clusters[].endpoints[]",
    doc: "One server. A bare `host:port` is short for a table with that address only.",
    fields: &[
        field("address", Kind::Text("host:port"), Required, "Where it is."),
        field(
            "weight",
            Kind::Integer { min: 1, max: 1_000 },
            Default("1"),
            "Its share, relative to the others'.",
        ),
    ],
};

/// `clusters[].health_check`.
pub static HEALTH: Table = Table {
    name: "clusters[].health_check",
    doc: "Active checks of a cluster's endpoints, over TLS and in the protocol of the cluster. Without `path` and `grpc_service` a connection is enough. An endpoint counts as healthy until it has been checked.",
    fields: &[
        field(
            "path",
            Kind::Text("path"),
            Means("another check"),
            "GET this path.",
        ),
        field(
            "host",
            Kind::Text("host, with or without a port"),
            Means("the cluster's name"),
            "The host that is sent with `path`.",
        ),
        field(
            "expected_statuses",
            Kind::Other("list of statuses, and of ranges such as `200-299`", &[]),
            Means("200"),
            "What is expected at `path`.",
        ),
        field(
            "grpc_service",
            Kind::Text("name, or `\"\"` for the whole server"),
            Means("another check"),
            "Ask whether this service is serving, by `grpc.health.v1`.",
        ),
        field(
            "interval",
            CHECKS,
            Default("5s"),
            "Time between two checks.",
        ),
        field(
            "timeout",
            duration(MILLI, HOUR),
            Default("1s"),
            "How long a check may take, connecting included.",
        ),
        field(
            "healthy_threshold",
            Kind::Integer { min: 1, max: 1_000 },
            Default("1"),
            "So many good checks in a row make an endpoint healthy again.",
        ),
        field(
            "unhealthy_threshold",
            Kind::Integer { min: 1, max: 1_000 },
            Default("1"),
            "So many bad checks in a row, for whatever reason, make it unhealthy.",
        ),
    ],
};
