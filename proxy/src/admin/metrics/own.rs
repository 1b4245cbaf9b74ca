//! The proxy's own metrics.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use cofferdam_abi::Shared;
use cofferdam_abi::engine::Tier;
use cofferdam_abi::shared::Space;

use super::families::{self, Family};
use super::{Gathered, Sample, Value};
use crate::admin::Subject;
use crate::tls::renewal::Holders;
use crate::traffic::{CLASSES, Seen};
use crate::upstream::backends::EndpointStatus;
use crate::upstream::host::Word;
use crate::upstream::load::Count;

/// All of them.
pub(super) fn gather(subject: &Subject) -> Vec<Gathered> {
    let shared = &subject.shared;
    let mut all = process(subject);
    all.extend(traffic(&shared.traffic.read()));
    all.extend(clusters(shared));
    let lost = shared.traffic.lost_lines.load(Ordering::Relaxed);
    all.push(number(&families::LOG_LINES_LOST, lost));
    all.extend(tls(&shared.modules.blueprint().config.tls()));
    if let Some((_, outbox)) = &shared.tracing {
        let counts = outbox.counts();
        let results = [
            ("sent", &counts.sent),
            ("failed", &counts.failed),
            ("dropped", &counts.dropped),
        ];
        all.push(
            Gathered::of(&families::SPANS).with(results.map(|(result, count)| {
                let count = count.load(Ordering::Relaxed);
                Sample::of(&families::SPANS, &[result], Value::Number(count))
            })),
        );
    }
    all.extend(of_guests(&shared.guests));
    all
}

/// What filters have brought about.
pub(super) fn of_guests(shared: &Shared) -> Vec<Gathered> {
    let mut all = usage(shared);
    all.extend(resident(shared));
    all.extend(callouts(shared));
    all.extend(counters(shared));
    all.extend(spaces(shared));
    let order = |gathered: &Gathered| {
        let mut known = families::ALL.iter();
        known.position(|family| family.name == gathered.name)
    };
    all.retain(|gathered| !gathered.samples.is_empty());
    all.sort_by_key(order);
    all
}

fn number(family: &'static Family, value: u64) -> Gathered {
    Gathered::of(family).with([Sample::of(family, &[], Value::Number(value))])
}

fn process(subject: &Subject) -> Vec<Gathered> {
    let ready = !*subject.shutdown.borrow() && subject.shared.readiness.missing().is_empty();
    let version = Sample::of(
        &families::BUILD,
        &[env!("CARGO_PKG_VERSION")],
        Value::Number(1),
    );
    let mut all = vec![
        number(&families::UPTIME, subject.begun.elapsed().as_secs()),
        number(&families::LIVE, ready.into()),
        Gathered::of(&families::BUILD).with([version]),
    ];
    let reloads = subject.shared.reloads.status();
    all.push(number(&families::GENERATION, reloads.generation));
    let results = [("good", reloads.good), ("refused", reloads.refused)];
    let samples = results
        .map(|(result, count)| Sample::of(&families::RELOADS, &[result], Value::Number(count)));
    all.push(Gathered::of(&families::RELOADS).with(samples));
    let resident = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = resident.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    if let Some(pages) = pages {
        let bytes = pages.saturating_mul(rustix::param::page_size() as u64);
        all.push(number(&families::RESIDENT, bytes));
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // One of them is this look itself.
        let open = open.count().saturating_sub(1) as u64;
        all.push(number(&families::DESCRIPTORS, open));
    }
    all
}

fn traffic(seen: &[Seen]) -> Vec<Gathered> {
    let by_listener = |family: &'static Family, value: fn(&Seen) -> u64| {
        let samples = seen
            .iter()
            .map(|one| Sample::of(family, &[&one.listener], Value::Number(value(one))));
        Gathered::of(family).with(samples)
    };
    let routes = || {
        let listeners = seen.iter();
        listeners.flat_map(|one| one.routes.iter().map(move |route| (&one.listener, route)))
    };
    let requests = routes().flat_map(|(listener, route)| {
        let classes = CLASSES.iter().zip(route.classes);
        // A class that has never been is no series.
        let classes = classes.filter(|(_, count)| *count > 0);
        classes.map(move |(class, count)| {
            let labels = [&listener[..], &route.route, class];
            Sample::of(&families::REQUESTS, &labels, Value::Number(count))
        })
    });
    let times = routes()
        .filter(|(_, route)| route.classes.iter().any(|count| *count > 0))
        .map(|(listener, route)| {
            let value = Value::Histogram(route.times.clone().into());
            Sample::of(&families::DURATION, &[listener, &route.route], value)
        });
    let flags = seen.iter().flat_map(|one| {
        let flags = one.flags.iter();
        flags.map(move |(flag, count)| {
            let labels = [&one.listener[..], flag];
            Sample::of(&families::FLAGS, &labels, Value::Number(*count))
        })
    });
    let events = seen.iter().flat_map(|one| {
        let events = one.events.iter();
        events.map(move |(event, count)| {
            let labels = [&one.listener[..], event];
            Sample::of(&families::LISTENER_EVENTS, &labels, Value::Number(*count))
        })
    });
    vec![
        by_listener(&families::CONNECTIONS, |one| one.connections),
        by_listener(&families::CONNECTIONS_ACTIVE, |one| one.connections_active),
        by_listener(&families::RECEIVED, |one| one.received),
        by_listener(&families::SENT, |one| one.sent),
        by_listener(&families::PROTOCOL_ERRORS, |one| one.protocol_errors),
        Gathered::of(&families::REQUESTS).with(requests),
        by_listener(&families::REQUESTS_ACTIVE, |one| one.requests_active),
        Gathered::of(&families::DURATION).with(times),
        Gathered::of(&families::FLAGS).with(flags),
        Gathered::of(&families::LISTENER_EVENTS).with(events),
    ]
}

fn clusters(shared: &crate::worker::Shared) -> Vec<Gathered> {
    let words = [
        (&families::CLUSTER_CONNECTIONS, Word::Connections),
        (
            &families::CLUSTER_CONNECTIONS_ACTIVE,
            Word::ConnectionsActive,
        ),
        (&families::CLUSTER_CONNECT_FAILED, Word::ConnectFailed),
        (&families::CLUSTER_REQUESTS, Word::Requests),
        (&families::CLUSTER_REQUESTS_ACTIVE, Word::Active),
        (&families::CLUSTER_SUCCESSES, Word::Successes),
        (&families::CLUSTER_ERRORS, Word::Errors),
    ];
    let mut endpoints = Gathered::of(&families::CLUSTER_ENDPOINTS);
    let mut counted = words.map(|(family, word)| (family, word, Gathered::of(family)));
    let mut events = Gathered::of(&families::CLUSTER_EVENTS);
    let blueprint = shared.modules.blueprint();
    for (cluster, served) in blueprint.config.clusters.iter().zip(&blueprint.clusters) {
        let backends = &served.backends;
        let status = backends.status();
        let count = |is: fn(&EndpointStatus) -> bool| status.iter().filter(|one| is(one)).count();
        for (state, count) in [
            ("total", status.len()),
            ("healthy", count(|one| one.healthy)),
            ("ejected", count(|one| one.ejected)),
        ] {
            let labels = [&cluster.name[..], state];
            let value = Value::Number(count as u64);
            let sample = Sample::of(&families::CLUSTER_ENDPOINTS, &labels, value);
            endpoints.samples.push(sample);
        }
        for (family, word, gathered) in &mut counted {
            let sum = status.iter().map(|one| one.words[*word as usize]).sum();
            let sample = Sample::of(family, &[&cluster.name], Value::Number(sum));
            gathered.samples.push(sample);
        }
        for event in Count::ALL {
            let labels = [&cluster.name[..], event.name()];
            let value = Value::Number(backends.load.counted(event));
            let sample = Sample::of(&families::CLUSTER_EVENTS, &labels, value);
            events.samples.push(sample);
        }
    }
    let mut all = vec![endpoints];
    all.extend(counted.map(|(.., gathered)| gathered));
    all.push(events);
    all
}

/// Handshakes, and how long certificates are good.
fn tls(holders: &Holders) -> Vec<Gathered> {
    // `listener web`, `cluster backend`, `callouts`.
    let split = |owner: &str| {
        let (side, name) = owner.split_once(' ').unwrap_or((owner, ""));
        (side.to_owned(), name.to_owned())
    };
    let servers = holders.servers.iter();
    let counts = servers.map(|server| (server.owner(), server.counts.now()));
    let clients = holders.clients.iter();
    let counts = counts.chain(clients.map(|client| (client.owner(), client.counts.now())));
    let handshakes = counts.flat_map(|(owner, counts)| {
        let (side, name) = split(owner);
        counts.map(|(result, count)| {
            let labels = [&side[..], &name, result];
            Sample::of(&families::TLS_HANDSHAKES, &labels, Value::Number(count))
        })
    });
    let mut seen = BTreeSet::new();
    let certificates = holders.listed().into_iter().filter_map(|listed| {
        let (side, name) = split(&listed.owner);
        let file = listed.file.display().to_string();
        let labels = [side, name, listed.used_as().to_owned(), file, listed.serial];
        // A file may have one twice.
        if !seen.insert(labels.clone()) {
            return None;
        }
        let since = listed.not_after.duration_since(SystemTime::UNIX_EPOCH);
        let until = Value::Number(since.map_or(0, |since| since.as_secs()));
        let labels = labels.each_ref().map(|label| &label[..]);
        Some(Sample::of(&families::CERTIFICATES, &labels, until))
    });
    let mut all = vec![
        Gathered::of(&families::TLS_HANDSHAKES).with(handshakes),
        Gathered::of(&families::CERTIFICATES).with(certificates),
    ];
    all.retain(|gathered| !gathered.samples.is_empty());
    all
}

/// Calls, fuel and time, by filter, callback and engine: for graphs, and for bills.
fn usage(shared: &Shared) -> Vec<Gathered> {
    let (mut calls, mut fuel, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for (filter, used) in shared.used() {
        let labels = [&filter[..], used.name(), used.tier.as_str()];
        let sample = |family, value| Sample::of(family, &labels, value);
        calls.push(sample(&families::FILTER_CALLS, Value::Number(used.calls)));
        match used.tier {
            Tier::Interpreter => {
                fuel.push(sample(&families::FILTER_FUEL, Value::Number(used.cost)));
            }
            Tier::Native => {
                cpu.push(sample(&families::FILTER_CPU, Value::Seconds(used.cost)));
            }
        }
    }
    let times = shared
        .times()
        .into_iter()
        .map(|(filter, callback, counted)| {
            let value = Value::Histogram(counted.into());
            Sample::of(&families::FILTER_TIMES, &[&filter, callback.name()], value)
        });
    vec![
        Gathered::of(&families::FILTER_CALLS).with(calls),
        Gathered::of(&families::FILTER_FUEL).with(fuel),
        Gathered::of(&families::FILTER_CPU).with(cpu),
        Gathered::of(&families::FILTER_TIMES).with(times),
    ]
}

fn resident(shared: &Shared) -> Vec<Gathered> {
    let (mut vms, mut memory) = (Vec::new(), Vec::new());
    let (mut peak, mut replies) = (Vec::new(), Vec::new());
    for (filter, resident, answers) in shared.residents() {
        for tier in [Tier::Interpreter, Tier::Native] {
            let labels = [&filter[..], tier.as_str()];
            let value = Value::Number(resident.vms[tier as usize]);
            vms.push(Sample::of(&families::FILTER_VMS, &labels, value));
        }
        let sample = |family, value| Sample::of(family, &[&filter], Value::Number(value));
        memory.push(sample(&families::FILTER_MEMORY, resident.memory));
        peak.push(sample(&families::FILTER_PEAK, resident.peak));
        replies.push(sample(&families::FILTER_REPLIES, answers));
    }
    vec![
        Gathered::of(&families::FILTER_VMS).with(vms),
        Gathered::of(&families::FILTER_MEMORY).with(memory),
        Gathered::of(&families::FILTER_PEAK).with(peak),
        Gathered::of(&families::FILTER_REPLIES).with(replies),
    ]
}

fn callouts(shared: &Shared) -> Vec<Gathered> {
    let (mut ended, mut times) = (Vec::new(), Vec::new());
    for (filter, called) in shared.called_out() {
        let kind = called.kind.as_str();
        let all: u64 = called.times.counts.iter().sum();
        for (result, count) in [
            ("ok", all.saturating_sub(called.failed)),
            ("failed", called.failed),
        ] {
            let labels = [&filter[..], kind, result];
            ended.push(Sample::of(
                &families::FILTER_CALLOUTS,
                &labels,
                Value::Number(count),
            ));
        }
        let value = Value::Histogram(called.times.into());
        let labels = [&filter[..], kind];
        times.push(Sample::of(&families::FILTER_CALLOUT_TIMES, &labels, value));
    }
    vec![
        Gathered::of(&families::FILTER_CALLOUTS).with(ended),
        Gathered::of(&families::FILTER_CALLOUT_TIMES).with(times),
    ]
}

/// What is rare enough to be counted in common.
fn counters(shared: &Shared) -> Vec<Gathered> {
    let mut all: Vec<Gathered> = Vec::new();
    for counter in shared.metrics().host() {
        let Some(family) = families::ALL
            .iter()
            .find(|family| family.name == counter.name())
        else {
            debug_assert!(false, "{} is no family", counter.name());
            continue;
        };
        let values: Vec<&str> = counter
            .labels()
            .iter()
            .map(|(_, value)| &value[..])
            .collect();
        let sample = Sample::of(family, &values, Value::Number(counter.value()));
        match all.iter_mut().find(|known| known.name == family.name) {
            Some(known) => known.samples.push(sample),
            None => all.push(Gathered::of(family).with([sample])),
        }
    }
    all
}

/// What filters share.
fn spaces(shared: &Shared) -> Vec<Gathered> {
    let mut spaces = shared.spaces();
    spaces.sort_by(|a, b| a.vm_id().cmp(b.vm_id()));
    let gauge = |family: &'static Family, value: fn(&Arc<Space>) -> usize| {
        let samples = spaces
            .iter()
            .map(|space| Sample::of(family, &[space.vm_id()], Value::Number(value(space) as u64)));
        Gathered::of(family).with(samples)
    };
    vec![
        gauge(&families::DATA_ENTRIES, |space| space.data_size().0),
        gauge(&families::DATA_BYTES, |space| space.data_size().1),
        gauge(&families::QUEUE_ITEMS, |space| space.queued().0),
        gauge(&families::QUEUE_BYTES, |space| space.queued().1),
    ]
}
