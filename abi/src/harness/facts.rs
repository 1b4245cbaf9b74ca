//! What only an embedder knows of a request, as properties: the upstream is one endpoint of
//! one cluster, reached at once, and a request takes a millisecond.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::property::{Attributes, Locality, Message, Metadata, Value};

const MILLI: Duration = Duration::from_millis(1);

/// It, as it becomes known.
#[derive(Debug, Default)]
pub struct Facts {
    pub(super) protocol: &'static str,
    pub(super) begun: Duration,
    pub(super) received: Cell<i64>,
    pub(super) sent: Cell<i64>,
    pub(super) status: Cell<Option<i64>>,
    /// There is a connection to the upstream.
    pub(super) reached: Cell<bool>,
    pub(super) over: Cell<bool>,
    /// What is to be answered whatever is known, by path.
    pub(super) given: Vec<(Vec<Bytes>, Bytes)>,
}

/// The facts as properties.
#[derive(Debug)]
pub struct Properties(pub(super) Rc<Facts>);

// === impl Properties ===

impl Properties {
    /// Of a request that nothing is known of but these properties, by path.
    #[must_use]
    pub fn given(given: Vec<(Vec<Bytes>, Bytes)>) -> Self {
        Self(Rc::new(Facts {
            given,
            ..Facts::default()
        }))
    }
}

impl Attributes for Properties {
    fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
        let facts = &*self.0;
        let same = |given: &[Bytes]| given.iter().map(|part| &**part).eq(path.iter().copied());
        if let Some((_, value)) = facts.given.iter().find(|(given, _)| same(given)) {
            return Some(Value::Bytes(value.clone()));
        }
        Some(match *path {
            [b"metadata"] => metadata(),
            [b"upstream_filter_state"] => facts.once_reached(Value::Unserialisable)?,
            [b"request", name] => facts.request(name)?,
            [b"response", name] => facts.response(name)?,
            [b"source", b"address"] => Value::text("127.0.0.1:40000"),
            [b"source", b"port"] => Value::Int(40000),
            [b"destination", b"address"] => Value::text("127.0.0.1:8080"),
            [b"destination", b"port"] => Value::Int(8080),
            [b"connection", b"mtls"] => Value::Bool(false),
            [b"connection", b"id"] => Value::Uint(1),
            [b"connection", b"requested_server_name"] => Value::text(""),
            [b"upstream", name] => facts.upstream(name)?,
            [b"xds", name] => facts.xds(name)?,
            _ => return None,
        })
    }
}

// === impl Facts ===

impl Facts {
    fn once_reached(&self, value: Value) -> Option<Value> {
        self.reached.get().then_some(value)
    }

    fn once_over(&self, value: Value) -> Option<Value> {
        self.over.get().then_some(value)
    }

    fn request(&self, name: &[u8]) -> Option<Value> {
        Some(match name {
            b"time" => Value::Timestamp(self.begun),
            b"protocol" => Value::text(self.protocol),
            b"size" | b"total_size" => Value::Int(self.received.get()),
            b"duration" => self.once_over(Value::Duration(MILLI))?,
            _ => return None,
        })
    }

    fn response(&self, name: &[u8]) -> Option<Value> {
        Some(match name {
            b"code" => Value::Int(self.status.get()?),
            b"code_details" => {
                self.status.get()?;
                Value::text("via_upstream")
            }
            b"flags" => Value::Int(0),
            b"size" | b"total_size" => Value::Int(self.sent.get()),
            b"backend_latency" => self.once_over(Value::Duration(MILLI))?,
            _ => return None,
        })
    }

    fn upstream(&self, name: &[u8]) -> Option<Value> {
        let value = match name {
            b"num_endpoints" => return Some(Value::Uint(1)),
            b"request_attempt_count" => return Some(Value::Uint(self.reached.get().into())),
            b"address" => Value::text("127.0.0.1:9090"),
            b"port" => Value::Int(9090),
            b"local_address" => Value::text("127.0.0.1:41000"),
            b"transport_failure_reason" => Value::text(""),
            b"cx_pool_ready_duration" => Value::Duration(MILLI),
            b"locality" => Value::Message(Message::Locality(Rc::new(Locality::default()))),
            _ => return None,
        };
        self.once_reached(value)
    }

    fn xds(&self, name: &[u8]) -> Option<Value> {
        Some(match name {
            b"cluster_name" | b"route_name" => Value::text("upstream"),
            b"virtual_host_name" => Value::text("all"),
            b"filter_chain_name" => Value::text(""),
            b"listener_direction" => Value::Int(0),
            b"cluster_metadata"
            | b"route_metadata"
            | b"virtual_host_metadata"
            | b"listener_metadata" => metadata(),
            b"upstream_host_metadata" | b"upstream_host_locality_metadata" => {
                self.once_reached(Value::Unserialisable)?
            }
            _ => return None,
        })
    }
}

fn metadata() -> Value {
    Value::Message(Message::Metadata(Rc::new(Metadata::default())))
}
