//! A call's request on a connection of its upstream.

use std::fmt;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header};
use hyper::body::Incoming;

use super::CallBody;
use crate::upstream::{ConnectError, Lease, Outcome, Pick, Upstream, UpstreamBody};

/// A request, before it is known which protocol it will be sent in.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) authority: String,
    pub(crate) path: PathAndQuery,
    /// Without framing, `host` and anything of a connection.
    pub(crate) headers: HeaderMap,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Unanswered {
    NotConnected(ConnectError),
    Broken(hyper::Error),
}

/// `x-envoy-internal`, which tells a server that the request was not made by its client.
pub(super) const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");

// === impl Outgoing ===

impl Outgoing {
    /// Sends it with what `body` makes, and waits for the head of the response.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub(crate) async fn send(
        &self,
        upstream: &Upstream,
        body: impl Fn() -> CallBody,
    ) -> Result<(Response<Incoming>, Lease), Unanswered> {
        let tls = upstream.cluster.tls.is_some();
        let connect = async |fresh| {
            let connected = upstream.connect(Pick::default(), None, fresh).await;
            connected.map_err(Unanswered::NotConnected)
        };
        let mut lease = connect(false).await?;
        loop {
            let request = self.request(lease.is_http2(), tls, body());
            let mut error = match lease.send(request).await {
                Ok(response) => {
                    lease.note(Outcome::Answered(response.status().as_u16()));
                    return Ok((response, lease));
                }
                Err(error) => error,
            };
            // A pooled connection may have died unseen; what was never sent can be sent
            // again.
            if !lease.reused || error.take_message().is_none() {
                lease.note(Outcome::Failed);
                return Err(Unanswered::Broken(error.into_error()));
            }
            // Gone first, with its place.
            drop(lease);
            lease = connect(true).await?;
        }
    }

    fn request(&self, http2: bool, tls: bool, body: CallBody) -> Request<UpstreamBody> {
        let mut headers = self.headers.clone();
        let path = self.path.clone();
        let uri = if http2 {
            let scheme = if tls { "https" } else { "http" };
            let uri = Uri::builder()
                .scheme(scheme)
                .authority(&self.authority[..])
                .path_and_query(path.clone())
                .build();
            uri.unwrap_or_else(|_| Uri::from(path))
        } else {
            if let Ok(host) = HeaderValue::try_from(&self.authority[..]) {
                headers.insert(header::HOST, host);
            }
            announce_trailers(&mut headers, &body);
            Uri::from(path)
        };
        let mut request = Request::new(UpstreamBody::Call(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = if http2 {
            Version::HTTP_2
        } else {
            Version::HTTP_11
        };
        *request.headers_mut() = headers;
        request
    }
}

/// HTTP/1.1 sends the trailers that a header has announced, behind a chunked body.
fn announce_trailers(headers: &mut HeaderMap, body: &CallBody) {
    let CallBody::Whole {
        trailers: Some(trailers),
        ..
    } = body
    else {
        return;
    };
    for name in trailers.keys() {
        headers.append(header::TRAILER, HeaderValue::from(name.clone()));
    }
    headers.remove(header::CONTENT_LENGTH);
    let chunked = HeaderValue::from_static("chunked");
    headers.insert(header::TRANSFER_ENCODING, chunked);
}

// === impl Unanswered ===

impl Unanswered {
    /// What the guest of a gRPC call is told, in Envoy's words.
    pub(super) fn told(&self) -> String {
        let reason = match self {
            Self::NotConnected(ConnectError::Overflow(_)) => "overflow",
            Self::NotConnected(ConnectError::NoEndpoint) => {
                return "no healthy upstream".to_owned();
            }
            Self::NotConnected(_) => "remote connection failure",
            Self::Broken(error) if error.is_parse() => "protocol error",
            Self::Broken(_) => "connection termination",
        };
        format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}")
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected(error) => error.fmt(f),
            Self::Broken(error) => error.fmt(f),
        }
    }
}
