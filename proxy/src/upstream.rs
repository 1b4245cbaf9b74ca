//! Upstreams of one worker: which endpoint, over which connection.
//!
//! Backends, discovery and health of clusters are `pingora-load-balancing`'s and are shared
//! ([`Backends`]); a worker selects on a snapshot of them that it renews when their
//! generation has moved, and keeps connections of its own. Nothing here crosses threads
//! but one relaxed load per request, and what outlier detection and circuit breakers share
//! where they are asked for. A server that a filter names by its URL is an upstream
//! too, whose addresses are [what its name was resolved to](Upstream::resolve).

pub(crate) mod backends;
mod balance;
pub(crate) mod body;
pub(crate) mod connect;
pub(crate) mod hash;
pub(crate) mod host;
pub(crate) mod line;
pub(crate) mod load;
mod names;
mod opening;
pub(crate) mod outlier;
pub(crate) mod own;
pub(crate) mod pool;
mod probe;
mod raw;
pub(crate) mod replay;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::{CircuitBreakers, Cluster};
use crate::proxy_protocol::header;
use backends::Backends;
use balance::Snapshot;
use host::Host;
use load::Load;
use pool::Pool;

pub(crate) use balance::Pick;
pub(crate) use body::UpstreamBody;
pub(crate) use connect::{Attempted, ConnectError, Lease, Tunnel};
pub(crate) use outlier::Outcome;
pub(crate) use own::Own;
pub(crate) use raw::{Io, Raw};

/// One cluster as a worker sees it.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) cluster: Arc<Cluster>,
    /// `None` for one whose addresses are given by [`Upstream::resolve`].
    backends: Option<Arc<Backends>>,
    pub(crate) load: Arc<Load>,
    snapshot: RefCell<Snapshot>,
}

// === impl Upstream ===

impl Upstream {
    pub(crate) fn new(cluster: Arc<Cluster>, backends: Option<Arc<Backends>>) -> Self {
        let load = match &backends {
            Some(backends) => backends.load.clone(),
            None => Load::new(CircuitBreakers::default()),
        };
        Self {
            snapshot: RefCell::new(Snapshot::new(cluster.balance.policy)),
            cluster,
            backends,
            load,
        }
    }

    /// The same servers over connections apart, spoken to as `cluster` says.
    pub(crate) fn beside(&self, cluster: Cluster) -> Self {
        Self::new(Arc::new(cluster), self.backends.clone())
    }

    /// The addresses of a server that is known by its name; connections to those that stay
    /// are kept.
    pub(crate) fn resolve(&self, addresses: &[SocketAddr]) {
        let mut snapshot = self.snapshot.borrow_mut();
        let known = |address| snapshot.find(address).map(|pool| pool.host().clone());
        let usable: Vec<_> = (addresses.iter())
            .map(|it| known(*it).unwrap_or_else(|| Host::new(*it, 1)))
            .collect();
        self.renew(&mut snapshot, &usable);
    }

    /// All endpoints, usable or not.
    pub(crate) fn hosts(&self) -> Vec<Arc<Host>> {
        let backends = self.backends.as_ref();
        backends
            .map(|backends| backends.hosts())
            .unwrap_or_default()
    }

    /// The name that an endpoint was found by, if it was.
    pub(crate) fn name_of(&self, address: SocketAddr) -> Option<Box<str>> {
        let hosts = self.hosts();
        let host = hosts.iter().find(|host| host.address == address)?;
        host.name.clone()
    }

    /// The wanted endpoint, if it is here and usable, else whatever the cluster's policy says.
    pub(crate) fn select(&self, pick: Pick) -> Option<Rc<Pool>> {
        let mut snapshot = self.snapshot.borrow_mut();
        if let Some(backends) = &self.backends {
            backends.tick();
            let generation = backends.generation();
            if snapshot.generation != Some(generation) {
                self.renew(&mut snapshot, &backends.usable());
                snapshot.generation = Some(generation);
            }
        }
        snapshot.select(pick)
    }

    fn renew(&self, snapshot: &mut Snapshot, usable: &[Arc<Host>]) {
        snapshot.renew(usable, |host| {
            Pool::new(
                host,
                self.load.clone(),
                self.backends.clone(),
                self.cluster.idle_timeout,
                self.cluster.max_idle,
                self.cluster
                    .proxy_protocol
                    .map(|version| header(version, None, None)),
            )
        });
    }

    /// Closes every connection that is not in use.
    pub(crate) fn close_idle(&self) {
        for pool in self.snapshot.borrow().pools() {
            pool.clear();
        }
    }
}
