//! The keys of tracing.

use super::field;
use crate::config::yaml::Absent::{Default, Means, Required};
use crate::config::yaml::{Kind, Table};

/// `tracing`.
pub static TRACING: Table = Table {
    name: "tracing",
    doc: "OpenTelemetry spans: one for each sampled request, for the stay of its head in each filter, and for each call that a filter makes on its behalf. The upstream and whom filters call are told by the headers of `propagation`, sampled or not. Spans are sent on a thread of their own; while the collector does not take them they are dropped and counted, and requests do not wait. A reload leaves this part as it is; what it makes of the cluster holds.",
    fields: &[
        field(
            "cluster",
            Kind::Text("name of a cluster"),
            Required,
            "The collector. Its `tls` and health checks hold.",
        ),
        field(
            "protocol",
            Kind::Choice(&["http", "grpc"]),
            Default("http"),
            "OTLP over HTTP in protobuf (port 4318 of most collectors), or over gRPC (4317; the cluster needs `protocol: http2`).",
        ),
        field(
            "path",
            Kind::Text("path"),
            Means("`/v1/traces`"),
            "Where spans are posted, with `protocol: http`.",
        ),
        field(
            "host",
            Kind::Text("host, with or without a port"),
            Means("the cluster's name"),
            "The host that is asked for.",
        ),
        field(
            "headers",
            Kind::Other("table of header name to text", &[]),
            Means("none"),
            "Headers for the collector, such as `authorization`.",
        ),
        field(
            "service_name",
            Kind::Text("text"),
            Default("cofferdam"),
            "Who this proxy is: `service.name`.",
        ),
        field(
            "resource",
            Kind::Other("table of name to text", &[]),
            Means("none"),
            "What else is said of it: `deployment.environment.name` and the like.",
        ),
        field(
            "sampling",
            Kind::Text("percentage"),
            Default("100%"),
            "How many of the requests that come without a decision begin a trace: `1%`, `0.05%`. A caller's decision is followed.",
        ),
        field(
            "propagation",
            Kind::Other("list of `w3c`, `b3` and `b3_single`", &[]),
            Means("`[w3c]`"),
            "The headers that carry a trace: `traceparent`, `x-b3-traceid` and its like, or `b3`. The first that is there and right is believed, all of them are sent on. An empty list sends none.",
        ),
    ],
};
