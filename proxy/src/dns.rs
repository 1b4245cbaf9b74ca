//! Addresses of names, and for how long: what the system's resolver does not tell.
//!
//! Servers are asked by a library. Which names are tried in which order is decided here, since
//! it matters why there is no address: that a name does not exist empties a cluster, that
//! nobody answers must not, and of a list of names to try both may be true.
//!
//! The hosts file and `resolv.conf` are read for every look-up, so that what changes in them
//! holds without a reload.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};

use crate::config::{Dns, Family};

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Each once, in order; none if there is no such name.
    pub(crate) addresses: Vec<IpAddr>,
    /// For how long, within the bounds of the configuration.
    pub(crate) ttl: Duration,
}

/// One look-up.
struct Asking {
    hosts: Hosts,
    resolver: TokioResolver,
    /// To be tried in order, all of them complete,
    names: Vec<Name>,
    /// and as it is written, which is how the hosts file has it.
    written: Name,
}

/// The addresses of `host`.
///
/// # Errors
/// Why nobody could tell, in words for the log.
pub(crate) async fn look_up(dns: &Dns, family: Family, host: &str) -> Result<Answer, String> {
    let mut answer = tokio::time::timeout(dns.timeout, ask(dns, family, host))
        .await
        .unwrap_or_else(|_| Err("no answer in time".to_owned()))?;
    answer.addresses.sort_unstable();
    answer.addresses.dedup();
    answer.ttl = answer.ttl.clamp(dns.min_ttl, dns.max_ttl.max(dns.min_ttl));
    Ok(answer)
}

async fn ask(dns: &Dns, family: Family, host: &str) -> Result<Answer, String> {
    let (wanted, settings) = (host.to_owned(), dns.clone());
    // On a thread for such things: files are read.
    let asking = tokio::task::spawn_blocking(move || Asking::new(&settings, &wanted));
    let asking = asking.await.map_err(|error| error.to_string())??;
    let (v4, v6) = (RecordType::A, RecordType::AAAA);
    match family {
        Family::V4Only => asking.find(v4).await,
        Family::V6Only => asking.find(v6).await,
        Family::V4Preferred => asking.first(v4, v6).await,
        Family::Auto => asking.first(v6, v4).await,
        Family::All => {
            let (one, other) = tokio::join!(asking.find(v4), asking.find(v6));
            match (one, other) {
                (Ok(mut one), Ok(other)) => {
                    one.ttl = one.ttl.min(other.ttl);
                    one.addresses.extend(other.addresses);
                    Ok(one)
                }
                // Better half of them than none.
                (Ok(some), Err(_)) | (Err(_), Ok(some)) if !some.addresses.is_empty() => Ok(some),
                (Err(why), _) | (_, Err(why)) => Err(why),
            }
        }
    }
}

// === impl Asking ===

impl Asking {
    fn new(dns: &Dns, host: &str) -> Result<Self, String> {
        let (mut system, mut options) = system_conf::read_system_conf().unwrap_or_else(|_| {
            // What the system's resolver asks where nobody is named.
            let here = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
            let nobody = ResolverConfig::from_parts(None, Vec::new(), vec![here]);
            (nobody, ResolverOpts::default())
        });
        if !dns.servers.is_empty() {
            let servers = dns.servers.iter().copied().map(server).collect();
            let search = std::mem::take(&mut system.search);
            system = ResolverConfig::from_parts(system.domain, search, servers);
        }
        // So that there is time for a second attempt.
        options.timeout = options.timeout.min(dns.timeout / 2);
        let mut written = Name::from_utf8(host).map_err(|error| error.to_string())?;
        let names = candidates(&written, &system.search, options.ndots);
        let resolver = TokioResolver::builder_with_config(system, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
            .map_err(|error| error.to_string())?;
        written.set_fqdn(true);
        Ok(Self {
            hosts: Hosts::from_system().unwrap_or_default(),
            resolver,
            names,
            written,
        })
    }

    /// Addresses of the first kind, or else of the other.
    async fn first(&self, kind: RecordType, other: RecordType) -> Result<Answer, String> {
        let found = self.find(kind).await?;
        if found.addresses.is_empty() {
            return self.find(other).await;
        }
        Ok(found)
    }

    async fn find(&self, kind: RecordType) -> Result<Answer, String> {
        let nothing = Answer {
            addresses: Vec::new(),
            ttl: Duration::ZERO,
        };
        let known = |kind| {
            let query = Query::query(self.written.clone(), kind);
            self.hosts.lookup_static_host(&query)
        };
        if let Some(lookup) = known(kind) {
            let addresses = lookup.answers().iter();
            let addresses = addresses.filter_map(|record| record.data.ip_addr());
            return Ok(Answer {
                addresses: addresses.collect(),
                ttl: Duration::MAX,
            });
        }
        if [RecordType::A, RecordType::AAAA]
            .into_iter()
            .any(|kind| known(kind).is_some())
        {
            // The hosts file has the other kind only, and nobody else is asked.
            return Ok(nothing);
        }
        let mut failed = None;
        for name in &self.names {
            match self.resolver.lookup(name.clone(), kind).await {
                Ok(lookup) => {
                    let records = lookup.answers().iter();
                    let found = records.filter_map(|record| record.data.ip_addr());
                    let addresses: Vec<_> = found.collect();
                    if !addresses.is_empty() {
                        let ttl = lookup
                            .valid_until()
                            .saturating_duration_since(Instant::now());
                        return Ok(Answer { addresses, ttl });
                    }
                }
                Err(error) if says_there_is_none(&error) => {}
                Err(error) => failed = Some(error.to_string()),
            }
        }
        failed.map_or(Ok(nothing), Err)
    }
}

/// A complete name is tried alone; one with enough dots in it before the domains that are
/// searched, others after them.
fn candidates(written: &Name, search: &[Name], ndots: usize) -> Vec<Name> {
    let mut complete = written.clone();
    complete.set_fqdn(true);
    if written.is_fqdn() {
        return vec![complete];
    }
    let mut names: Vec<_> = search
        .iter()
        .filter_map(|domain| written.clone().append_domain(domain).ok())
        .collect();
    let first = usize::from(written.num_labels()) > ndots || written.is_localhost();
    names.insert(if first { 0 } else { names.len() }, complete);
    names
}

/// A server at a port of its own.
fn server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

/// Whether a server knew, and there is none.
fn says_there_is_none(error: &NetError) -> bool {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = error else {
        return false;
    };
    matches!(
        none.response_code,
        ResponseCode::NoError | ResponseCode::NXDomain
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(host: &str, ndots: usize) -> Vec<String> {
        let name = |text: &str| Name::from_utf8(text).expect("a name");
        let search = [name("ns.svc.cluster.local."), name("cluster.local.")];
        let names = candidates(&name(host), &search, ndots);
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn domains_are_searched_as_the_system_does() {
        let searched = ["web.ns.svc.cluster.local.", "web.cluster.local.", "web."];
        assert_eq!(tried("web", 1), searched);
        assert_eq!(tried("web.", 1), ["web."]);
        let dotted = tried("a.b", 1);
        assert_eq!(
            dotted,
            ["a.b.", "a.b.ns.svc.cluster.local.", "a.b.cluster.local."]
        );
        assert_eq!(tried("a.b", 5).last().map(String::as_str), Some("a.b."));
        assert_eq!(tried("localhost", 5)[0], "localhost.");
    }
}
