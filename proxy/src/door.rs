//! Where connections come in, as long as the worker listens there: which listener of which
//! configuration it is now, and when it is over.
//!
//! An *entrance* is a socket. Behind it is a *door*, which the connections that came through
//! it hold: it says what their next request is served by. A reload shows another setup at
//! the same door where the connections themselves would be treated alike; where not (TLS has
//! changed, say), there is another door for those to come, and this one closes: what is under
//! way goes on, and nothing new is taken.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use tokio::sync::Notify;

use crate::config::Address;
use crate::listener::Acceptor;
use crate::setup::Setup;

/// An event that happens once, to whoever waits for it.
#[derive(Debug, Default)]
pub(crate) struct Once {
    happened: Cell<bool>,
    waiting: Notify,
}

/// What connections of one listener have in common.
#[derive(Debug)]
pub(crate) struct Door {
    setup: RefCell<Rc<Setup>>,
    /// Position of the listener there.
    listener: Cell<usize>,
    /// Clients are told that it is over: with the next response, by GOAWAY.
    pub(crate) closing: Once,
    /// What has nothing under way is not waited for.
    pub(crate) ending: Once,
    /// None at all: `drain_time` is over.
    pub(crate) cut: Once,
}

/// One listening socket of a worker.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) address: Address,
    door: RefCell<Rc<Door>>,
    /// As long as it is listened on.
    acceptor: Weak<Acceptor>,
    /// Another process listens there too, and goes on.
    handed_over: Cell<bool>,
    /// It is not to be listened on any more,
    pub(crate) closing: Once,
    /// and is not: who was in its queue has been taken, and the address is free.
    pub(crate) closed: Once,
}

// === impl Once ===

impl Once {
    pub(crate) fn happen(&self) {
        if !self.happened.replace(true) {
            self.waiting.notify_waiters();
        }
    }

    pub(crate) fn has_happened(&self) -> bool {
        self.happened.get()
    }

    /// Ready at once where it has happened already.
    pub(crate) async fn wait(&self) {
        if !self.happened.get() {
            self.waiting.notified().await;
        }
    }
}

// === impl Door ===

impl Door {
    pub(crate) fn new(setup: Rc<Setup>, listener: usize) -> Rc<Self> {
        Rc::new(Self {
            setup: RefCell::new(setup),
            listener: Cell::new(listener),
            closing: Once::default(),
            ending: Once::default(),
            cut: Once::default(),
        })
    }

    /// What a request that comes now is served by, and the position of its listener there.
    pub(crate) fn setup(&self) -> (Rc<Setup>, usize) {
        (self.setup.borrow().clone(), self.listener.get())
    }

    /// What is served by from now on.
    pub(crate) fn show(&self, setup: &Rc<Setup>, listener: usize) {
        self.setup.replace(setup.clone());
        self.listener.set(listener);
    }
}

// === impl Entrance ===

impl Entrance {
    pub(crate) fn new(address: Address, door: Rc<Door>, acceptor: Weak<Acceptor>) -> Rc<Self> {
        Rc::new(Self {
            address,
            door: RefCell::new(door),
            acceptor,
            handed_over: Cell::new(false),
            closing: Once::default(),
            closed: Once::default(),
        })
    }

    /// What a connection that comes now comes through.
    pub(crate) fn door(&self) -> Rc<Door> {
        self.door.borrow().clone()
    }

    /// What is listened by.
    pub(crate) fn acceptor(&self) -> Option<Rc<Acceptor>> {
        self.acceptor.upgrade()
    }

    /// Whoever waits to be let in is let in by another process.
    pub(crate) fn hand_over(&self) {
        self.handed_over.set(true);
    }

    pub(crate) fn is_handed_over(&self) -> bool {
        self.handed_over.get()
    }

    /// Puts in another; what it was.
    pub(crate) fn hang(&self, door: Rc<Door>) -> Rc<Door> {
        self.door.replace(door)
    }
}
