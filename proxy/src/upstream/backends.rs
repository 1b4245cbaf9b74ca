//! What all workers share of a cluster: its backends and their health, kept by
//! `pingora-load-balancing`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use pingora_core::protocols::l4::socket::SocketAddr as BackendAddress;
use pingora_core::services::background::GenBackgroundService;
use pingora_load_balancing::health_check::HealthObserve;
use pingora_load_balancing::prelude::RoundRobin;
use pingora_load_balancing::{Backend, LoadBalancer, discovery};

use super::host::{Host, Word};
use super::load::{Count, Load};
use super::outlier::{Detector, Outcome};
use super::probe::Prober;
use crate::config::Cluster;

/// Backends of one cluster.
pub(crate) struct Backends {
    balancer: Arc<LoadBalancer<RoundRobin>>,
    generation: Arc<AtomicU64>,
    hosts: Vec<Arc<Host>>,
    pub(crate) load: Arc<Load>,
    detector: Option<Detector>,
    /// In percent.
    panic_threshold: u8,
}

/// One endpoint as an operator sees it.
#[derive(Debug, Clone)]
pub(crate) struct EndpointStatus {
    pub(crate) address: SocketAddr,
    pub(crate) weight: u32,
    /// By active checks; true without any.
    pub(crate) healthy: bool,
    /// By outlier detection.
    pub(crate) ejected: bool,
    /// By [`Word::ALL`].
    pub(crate) words: [u64; Word::ALL.len()],
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
            balancer.set_health_check(Box::new(Prober::new(cluster, check, observer)));
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
        let hosts: Vec<_> = (cluster.endpoints.iter())
            .map(|endpoint| Host::new(endpoint.address, endpoint.weight))
            .collect();
        let detector = cluster.outlier_detection.map(|settings| {
            let detector = Detector::new(settings, &cluster.name);
            detector.watch(&hosts);
            detector
        });
        let shared = Arc::new(Self {
            balancer: service.task(),
            generation,
            hosts,
            load: Load::new(cluster.circuit_breakers),
            detector,
            panic_threshold: cluster.balance.panic_threshold,
        });
        Ok((shared, cluster.health_check.is_some().then_some(service)))
    }

    /// Moves whenever [`Backends::usable`] may answer differently.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Endpoints that requests may go to.
    pub(crate) fn usable(&self) -> Vec<Arc<Host>> {
        let all = self.with_health();
        let usable: Vec<_> = all
            .iter()
            .filter(|(host, healthy)| *healthy && !host.is_ejected())
            .map(|(host, _)| host.clone())
            .collect();
        if usable.len() * 100 < all.len() * usize::from(self.panic_threshold) {
            return all.into_iter().map(|(host, _)| host).collect();
        }
        usable
    }

    /// All endpoints, and whether active checks find each healthy.
    fn with_health(&self) -> Vec<(Arc<Host>, bool)> {
        let backends = self.balancer.backends();
        let known = backends.get_backend();
        let healthy = |host: &Host| {
            let mut known = known.iter();
            let backend = known.find(|it| it.addr == BackendAddress::Inet(host.address));
            backend.is_some_and(|backend| backends.ready(backend))
        };
        let hosts = self.hosts.iter();
        hosts.map(|host| (host.clone(), healthy(host))).collect()
    }

    /// A request to this endpoint has ended so.
    pub(crate) fn note(&self, host: &Arc<Host>, outcome: Outcome) {
        if let Some(detector) = &self.detector
            && detector.note(host, outcome)
        {
            self.load.count(Count::Ejected);
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Does what is due; called before every selection.
    pub(crate) fn tick(&self) {
        if let Some(detector) = &self.detector
            && detector.tick()
        {
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Every endpoint, for whoever wants to know. Takes no lock that a request's path takes.
    pub(crate) fn status(&self) -> Vec<EndpointStatus> {
        self.tick();
        let all = self.with_health().into_iter();
        all.map(|(host, healthy)| EndpointStatus {
            address: host.address,
            weight: host.weight,
            healthy,
            ejected: host.is_ejected(),
            words: Word::ALL.map(|word| host.sum(word)),
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

/// The result of a future that does not wait.
fn futures_ready<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}
