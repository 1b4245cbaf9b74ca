//! What each policy chooses.

use std::collections::HashMap;
use std::time::Duration;

use super::*;
use crate::config::CircuitBreakers;
use crate::upstream::load::Load;

fn hosts(weights: &[u32]) -> Vec<Arc<Host>> {
    (1..)
        .zip(weights)
        .map(|(port, weight)| Host::new(([127, 0, 0, 1], port).into(), *weight))
        .collect()
}

fn pool(host: &Arc<Host>) -> Rc<Pool> {
    let load = Load::new(CircuitBreakers::default());
    Pool::new(host, load, None, Duration::from_secs(1), 1, None)
}

fn snapshot(policy: LbPolicy, weights: &[u32]) -> Snapshot {
    let mut snapshot = Snapshot::new(policy);
    snapshot.renew(&hosts(weights), pool);
    snapshot
}

fn ports(snapshot: &mut Snapshot, count: usize) -> Vec<u16> {
    (0..count)
        .filter_map(|_| snapshot.select(Pick::default()))
        .map(|pool| pool.address.port())
        .collect()
}

fn shares(snapshot: &mut Snapshot, picks: impl Iterator<Item = Pick>) -> HashMap<u16, usize> {
    let mut shares = HashMap::new();
    for pick in picks {
        let pool = snapshot.select(pick).expect("an endpoint");
        *shares.entry(pool.address.port()).or_default() += 1;
    }
    shares
}

fn hashes(count: u32) -> impl Iterator<Item = Pick> {
    (0..count).map(|number| Pick {
        hash: Some(hash(&number.to_be_bytes(), 7)),
        wanted: None,
    })
}

#[test]
fn weights_are_kept_and_spread() {
    let mut snapshot = snapshot(LbPolicy::RoundRobin, &[5, 1, 1]);
    assert_eq!(ports(&mut snapshot, 7), [1, 1, 2, 1, 3, 1, 1]);
}

#[test]
fn no_endpoint_is_no_choice() {
    for policy in [LbPolicy::RoundRobin, LbPolicy::Maglev, LbPolicy::RingHash] {
        assert!(snapshot(policy, &[]).select(Pick::default()).is_none());
    }
}

#[test]
fn endpoints_that_stay_keep_their_pool() {
    let both = hosts(&[1, 1]);
    let mut snapshot = Snapshot::new(LbPolicy::RoundRobin);
    snapshot.renew(&both, pool);
    let first = snapshot.endpoints[0].pool.clone();
    snapshot.renew(&both[..1], pool);
    assert_eq!(snapshot.endpoints.len(), 1);
    assert!(Rc::ptr_eq(&first, &snapshot.endpoints[0].pool));
    // Another one at the same address.
    snapshot.renew(&hosts(&[3]), pool);
    assert_eq!(snapshot.endpoints.len(), 1);
    assert!(!Rc::ptr_eq(&first, &snapshot.endpoints[0].pool));
    assert_eq!(snapshot.endpoints[0].weight, 3);
}

#[test]
fn chance_goes_by_weight() {
    let mut snapshot = snapshot(LbPolicy::Random, &[3, 1]);
    let shares = shares(&mut snapshot, (0..8000).map(|_| Pick::default()));
    assert!((5600..6400).contains(&shares[&1]), "{shares:?}");
}

#[test]
fn the_less_busy_of_two_is_taken() {
    let mut snapshot = snapshot(LbPolicy::LeastRequest, &[1, 1]);
    for _ in 0..3 {
        snapshot.endpoints[0].pool.tally.add(Word::Active);
    }
    let shares = shares(&mut snapshot, (0..8000).map(|_| Pick::default()));
    // Only when both draws are the busy one: a quarter.
    assert!((1600..2400).contains(&shares[&1]), "{shares:?}");
}

#[test]
fn a_hash_leads_to_one_endpoint_and_few_move_when_another_goes() {
    for policy in [LbPolicy::RingHash, LbPolicy::Maglev] {
        let mut snapshot = snapshot(policy, &[1, 1, 1, 1]);
        let before: Vec<_> = hashes(4000)
            .map(|pick| snapshot.select(pick).expect("an endpoint").address.port())
            .collect();
        let again: Vec<_> = hashes(4000)
            .map(|pick| snapshot.select(pick).expect("an endpoint").address.port())
            .collect();
        assert_eq!(before, again);
        snapshot.renew(&hosts(&[1, 1, 1]), pool);
        let after = hashes(4000).map(|pick| snapshot.select(pick).expect("one").address.port());
        let moved = before
            .iter()
            .zip(after)
            .filter(|(before, after)| **before != 4 && **before != *after)
            .count();
        assert!(moved < 200, "{policy:?}: {moved} of 3000 moved");
    }
}

#[test]
fn hashes_go_by_weight() {
    for policy in [LbPolicy::RingHash, LbPolicy::Maglev] {
        let mut snapshot = snapshot(policy, &[3, 1]);
        let shares = shares(&mut snapshot, hashes(8000));
        assert!((5200..6800).contains(&shares[&1]), "{policy:?}: {shares:?}");
    }
}
