//! Which endpoint a request goes to.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Proxy, Upstream};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn proxy(policy: &str, route: &str, count: usize) -> Proxy {
    let upstreams = NAMES[..count].iter().map(|name| Upstream::named(name));
    let endpoints: Vec<_> = upstreams.map(|it| format!("'{}'", it.address)).collect();
    Proxy::start(&format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c, {route} }}] }}]\n\
         clusters: [{{ name: c, endpoints: [{}], lb_policy: {policy} }}]\nworkers: 2\n",
        endpoints.join(", ")
    ))
}

fn get(proxy: &Proxy, headers: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nhost: test\r\n{headers}\r\n");
    proxy.client().request(&request).text()
}

#[test]
fn every_policy_reaches_every_endpoint() {
    for policy in [
        "round_robin",
        "least_request",
        "random",
        "ring_hash",
        "maglev",
    ] {
        let proxy = proxy(policy, "", 3);
        let mut reached = BTreeMap::new();
        let mut client = proxy.client();
        for _ in 0..90 {
            *reached.entry(client.get("/").text()).or_insert(0) += 1;
        }
        // The chance that one of three is missed in 90 draws is 10^-15.
        assert_eq!(reached.len(), 3, "{policy}: {reached:?}");
    }
}

#[test]
fn the_same_goes_to_the_same_whatever_worker_takes_it() {
    let policy = "hash_policy: [{ header: x-user }, { cookie: session }]";
    for lb in ["ring_hash", "maglev"] {
        let proxy = proxy(lb, policy, 4);
        let mut reached = BTreeSet::new();
        for user in 0..80 {
            let header = format!("x-user: {user}\r\n");
            let first = get(&proxy, &header);
            assert_eq!(get(&proxy, &header), first, "{lb}");
            let cookie = format!("cookie: other=1; session=\"{user}\"\r\n");
            let by_cookie = get(&proxy, &cookie);
            let bare = format!("cookie: session={user}; session=2\r\n");
            assert_eq!(get(&proxy, &bare), by_cookie, "{lb}");
            reached.insert(first);
        }
        assert_eq!(reached.len(), 4, "{lb}");
    }
}

#[test]
fn what_is_terminal_ends_the_list() {
    let first = "hash_policy: [{ header: x-user, terminal: true }, { header: x-other }]";
    let all = "hash_policy: [{ header: x-user }, { header: x-other }]";
    for (policy, places) in [(first, 1..=1), (all, 2..=4)] {
        let proxy = proxy("maglev", policy, 4);
        let reached: BTreeSet<_> = (0..40)
            .map(|other| get(&proxy, &format!("x-user: me\r\nx-other: {other}\r\n")))
            .collect();
        assert!(places.contains(&reached.len()), "{policy}: {reached:?}");
    }
}

#[test]
fn a_clients_address_may_decide() {
    let proxy = proxy("ring_hash", "hash_policy: [{ source_ip: true }]", 4);
    let reached: BTreeSet<_> = (0..20).map(|_| get(&proxy, "")).collect();
    assert_eq!(reached.len(), 1, "{reached:?}");
}

#[test]
fn in_panic_all_endpoints_are_used() {
    let live = Upstream::named("live");
    let nobody = Upstream::nobody();
    for (threshold, statuses) in [(0, vec![200]), (60, vec![200, 503])] {
        let proxy = Proxy::start(&format!(
            "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c }}] }}]\n\
             clusters: [{{ name: c, endpoints: ['{}', '{nobody}'], health_check: {{ interval: 200ms }}, \
             healthy_panic_threshold: {threshold} }}]\nworkers: 1\n",
            live.address
        ));
        proxy.log.wait_for("endpoint is now unhealthy");
        let seen: BTreeSet<_> = (0..10).map(|_| proxy.get("/").status()).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), statuses);
    }
}
