//! Connections to one endpoint, of one worker, that are idle or have room for a request: those
//! that anybody may use, or those that are one client's own.

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
use super::opening::Opening;
use super::{Outcome, UpstreamBody};
use crate::flood::Streams;
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
    http2: RefCell<Vec<Shared>>,
    /// Connections that are being opened, where they are shared.
    pub(super) opening: Opening,
    /// What closes them when they have been idle for too long.
    sweeper: RefCell<Option<AbortHandle>>,
    /// Its endpoint, or its cluster, is gone: nothing is kept any more.
    closed: Cell<bool>,
    /// Told when a connection has become free, where their number is bounded.
    pub(super) freed: Arc<Notify>,
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
    bounded: Option<(Place, Arc<Notify>)>,
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

/// A connection everybody uses, as far as its peer lets them.
#[derive(Debug)]
struct Shared {
    sender: http2::SendRequest<UpstreamBody>,
    wire: Wire,
    streams: Arc<Streams>,
    /// Since when nobody has a request on it, unless it is the only one.
    idle: Option<Instant>,
}

/// A request's place on a connection everybody uses.
#[derive(Debug)]
pub(crate) struct Slot {
    pool: Rc<Pool>,
    streams: Arc<Streams>,
    /// In which turn the request has been given to the codec, if it has.
    sent: Option<u32>,
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
            opening: Opening::default(),
            sweeper: RefCell::default(),
            closed: Cell::new(false),
            freed: Arc::default(),
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
            opening: Opening::default(),
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
        drop(idle);
        self.sweep_soon();
    }

    /// A connection that has room for one request more, and the place for that.
    pub(crate) fn take_http2(
        self: &Rc<Self>,
    ) -> Option<(http2::SendRequest<UpstreamBody>, Slot, Wire)> {
        let mut shared = self.http2.borrow_mut();
        let mut index = 0;
        while let Some(one) = shared.get(index) {
            if one.sender.is_closed() || one.streams.is_leaving() {
                shared.remove(index);
            } else if let Some(slot) = Slot::new(self, &one.streams) {
                return Some((one.sender.clone(), slot, one.wire.clone()));
            } else {
                index += 1;
            }
        }
        None
    }

    /// Whether there are connections that everybody uses.
    pub(crate) fn shares(&self) -> bool {
        !self.http2.borrow().is_empty()
    }

    /// Whether another connection would be of no use either: the endpoint has begun one by
    /// saying that it takes no request.
    pub(crate) fn is_useless(&self) -> bool {
        let shared = self.http2.borrow();
        shared.iter().any(|one| one.streams.is_useless())
    }

    /// Lets everybody use a connection, unless there is room on another.
    pub(crate) fn share_http2(
        self: &Rc<Self>,
        sender: http2::SendRequest<UpstreamBody>,
        wire: Wire,
        streams: Arc<Streams>,
    ) {
        let mut shared = self.http2.borrow_mut();
        shared.retain(|one| !one.sender.is_closed());
        if self.closed.get() || shared.iter().any(|one| one.streams.has_room()) {
            return;
        }
        self.opening.each.set(streams.limit());
        let useless = streams.is_useless();
        shared.push(Shared {
            sender,
            wire,
            streams,
            idle: useless.then(Instant::now),
        });
        drop(shared);
        if useless {
            self.sweep_soon();
        }
    }

    /// Nobody has a request on it any more.
    fn note_idle(self: &Rc<Self>, streams: &Arc<Streams>) {
        let mut shared = self.http2.borrow_mut();
        // The first stays.
        let mut others = shared.iter_mut().skip(1);
        if let Some(one) = others.find(|one| Arc::ptr_eq(&one.streams, streams)) {
            one.idle = Some(Instant::now());
            drop(shared);
            self.sweep_soon();
        }
    }

    fn sweep_soon(self: &Rc<Self>) {
        let mut sweeper = self.sweeper.borrow_mut();
        if sweeper.is_none() {
            let sweeping = tokio::task::spawn_local(self.clone().sweep());
            *sweeper = Some(sweeping.abort_handle());
        }
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
        self.http2.borrow_mut().clear();
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
            if pool.take_any_http1().is_some() || pool.close_idle_http2() {
                return;
            }
        }
    }

    /// Whether there was a connection on which nothing is under way.
    fn close_idle_http2(&self) -> bool {
        let mut shared = self.http2.borrow_mut();
        let idle = shared.iter().position(|one| one.streams.is_empty());
        idle.map(|index| shared.remove(index)).is_some()
    }

    /// Closes connections that have been idle for too long, and ends with the last: an
    /// idle worker is woken once for its last connection and then never.
    async fn sweep(self: Rc<Self>) {
        loop {
            let now = Instant::now();
            let http1 = self.sweep_http1(now);
            let next = http1.into_iter().chain(self.sweep_http2(now)).min();
            let Some(next) = next else {
                self.sweeper.take();
                return;
            };
            tokio::time::sleep_until(next.into()).await;
        }
    }

    /// When the next may be closed.
    fn sweep_http1(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.http1.borrow_mut();
        idle.retain(|idle| !idle.sender.is_closed() && idle.since + self.idle_timeout > now);
        idle.iter().map(|idle| idle.since + self.idle_timeout).min()
    }

    /// The same of those that everybody uses. One is kept, if it is of use.
    fn sweep_http2(&self, now: Instant) -> Option<Instant> {
        let mut shared = self.http2.borrow_mut();
        let mut kept = false;
        shared.retain(|one| {
            let stays = !one.sender.is_closed()
                && (!kept && !one.streams.is_useless()
                    || !one.streams.is_idle()
                    || one.idle.is_none_or(|since| since + self.idle_timeout > now));
            kept |= stays;
            stays
        });
        let idle = shared.iter().filter(|one| one.streams.is_idle());
        let ends = idle.filter_map(|one| Some(one.idle? + self.idle_timeout));
        ends.filter(|end| *end > now).min()
    }
}

// === impl Slot ===

impl Slot {
    /// A place among these streams, if there is one.
    pub(super) fn new(pool: &Rc<Pool>, streams: &Arc<Streams>) -> Option<Self> {
        streams.take().then(|| Self {
            pool: pool.clone(),
            streams: streams.clone(),
            sent: None,
        })
    }

    /// Its request is given to the codec now.
    pub(super) fn send(&mut self) {
        self.sent = Some(self.streams.turn());
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.streams.give_back(self.sent);
        if self.streams.is_idle() {
            self.pool.note_idle(&self.streams);
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
