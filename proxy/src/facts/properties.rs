//! The properties only the proxy knows (`abi/ABI.md`, section 7). Nothing here is worked out
//! before a filter asks.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::SystemTime;

use cofferdam_abi::property::{Locality, Metadata};
use cofferdam_abi::{Attributes, FilterState, Message, Value};

use super::{Facts, protocol};
use crate::tls::{Session, certificate};

/// What filters may ask of an exchange.
#[derive(Debug)]
pub(crate) struct Properties(pub(crate) Rc<Facts>);

impl Attributes for Properties {
    fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
        let facts = &*self.0;
        let [first, second] = *path else {
            return match *path {
                // Nobody writes dynamic metadata here, nor state of an upstream.
                [b"metadata"] => Some(no_metadata()),
                [b"upstream_filter_state"] => {
                    facts.upstream.get()?;
                    Some(Value::Unserialisable)
                }
                _ => None,
            };
        };
        match first {
            b"request" => facts.request(second),
            b"response" => facts.response(second),
            b"connection" => facts.connection(second),
            b"source" => address(facts.connection.peer, second),
            b"destination" => facts.destination(second),
            b"upstream" => facts.upstream(second),
            b"xds" => facts.xds(second),
            _ => None,
        }
    }

    fn bytes_read(&self, path: &[&[u8]]) -> usize {
        let [first, name] = *path else { return 0 };
        let tls = self.0.upstream_tls.borrow();
        let tls = match first {
            b"connection" => self.0.connection.tls.as_deref(),
            b"upstream" => tls.as_deref(),
            _ => None,
        };
        tls.map_or(0, |tls| bytes_read(tls, name))
    }

    fn connection_state(&self) -> Option<&RefCell<FilterState>> {
        Some(&self.0.connection.state)
    }

    fn upstream_hosts(&self) -> Option<Vec<String>> {
        let facts = &*self.0;
        facts.setup.addresses(facts.cluster()?)
    }

    fn override_upstream(&self, address: &str) -> bool {
        let address = address.parse().ok();
        if address.is_some() {
            self.0.wanted_endpoint.set(address);
        }
        address.is_some()
    }
}

// === impl Facts ===

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
            b"backend_latency" => {
                let (sent, received) = (self.first_sent.get()?, self.last_received.get()?);
                Value::Duration(received.saturating_duration_since(sent))
            }
            _ => return None,
        })
    }

    fn connection(&self, name: &[u8]) -> Option<Value> {
        let connection = &self.connection;
        let tls = connection.tls.as_deref();
        Some(match name {
            b"id" => Value::Uint(connection.id),
            b"mtls" => Value::Bool(tls.is_some_and(|tls| tls.peer_certificate.is_some())),
            b"requested_server_name" => Value::text(connection.server_name().unwrap_or_default()),
            _ => return session(tls?, name),
        })
    }

    fn destination(&self, name: &[u8]) -> Option<Value> {
        match self.setup.socket(self.listener) {
            // A proxy before this one may have named an address.
            Some(path) if self.connection.local.is_none() => {
                (name == b"address").then(|| Value::text(path))
            }
            _ => address(self.connection.local, name),
        }
    }

    fn upstream(&self, name: &[u8]) -> Option<Value> {
        Some(match name {
            b"address" | b"port" => return address(self.upstream.get(), name),
            b"local_address" => Value::text(self.upstream_local.get()?.to_string()),
            b"num_endpoints" => Value::Uint(self.setup.endpoints(self.cluster()?)?),
            b"request_attempt_count" => Value::Uint(self.attempts.get()),
            b"transport_failure_reason" => {
                self.upstream.get()?;
                Value::text(&*self.transport_failure.borrow())
            }
            b"cx_pool_ready_duration" => Value::Duration(self.pool_ready.get()?),
            b"locality" => {
                self.upstream.get()?;
                Value::Message(Message::Locality(Rc::new(Locality::default())))
            }
            _ => return session(self.upstream_tls.borrow().as_ref()?, name),
        })
    }

    /// The cluster that was chosen, or that will be.
    fn cluster(&self) -> Option<usize> {
        let chosen = self.cluster.get();
        chosen.or_else(|| self.setup.cluster_of(self.listener, self.route.get()?))
    }

    fn xds(&self, name: &[u8]) -> Option<Value> {
        let listener = self.listener;
        Some(match name {
            b"cluster_name" => Value::text(self.setup.cluster_name(self.cluster()?)?),
            b"route_name" => Value::text(self.setup.route_name(listener, self.route.get()?)?),
            // A listener's routes are one virtual host.
            b"virtual_host_name" => {
                self.route.get()?;
                Value::text(self.setup.listener_name(listener)?)
            }
            b"listener_direction" => Value::Int(0),
            b"filter_chain_name" => Value::text(""),
            b"cluster_metadata" => {
                self.cluster()?;
                no_metadata()
            }
            b"route_metadata" | b"virtual_host_metadata" => {
                self.route.get()?;
                no_metadata()
            }
            // A null there, which has no bytes.
            b"upstream_host_metadata" | b"upstream_host_locality_metadata" => {
                self.upstream.get()?;
                Value::Unserialisable
            }
            b"listener_metadata" => no_metadata(),
            _ => return None,
        })
    }
}

/// What a handshake settled, and what the certificates of both sides say.
fn session(tls: &Session, name: &[u8]) -> Option<Value> {
    let (own, peer) = (
        tls.own_certificate.as_deref(),
        tls.peer_certificate.as_deref(),
    );
    let text = |text: Option<String>| text.map(Value::text);
    match name {
        b"tls_version" => tls.version.map(Value::text),
        // Without a certificate there is an empty subject, but no name and no digest.
        b"subject_local_certificate" => {
            text(own.map_or_else(|| Some(String::new()), certificate::subject))
        }
        b"subject_peer_certificate" => {
            text(peer.map_or_else(|| Some(String::new()), certificate::subject))
        }
        b"dns_san_local_certificate" => text(certificate::dns_name(own?)),
        b"dns_san_peer_certificate" => text(certificate::dns_name(peer?)),
        b"uri_san_local_certificate" => text(certificate::uri_name(own?)),
        b"uri_san_peer_certificate" => text(certificate::uri_name(peer?)),
        b"sha256_peer_certificate_digest" => Some(Value::text(certificate::digest(peer?))),
        b"peer_certificate" => Some(Value::text(certificate::pem_for_url(peer?))),
        _ => None,
    }
}

/// Bytes of the certificate that [`session`] reads for a name.
fn bytes_read(tls: &Session, name: &[u8]) -> usize {
    let certificate = if name.ends_with(b"_local_certificate") {
        tls.own_certificate.as_deref()
    } else if name.ends_with(b"peer_certificate") || name == b"sha256_peer_certificate_digest" {
        tls.peer_certificate.as_deref()
    } else {
        None
    };
    certificate.map_or(0, <[u8]>::len)
}

/// As Envoy has it where nothing was configured.
fn no_metadata() -> Value {
    Value::Message(Message::Metadata(Rc::new(Metadata::default())))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_a_certificate_tells_its_length() {
        let tls = Session {
            own_certificate: Some([0; 10].into()),
            peer_certificate: Some([0; 20].into()),
            ..Session::default()
        };
        for (name, length) in [
            (&b"subject_local_certificate"[..], 10),
            (b"dns_san_local_certificate", 10),
            (b"uri_san_local_certificate", 10),
            (b"subject_peer_certificate", 20),
            (b"dns_san_peer_certificate", 20),
            (b"uri_san_peer_certificate", 20),
            (b"sha256_peer_certificate_digest", 20),
            (b"peer_certificate", 20),
            (b"tls_version", 0),
            (b"mtls", 0),
        ] {
            assert_eq!(bytes_read(&tls, name), length, "{}", name.escape_ascii());
            assert_eq!(bytes_read(&Session::default(), name), 0);
        }
    }
}
