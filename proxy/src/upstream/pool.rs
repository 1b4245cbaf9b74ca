//! Idle connections to one endpoint, of one worker.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};

use super::UpstreamBody;
use crate::tls::Session;

/// Most idle HTTP/1 connections kept per endpoint and worker.
const MOST_IDLE: usize = 128;

/// Connections to one endpoint.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) address: SocketAddr,
    idle_timeout: Duration,
    http1: RefCell<Vec<Idle>>,
    http2: RefCell<Option<Shared>>,
    /// One at a time opens an HTTP/2 connection; the others wait and share it.
    pub(crate) opening: tokio::sync::Mutex<()>,
    sweeping: Cell<bool>,
}

/// What carries a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wire {
    /// Its address here.
    pub(crate) local: Option<SocketAddr>,
    /// Its TLS session, if any.
    pub(crate) tls: Option<Rc<Session>>,
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
    pub(crate) fn new(address: SocketAddr, idle_timeout: Duration) -> Rc<Self> {
        Rc::new(Self {
            address,
            idle_timeout,
            http1: RefCell::default(),
            http2: RefCell::default(),
            opening: tokio::sync::Mutex::new(()),
            sweeping: Cell::new(false),
        })
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
        if sender.is_closed() {
            return;
        }
        let mut idle = self.http1.borrow_mut();
        if idle.len() >= MOST_IDLE {
            idle.remove(0);
        }
        idle.push(Idle {
            sender,
            wire,
            since: Instant::now(),
        });
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(self.clone().sweep());
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
        *self.http2.borrow_mut() = Some(Shared { sender, wire });
    }

    /// Closes everything that is not in use.
    pub(crate) fn clear(&self) {
        self.http1.borrow_mut().clear();
        self.http2.borrow_mut().take();
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
                self.sweeping.set(false);
                return;
            };
            tokio::time::sleep_until(next.into()).await;
        }
    }
}
