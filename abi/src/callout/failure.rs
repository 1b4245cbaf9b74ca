//! What a guest gets to see of an HTTP callout (section 6.8).

use bytes::Bytes;

use super::HttpOutcome;
use crate::headers::Headers;
use crate::state::Content;

/// What `proxy_get_status` says of any failed HTTP callout: `BrokenConnection`.
pub(crate) const BROKEN_CONNECTION: u32 = 11;

/// An outcome, as `proxy_on_http_call_response` tells it.
pub(crate) struct Told {
    /// Its headers, body and trailers, if it has any.
    pub(crate) content: Option<Content>,
    /// For `proxy_get_status`, when it is a failure.
    pub(crate) failure: Option<Bytes>,
}

// === impl Told ===

impl Told {
    /// As Envoy tells it, which answers in the upstream's stead where it can; without
    /// `answers`, as the specification does: any failure has no headers.
    pub(crate) fn new(outcome: HttpOutcome, answers: bool) -> Self {
        let (status, body, reason) = match outcome {
            HttpOutcome::Response {
                headers,
                body,
                trailers,
            } => {
                return Self {
                    content: Some(Content::Response(headers, body, trailers)),
                    failure: None,
                };
            }
            HttpOutcome::Reset => {
                return Self {
                    content: None,
                    failure: Some(Bytes::from_static(b"reset")),
                };
            }
            HttpOutcome::Timeout => ("504", TIMEOUT, Bytes::from_static(b"timeout")),
            HttpOutcome::NoEndpoint => ("503", NO_ENDPOINT, NO_ENDPOINT.into()),
            HttpOutcome::ConnectFailed(reason) => ("503", CONNECT_FAILED, reason.into()),
            HttpOutcome::Overflow => ("503", OVERFLOW, Bytes::from_static(b"overflow")),
            HttpOutcome::Disconnected => ("503", DISCONNECTED, Bytes::from_static(b"reset")),
        };
        Self {
            content: answers.then(|| answer(status, body)),
            failure: Some(reason),
        }
    }
}

const TIMEOUT: &str = "upstream request timeout";
const NO_ENDPOINT: &str = "no healthy upstream";
const CONNECT_FAILED: &str = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";
const OVERFLOW: &str =
    "upstream connect error or disconnect/reset before headers. reset reason: overflow";
const DISCONNECTED: &str = "upstream connect error or disconnect/reset before headers. reset reason: connection termination";

/// An answer that nobody sent.
fn answer(status: &'static str, body: &'static str) -> Content {
    let mut entries = vec![
        (":status".into(), status.into()),
        ("content-length".into(), body.len().to_string().into()),
        ("content-type".into(), "text/plain".into()),
    ];
    if body == OVERFLOW {
        entries.push(("x-envoy-overloaded".into(), "true".into()));
    }
    Content::Response(Headers::from_entries(entries), body.into(), None)
}
