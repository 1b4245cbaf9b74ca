//! What all workers share of a cluster: its backends and their health, kept by
//! `pingora-load-balancing`.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use pingora_core::protocols::l4::socket::SocketAddr as BackendAddress;
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::HealthObserve;
use pingora_load_balancing::prelude::RoundRobin;
use pingora_load_balancing::{Backend, LoadBalancer};

use super::host::{Host, Word};
use super::load::{Count, Load};
use super::names::Names;
use super::outlier::{Detector, Outcome};
use super::probe::Prober;
use crate::config::{Cluster, Dns};

/// Backends of one cluster.
pub(crate) struct Backends {
    cluster: String,
    balancer: Arc<Balancer>,
    generation: Arc<AtomicU64>,
    hosts: Mutex<Vec<Arc<Host>>>,
    names: Names,
    found: Found,
    pub(crate) load: Arc<Load>,
    detector: Option<Detector>,
    /// In percent.
    panic_threshold: u8,
}

/// One endpoint as an operator sees it.
#[derive(Debug, Clone)]
pub(crate) struct EndpointStatus {
    pub(crate) address: SocketAddr,
    /// By which its address was found.
    pub(crate) name: Option<Box<str>>,
    pub(crate) weight: u32,
    /// By active checks; true without any.
    pub(crate) healthy: bool,
    /// By outlier detection.
    pub(crate) ejected: bool,
    /// By [`Word::ALL`].
    pub(crate) words: [u64; Word::ALL.len()],
}

/// Pingora's, which checks the health of one cluster's backends. It selects nothing.
pub(crate) type Balancer = LoadBalancer<RoundRobin>;

/// The backends there are now, for Pingora to discover.
#[derive(Clone, Default)]
struct Found(Arc<Mutex<BTreeSet<Backend>>>);

/// Counts changes of health, so that workers know when to look again.
struct Observer {
    cluster: String,
    generation: Arc<AtomicU64>,
}

// === impl Backends ===

impl Backends {
    /// Backends of `cluster`: those with an address at once, those with a name once
    /// [`Backends::look_up`] has found them. Nothing wakes up by itself.
    ///
    /// # Errors
    /// What `pingora-load-balancing` said of the endpoints.
    pub(crate) fn new(cluster: &Cluster, dns: &Arc<Dns>) -> Result<Arc<Self>, String> {
        let names = Names::new(cluster, dns);
        let hosts = names.hosts(&[]);
        let found = Found::default();
        found.set(&hosts)?;
        let generation = Arc::new(AtomicU64::new(0));
        let mut balancer = LoadBalancer::from_backends(pingora_load_balancing::Backends::new(
            Box::new(found.clone()),
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
        // What has been found is told at once: there is nothing to wait for.
        futures_ready(balancer.update())
            .unwrap_or(Ok(()))
            .map_err(|error| error.to_string())?;
        let detector = cluster.outlier_detection.map(|settings| {
            let detector = Detector::new(settings, &cluster.name);
            detector.watch(&hosts);
            detector
        });
        Ok(Arc::new(Self {
            cluster: cluster.name.clone(),
            balancer: Arc::new(balancer),
            generation,
            hosts: Mutex::new(hosts),
            names,
            found,
            load: Load::new(cluster.circuit_breakers),
            detector,
            panic_threshold: cluster.balance.panic_threshold,
        }))
    }

    /// What has to be started for health to be checked.
    pub(crate) const fn balancer(&self) -> &Arc<Balancer> {
        &self.balancer
    }

    /// When names have to be looked up next; `None` where there are none.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.names.due()
    }

    /// Looks up the names that are due, and goes over to what is found.
    pub(crate) async fn look_up(&self) {
        self.names.renew(&self.load).await;
        let before = self.hosts();
        let hosts = self.names.hosts(&before);
        let stays = |one: &Arc<Host>| before.iter().any(|other| Arc::ptr_eq(one, other));
        if hosts.len() == before.len() && hosts.iter().all(stays) {
            return;
        }
        let updated = match self.found.set(&hosts) {
            Ok(()) => self.balancer.update().await.map_err(|it| it.to_string()),
            Err(error) => Err(error),
        };
        if let Err(error) = updated {
            tracing::error!(cluster = %self.cluster, "endpoints stay as they are: {error}");
            return;
        }
        if let Some(detector) = &self.detector {
            detector.watch(&hosts);
        }
        let endpoints: Vec<_> = hosts.iter().map(|host| host.address.to_string()).collect();
        let endpoints = endpoints.join(" ");
        *self.hosts.lock().unwrap_or_else(PoisonError::into_inner) = hosts;
        self.generation.fetch_add(1, Ordering::Relaxed);
        tracing::info!(cluster = %self.cluster, "endpoints are now: {endpoints}");
    }

    /// All there are.
    pub(crate) fn hosts(&self) -> Vec<Arc<Host>> {
        self.hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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
        let hosts = self.hosts().into_iter();
        hosts
            .map(|host| {
                let healthy = healthy(&host);
                (host, healthy)
            })
            .collect()
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

    /// Every endpoint, for whoever wants to know. Its locks are held for moments, and taken by
    /// workers when health has moved, not for every request.
    pub(crate) fn status(&self) -> Vec<EndpointStatus> {
        self.tick();
        let all = self.with_health().into_iter();
        all.map(|(host, healthy)| EndpointStatus {
            address: host.address,
            name: host.name.clone(),
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

impl Found {
    /// # Errors
    /// What `pingora-load-balancing` said of them.
    fn set(&self, hosts: &[Arc<Host>]) -> Result<(), String> {
        let mut backends = BTreeSet::new();
        for host in hosts {
            let weight = usize::try_from(host.weight).unwrap_or(1);
            let backend = Backend::new_with_weight(&host.address.to_string(), weight)
                .map_err(|error| error.to_string())?;
            backends.insert(backend);
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = backends;
        Ok(())
    }
}

#[async_trait]
impl ServiceDiscovery for Found {
    async fn discover(&self) -> pingora_core::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let backends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((backends.clone(), HashMap::new()))
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
