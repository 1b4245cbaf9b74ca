//! gRPC calls and streams over HTTP/2 (section 6.9 of `abi/ABI.md`).

mod frame;
mod status;

use bytes::Bytes;
use cofferdam_abi::Headers;
use cofferdam_abi::callout::{GrpcCall, GrpcEvent};
use http::response::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::http::{clean, report};
use super::send::{INTERNAL as X_ENVOY_INTERNAL, Outgoing};
use super::{CallBody, Caller, Feed};
use crate::headers::{self, Invalid};
use crate::upstream::{Lease, Upstream};
use frame::{BadFrame, Decoder};
use status::{DEADLINE_EXCEEDED, INTERNAL, OK, RESOURCE_EXHAUSTED, Status, UNAVAILABLE, UNKNOWN};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// After that many messages in a row, others of the worker have their turn.
const TURN: usize = 16;

/// A message as it is sent; `None` for one that no frame has room for.
pub(crate) fn framed(message: &[u8]) -> Option<Bytes> {
    frame::encode(message)
}

/// How a stream ends whose guest sends faster than the server reads.
pub(super) fn overrun() -> GrpcEvent {
    let message = "more messages wait to be sent than may";
    closed(Status::new(RESOURCE_EXHAUSTED, message))
}

/// The call is over.
fn conclude(caller: &Caller, status: Status) {
    let failed = status.code != OK;
    caller.account.failed.set(failed);
    caller.traced(|span| span.ended("rpc.grpc.status_code", status.code.into(), failed));
    caller.end(|vm, token| vm.grpc_event(token, closed(status)));
}

fn closed(status: Status) -> GrpcEvent {
    GrpcEvent::Closed {
        status: status.code,
        message: status.message,
    }
}

/// A call: one message each way.
pub(super) async fn call(caller: &Caller, call: GrpcCall, message: Bytes) {
    let work = unary(caller, &call, &message);
    let result = match call.timeout {
        None => work.await,
        Some(limit) => match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(Status::new(DEADLINE_EXCEEDED, "upstream request timeout")),
        },
    };
    let status = match result {
        Ok(message) => {
            caller.hear(GrpcEvent::Message(message));
            Status::new(OK, "")
        }
        Err(status) => status,
    };
    conclude(caller, status);
}

async fn unary(caller: &Caller, call: &GrpcCall, message: &[u8]) -> Result<Bytes, Status> {
    let frame = frame::encode(message)
        .ok_or_else(|| Status::new(RESOURCE_EXHAUSTED, "the message is too large"))?;
    let body = || CallBody::Whole {
        bytes: frame.clone(),
        trailers: None,
    };
    let (head, mut answer) = open(caller, call, body).await?;
    let status = match only_trailers(&head, &answer.body) {
        Some(status) => status,
        None if head.status != StatusCode::OK => Status::of_http(head.status),
        None => {
            let mut last = None;
            while let Some(message) = answer.next().await? {
                last = Some(message);
            }
            let status = answer.status();
            if let (Some(message), OK) = (last, status.code) {
                return Ok(message);
            }
            status
        }
    };
    Err(match status.code {
        OK => Status::new(INTERNAL, "the answer has no message"),
        _ => status,
    })
}

/// A stream: messages both ways until both ends have had enough.
pub(super) async fn stream(caller: &Caller, call: GrpcCall, feed: Feed) {
    // A server may be done with a client that goes on sending.
    let feed = CancelOnDrop(feed);
    let work = follow(caller, &call, &feed.0);
    let status = match call.timeout {
        None => work.await,
        Some(limit) => match tokio::time::timeout(limit, work).await {
            Ok(status) => status,
            Err(_) => Err(Status::new(DEADLINE_EXCEEDED, "upstream request timeout")),
        },
    };
    let status = status.unwrap_or_else(|failed| {
        // As in Envoy: who waits for these has them before the end.
        caller.hear(GrpcEvent::TrailingMetadata(Headers::default()));
        failed
    });
    drop(feed);
    conclude(caller, status);
}

/// Hands over what comes, one by one: what is not read is not asked for.
async fn follow(caller: &Caller, call: &GrpcCall, feed: &Feed) -> Result<Status, Status> {
    let body = || CallBody::Fed(feed.clone());
    let (head, mut answer) = open(caller, call, body).await?;
    if let Some(status) = only_trailers(&head, &answer.body) {
        caller.hear(GrpcEvent::InitialMetadata(Headers::default()));
        caller.hear(GrpcEvent::TrailingMetadata(response_head(&head)));
        return Ok(status);
    }
    caller.hear(GrpcEvent::InitialMetadata(response_head(&head)));
    if head.status != StatusCode::OK {
        return Err(Status::of_http(head.status));
    }
    let mut turn = 0;
    while let Some(message) = answer.next().await? {
        caller.hear(GrpcEvent::Message(message));
        turn += 1;
        if turn % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    let trailers = answer.trailers.as_ref().map(headers::trailers_map);
    let trailers = trailers.unwrap_or_default();
    caller.hear(GrpcEvent::TrailingMetadata(trailers));
    Ok(answer.status())
}

async fn open(
    caller: &Caller,
    call: &GrpcCall,
    body: impl Fn() -> CallBody,
) -> Result<(Parts, Answer), Status> {
    let worker = &caller.worker;
    let callouts = &worker.plugins.callouts;
    let upstream = callouts.remotes.find(worker, &call.target, true).await;
    let upstream = upstream.map_err(|why| {
        tracing::debug!("a filter's gRPC call: {why}");
        Status::new(UNAVAILABLE, why)
    })?;
    let mut outgoing = outgoing(call, &upstream)?;
    caller.traced(|span| span.inject(&mut outgoing.headers));
    let sent = outgoing.send(&upstream, body).await;
    let (response, lease) = sent.map_err(|error| {
        tracing::debug!(cluster = %upstream.cluster.name, "a filter's gRPC call: {error}");
        Status::new(UNAVAILABLE, error.told())
    })?;
    let (head, body) = response.into_parts();
    let answer = Answer {
        body,
        decoder: Decoder::new(callouts.settings().message),
        trailers: None,
        _lease: lease,
    };
    Ok((head, answer))
}

fn outgoing(call: &GrpcCall, upstream: &Upstream) -> Result<Outgoing, Status> {
    let path = [b"/", &call.service[..], b"/", &call.method[..]].concat();
    let path = PathAndQuery::try_from(path)
        .map_err(|_| Status::new(INTERNAL, "no such method can be called"))?;
    let (mut headers, dropped) =
        headers::trailers_from_pairs(call.metadata.entries(), Invalid::Drop).unwrap_or_default();
    report(&dropped);
    clean(&mut headers);
    let grpc = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, grpc);
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(X_ENVOY_INTERNAL, HeaderValue::from_static("true"));
    if let Some(timeout) = call.timeout {
        headers.insert(GRPC_TIMEOUT, status::timeout(timeout));
    }
    let authority = match &call.authority {
        Some(authority) => std::str::from_utf8(authority).unwrap_or(""),
        None => &upstream.cluster.name,
    };
    // Names of clusters can have anything in them.
    let authority = match Authority::try_from(authority) {
        Ok(authority) => authority.to_string(),
        Err(_) => "localhost".to_owned(),
    };
    Ok(Outgoing {
        method: Method::POST,
        authority,
        path,
        headers,
    })
}

/// The status of a response that is nothing but its head.
fn only_trailers(head: &Parts, body: &Incoming) -> Option<Status> {
    body.is_end_stream()
        .then(|| Status::of(&head.headers))
        .flatten()
}

fn response_head(head: &Parts) -> Headers {
    headers::response_map(head.status, &head.headers)
}

/// A response under way. The stream is reset if this goes before its end.
struct Answer {
    body: Incoming,
    decoder: Decoder,
    trailers: Option<HeaderMap>,
    _lease: Lease,
}

struct CancelOnDrop(Feed);

// === impl Answer ===

impl Answer {
    /// The next message; `None` behind the last.
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            match self.decoder.next() {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(BadFrame::Compressed) => {
                    let why = "a compressed message, which was not asked for";
                    return Err(Status::new(INTERNAL, why));
                }
                Err(BadFrame::TooLarge(size)) => {
                    let why = format!("a message of {size} bytes is too large");
                    return Err(Status::new(RESOURCE_EXHAUSTED, why));
                }
            }
            match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.decoder.push(&data),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Some(Err(error)) => {
                    tracing::debug!("a filter's gRPC stream: {error}");
                    return Err(Status::new(INTERNAL, "the stream was reset"));
                }
                None if self.decoder.is_amid() => {
                    return Err(Status::new(INTERNAL, "the stream ended amid a message"));
                }
                None => return Ok(None),
            }
        }
    }

    /// Behind the last message.
    fn status(&self) -> Status {
        let told = self.trailers.as_ref().and_then(Status::of);
        told.unwrap_or_else(|| Status::new(UNKNOWN, "the stream ended without a status"))
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
