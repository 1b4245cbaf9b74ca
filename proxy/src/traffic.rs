//! What clients have asked for and been given, by listener and route: words that one worker
//! writes and nobody locks, added up by whoever looks.
//!
//! A worker asks for its words when it begins to serve a listener, and gets the same again
//! after a reload: they are kept for as long as the process lives, and so bounded. Past
//! [`LISTENERS`] and [`ROUTES`] all others of a kind share the words of one name,
//! [`OVERFLOW`].

mod event;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_abi::usage::{ANSWERS, Counted, Times, raise};

use crate::access_log::Flags;
use crate::facts::Facts;

pub(crate) use event::Event;

/// Most listeners, and most routes of all listeners together, that are told apart over the
/// life of the process.
pub(crate) const LISTENERS: usize = 256;
pub(crate) const ROUTES: usize = 2_000;
/// What the others are called.
pub(crate) const OVERFLOW: &str = "overflow";
/// The route of requests that match none.
pub(crate) const UNROUTED: &str = "none";

/// One for the process.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    listeners: Mutex<Listeners>,
    /// Lines that the access log has lost.
    pub(crate) lost_lines: Arc<AtomicU64>,
}

type Listeners = BTreeMap<String, Entry>;

/// A listener, by workers.
#[derive(Debug, Default)]
struct Entry {
    words: BTreeMap<usize, Arc<ListenerWords>>,
    routes: BTreeMap<String, BTreeMap<usize, Arc<RouteWords>>>,
}

/// One listener on one worker.
#[derive(Debug)]
pub(crate) struct ListenerWords {
    connections: AtomicU64,
    closed: AtomicU64,
    requests: AtomicU64,
    finished: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    protocol_errors: AtomicU64,
    /// By the bit of the flag.
    flags: [AtomicU64; 64],
    events: [AtomicU64; Event::ALL.len()],
}

/// One route on one worker.
#[derive(Debug)]
pub(crate) struct RouteWords {
    /// None, then 1xx to 5xx.
    classes: [AtomicU64; 6],
    times: Times,
}

/// A listener as a worker writes it.
#[derive(Debug)]
pub(crate) struct OnListener {
    words: Arc<ListenerWords>,
    routes: Vec<Arc<RouteWords>>,
    unrouted: Arc<RouteWords>,
}

/// Counts a connection for as long as it lasts.
#[derive(Debug)]
pub(crate) struct Connected(Arc<ListenerWords>);

/// What all workers together have of a listener.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) listener: String,
    pub(crate) connections: u64,
    pub(crate) connections_active: u64,
    pub(crate) requests_active: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) protocol_errors: u64,
    /// Flags that were set, by their letters.
    pub(crate) flags: Vec<(&'static str, u64)>,
    /// What has happened to connections, where it has.
    pub(crate) events: Vec<(&'static str, u64)>,
    pub(crate) routes: Vec<SeenRoute>,
}

/// What they have of a route.
#[derive(Debug)]
pub(crate) struct SeenRoute {
    pub(crate) route: String,
    /// As [`CLASSES`] calls them.
    pub(crate) classes: [u64; 6],
    pub(crate) times: Counted,
}

/// Classes of statuses.
pub(crate) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

// === impl Traffic ===

impl Traffic {
    /// The words of a worker for a listener whose routes have these names.
    pub(crate) fn listener<'n>(
        &self,
        worker: usize,
        name: &str,
        routes: impl Iterator<Item = &'n str>,
    ) -> OnListener {
        let mut listeners = self.lock();
        let name = bounded(name, LISTENERS, &*listeners);
        let mut known: usize = listeners.values().map(|entry| entry.routes.len()).sum();
        let entry = listeners.entry(name.to_owned()).or_default();
        let words = entry.words.entry(worker).or_default().clone();
        let mut of = |route: &str| {
            let full = known >= ROUTES && !entry.routes.contains_key(route);
            let name = if full { OVERFLOW } else { route };
            let workers = entry.routes.entry(name.to_owned()).or_insert_with(|| {
                known += 1;
                BTreeMap::new()
            });
            workers.entry(worker).or_default().clone()
        };
        OnListener {
            words,
            unrouted: of(UNROUTED),
            routes: routes.map(&mut of).collect(),
        }
    }

    /// What there is so far.
    pub(crate) fn read(&self) -> Vec<Seen> {
        let listeners = self.lock();
        listeners
            .iter()
            .map(|(name, entry)| seen(name, entry))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        // What it guards is whole between any two steps.
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn bounded<'n, V>(name: &'n str, most: usize, known: &BTreeMap<String, V>) -> &'n str {
    if known.len() >= most && !known.contains_key(name) {
        OVERFLOW
    } else {
        name
    }
}

fn seen(name: &str, entry: &Entry) -> Seen {
    let sum = |word: fn(&ListenerWords) -> &AtomicU64| {
        let words = entry.words.values();
        words.fold(0_u64, |sum, words| sum.wrapping_add(load(word(words))))
    };
    let flags = (0..64_u32).filter_map(|bit| {
        let words = entry.words.values();
        let count: u64 = words.map(|words| load(&words.flags[bit as usize])).sum();
        Some((Flags::letters(bit)?, count)).filter(|(_, count)| *count > 0)
    });
    let events = Event::ALL.into_iter().filter_map(|event| {
        let words = entry.words.values();
        let count: u64 = words.map(|words| load(&words.events[event as usize])).sum();
        Some((event.name(), count)).filter(|(_, count)| *count > 0)
    });
    let routes = entry.routes.iter().map(|(route, workers)| {
        let mut classes = [0; 6];
        let mut times = Times::new(&ANSWERS).read();
        for words in workers.values() {
            for (sum, class) in classes.iter_mut().zip(&words.classes) {
                *sum += load(class);
            }
            times.add(&words.times.read());
        }
        SeenRoute {
            route: route.clone(),
            classes,
            times,
        }
    });
    // What is over is read first, so that there are never fewer than none.
    let (closed, finished) = (sum(|words| &words.closed), sum(|words| &words.finished));
    let (connections, requests) = (
        sum(|words| &words.connections),
        sum(|words| &words.requests),
    );
    Seen {
        listener: name.to_owned(),
        connections,
        connections_active: connections.saturating_sub(closed),
        requests_active: requests.saturating_sub(finished),
        received: sum(|words| &words.received),
        sent: sum(|words| &words.sent),
        protocol_errors: sum(|words| &words.protocol_errors),
        flags: flags.collect(),
        events: events.collect(),
        routes: routes.collect(),
    }
}

fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

// === impl OnListener ===

impl OnListener {
    /// A connection has been accepted.
    pub(crate) fn connected(&self) -> Connected {
        raise(&self.words.connections, 1);
        Connected(self.words.clone())
    }

    /// A request has begun.
    pub(crate) fn begun(&self) {
        raise(&self.words.requests, 1);
    }

    /// It is over.
    pub(crate) fn finished(&self, facts: &Facts) {
        let route = facts.route.get().and_then(|route| self.routes.get(route));
        let route = route.unwrap_or(&self.unrouted);
        let class = facts
            .status
            .get()
            .map_or(0, |status| usize::from(status / 100));
        raise(&route.classes[if class > 5 { 0 } else { class }], 1);
        let taken = facts.duration.get().unwrap_or_default().as_nanos();
        let taken = u64::try_from(taken).unwrap_or(u64::MAX);
        route.times.record(taken, 1);
        raise(&self.words.finished, 1);
        self.carried(facts);
    }

    /// What a request, or a connection that is not HTTP, has moved.
    pub(crate) fn carried(&self, facts: &Facts) {
        raise(&self.words.received, facts.received.get());
        raise(&self.words.sent, facts.sent.get());
        self.flagged(facts.flags.get());
    }

    /// A request that was no valid HTTP, and so never became one.
    pub(crate) fn refused(&self) {
        raise(&self.words.protocol_errors, 1);
        self.flagged(Flags::DOWNSTREAM_PROTOCOL_ERROR);
    }

    /// Something has happened to a connection.
    pub(crate) fn happened(&self, event: Event) {
        raise(&self.words.events[event as usize], 1);
    }

    fn flagged(&self, flags: Flags) {
        let mut bits = flags.bits();
        while bits != 0 {
            let bit = bits.trailing_zeros();
            raise(&self.words.flags[bit as usize], 1);
            bits &= bits - 1;
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        raise(&self.0.closed, 1);
    }
}

impl Default for ListenerWords {
    fn default() -> Self {
        let word = || AtomicU64::new(0);
        Self {
            connections: word(),
            closed: word(),
            requests: word(),
            finished: word(),
            received: word(),
            sent: word(),
            protocol_errors: word(),
            flags: std::array::from_fn(|_| word()),
            events: std::array::from_fn(|_| word()),
        }
    }
}

impl Default for RouteWords {
    fn default() -> Self {
        Self {
            classes: Default::default(),
            times: Times::new(&ANSWERS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_gets_its_words_again() {
        let traffic = Traffic::default();
        for _ in 0..3 {
            let on = traffic.listener(0, "web", ["a", "b"].into_iter());
            on.begun();
            drop(on.connected());
        }
        let kept = traffic.listener(1, "web", ["b"].into_iter());
        let held = kept.connected();
        let seen = traffic.read();
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].connections, seen[0].connections_active), (4, 1));
        assert_eq!(seen[0].requests_active, 3);
        let routes: Vec<_> = seen[0].routes.iter().map(|one| &one.route[..]).collect();
        assert_eq!(routes, ["a", "b", UNROUTED]);
        drop(held);
        assert_eq!(traffic.read()[0].connections_active, 0);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_together() {
        let traffic = Traffic::default();
        for turn in 0..3 * LISTENERS {
            let routes: Vec<String> = (0..20).map(|route| format!("{turn}-{route}")).collect();
            let on = traffic.listener(0, &format!("l{turn}"), routes.iter().map(|name| &name[..]));
            on.refused();
        }
        let seen = traffic.read();
        assert_eq!(seen.len(), LISTENERS + 1);
        let overflow = seen.iter().find(|one| one.listener == OVERFLOW);
        let overflow = overflow.expect("the others");
        assert_eq!(overflow.protocol_errors, 2 * LISTENERS as u64);
        assert_eq!(overflow.flags, [("DPE", 2 * LISTENERS as u64)]);
        // Each listener may have one more, which is that of all the others.
        let routes: usize = seen.iter().map(|one| one.routes.len()).sum();
        assert!(routes <= ROUTES + LISTENERS + 1, "{routes}");
    }
}
