//! Servers that calls reach over connections of their own: those that a filter names by
//! URL, and clusters that speak HTTP/1.1 to routes and HTTP/2 to gRPC.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use cofferdam_abi::callout::Target;

use crate::config::{
    Balance, Callouts, CircuitBreakers, Cluster, Dns, Family, Protocol, UpstreamTls,
};
use crate::reports;
use crate::upstream::Upstream;
use crate::worker::Worker;
use crate::{dns, tls};

/// All of one worker.
#[derive(Debug)]
pub(super) struct Remotes {
    settings: RefCell<Arc<Callouts>>,
    /// Never more than the clusters and URLs of the configuration.
    known: RefCell<HashMap<Key, Rc<Remote>>>,
}

/// Where to, and whether HTTP/2 is a must.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    place: Place,
    http2: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Cluster(String),
    Url { tls: bool, host: String, port: u16 },
}

/// One of them.
#[derive(Debug)]
struct Remote {
    upstream: Rc<Upstream>,
    /// Until when its addresses are good, once there are any.
    good_until: Cell<Option<Instant>>,
    /// One at a time asks the resolver.
    resolving: tokio::sync::Mutex<()>,
}

// === impl Remotes ===

impl Remotes {
    pub(super) fn new(settings: Arc<Callouts>) -> Self {
        Self {
            settings: RefCell::new(settings),
            known: RefCell::default(),
        }
    }

    /// The upstream that `target` names, with its addresses known; `http2` where nothing
    /// else will do.
    ///
    /// # Errors
    /// Why there is none, in words for the log and for the guest.
    pub(super) async fn find(
        &self,
        worker: &Worker,
        target: &Target,
        http2: bool,
    ) -> Result<Rc<Upstream>, String> {
        match target {
            Target::Cluster(name) => {
                let setup = worker.setup();
                let own = setup
                    .upstream_named(name)
                    .ok_or_else(|| format!("there is no cluster {}", reports::short(name)))?;
                if !http2 || own.cluster.protocol == Protocol::Http2 {
                    return Ok(own.clone());
                }
                let place = Place::Cluster(own.cluster.name.clone());
                let make = || Ok(own.beside(speaking_http2(&own.cluster)));
                Ok(self.known(Key { place, http2 }, make)?.upstream.clone())
            }
            Target::Url { tls, host, port } => {
                let place = Place::Url {
                    tls: *tls,
                    host: host.clone(),
                    port: *port,
                };
                let make = || self.by_url(*tls, host, *port, http2);
                let remote = self.known(Key { place, http2 }, make)?;
                let dns = self.settings.borrow().dns.clone();
                remote.resolve(&dns, host, *port).await?;
                Ok(remote.upstream.clone())
            }
        }
    }

    /// Servers named by URL are called like that from now on.
    pub(super) fn renew(&self, settings: &Arc<Callouts>) {
        self.settings.replace(settings.clone());
        let by_url = |key: &Key| matches!(key.place, Place::Url { .. });
        self.known.borrow_mut().retain(|key, _| !by_url(key));
    }

    /// A cluster is gone, or has become another.
    pub(super) fn forget(&self, cluster: &str) {
        let is_it = |key: &Key| matches!(&key.place, Place::Cluster(name) if name == cluster);
        self.known.borrow_mut().retain(|key, _| !is_it(key));
    }

    /// Closes every connection that is not in use.
    pub(super) fn close_idle(&self) {
        for remote in self.known.borrow().values() {
            remote.upstream.close_idle();
        }
    }

    fn known(
        &self,
        key: Key,
        make: impl FnOnce() -> Result<Upstream, String>,
    ) -> Result<Rc<Remote>, String> {
        if let Some(remote) = self.known.borrow().get(&key) {
            return Ok(remote.clone());
        }
        let remote = Rc::new(Remote {
            upstream: Rc::new(make()?),
            good_until: Cell::new(None),
            resolving: tokio::sync::Mutex::new(()),
        });
        self.known.borrow_mut().insert(key, remote.clone());
        Ok(remote)
    }

    fn by_url(&self, tls: bool, host: &str, port: u16, http2: bool) -> Result<Upstream, String> {
        let settings = self.settings.borrow().clone();
        let tls = match (tls, &settings.tls) {
            (false, _) => None,
            (true, Some(client)) => Some(UpstreamTls {
                server_name: Some(tls::server_name(host).map_err(|error| error.to_string())?),
                tls: client.clone(),
                only_http2: false,
            }),
            (true, None) => return Err("no certificate authorities to verify it with".to_owned()),
        };
        let protocol = match &tls {
            Some(_) => Protocol::Auto,
            None => Protocol::Http1,
        };
        let cluster = Cluster {
            name: if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            },
            endpoints: Vec::new(),
            dns_family: Family::default(),
            protocol,
            proxy_protocol: None,
            tls,
            connect_timeout: settings.connect_timeout,
            idle_timeout: settings.idle_timeout,
            max_idle: 128,
            health_check: None,
            balance: Balance::default(),
            circuit_breakers: CircuitBreakers::default(),
            outlier_detection: None,
        };
        let cluster = if http2 {
            speaking_http2(&cluster)
        } else {
            cluster
        };
        Ok(Upstream::new(Arc::new(cluster), None))
    }
}

// === impl Remote ===

impl Remote {
    /// Sees to it that its addresses are known. Addresses that were good once stay in use
    /// while the resolver has nothing better to say.
    async fn resolve(&self, dns: &Dns, host: &str, port: u16) -> Result<(), String> {
        let is_fresh = || (self.good_until.get()).is_some_and(|until| Instant::now() < until);
        if is_fresh() {
            return Ok(());
        }
        let _one_at_a_time = self.resolving.lock().await;
        if is_fresh() {
            return Ok(());
        }
        let (addresses, ttl) = match host.parse::<IpAddr>() {
            Ok(address) => (vec![address], dns.max_ttl),
            Err(_) => match dns::look_up(dns, self.upstream.cluster.dns_family, host).await {
                Ok(found) => (found.addresses, found.ttl),
                Err(_) if self.good_until.get().is_some() => return Ok(()),
                Err(why) => return Err(format!("{host} cannot be resolved: {why}")),
            },
        };
        if addresses.is_empty() {
            return Err(format!("{host} cannot be resolved: it has no address"));
        }
        let addresses: Vec<_> = (addresses.into_iter())
            .map(|ip| SocketAddr::new(ip, port))
            .collect();
        self.upstream.resolve(&addresses);
        self.good_until.set(Some(Instant::now() + ttl));
        Ok(())
    }
}

/// The same servers where only HTTP/2 will do.
fn speaking_http2(cluster: &Cluster) -> Cluster {
    let mut cluster = cluster.clone();
    cluster.protocol = Protocol::Http2;
    if let Some(tls) = &mut cluster.tls {
        tls.only_http2 = true;
    }
    cluster
}
