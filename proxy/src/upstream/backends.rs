//! What all workers share of a cluster: its backends and their health, kept by
//! `pingora-load-balancing`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use pingora_core::protocols::l4::socket::SocketAddr as BackendAddress;
use pingora_core::services::background::GenBackgroundService;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_load_balancing::health_check::{
    HealthCheck as Check, HealthObserve, HttpHealthCheck, TcpHealthCheck,
};
use pingora_load_balancing::prelude::RoundRobin;
use pingora_load_balancing::{Backend, LoadBalancer, discovery};

use crate::config::{Cluster, HealthCheck};

/// Backends of one cluster.
pub(crate) struct Backends {
    balancer: Arc<LoadBalancer<RoundRobin>>,
    generation: Arc<AtomicU64>,
}

/// Pingora's service that checks the health of one cluster's backends.
pub(crate) type Checks = GenBackgroundService<LoadBalancer<RoundRobin>>;

/// Counts changes of health, so that workers know when to look again.
struct Observer {
    cluster: String,
    generation: Arc<AtomicU64>,
}

// === impl Backends ===

impl Backends {
    /// Backends of `cluster`, and the service that checks their health where the
    /// configuration wants that. Without it nothing wakes up by itself.
    ///
    /// # Errors
    /// What `pingora-load-balancing` said of the endpoints.
    pub(crate) fn new(cluster: &Cluster) -> Result<(Arc<Self>, Option<Checks>), String> {
        let mut backends = BTreeSet::new();
        for endpoint in &cluster.endpoints {
            let weight = usize::try_from(endpoint.weight).unwrap_or(1);
            let backend = Backend::new_with_weight(&endpoint.address.to_string(), weight)
                .map_err(|error| error.to_string())?;
            backends.insert(backend);
        }
        let generation = Arc::new(AtomicU64::new(0));
        let mut balancer = LoadBalancer::from_backends(pingora_load_balancing::Backends::new(
            discovery::Static::new(backends),
        ));
        if let Some(check) = &cluster.health_check {
            let observer = Observer {
                cluster: cluster.name.clone(),
                generation: generation.clone(),
            };
            balancer.set_health_check(health_check(cluster, check, observer));
            balancer.health_check_frequency = Some(check.interval);
            balancer.parallel_health_check = true;
        }
        // Static discovery answers at once: there is nothing to wait for.
        futures_ready(balancer.update())
            .unwrap_or(Ok(()))
            .map_err(|error| error.to_string())?;
        let service = pingora_core::services::background::background_service(
            &format!("health {}", cluster.name),
            balancer,
        );
        let shared = Arc::new(Self {
            balancer: service.task(),
            generation,
        });
        Ok((shared, cluster.health_check.is_some().then_some(service)))
    }

    /// Moves whenever [`Backends::usable`] may answer differently.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Healthy endpoints and their weights.
    pub(crate) fn usable(&self) -> Vec<(SocketAddr, u32)> {
        let backends = self.balancer.backends();
        backends
            .get_backend()
            .iter()
            .filter(|backend| backends.ready(backend))
            .filter_map(|backend| match backend.addr {
                BackendAddress::Inet(address) => {
                    Some((address, u32::try_from(backend.weight).unwrap_or(u32::MAX)))
                }
                BackendAddress::Unix(_) => None,
            })
            .collect()
    }
}

impl std::fmt::Debug for Backends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backends")
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl HealthObserve for Observer {
    async fn observe(&self, target: &Backend, healthy: bool) {
        // First, so that whoever reads the line finds it so.
        self.generation.fetch_add(1, Ordering::Relaxed);
        let state = if healthy { "healthy" } else { "unhealthy" };
        tracing::warn!(cluster = %self.cluster, endpoint = %target.addr, "endpoint is now {state}");
    }
}

fn health_check(
    cluster: &Cluster,
    check: &HealthCheck,
    observer: Observer,
) -> Box<dyn Check + Send + Sync> {
    let Some(path) = &check.path else {
        let mut tcp = TcpHealthCheck::new();
        tcp.health_changed_callback = Some(Box::new(observer));
        return tcp;
    };
    // Plain HTTP only: the load balancer's own TLS is not used for anything that carries
    // an identity. The configuration refuses `path` on clusters with TLS.
    let mut http = HttpHealthCheck::<()>::new(&cluster.name, false);
    if let Ok(uri) = path.parse() {
        http.req.set_uri(uri);
    }
    http.peer_template = HttpPeer::new("0.0.0.0:1", false, String::new());
    http.health_changed_callback = Some(Box::new(observer));
    Box::new(http)
}

/// The result of a future that does not wait.
fn futures_ready<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}
