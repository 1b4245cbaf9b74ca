//! Another process takes over: it is given every listening socket, starts, serves; then this
//! one drains and ends.
//!
//! Who takes over ([`take`]) asks at a unix socket ([`place`]) the one that serves ([`give`]),
//! which may have started it itself ([`successor`]). They speak in lines ([`message`]) that
//! carry descriptors ([`wire`]):
//!
//! ```text
//! hello 1 →                            ← offer N
//! more FROM →                          ← sockets, with descriptors; until all have come
//! (binds what else it needs, starts filters; its workers wait)
//! ready →                              ← go
//! (its workers take connections in)
//! serving, by these sockets →          ← bye
//! ```
//! Until `serving` has come the old process takes connections in as ever, and whatever goes
//! wrong costs nothing. A socket is one in both processes, with one queue: nobody who waits
//! in it is lost, whichever of them closes it first.

mod give;
mod message;
mod place;
mod successor;
mod take;
mod wire;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use crate::config::{Address, Listener};

pub(crate) use give::{Giver, Own};
pub(crate) use place::listen;
pub(crate) use successor::remember;
pub(crate) use take::{Plan, Taker, ask};

/// What a listening socket is known by in both processes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(String);

/// A socket for the other process.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) key: Key,
    pub(crate) socket: OwnedFd,
}

/// What another process has handed over; empty where there was none.
#[derive(Debug, Default)]
pub(crate) struct Inheritance {
    sockets: Vec<Offered>,
    /// What of it is used.
    taken: BTreeSet<Key>,
}

/// Sockets and the configuration stay as they are to each other for as long as somebody has
/// this: whoever takes over or hands over, from the first socket to the last word, or a reload.
pub(crate) type Hold = OwnedMutexGuard<()>;

/// How far this process is, from beginning to end: for whoever has to wait for it.
#[derive(Debug)]
pub(crate) struct Stage {
    state: watch::Sender<State>,
    /// What the process that has taken over listens on.
    handed: OnceLock<BTreeSet<Key>>,
    failure: OnceLock<String>,
    /// Taken by who wants a [`Hold`].
    hands: Arc<Mutex<()>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Connections may be taken in.
    open: bool,
    /// Another process takes them in.
    handed_over: bool,
    /// It has been told to end, or must.
    ending: bool,
    /// Workers that have started,
    started: usize,
    /// and those that listen.
    listening: usize,
}

// === impl Key ===

impl Key {
    /// Ports that the system chooses are told apart by the listener's name.
    pub(crate) fn of_listener(listener: &Listener) -> Self {
        Self::of(&listener.address, &listener.name)
    }

    pub(crate) fn of(address: &Address, name: &str) -> Self {
        Self(match address {
            Address::Tcp(tcp) if tcp.port() == 0 => format!("{address} {name}"),
            _ => address.to_string(),
        })
    }

    pub(crate) fn of_admin(address: SocketAddr) -> Self {
        Self(format!("admin {address}"))
    }

    /// Of the socket at which processes take over.
    pub(crate) fn of_place(path: &Path) -> Self {
        Self(format!("upgrade {}", path.display()))
    }

    /// Whether workers share one socket.
    fn is_shared(&self) -> bool {
        self.0.starts_with("unix:")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Inheritance ===

impl Inheritance {
    /// What of it is used.
    pub(crate) fn taken(self) -> BTreeSet<Key> {
        self.taken
    }

    /// All sockets of that name.
    pub(crate) fn take(&mut self, key: &Key) -> Vec<OwnedFd> {
        let found = self.sockets.extract_if(.., |offered| offered.key == *key);
        let found: Vec<OwnedFd> = found.map(|offered| offered.socket).collect();
        if !found.is_empty() {
            self.taken.insert(key.clone());
        }
        found
    }
}

// === impl Stage ===

impl Stage {
    pub(crate) fn new() -> Self {
        Self {
            state: watch::Sender::new(State::default()),
            handed: OnceLock::new(),
            failure: OnceLock::new(),
            hands: Arc::default(),
        }
    }

    /// Waits for whoever has it, in turn.
    pub(crate) async fn hold(&self) -> Hold {
        self.hands.clone().lock_owned().await
    }

    /// The same, on a thread that has nothing else to do.
    pub(crate) fn wait_and_hold(&self) -> Hold {
        self.hands.clone().blocking_lock_owned()
    }

    /// Where nobody has it, nor waits for it.
    pub(crate) fn try_hold(&self) -> Option<Hold> {
        self.hands.clone().try_lock_owned().ok()
    }

    /// A worker has started what it needs.
    pub(crate) fn started(&self) {
        self.state.send_modify(|state| state.started += 1);
    }

    /// A worker listens on all that it was given.
    pub(crate) fn listens(&self) {
        self.state.send_modify(|state| state.listening += 1);
    }

    /// Until so many do: before that nobody knows all there is.
    async fn all_listen(&self, workers: usize) {
        self.wait(|state| state.listening >= workers).await;
    }

    /// Until so many have.
    async fn all_started(&self, workers: usize) {
        self.wait(|state| state.started >= workers).await;
    }

    /// Connections may be taken in from now on.
    pub(crate) fn open(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    /// Until they may; never where it ends before.
    pub(crate) async fn opened(&self) {
        self.wait(|state| state.open).await;
    }

    /// It is to end, or its patience with idle connections is to; whether it has taken in any.
    pub(crate) fn end(&self) -> bool {
        self.state.send_modify(|state| state.ending = true);
        self.state.borrow().open
    }

    /// It cannot take over, or not start at all.
    pub(crate) fn fail(&self, why: String) {
        // The first reason is the one that counts.
        let _ = self.failure.set(why);
        self.end();
    }

    /// Why it could not.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(|why| &**why)
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.state.borrow().ending
    }

    pub(crate) async fn ending(&self) {
        self.wait(|state| state.ending).await;
    }

    /// Until another process has taken over, or it is to end: whether it was the former.
    pub(crate) async fn over(&self) -> bool {
        self.wait(|state| state.handed_over || state.ending).await;
        self.is_handed_over()
    }

    /// Until another process has taken over.
    pub(crate) async fn handed_over(&self) {
        self.wait(|state| state.handed_over).await;
    }

    pub(crate) fn is_handed_over(&self) -> bool {
        self.state.borrow().handed_over
    }

    /// Whether another process that has taken over listens there.
    pub(crate) fn is_taken(&self, key: &Key) -> bool {
        let taken = |handed: &BTreeSet<Key>| handed.contains(key);
        self.is_handed_over() && self.handed.get().is_some_and(taken)
    }

    /// Another process has these now. Not where this one has been told to end already: then
    /// nobody is to go on in its place.
    fn hand_over(&self, keys: BTreeSet<Key>) -> bool {
        let _ = self.handed.set(keys);
        self.state.send_if_modified(|state| {
            state.handed_over = !state.ending;
            state.handed_over
        })
    }

    async fn wait(&self, reached: impl Fn(&State) -> bool) {
        // It cannot fail: the sender is here.
        let _ = self
            .state
            .subscribe()
            .wait_for(|state| reached(state))
            .await;
    }
}
