//! Endpoints that are known by name: where DNS says they are, for as long as it says so.
//!
//! As Envoy's `STRICT_DNS`: every address is an endpoint, an address that is no longer told is
//! none any more, and while nobody can tell, what was known last goes on.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::host::Host;
use super::load::{Count, Load};
use crate::config::{Cluster, Dns, Endpoint, EndpointAddress, Family};
use crate::dns;

/// Longest time between attempts while nobody answers.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Endpoints of one cluster.
pub(super) struct Names {
    cluster: String,
    dns: Arc<Dns>,
    family: Family,
    endpoints: Vec<Endpoint>,
    /// By name; locked for moments only.
    known: Mutex<HashMap<String, Known>>,
}

/// What is known of one name.
struct Known {
    /// `None` until somebody has told.
    addresses: Option<Vec<IpAddr>>,
    /// When to ask again.
    due: Instant,
    /// Attempts in a row that nobody answered.
    failures: u32,
}

// === impl Names ===

impl Names {
    pub(super) fn new(cluster: &Cluster, dns: &Arc<Dns>) -> Self {
        let now = Instant::now();
        let names = cluster.endpoints.iter().filter_map(Endpoint::name);
        let known = names.map(|name| {
            let unknown = Known {
                addresses: None,
                due: now,
                failures: 0,
            };
            (name.to_owned(), unknown)
        });
        Self {
            known: Mutex::new(known.collect()),
            cluster: cluster.name.clone(),
            dns: dns.clone(),
            family: cluster.dns_family,
            endpoints: cluster.endpoints.clone(),
        }
    }

    /// When the next name has to be looked up; `None` if there are none.
    pub(super) fn due(&self) -> Option<Instant> {
        self.known().values().map(|known| known.due).min()
    }

    /// Looks up what is due.
    pub(super) async fn renew(&self, load: &Load) {
        let now = Instant::now();
        let due: Vec<_> = (self.known().iter())
            .filter(|(_, known)| known.due <= now)
            .map(|(name, _)| name.clone())
            .collect();
        let mut asking = JoinSet::new();
        for name in due {
            let (dns, family) = (self.dns.clone(), self.family);
            asking.spawn(async move {
                let answer = dns::look_up(&dns, family, &name).await;
                (name, answer)
            });
        }
        while let Some(asked) = asking.join_next().await {
            let Ok((name, answer)) = asked else { continue };
            load.count(Count::DnsLookup);
            if answer.is_err() {
                load.count(Count::DnsFailure);
            }
            self.learn(&name, answer);
        }
    }

    fn learn(&self, name: &str, answer: Result<dns::Answer, String>) {
        let mut all = self.known();
        let Some(known) = all.get_mut(name) else {
            return;
        };
        let cluster = &*self.cluster;
        let failures = known.failures;
        let wait = match answer {
            Ok(answer) => {
                let gone = answer.addresses.is_empty();
                if gone && known.addresses.as_ref() != Some(&answer.addresses) {
                    tracing::warn!(%cluster, name, "the name has no address");
                } else if failures > 0 {
                    tracing::warn!(%cluster, name, "the name is resolved again");
                }
                known.failures = 0;
                known.addresses = Some(answer.addresses);
                answer.ttl
            }
            Err(why) => {
                known.failures = failures.saturating_add(1);
                if failures == 0 {
                    let kept = known.addresses.as_ref().map_or(0, Vec::len);
                    tracing::warn!(%cluster, name, kept, "the name cannot be resolved: {why}");
                }
                let wait = (self.dns.min_ttl).saturating_mul(1 << failures.min(16));
                wait.min(LONGEST_WAIT)
            }
        };
        known.due = Instant::now() + wait;
    }

    /// The endpoints there are by what is known; those that stay are the same as `before`.
    pub(super) fn hosts(&self, before: &[Arc<Host>]) -> Vec<Arc<Host>> {
        let known = self.known();
        let mut hosts: Vec<Arc<Host>> = Vec::new();
        for endpoint in &self.endpoints {
            let addresses: Vec<SocketAddr> = match &endpoint.address {
                EndpointAddress::Fixed(address) => vec![*address],
                EndpointAddress::Named { host, port } => {
                    let addresses = known.get(host).and_then(|known| known.addresses.as_deref());
                    let addresses = addresses.unwrap_or_default().iter();
                    addresses.map(|ip| (*ip, *port).into()).collect()
                }
            };
            for address in addresses {
                // Two names may be one server.
                if hosts.iter().any(|host| host.address == address) {
                    continue;
                }
                let same =
                    |host: &&Arc<Host>| host.address == address && host.weight == endpoint.weight;
                let stays = before.iter().find(same).cloned();
                hosts.push(
                    stays.unwrap_or_else(|| Host::named(address, endpoint.weight, endpoint.name())),
                );
            }
        }
        hosts
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
