//! What is known of a client's connection, once, for all its requests.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use cofferdam_abi::FilterState;
use http::{HeaderMap, HeaderValue};

use crate::access_log::{Flags, Noted, Record, Times};
use crate::door::Door;
use crate::headers;
use crate::tls::Session;
use crate::tls::forwarded::Forwarded;
use crate::upstream::Own;

/// One accepted connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Number of the connection in this process, for logs and the property `connection.id`.
    pub(crate) id: u64,
    /// Where it came in.
    pub(crate) door: Rc<Door>,
    /// The client: who connected, or who did so to a proxy before this one that says so. Unix
    /// sockets have no address.
    pub(crate) peer: Option<SocketAddr>,
    /// Who connected to this proxy.
    pub(crate) direct: Option<SocketAddr>,
    /// The client, as `x-forwarded-for` names it.
    pub(crate) forwarded_for: Option<HeaderValue>,
    /// The address the client had connected to,
    pub(crate) local: Option<SocketAddr>,
    /// and the one that the connection came in by.
    pub(crate) direct_local: Option<SocketAddr>,
    /// Since it was accepted until TLS was settled.
    pub(crate) handshake: Option<Duration>,
    /// What has come of it, where a log asks and it carries HTTP/1.
    pub(crate) received: Option<Received>,
    /// Its TLS session, if any. Boxed: without one it takes no room.
    pub(crate) tls: Option<Box<Session>>,
    /// The name that it asks for in TLS that is passed through.
    pub(crate) passed_name: Option<Box<str>>,
    /// What the next hop is told of its certificate.
    pub(crate) forwarded_cert: Forwarded,
    /// Connections to upstreams that were told of it.
    pub(crate) own: Own,
    /// What filters keep for as long as it lasts.
    pub(crate) state: RefCell<FilterState>,
    pub(crate) requests: Requests,
}

/// Bytes that have come, request by request.
#[derive(Debug)]
pub(crate) struct Received {
    all: Arc<AtomicU64>,
    /// Those of the requests before.
    told: Cell<u64>,
}

/// Requests under way on a connection, until the last byte of their answers.
#[derive(Debug)]
pub(crate) struct Requests {
    count: Cell<usize>,
    since: Cell<Instant>,
    /// When the last one began.
    begun: Cell<Instant>,
}

// === impl Connection ===

impl Connection {
    /// The client, and the address that it had connected to, are others than they seemed.
    pub(crate) fn comes_from(&mut self, peer: Option<SocketAddr>, local: Option<SocketAddr>) {
        self.peer = peer;
        self.forwarded_for = peer.map(|peer| headers::forwarded_for(peer.ip()));
        self.local = local;
    }

    /// `https` or `http`.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The name that it asks for (SNI), in lower case.
    pub(crate) fn server_name(&self) -> Option<&str> {
        match &self.tls {
            Some(tls) => tls.server_name.as_deref(),
            None => self.passed_name.as_deref(),
        }
    }

    /// What the access log can say of it without a request.
    pub(crate) fn record(&self, start: SystemTime) -> Record<'_> {
        static NOTHING: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
        Record {
            start,
            duration: Duration::ZERO,
            protocol: None,
            method: "",
            scheme: "",
            authority: "",
            path: "",
            request_headers: &NOTHING,
            response_headers: None,
            response_trailers: None,
            status: None,
            details: None,
            flags: Flags::none(),
            bytes_received: 0,
            bytes_sent: 0,
            upstream_host: None,
            upstream_cluster: None,
            downstream_remote: self.peer,
            downstream_direct: self.direct,
            downstream_local: self.local,
            direct_local: self.direct_local,
            handshake: self.handshake,
            closed_here: (None, None),
            noted: Noted::default(),
            connection: self.id,
            tls: self.tls.as_deref(),
            server_name: self.server_name(),
            upstream_local: None,
            attempts: 0,
            span: None,
            transport_failure: None,
            upstream_tls: None,
            route: None,
            decided_by: None,
            times: Times::default(),
            upstream_protocol: None,
            filter_state: None,
            exchange: None,
        }
    }
}

// === impl Received ===

impl Received {
    /// `all` counts what comes.
    pub(crate) fn new(all: Arc<AtomicU64>) -> Self {
        Self {
            all,
            told: Cell::new(0),
        }
    }

    /// What has come since it was asked last: what a request has taken, and what came behind
    /// it unasked.
    pub(crate) fn take(&self) -> u64 {
        let all = self.all.load(Ordering::Relaxed);
        all.saturating_sub(self.told.replace(all))
    }
}

// === impl Requests ===

impl Requests {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            count: Cell::new(0),
            since: Cell::new(now),
            begun: Cell::new(now),
        }
    }

    /// One begins.
    pub(crate) fn enter(&self, now: Instant) {
        self.count.set(self.count.get() + 1);
        self.begun.set(now);
    }

    pub(crate) fn leave(&self, now: Instant) {
        self.count.set(self.count.get().saturating_sub(1));
        self.since.set(now);
    }

    /// From now on it is counted how long there is none.
    pub(crate) fn touch(&self) {
        self.since.set(Instant::now());
    }

    pub(crate) fn last_begun(&self) -> Instant {
        self.begun.get()
    }

    /// Since when there has been none, if there is none.
    pub(crate) fn none_since(&self) -> Option<Instant> {
        (self.count.get() == 0).then(|| self.since.get())
    }
}
