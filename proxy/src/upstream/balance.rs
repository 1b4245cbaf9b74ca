//! Which endpoint comes next: one worker's choice among those that are usable.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use pingora_core::protocols::l4::socket::SocketAddr as BackendAddress;
use pingora_load_balancing::Backend;
use pingora_load_balancing::selection::consistent::KetamaHashing;
use pingora_load_balancing::selection::{BackendIter as _, BackendSelection as _};

use super::hash::hash;
use super::host::{Host, Word};
use super::pool::Pool;
use crate::config::LbPolicy;

/// Entries of a Maglev table, a prime: Envoy's default.
const MAGLEV: usize = 65_537;

/// What a request wants of its endpoint.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pick {
    /// This one, if it is there and usable.
    pub(crate) wanted: Option<SocketAddr>,
    /// Always the same one for the same hash.
    pub(crate) hash: Option<u64>,
}

/// Usable endpoints and where the round is.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) generation: Option<u64>,
    policy: LbPolicy,
    endpoints: Vec<Endpoint>,
    /// Of all weights.
    total: u64,
    table: Table,
    rng: fastrand::Rng,
}

#[derive(Debug)]
struct Endpoint {
    pool: Rc<Pool>,
    weight: i64,
    current: i64,
}

/// Where hashes lead.
#[derive(Default)]
enum Table {
    #[default]
    None,
    Ring(Arc<KetamaHashing>),
    /// Positions of endpoints.
    Maglev(Vec<u32>),
}

// === impl Snapshot ===

impl Snapshot {
    pub(super) fn new(policy: LbPolicy) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    /// Endpoints that stay keep their connections. One that went and has come back at the same
    /// address is another: nobody looks any more at what is counted for the one before.
    pub(super) fn renew(&mut self, usable: &[Arc<Host>], new: impl Fn(&Arc<Host>) -> Rc<Pool>) {
        let mut before = std::mem::take(&mut self.endpoints);
        for host in usable {
            let held = before
                .iter()
                .position(|endpoint| Arc::ptr_eq(endpoint.pool.host(), host));
            let pool = held.map_or_else(|| new(host), |at| before.swap_remove(at).pool);
            self.endpoints.push(Endpoint {
                pool,
                weight: i64::from(host.weight),
                current: 0,
            });
        }
        for gone in before {
            gone.pool.clear();
        }
        self.total = usable.iter().map(|host| u64::from(host.weight)).sum();
        self.table = match self.policy {
            LbPolicy::RingHash => Table::Ring(ring(usable)),
            LbPolicy::Maglev => Table::Maglev(maglev(usable)),
            _ => Table::None,
        };
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = &Rc<Pool>> {
        self.endpoints.iter().map(|endpoint| &endpoint.pool)
    }

    pub(super) fn find(&self, address: SocketAddr) -> Option<Rc<Pool>> {
        let mut pools = self.pools();
        pools.find(|pool| pool.address == address).cloned()
    }

    /// The endpoint for a request.
    pub(super) fn select(&mut self, pick: Pick) -> Option<Rc<Pool>> {
        if let Some(pool) = pick.wanted.and_then(|address| self.find(address)) {
            return Some(pool);
        }
        match &self.endpoints[..] {
            [] => return None,
            [only] => return Some(only.pool.clone()),
            _ => {}
        }
        match self.policy {
            LbPolicy::RoundRobin => self.next(),
            LbPolicy::LeastRequest => self.least(),
            LbPolicy::Random => self.draw(),
            LbPolicy::RingHash | LbPolicy::Maglev => pick
                .hash
                .and_then(|hash| self.by_hash(hash))
                .or_else(|| self.draw()),
        }
    }

    /// Smooth weighted round robin, so that 5:1:1 is not five in a row.
    fn next(&mut self) -> Option<Rc<Pool>> {
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

    /// One by chance, heavier ones more often.
    fn draw(&mut self) -> Option<Rc<Pool>> {
        let mut at = self.rng.u64(..self.total.max(1));
        for endpoint in &self.endpoints {
            let weight = u64::try_from(endpoint.weight).unwrap_or(0);
            if at < weight {
                return Some(endpoint.pool.clone());
            }
            at -= weight;
        }
        self.pools().next().cloned()
    }

    /// The power of two choices.
    fn least(&mut self) -> Option<Rc<Pool>> {
        let (one, other) = (self.draw()?, self.draw()?);
        let active = |pool: &Rc<Pool>| pool.tally.get(Word::Active);
        Some(if active(&other) < active(&one) {
            other
        } else {
            one
        })
    }

    fn by_hash(&self, hash: u64) -> Option<Rc<Pool>> {
        match &self.table {
            Table::None => None,
            Table::Ring(ring) => match ring.iter(&hash.to_be_bytes()).next()?.addr {
                BackendAddress::Inet(address) => self.find(address),
                BackendAddress::Unix(_) => None,
            },
            Table::Maglev(table) => {
                let at = usize::try_from(hash % MAGLEV as u64).unwrap_or(0);
                let endpoint = self.endpoints.get(*table.get(at)? as usize)?;
                Some(endpoint.pool.clone())
            }
        }
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Ring(_) => "Ring",
            Self::Maglev(_) => "Maglev",
        })
    }
}

fn ring(usable: &[Arc<Host>]) -> Arc<KetamaHashing> {
    let backend = |host: &Arc<Host>| {
        let weight = usize::try_from(host.weight).unwrap_or(1);
        Backend::new_with_weight(&host.address.to_string(), weight).ok()
    };
    let backends: BTreeSet<_> = usable.iter().filter_map(backend).collect();
    Arc::new(KetamaHashing::build(&backends))
}

/// Maglev's table (Eisenbud et al., NSDI 2016, section 3.4): endpoints take turns, each by
/// its own permutation of the entries, and with a smaller weight not every turn.
fn maglev(usable: &[Arc<Host>]) -> Vec<u32> {
    const FREE: u32 = u32::MAX;
    struct Turn {
        offset: u64,
        skip: u64,
        next: u64,
        due: u64,
    }
    let mut turns: Vec<_> = (usable.iter())
        .map(|host| {
            let name = host.address.to_string();
            Turn {
                offset: hash(name.as_bytes(), 0) % MAGLEV as u64,
                skip: hash(name.as_bytes(), 1) % (MAGLEV as u64 - 1) + 1,
                next: 0,
                due: 0,
            }
        })
        .collect();
    let heaviest = usable.iter().map(|host| host.weight).max().unwrap_or(1);
    let mut table = vec![FREE; MAGLEV];
    let mut taken = 0;
    let mut round = 0;
    while taken < MAGLEV && !usable.is_empty() {
        round += 1;
        for (index, (host, turn)) in usable.iter().zip(&mut turns).enumerate() {
            if round * u64::from(host.weight) <= turn.due {
                continue;
            }
            turn.due += u64::from(heaviest);
            let free = loop {
                let at = (turn.offset + turn.next * turn.skip) % MAGLEV as u64;
                turn.next += 1;
                let at = usize::try_from(at).unwrap_or(0);
                if table[at] == FREE {
                    break at;
                }
            };
            table[free] = u32::try_from(index).unwrap_or(0);
            taken += 1;
            if taken == MAGLEV {
                break;
            }
        }
    }
    table
}

#[cfg(test)]
mod tests;
