//! What the access log is to be told of a request, or of a connection that is not HTTP,
//! noted only where its format asks for that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri, Version};

use crate::access_log::{Attempt, Both, Noted, Size, Times};
use crate::upstream::line::{Line, Passed};

/// Notes on the way.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    attempts: Vec<Attempt>,
    downstream: Both,
    upstream: Both,
    /// The connection of the last attempt, and what had passed on it before.
    line: Option<(Arc<Line>, Passed)>,
    /// What has passed since, once others may use it.
    passed: Option<Passed>,
    /// First and last of the response's body.
    body_begun: Option<Instant>,
    response_complete: Option<Instant>,
    client_reset: bool,
    upstream_reset: bool,
}

/// Bytes of a response's one pseudo-field.
const STATUS: usize = ":status200".len();

// === impl Notes ===

impl Notes {
    /// Those of a request whose head is as it came.
    pub(crate) fn of(head: &Parts) -> Self {
        let mut notes = Self::default();
        let http2 = head.version == Version::HTTP_2;
        notes.downstream.received = Size::of(&head.headers, http2, pseudo(&head.method, &head.uri));
        notes
    }

    /// Bytes that have come from the client for it.
    pub(crate) fn client_sent(&mut self, bytes: Option<u64>) {
        self.downstream.received.wire = bytes;
    }

    /// Bytes that have gone to the client.
    pub(crate) fn client_got(&mut self, bytes: u64) {
        self.downstream.sent.wire = Some(bytes);
    }

    /// The head for the client.
    pub(crate) fn response_leaves(&mut self, headers: &HeaderMap, version: Option<Version>) {
        let http2 = version == Some(Version::HTTP_2);
        self.downstream.sent = Size::of(headers, http2, STATUS);
    }

    /// An attempt on a connection.
    pub(crate) fn connected(
        &mut self,
        address: SocketAddr,
        name: Option<&str>,
        line: Option<&Arc<Line>>,
    ) {
        self.attempts.push(Attempt {
            address,
            name: name.map(Into::into),
            connection: line.map(|line| line.id),
        });
        self.line = line.map(|line| (line.clone(), line.passed()));
        self.passed = None;
    }

    /// The head for the upstream.
    pub(crate) fn request_leaves<B>(&mut self, request: &Request<B>, http2: bool) {
        let pseudo = pseudo(request.method(), request.uri());
        self.upstream.sent = Size::of(request.headers(), http2, pseudo);
    }

    /// The head from the upstream.
    pub(crate) fn response_came(&mut self, headers: &HeaderMap, version: Version) {
        self.upstream.received = Size::of(headers, version == Version::HTTP_2, STATUS);
    }

    /// What the upstream has sent behind the body.
    pub(crate) fn trailers_came(&mut self, trailers: &HeaderMap) {
        self.upstream.received = self.upstream.received.with_trailers(Some(trailers));
    }

    /// Something of the response's body has come.
    pub(crate) fn body_came(&mut self) {
        self.body_begun.get_or_insert_with(Instant::now);
    }

    /// The upstream is done with it: others may have its connection now.
    pub(crate) fn upstream_done(&mut self) {
        self.response_complete.get_or_insert_with(Instant::now);
        self.passed = self.passed_now();
    }

    /// The upstream's connection has broken.
    pub(crate) fn upstream_broke(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.upstream_reset |= is_reset(error);
    }

    /// The client has reset its connection, or the upstream has.
    pub(crate) fn was_reset(&mut self, by_client: bool) {
        self.client_reset |= by_client;
        self.upstream_reset |= !by_client;
    }

    fn passed_now(&self) -> Option<Passed> {
        let (line, before) = self.line.as_ref()?;
        Some(line.passed().since(*before))
    }

    /// For the log, with what has gone to the client behind the body. `shared` says that others
    /// were on the upstream's connection meanwhile.
    pub(crate) fn noted(&self, trailers: Option<&HeaderMap>, shared: bool) -> Noted<'_> {
        let (mut downstream, mut upstream) = (self.downstream, self.upstream);
        downstream.sent = downstream.sent.with_trailers(trailers);
        let passed = self.passed.or_else(|| self.passed_now());
        if let Some(passed) = passed.filter(|_| !shared) {
            upstream.received.wire = Some(passed.received);
            upstream.sent.wire = Some(passed.sent);
        }
        Noted {
            attempts: &self.attempts,
            downstream,
            upstream,
            client_reset: self.client_reset,
            upstream_reset: self.upstream_reset,
        }
    }

    /// When things happened of which nobody else keeps account.
    pub(crate) fn times(&self, times: Times) -> Times {
        let line = self.line.as_ref().map(|(line, _)| line);
        Times {
            connect_begun: line.map(|line| line.begun),
            connected: line.map(|line| line.connected),
            secured: line.and_then(|line| line.secured),
            body_begun: self.body_begun,
            response_complete: self.response_complete,
            ..times
        }
    }
}

/// Bytes of a request's pseudo-fields.
fn pseudo(method: &Method, uri: &Uri) -> usize {
    let path = uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let fields = [
        (":method", method.as_str()),
        (":scheme", uri.scheme_str().unwrap_or_default()),
        (
            ":authority",
            uri.authority().map_or("", http::uri::Authority::as_str),
        ),
        (":path", path),
    ];
    let there = fields.iter().filter(|(_, value)| !value.is_empty());
    there.map(|(name, value)| name.len() + value.len()).sum()
}

/// Whether the peer has reset the connection, somewhere behind an error.
fn is_reset(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return error.kind() == std::io::ErrorKind::ConnectionReset;
        }
        next = error.source();
    }
    false
}
