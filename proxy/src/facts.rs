//! What is known of one request, or of one TCP connection, written down as it becomes
//! known: for the access log, for the properties that filters read, and for the timers.
//!
//! Everything is a `Cell`: the two ways of an exchange are polled by different tasks of
//! the same thread and both write here.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::access_log::Flags;
use crate::connection::Connection;
use crate::setup::{ListenerState, Setup};
use crate::tls::Session;
use crate::trace::{Trace, Tracer};
use crate::upstream::ConnectError;
use crate::upstream::pool::Wire;

mod properties;

pub(crate) use properties::Properties;

/// The facts of one request, or of one TCP connection.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) connection: Rc<Connection>,
    /// What it is served by,
    pub(crate) setup: Rc<Setup>,
    /// and the position of its listener there.
    pub(crate) listener: usize,
    /// What is spoken; `None` where it is not HTTP.
    pub(crate) protocol: Option<http::Version>,
    /// The client asked for a head only, whatever filters made of that.
    pub(crate) head: bool,
    /// It speaks gRPC, and is answered in that form.
    pub(crate) grpc: bool,
    pub(crate) wall: SystemTime,
    pub(crate) begun: Instant,
    /// Set once the exchange is over.
    pub(crate) duration: Cell<Option<Duration>>,
    pub(crate) received: Cell<u64>,
    pub(crate) sent: Cell<u64>,
    pub(crate) status: Cell<Option<u16>>,
    pub(crate) flags: Cell<Flags>,
    pub(crate) details: RefCell<Bytes>,
    /// Position in the listener's routes.
    pub(crate) route: Cell<Option<usize>>,
    /// Position in the configuration's clusters.
    pub(crate) cluster: Cell<Option<usize>>,
    pub(crate) upstream: Cell<Option<SocketAddr>>,
    /// The endpoint a filter wants, whatever the turn is.
    pub(crate) wanted_endpoint: Cell<Option<SocketAddr>>,
    pub(crate) upstream_local: Cell<Option<SocketAddr>>,
    pub(crate) attempts: Cell<u64>,
    /// The upstream connection's TLS session, if any.
    pub(crate) upstream_tls: RefCell<Option<Rc<Session>>>,
    /// Why there was no connection, in words; empty where there was one.
    pub(crate) transport_failure: RefCell<String>,
    /// How long the request waited for a connection, where filters or a log may ask.
    pub(crate) pool_ready: Cell<Option<Duration>>,
    /// When it began to be sent to the upstream, likewise.
    pub(crate) first_sent: Cell<Option<Instant>>,
    /// When the upstream's head had come, where a log may tell.
    pub(crate) responded: Cell<Option<Instant>>,
    /// What is spoken to the upstream.
    pub(crate) upstream_protocol: Cell<Option<http::Version>>,
    /// When the last of the exchange came; set once it is over.
    pub(crate) last_received: Cell<Option<Instant>>,
    /// Its place in a trace, where requests are traced.
    pub(crate) trace: Option<Rc<Trace>>,
}

// === impl Facts ===

impl Facts {
    pub(crate) fn new(
        connection: Rc<Connection>,
        head: &http::request::Parts,
        tracer: Option<&Tracer>,
    ) -> Self {
        let facts = Self::of_connection(connection);
        Self {
            protocol: Some(head.version),
            head: head.method == http::Method::HEAD,
            grpc: (head.headers.get(http::header::CONTENT_TYPE))
                .is_some_and(|kind| cofferdam_abi::reply::is_grpc(kind.as_bytes())),
            trace: tracer.map(|tracer| tracer.begin(head, facts.wall, facts.begun)),
            ..facts
        }
    }

    /// Those of a connection that is not HTTP.
    pub(crate) fn of_connection(connection: Rc<Connection>) -> Self {
        let (setup, listener) = connection.door.setup();
        Self {
            connection,
            setup,
            listener,
            protocol: None,
            head: false,
            grpc: false,
            wall: SystemTime::now(),
            begun: Instant::now(),
            duration: Cell::new(None),
            received: Cell::new(0),
            sent: Cell::new(0),
            status: Cell::new(None),
            flags: Cell::new(Flags::none()),
            details: RefCell::new(Bytes::new()),
            route: Cell::new(None),
            cluster: Cell::new(None),
            upstream: Cell::new(None),
            wanted_endpoint: Cell::new(None),
            upstream_local: Cell::new(None),
            attempts: Cell::new(0),
            upstream_tls: RefCell::new(None),
            transport_failure: RefCell::new(String::new()),
            pool_ready: Cell::new(None),
            first_sent: Cell::new(None),
            responded: Cell::new(None),
            upstream_protocol: Cell::new(None),
            last_received: Cell::new(None),
            trace: None,
        }
    }

    /// The listener it came in by.
    pub(crate) fn listener(&self) -> &ListenerState {
        self.setup.listener(self.listener)
    }

    /// The upstream connection that carries this.
    pub(crate) fn set_wire(&self, wire: &Wire) {
        self.upstream_local.set(wire.local);
        if let Some(tls) = &wire.tls {
            *self.upstream_tls.borrow_mut() = Some(tls.clone());
        }
    }

    /// There is none.
    pub(crate) fn not_connected(&self, error: &ConnectError) {
        self.upstream.set(error.address());
        *self.transport_failure.borrow_mut() = error.to_string();
    }

    pub(crate) fn flag(&self, flag: Flags) {
        self.flags.set(self.flags.get() | flag);
    }

    /// The first explanation stands.
    pub(crate) fn explain(&self, details: &Bytes) {
        let mut held = self.details.borrow_mut();
        if held.is_empty() {
            held.clone_from(details);
        }
    }

    /// The client is gone, or its connection was cut here, before it had everything; in Envoy's
    /// words, whose flag is the same for both.
    pub(crate) fn disconnected(&self) -> Bytes {
        self.flag(Flags::DOWNSTREAM_CONNECTION_TERMINATION);
        Bytes::from_static(match self.connection.door.cut.has_happened() {
            true => b"downstream_local_disconnect(drain_time_is_over)",
            false => b"downstream_remote_disconnect",
        })
    }

    /// Whether it was cut here.
    pub(crate) fn is_cut_off(&self) -> bool {
        let flags = self.flags.get();
        flags.contains(Flags::DOWNSTREAM_CONNECTION_TERMINATION)
            && self.connection.door.cut.has_happened()
    }

    /// A later explanation that overrules what stood: the response came from elsewhere, or
    /// did not come whole.
    pub(crate) fn overrule(&self, details: &Bytes) {
        self.details.borrow_mut().clone_from(details);
    }

    pub(crate) fn count(&self, way: cofferdam_abi::Way, bytes: usize) {
        let counter = match way {
            cofferdam_abi::Way::Request => &self.received,
            cofferdam_abi::Way::Response => &self.sent,
        };
        counter.set(counter.get().saturating_add(bytes as u64));
    }
}

/// As Envoy writes it.
pub(crate) fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        http::Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}
