//! Where spans go, and how services tell each other of them.

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};

/// `tracing`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracing {
    /// The name of the collector's cluster.
    pub cluster: String,
    /// How spans are sent.
    pub protocol: TraceProtocol,
    /// Where they are sent. Default `/v1/traces`.
    pub path: PathAndQuery,
    /// The host that is asked for. Default the cluster's name.
    pub authority: String,
    /// What else the collector wants to hear.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `service.name`. Default `cofferdam`.
    pub service_name: String,
    /// What else is said of this process, in every message.
    pub resource: Vec<(String, String)>,
    /// Of a million requests that nobody has traced before, how many are. Default all.
    pub sampling: u32,
    /// Which headers carry a trace, in the order in which they are looked for.
    pub propagation: Vec<Propagation>,
}

/// How spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TraceProtocol {
    /// OTLP over HTTP, in protobuf.
    #[default]
    Http,
    /// OTLP over gRPC.
    Grpc,
}

/// The headers that carry a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// `traceparent`.
    W3c,
    /// `x-b3-traceid` and its like.
    B3,
    /// `b3`.
    B3Single,
}

#[cfg(test)]
impl Tracing {
    pub(crate) fn for_tests() -> Self {
        Self {
            cluster: "collector".to_owned(),
            protocol: TraceProtocol::Http,
            path: PathAndQuery::from_static("/v1/traces"),
            authority: "collector".to_owned(),
            headers: Vec::new(),
            service_name: "cofferdam".to_owned(),
            resource: Vec::new(),
            sampling: 1_000_000,
            propagation: vec![Propagation::W3c],
        }
    }
}
