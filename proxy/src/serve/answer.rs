//! The one place where something that went wrong becomes a status, a response flag and a
//! reason in the access log.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use cofferdam_abi::{LocalReply, Way, reply};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;

use super::{Cut, ResponseBody, response};
use crate::access_log::Flags;
use crate::flood;
use crate::flow::{End, Flow};
use crate::headers::{self, BadHost, Invalid};
use crate::timer::{Expired, Timer};
use crate::upstream::ConnectError;

/// Tells a client that another attempt now would make it worse.
const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");

/// An answer made here.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) flags: Flags,
    pub(crate) details: Bytes,
    pub(crate) body: Bytes,
    /// It is the operator's, and not a line of ours.
    pub(crate) theirs: bool,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

// === impl Answer ===

impl Answer {
    pub(crate) fn new(
        status: StatusCode,
        flags: Flags,
        details: &'static str,
        body: &'static str,
    ) -> Self {
        Self {
            status,
            flags,
            details: Bytes::from_static(details.as_bytes()),
            body: Bytes::from_static(body.as_bytes()),
            theirs: false,
            headers: Vec::new(),
        }
    }

    pub(crate) fn bad_request(bad: &BadHost) -> Self {
        let mut answer = Self::new(
            StatusCode::BAD_REQUEST,
            Flags::DOWNSTREAM_PROTOCOL_ERROR,
            "bad_host",
            "",
        );
        answer.body = Bytes::from(format!("{bad}\n"));
        answer
    }

    /// The codec of HTTP/1 answers so by itself.
    pub(crate) fn too_many_fields() -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Flags::DOWNSTREAM_PROTOCOL_ERROR,
            "too_many_headers",
            "",
        )
    }

    pub(crate) fn filter_unavailable(filter: &str) -> Self {
        let mut answer = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Flags::WASM_FAILURE,
            "wasm_fail_stream",
            "",
        );
        answer.details = Bytes::from(format!("wasm_fail_stream{{{filter}}}"));
        answer
    }

    /// CONNECT to anywhere: this is no forward proxy.
    pub(crate) fn no_tunnel() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Flags::NO_ROUTE,
            "connect_not_supported",
            "",
        )
    }

    pub(crate) fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Flags::NO_ROUTE,
            "route_not_found",
            "",
        )
    }

    /// Filters made a request of it that cannot be sent.
    pub(crate) fn bad_filtered_request(why: String) -> Self {
        let mut answer = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Flags::WASM_FAILURE,
            "",
            "invalid request headers\n",
        );
        answer.details = Bytes::from(why);
        answer
    }

    /// Filters made a response of it that cannot be sent.
    pub(crate) fn bad_filtered_response(why: String) -> Self {
        let mut answer = Self::new(
            StatusCode::BAD_GATEWAY,
            Flags::WASM_FAILURE,
            "",
            "invalid response headers\n",
        );
        answer.details = Bytes::from(why);
        answer
    }

    /// The client broke off or broke the protocol while its request was read.
    pub(crate) fn broken_request() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Flags::DOWNSTREAM_PROTOCOL_ERROR,
            "request_body_error",
            "",
        )
    }

    /// A clock of the exchange has run out. Flags and details are Envoy's.
    pub(crate) fn expired(which: Expired) -> Self {
        let late = StatusCode::REQUEST_TIMEOUT;
        let (status, flags, details, body) = match which {
            Expired::Route => (
                StatusCode::GATEWAY_TIMEOUT,
                Flags::UPSTREAM_TIMEOUT,
                "response_timeout",
                "upstream request timeout\n",
            ),
            Expired::Idle => (
                late,
                Flags::STREAM_IDLE_TIMEOUT,
                "stream_idle_timeout",
                "stream timeout\n",
            ),
            Expired::Request => (
                late,
                Flags::none(),
                "request_overall_timeout",
                "request timeout\n",
            ),
            Expired::Duration => (
                late,
                Flags::none(),
                "max_duration_timeout",
                "downstream duration timeout\n",
            ),
        };
        Self::new(status, flags, details, body)
    }

    pub(crate) fn not_connected(error: &ConnectError) -> Self {
        let (flags, details) = error.in_log();
        let mut answer = Self::new(StatusCode::SERVICE_UNAVAILABLE, flags, details, "");
        answer.body = Bytes::from(match error {
            ConnectError::NoEndpoint => "no healthy upstream\n".to_owned(),
            ConnectError::Overflow(_) => {
                answer
                    .headers
                    .push((OVERLOADED, HeaderValue::from_static("true")));
                "upstream overloaded\n".to_owned()
            }
            _ => "upstream connection failed\n".to_owned(),
        });
        answer
    }

    /// The upstream took the request and gave no proper answer.
    pub(crate) fn upstream_failed(error: &hyper::Error) -> Self {
        if breaks_protocol(error) {
            return Self::new(
                StatusCode::BAD_GATEWAY,
                Flags::UPSTREAM_PROTOCOL_ERROR,
                "upstream_protocol_error",
                "upstream sent no valid response\n",
            );
        }
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Flags::UPSTREAM_CONNECTION_TERMINATION,
            "upstream_reset_before_response_started",
            "upstream closed the connection before it answered\n",
        )
    }

    /// The same for filters, or for a client of gRPC.
    pub(super) fn reply(&self, grpc: bool) -> LocalReply {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| {
                (
                    Bytes::copy_from_slice(name.as_str().as_bytes()),
                    Bytes::copy_from_slice(value.as_bytes()),
                )
            })
            .collect();
        let mut body = self.body.clone();
        // What gRPC has in the place of a body is a message, and no line of a text.
        if grpc && !self.theirs && body.ends_with(b"\n") {
            body.truncate(body.len() - 1);
        }
        LocalReply {
            status: u32::from(self.status.as_u16()),
            details: self.details.clone(),
            body,
            headers,
            grpc_status: -1,
        }
    }

    /// Status, headers and body as no filter sees them.
    pub(super) fn compose(self, grpc: bool) -> (StatusCode, HeaderMap, Bytes) {
        if grpc {
            let (headers, body) = reply::compose(&self.reply(true), true);
            let made = headers::response_from_pairs(headers.entries(), Invalid::Drop);
            if let Ok(made) = made {
                return (made.status, made.headers, body);
            }
        }
        let mut headers = HeaderMap::with_capacity(4);
        if !self.body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
        let own = self.headers.into_iter();
        headers.extend(own.map(|(name, value)| (Some(name), value)));
        (self.status, headers, self.body)
    }
}

/// Whether it is for what the upstream has sent, and not for its end.
pub(crate) fn breaks_protocol(error: &hyper::Error) -> bool {
    if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
        return true;
    }
    let ended_here = |error: &io::Error| error.kind() == flood::ENDED;
    let Some(source) = error.source() else {
        return false;
    };
    source.downcast_ref::<io::Error>().is_some_and(ended_here)
        || source.downcast_ref::<h2::Error>().is_some_and(|error| {
            let by_codec = error.is_library() && error.reason().is_some();
            by_codec || error.get_io().is_some_and(ended_here)
        })
}

/// Sends an answer: back through the filters where there are any.
///
/// `unread` is a request body nobody will read.
pub(crate) async fn send(
    end: End,
    answer: Answer,
    unread: Option<Incoming>,
    timer: Option<Timer>,
) -> Result<Response<ResponseBody>, Cut> {
    let flow = end.0.clone();
    flow.facts.flag(answer.flags);
    flow.facts.explain(&answer.details);
    linger(unread);
    if flow.filters.is_some() {
        let reply = answer.reply(flow.facts.grpc);
        flow.with_chain(Way::Response, |chain| chain.reply(&reply));
        return response::local(end, timer).await;
    }
    Ok(unfiltered(end, answer))
}

/// Sends an answer around the filters, or where there are none.
pub(super) fn unfiltered(end: End, answer: Answer) -> Response<ResponseBody> {
    let (status, headers, body) = answer.compose(end.0.facts.grpc);
    response::finish(end, status, headers, |end| ResponseBody::full(body, end))
}

/// What is told of a clock that has run out too late for an answer: the response is cut.
pub(crate) fn cut(flow: &Flow, which: Expired) {
    let answer = Answer::expired(which);
    flow.facts.flag(answer.flags);
    flow.facts.overrule(&answer.details);
    flow.cut();
}

/// Reads a request body to its end, within bounds, and forgets it: a client that is still
/// sending would otherwise meet a closed connection before it has read its answer.
pub(crate) fn linger(unread: Option<Incoming>) {
    const LONGEST: std::time::Duration = std::time::Duration::from_secs(5);
    const MOST: usize = 1 << 20;

    let Some(mut body) = unread else { return };
    if body.is_end_stream() {
        return;
    }
    tokio::task::spawn_local(tokio::time::timeout(LONGEST, async move {
        let mut read = 0;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MOST {
                break;
            }
        }
    }));
}
