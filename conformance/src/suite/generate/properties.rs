//! Cases 247 and 248: every path of section 7, in each phase where it is there and where it
//! is not. The answers are what the real Envoy was seen to give.

use crate::suite::case::{Case, Filter, Profile};
use crate::suite::step::{Answer, Request, Step};
use crate::suite::values::{Body, Chunk, Header};

/// Where a path is there, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// In a root as well.
    Always,
    /// In every callback of a stream.
    Stream,
    /// From the response's headers on.
    Response,
    /// When all is over.
    Log,
    /// With the request's headers: gone in the response in Envoy, back in the log.
    Request,
    /// Not without TLS, or not in a request that goes well.
    Never,
}

use When::{Always, Log, Never, Request as WithRequest, Response, Stream};

const PATHS: &[(&str, When)] = &[
    ("request/path", WithRequest),
    ("request/url_path", WithRequest),
    ("request/query", WithRequest),
    ("request/host", WithRequest),
    ("request/scheme", WithRequest),
    ("request/method", WithRequest),
    ("request/referer", WithRequest),
    ("request/useragent", WithRequest),
    ("request/id", WithRequest),
    ("request/headers", Stream),
    ("request/headers/x-a", WithRequest),
    ("request/headers/host", WithRequest),
    ("request/headers/x-none", Never),
    ("request/headers_bytes", Stream),
    ("request/time", Stream),
    ("request/protocol", Stream),
    ("request/size", Stream),
    ("request/total_size", Stream),
    ("request/duration", Log),
    ("response/code", Response),
    ("response/code_details", Response),
    ("response/flags", Stream),
    ("response/grpc_status", Response),
    ("response/headers", Stream),
    ("response/headers/x-up", Response),
    ("response/trailers", Stream),
    ("response/headers_bytes", Stream),
    ("response/size", Stream),
    ("response/total_size", Stream),
    ("response/backend_latency", Log),
    ("connection/id", Stream),
    ("connection_id", Stream),
    ("connection/mtls", Stream),
    ("connection/requested_server_name", Stream),
    ("connection/tls_version", Never),
    ("connection/subject_local_certificate", Never),
    ("connection/subject_peer_certificate", Never),
    ("connection/dns_san_local_certificate", Never),
    ("connection/dns_san_peer_certificate", Never),
    ("connection/uri_san_local_certificate", Never),
    ("connection/uri_san_peer_certificate", Never),
    ("connection/sha256_peer_certificate_digest", Never),
    ("connection/peer_certificate", Never),
    ("connection/termination_details", Never),
    ("connection/transport_failure_reason", Never),
    ("source/address", Stream),
    ("source/port", Stream),
    ("destination/address", Stream),
    ("destination/port", Stream),
    ("upstream/address", Response),
    ("upstream/port", Response),
    ("upstream/local_address", Response),
    ("upstream/num_endpoints", Stream),
    ("upstream/request_attempt_count", Stream),
    ("upstream/transport_failure_reason", Response),
    ("upstream/cx_pool_ready_duration", Response),
    ("upstream/locality", Response),
    ("upstream/tls_version", Never),
    ("upstream/subject_peer_certificate", Never),
    ("upstream/sha256_peer_certificate_digest", Never),
    ("xds/node", Always),
    ("xds/node/id", Always),
    ("xds/node/cluster", Always),
    ("xds/node/metadata", Always),
    ("xds/node/nope", Never),
    ("xds/cluster_name", Stream),
    ("xds/cluster_metadata", Stream),
    ("xds/route_name", Stream),
    ("xds/route_metadata", Stream),
    ("xds/virtual_host_name", Stream),
    ("xds/virtual_host_metadata", Stream),
    ("xds/filter_chain_name", Stream),
    ("xds/listener_metadata", Stream),
    ("xds/listener_direction", Stream),
    ("metadata", Stream),
    ("metadata/filter_metadata", Stream),
    ("metadata/filter_metadata/x", Never),
    ("filter_state/nope", Never),
    ("upstream_filter_state/nope", Never),
    ("plugin_name", Always),
    ("plugin_root_id", Always),
    ("plugin_vm_id", Always),
    ("nope", Never),
];

/// Names of older Envoys, which our own default still knows.
const OLD: &[(&str, When)] = &[
    ("node/id", Always),
    ("cluster_name", Stream),
    ("cluster_metadata", Stream),
    ("route_name", Stream),
    ("route_metadata", Stream),
    ("listener_direction", Stream),
    ("listener_metadata", Stream),
];

/// Nulls once there is an upstream, which have no bytes.
const NULLS: &[&str] = &[
    "xds/upstream_host_metadata",
    "xds/upstream_host_locality_metadata",
    "upstream_filter_state",
];

const OURS: [Profile; 2] = [Profile::Spec, Profile::Superset];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (path, when) in PATHS {
        match when {
            WithRequest => {
                cases.push(case(path, "", &[Profile::Envoy], ["1", "0", "1", "0"]));
                cases.push(case(path, "-stays", &OURS, ["1", "0", "0", "0"]));
            }
            _ => cases.push(case(path, "", &Profile::all(), when.answers("1", "0"))),
        }
    }
    for (path, when) in OLD {
        let strict = [Profile::Spec, Profile::Envoy];
        cases.push(case(path, "", &strict, Never.answers("1", "0")));
        let superset = [Profile::Superset];
        cases.push(case(path, "-alias", &superset, when.answers("1", "0")));
    }
    for path in NULLS {
        cases.push(case(path, "", &Profile::all(), Response.answers("1", "3")));
    }
    cases
}

fn case(path: &str, variant: &str, profiles: &[Profile], answers: [&str; 4]) -> Case {
    let callbacks = ["configure", "request_headers", "response_headers", "log"];
    let wire = path.replace('/', "\\00");
    let guest: String = callbacks
        .iter()
        .map(|callback| format!("on {callback}\n (!say (!get_property {{\"{wire}\"}} @out))\n"))
        .collect();
    let number = if answers.contains(&"0") { 247 } else { 248 };
    let mut case = Case::generated(
        format!("J-{number}.{}{variant}", path.replace('/', ".")),
        format!("{path}: in a root, with the request, with the response, in the log"),
        "7",
        vec![Filter::guest(&guest)],
    );
    case.profiles = profiles.to_vec();
    case.expect.logs = Some(answers.map(str::to_owned).to_vec());
    let header = |name: &str, value: &str| Header {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let request = Request {
        method: "POST".to_owned(),
        path: "/p?q=1".to_owned(),
        headers: vec![
            header("x-a", "1"),
            header("referer", "r"),
            header("user-agent", "u"),
            header("x-request-id", "i"),
        ],
        body: Some(Body::Whole(Chunk("hello".into()))),
        ..Request::default()
    };
    let upstream = Answer {
        headers: vec![header("x-up", "u")],
        ..Answer::default()
    };
    case.steps = vec![Step {
        request: Some(request),
        upstream: Some(upstream),
        ..Step::default()
    }];
    case
}

// === impl When ===

impl When {
    /// What is answered in the four phases.
    const fn answers(self, absent: &'static str, there: &'static str) -> [&'static str; 4] {
        match self {
            Always => [there; 4],
            Stream => [absent, there, there, there],
            Response => [absent, absent, there, there],
            Log => [absent, absent, absent, there],
            WithRequest => [absent, there, absent, there],
            Never => [absent; 4],
        }
    }
}
