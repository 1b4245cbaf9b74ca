//! What is known of one request, or of one TCP connection, written down as it becomes known: for the access log, for
//! the properties that filters read, and for the timers.
//!
//! Everything is a `Cell`: the two ways of an exchange are polled by different tasks of
//! the same thread and both write here.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use cofferdam_abi::{Attributes, Value};

use crate::access_log::Flags;
use crate::connection::Connection;
use crate::worker::Names;

/// The facts of one request, or of one TCP connection.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) connection: Rc<Connection>,
    pub(crate) names: Rc<Names>,
    /// What is spoken; `None` where it is not HTTP.
    pub(crate) protocol: Option<http::Version>,
    /// The client asked for a head only, whatever filters made of that.
    pub(crate) head: bool,
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
}

// === impl Facts ===

impl Facts {
    pub(crate) fn new(
        connection: Rc<Connection>,
        names: Rc<Names>,
        head: &http::request::Parts,
    ) -> Self {
        Self {
            protocol: Some(head.version),
            head: head.method == http::Method::HEAD,
            ..Self::of_connection(connection, names)
        }
    }

    /// Those of a connection that is not HTTP.
    pub(crate) fn of_connection(connection: Rc<Connection>, names: Rc<Names>) -> Self {
        Self {
            connection,
            names,
            protocol: None,
            head: false,
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
        }
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

/// The properties only the proxy knows (ABI notes, section 7).
#[derive(Debug)]
pub(crate) struct Properties(pub(crate) Rc<Facts>);

impl Attributes for Properties {
    fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
        let [first, second] = *path else { return None };
        let facts = &*self.0;
        match first {
            b"request" => facts.request(second),
            b"response" => facts.response(second),
            b"connection" => facts.connection(second),
            b"source" => address(facts.connection.peer, second),
            b"destination" => address(facts.connection.local, second),
            b"upstream" => facts.upstream(second),
            b"xds" => facts.xds(second),
            _ => None,
        }
    }

    fn upstream_hosts(&self) -> Option<Vec<String>> {
        let facts = &*self.0;
        facts.names.addresses(facts.cluster()?)
    }

    fn override_upstream(&self, address: &str) -> bool {
        let address = address.parse().ok();
        if address.is_some() {
            self.0.wanted_endpoint.set(address);
        }
        address.is_some()
    }
}

impl Facts {
    fn request(&self, name: &[u8]) -> Option<Value> {
        let since_epoch = self
            .wall
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Some(match name {
            b"time" => Value::Timestamp(since_epoch),
            b"protocol" => Value::text(protocol(self.protocol?)),
            b"size" | b"total_size" => Value::Int(int(self.received.get())),
            b"duration" => Value::Duration(self.duration.get()?),
            _ => return None,
        })
    }

    fn response(&self, name: &[u8]) -> Option<Value> {
        Some(match name {
            b"code" => Value::Int(i64::from(self.status.get()?)),
            b"code_details" => match self.details.borrow() {
                details if details.is_empty() => return None,
                details => Value::Bytes(details.clone()),
            },
            b"flags" => Value::Int(int(self.flags.get().bits())),
            b"size" | b"total_size" => Value::Int(int(self.sent.get())),
            _ => return None,
        })
    }

    fn connection(&self, name: &[u8]) -> Option<Value> {
        let connection = &self.connection;
        Some(match name {
            b"id" => Value::Uint(connection.id),
            b"mtls" => Value::Bool(false),
            b"requested_server_name" => {
                let name = connection
                    .tls
                    .as_ref()
                    .and_then(|tls| tls.server_name.as_deref());
                Value::text(name.unwrap_or_default())
            }
            b"tls_version" => Value::text(connection.tls.as_ref()?.version?),
            _ => return None,
        })
    }

    fn upstream(&self, name: &[u8]) -> Option<Value> {
        Some(match name {
            b"address" | b"port" => return address(self.upstream.get(), name),
            b"local_address" => Value::text(self.upstream_local.get()?.to_string()),
            b"num_endpoints" => Value::Uint(self.names.endpoints(self.cluster()?)?),
            b"request_attempt_count" => Value::Uint(self.attempts.get()),
            _ => return None,
        })
    }

    /// The cluster that was chosen, or that will be.
    fn cluster(&self) -> Option<usize> {
        let chosen = self.cluster.get();
        chosen.or_else(|| {
            self.names
                .cluster_of(self.connection.listener, self.route.get()?)
        })
    }

    fn xds(&self, name: &[u8]) -> Option<Value> {
        Some(match name {
            b"cluster_name" => Value::text(self.names.cluster(self.cluster()?)?),
            b"route_name" => Value::text(
                self.names
                    .route(self.connection.listener, self.route.get()?)?,
            ),
            b"listener_direction" => Value::Int(0),
            _ => return None,
        })
    }
}

fn address(address: Option<SocketAddr>, name: &[u8]) -> Option<Value> {
    Some(match name {
        b"address" => Value::text(address?.to_string()),
        b"port" => Value::Int(i64::from(address?.port())),
        _ => return None,
    })
}

fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
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
