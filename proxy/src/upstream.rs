//! Upstreams of one worker: which endpoint, over which connection.
//!
//! Backends, discovery and health of clusters are `pingora-load-balancing`'s and are shared
//! ([`Backends`]); a worker selects on a snapshot of them that it renews when their
//! generation has moved, and keeps connections of its own. Nothing here crosses threads
//! but one relaxed load per request. A server that a filter names by its URL is an upstream
//! too, whose addresses are [what its name was resolved to](Upstream::resolve).

pub(crate) mod backends;
pub(crate) mod body;
pub(crate) mod connect;
pub(crate) mod pool;
mod raw;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::Cluster;
use backends::Backends;
use pool::Pool;

pub(crate) use body::UpstreamBody;
pub(crate) use connect::{ConnectError, Lease};
pub(crate) use raw::{Io, Raw};

/// One cluster as a worker sees it.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) cluster: Arc<Cluster>,
    /// `None` for one whose addresses are given by [`Upstream::resolve`].
    backends: Option<Arc<Backends>>,
    snapshot: RefCell<Snapshot>,
}

/// Usable endpoints and where the round is.
#[derive(Debug, Default)]
struct Snapshot {
    generation: Option<u64>,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug)]
struct Endpoint {
    pool: Rc<Pool>,
    weight: i64,
    current: i64,
}

// === impl Upstream ===

impl Upstream {
    pub(crate) fn new(cluster: Arc<Cluster>, backends: Option<Arc<Backends>>) -> Self {
        Self {
            cluster,
            backends,
            snapshot: RefCell::default(),
        }
    }

    /// The same servers over connections apart, spoken to as `cluster` says.
    pub(crate) fn beside(&self, cluster: Cluster) -> Self {
        Self::new(Arc::new(cluster), self.backends.clone())
    }

    /// The addresses of a server that is known by its name; connections to those that stay
    /// are kept.
    pub(crate) fn resolve(&self, addresses: &[SocketAddr]) {
        let usable: Vec<_> = addresses.iter().map(|address| (*address, 1)).collect();
        let mut snapshot = self.snapshot.borrow_mut();
        snapshot.renew(&usable, self.cluster.idle_timeout);
    }

    /// The `wanted` endpoint, if it is here and usable, else the next one: smooth weighted
    /// round robin, so that 5:1:1 is not five in a row.
    pub(crate) fn select(&self, wanted: Option<SocketAddr>) -> Option<Rc<Pool>> {
        let mut snapshot = self.snapshot.borrow_mut();
        if let Some(backends) = &self.backends {
            let generation = backends.generation();
            if snapshot.generation != Some(generation) {
                snapshot.renew(&backends.usable(), self.cluster.idle_timeout);
                snapshot.generation = Some(generation);
            }
        }
        let wanted = wanted.and_then(|address| snapshot.find(address));
        wanted.or_else(|| snapshot.next())
    }

    /// Closes every connection that is not in use.
    pub(crate) fn close_idle(&self) {
        for endpoint in &self.snapshot.borrow().endpoints {
            endpoint.pool.clear();
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// Endpoints that stay keep their connections.
    fn renew(&mut self, usable: &[(SocketAddr, u32)], idle: std::time::Duration) {
        let mut before = std::mem::take(&mut self.endpoints);
        for (address, weight) in usable {
            let held = before
                .iter()
                .position(|endpoint| endpoint.pool.address == *address);
            let pool = held.map_or_else(
                || Pool::new(*address, idle),
                |at| before.swap_remove(at).pool,
            );
            self.endpoints.push(Endpoint {
                pool,
                weight: i64::from(*weight),
                current: 0,
            });
        }
        for gone in before {
            gone.pool.clear();
        }
    }

    fn find(&self, address: SocketAddr) -> Option<Rc<Pool>> {
        let mut endpoints = self.endpoints.iter();
        endpoints
            .find(|endpoint| endpoint.pool.address == address)
            .map(|endpoint| endpoint.pool.clone())
    }

    fn next(&mut self) -> Option<Rc<Pool>> {
        if let [only] = &self.endpoints[..] {
            return Some(only.pool.clone());
        }
        let mut total = 0;
        let mut best = None;
        for (index, endpoint) in self.endpoints.iter_mut().enumerate() {
            endpoint.current += endpoint.weight;
            total += endpoint.weight;
            if best.is_none_or(|(_, current)| endpoint.current > current) {
                best = Some((index, endpoint.current));
            }
        }
        let endpoint = &mut self.endpoints[best?.0];
        endpoint.current -= total;
        Some(endpoint.pool.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(weights: &[u32]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let usable: Vec<_> = weights
            .iter()
            .enumerate()
            .map(|(index, weight)| {
                (
                    SocketAddr::from(([127, 0, 0, 1], u16::try_from(index).unwrap_or(0))),
                    *weight,
                )
            })
            .collect();
        snapshot.renew(&usable, std::time::Duration::from_secs(1));
        snapshot
    }

    fn ports(snapshot: &mut Snapshot, count: usize) -> Vec<u16> {
        (0..count)
            .filter_map(|_| snapshot.next())
            .map(|pool| pool.address.port())
            .collect()
    }

    #[test]
    fn weights_are_kept_and_spread() {
        let mut snapshot = snapshot(&[5, 1, 1]);
        assert_eq!(ports(&mut snapshot, 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn no_endpoint_is_no_choice() {
        assert!(snapshot(&[]).next().is_none());
    }

    #[test]
    fn endpoints_that_stay_keep_their_pool() {
        let mut snapshot = snapshot(&[1, 1]);
        let first = snapshot.endpoints[0].pool.clone();
        snapshot.renew(&[(first.address, 3)], std::time::Duration::from_secs(1));
        assert_eq!(snapshot.endpoints.len(), 1);
        assert!(Rc::ptr_eq(&first, &snapshot.endpoints[0].pool));
    }
}
