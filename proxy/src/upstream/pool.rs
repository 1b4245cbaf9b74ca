//! Idle connections to one endpoint, of one worker: those that anybody may use, or those
//! that are one client's own.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::client::conn::{http1, http2};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::backends::Backends;
use super::host::{Host, Tally, Word};
use super::line::Line;
use super::load::{Load, Place};
use super::{Outcome, UpstreamBody};
use crate::tls::Session;

/// Connections to one endpoint.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) address: SocketAddr,
    host: Arc<Host>,
    /// What this worker has had of the endpoint.
    pub(crate) tally: Arc<Tally>,
    pub(crate) load: Arc<Load>,
    /// Who wants to know how requests end.
    backends: Option<Arc<Backends>>,
    idle_timeout: Duration,
    max_idle: usize,
    http1: RefCell<Vec<Idle>>,
    http2: RefCell<Option<Shared>>,
    /// One at a time opens an HTTP/2 connection; the others wait and share it.
    pub(crate) opening: tokio::sync::Mutex<()>,
    /// What closes them when they have been idle for too long.
    sweeper: RefCell<Option<AbortHandle>>,
    /// Its endpoint, or its cluster, is gone: nothing is kept any more.
    closed: Cell<bool>,
    /// Told when a connection has become free, where their number is bounded.
    pub(super) freed: Rc<Notify>,
    /// What every connection begins with, before TLS.
    pub(super) header: Option<Bytes>,
    /// Pools of clients' own connections to the endpoint.
    own: Rc<RefCell<Vec<Weak<Self>>>>,
}

/// A connection from the moment it is begun; counted until it goes.
#[derive(Debug)]
pub(crate) struct Open {
    tally: Arc<Tally>,
    /// Its place, and who may be waiting for that.
    bounded: Option<(Place, Rc<Notify>)>,
}

/// A request that is under way on this endpoint.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) pool: Rc<Pool>,
    _place: Option<Place>,
}

/// What carries a connection.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    /// Its address here.
    pub(crate) local: Option<SocketAddr>,
    /// Its TLS session, if any.
    pub(crate) tls: Option<Rc<Session>>,
    /// What is known of it otherwise.
    pub(crate) line: Arc<Line>,
}

/// A connection nobody uses.
#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<UpstreamBody>,
    wire: Wire,
    since: Instant,
}

/// A connection everybody uses.
#[derive(Debug, Clone)]
struct Shared {
    sender: http2::SendRequest<UpstreamBody>,
    wire: Wire,
}

// === impl Pool ===

impl Pool {
    pub(crate) fn new(
        host: &Arc<Host>,
        load: Arc<Load>,
        backends: Option<Arc<Backends>>,
        idle_timeout: Duration,
        max_idle: usize,
        header: Option<Bytes>,
    ) -> Rc<Self> {
        Rc::new(Self {
            address: host.address,
            tally: host.tally(),
            host: host.clone(),
            load,
            backends,
            idle_timeout,
            max_idle,
            http1: RefCell::default(),
            http2: RefCell::default(),
            opening: tokio::sync::Mutex::new(()),
            sweeper: RefCell::default(),
            closed: Cell::new(false),
            freed: Rc::default(),
            header,
            own: Rc::default(),
        })
    }

    /// Its endpoint.
    pub(super) const fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The name that the endpoint was found by, if it was.
    pub(crate) fn name(&self) -> Option<&str> {
        self.host.name.as_deref()
    }

    /// Connections to the same endpoint that begin with this header and are one client's own.
    pub(super) fn for_client(&self, header: Bytes) -> Rc<Self> {
        let pool = Rc::new(Self {
            address: self.address,
            tally: self.tally.clone(),
            host: self.host.clone(),
            load: self.load.clone(),
            backends: self.backends.clone(),
            idle_timeout: self.idle_timeout,
            max_idle: self.max_idle,
            http1: RefCell::default(),
            http2: RefCell::default(),
            opening: tokio::sync::Mutex::new(()),
            sweeper: RefCell::default(),
            closed: Cell::new(self.closed.get()),
            freed: self.freed.clone(),
            header: Some(header),
            own: self.own.clone(),
        });
        let mut own = self.own.borrow_mut();
        if own.len() == own.capacity() {
            own.retain(|pool| pool.strong_count() > 0);
        }
        own.push(Rc::downgrade(&pool));
        pool
    }

    /// How a request to it has ended, or that there was no connection for it.
    pub(crate) fn note(&self, outcome: Outcome) {
        self.tally.add(match outcome {
            Outcome::Answered(..500) => Word::Successes,
            _ => Word::Errors,
        });
        if outcome == Outcome::TimedOut {
            self.tally.add(Word::Timeouts);
        }
        if let Some(backends) = &self.backends {
            backends.note(&self.host, outcome);
        }
    }

    /// Counts a connection that is begun now.
    pub(crate) fn opened(&self, place: Option<Place>) -> Open {
        self.tally.add(Word::Connections);
        self.stays_open(place)
    }

    /// Counts one that has been counted, from here on by somebody else.
    pub(super) fn stays_open(&self, place: Option<Place>) -> Open {
        self.tally.add(Word::ConnectionsActive);
        Open {
            tally: self.tally.clone(),
            bounded: place.map(|place| (place, self.freed.clone())),
        }
    }

    /// Any idle connection, even one that is not quite done with somebody's upload.
    pub(super) fn take_any_http1(&self) -> Option<(http1::SendRequest<UpstreamBody>, Wire)> {
        let idle = self.http1.borrow_mut().pop()?;
        Some((idle.sender, idle.wire))
    }

    /// The connection used last that can take a request now. One that is still busy with
    /// somebody's upload is left where it is: waiting for it would queue behind that.
    pub(crate) fn take_http1(&self) -> Option<(http1::SendRequest<UpstreamBody>, Wire)> {
        let mut idle = self.http1.borrow_mut();
        let mut index = idle.len();
        while index > 0 {
            index -= 1;
            if idle[index].sender.is_closed() {
                idle.remove(index);
            } else if idle[index].sender.is_ready() {
                let taken = idle.remove(index);
                return Some((taken.sender, taken.wire));
            }
        }
        None
    }

    pub(crate) fn put_http1(self: &Rc<Self>, sender: http1::SendRequest<UpstreamBody>, wire: Wire) {
        if sender.is_closed() || self.closed.get() {
            return;
        }
        let mut idle = self.http1.borrow_mut();
        if idle.len() >= self.max_idle {
            if self.max_idle == 0 {
                return;
            }
            idle.remove(0);
        }
        idle.push(Idle {
            sender,
            wire,
            since: Instant::now(),
        });
        if self.load.bounds_connections() {
            self.freed.notify_one();
        }
        let mut sweeper = self.sweeper.borrow_mut();
        if sweeper.is_none() {
            let sweeping = tokio::task::spawn_local(self.clone().sweep());
            *sweeper = Some(sweeping.abort_handle());
        }
    }

    pub(crate) fn shared_http2(&self) -> Option<(http2::SendRequest<UpstreamBody>, Wire)> {
        let mut shared = self.http2.borrow_mut();
        if shared
            .as_ref()
            .is_some_and(|shared| shared.sender.is_closed())
        {
            *shared = None;
        }
        shared
            .as_ref()
            .map(|shared| (shared.sender.clone(), shared.wire.clone()))
    }

    pub(crate) fn share_http2(&self, sender: http2::SendRequest<UpstreamBody>, wire: Wire) {
        if self.closed.get() {
            return;
        }
        *self.http2.borrow_mut() = Some(Shared { sender, wire });
    }

    /// Closes everything that is not in use, and what is as soon as it is not.
    pub(crate) fn clear(&self) {
        self.close();
        for own in self.own.borrow_mut().drain(..) {
            if let Some(pool) = own.upgrade() {
                pool.close();
            }
        }
    }

    /// The same of a pool that is one client's.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.http1.borrow_mut().clear();
        self.http2.borrow_mut().take();
        if let Some(sweeper) = self.sweeper.take() {
            sweeper.abort();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Closes a connection that some client has for itself and does not use, so that another
    /// may have its place.
    pub(super) fn make_room(&self) {
        let own = self.own.borrow();
        for pool in own.iter().filter_map(Weak::upgrade) {
            // Held by its client, and here: no request is on its way.
            if pool.take_any_http1().is_some()
                || Rc::strong_count(&pool) == 2 && pool.http2.take().is_some()
            {
                return;
            }
        }
    }

    /// Closes connections that have been idle for too long, and ends with the last: an
    /// idle worker is woken once for its last connection and then never.
    async fn sweep(self: Rc<Self>) {
        loop {
            let next = {
                let mut idle = self.http1.borrow_mut();
                let now = Instant::now();
                idle.retain(|idle| {
                    !idle.sender.is_closed() && idle.since + self.idle_timeout > now
                });
                idle.iter().map(|idle| idle.since + self.idle_timeout).min()
            };
            let Some(next) = next else {
                self.sweeper.take();
                return;
            };
            tokio::time::sleep_until(next.into()).await;
        }
    }
}

// === impl Active ===

impl Active {
    pub(crate) fn new(pool: Rc<Pool>, place: Option<Place>) -> Self {
        pool.tally.add(Word::Requests);
        pool.tally.add(Word::Active);
        Self {
            pool,
            _place: place,
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.pool.tally.subtract(Word::Active);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.tally.subtract(Word::ConnectionsActive);
        if let Some((place, freed)) = self.bounded.take() {
            drop(place);
            freed.notify_one();
        }
    }
}
