//! The filters of one TCP connection, in order (section 6.10): what the client sends goes
//! through them in list order, what the upstream sends in reverse.
//!
//! Sans-IO as [`crate::Chain`], and simpler: there is nothing but bytes, and nothing to
//! answer. Each way is independent. The embedder reads only while [`TcpChain::wants_more`],
//! pushes what it has read, pops what may leave, and connects to the upstream once
//! [`TcpChain::is_open`]. Past its limit a filter that holds bytes makes back-pressure,
//! never an error. The chain ends exactly once, by [`TcpChain::end`] or when it is dropped.

mod filter;

use std::collections::VecDeque;
use std::vec;

use bytes::Bytes;

use crate::chain::{Failure, FailureReason, FilterHandle};
use crate::error::Trap;
use crate::exchange::{Effect, SharedExchange};
use crate::stream::Context;
use crate::types::{Peer, StreamType, Way};
use filter::Filter;

/// All filters of one connection.
#[derive(Debug)]
pub struct TcpChain {
    exchange: SharedExchange,
    /// Those that have been shown the connection.
    filters: Vec<Filter>,
    /// Those that have not: one before them holds it.
    unopened: vec::IntoIter<FilterHandle>,
    out: [VecDeque<Chunk>; 2],
    /// The end of that way has come in.
    finished: [bool; 2],
    closing: Option<Closing>,
    failure: Option<Failure>,
    ended: bool,
}

/// Bytes on their way through a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// May be empty with `end`.
    pub bytes: Bytes,
    /// Nothing follows that way.
    pub end: bool,
}

/// Why a connection is being closed from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// A filter asked for it.
    ByFilter,
    /// A filter broke.
    Failure,
}

// === impl TcpChain ===

impl TcpChain {
    /// Shows a new connection to the filters, one after the other, until one holds it.
    pub fn begin(exchange: SharedExchange, handles: Vec<FilterHandle>) -> Self {
        let mut chain = Self {
            exchange,
            filters: Vec::with_capacity(handles.len()),
            unopened: handles.into_iter(),
            out: [VecDeque::new(), VecDeque::new()],
            finished: [false; 2],
            closing: None,
            failure: None,
            ended: false,
        };
        chain.open();
        chain
    }

    /// Whether every filter has let the connection go: now the upstream may be connected.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.unopened.len() == 0 && !self.is_held()
    }

    /// What has come from the client, or from the upstream. What comes when the way has
    /// ended or the connection is being closed is dropped.
    pub fn push(&mut self, way: Way, chunk: Chunk) {
        // What a timer asked for meanwhile comes first.
        self.apply_effects();
        if self.closing.is_some() || self.finished[way as usize] {
            return;
        }
        self.finished[way as usize] = chunk.end;
        let from = match way {
            Way::Request => 0,
            Way::Response => self.filters.len(),
        };
        self.advance(way, from, chunk);
        self.apply_effects();
    }

    /// The next bytes that may leave that way.
    pub fn pop(&mut self, way: Way) -> Option<Chunk> {
        self.out[way as usize].pop_front()
    }

    /// Whether anything may leave that way now.
    #[must_use]
    pub fn has_output(&self, way: Way) -> bool {
        !self.out[way as usize].is_empty()
    }

    /// Carries out what other callbacks (a timer's, another stream's) asked of this
    /// connection.
    pub fn poll(&mut self) {
        self.apply_effects();
    }

    /// Whether more may be read that way: it has not ended, there is an upstream to send
    /// it to, and no filter is holding back more than it may.
    #[must_use]
    pub fn wants_more(&self, way: Way) -> bool {
        self.closing.is_none()
            && !self.finished[way as usize]
            && self.is_open()
            && !self.has_output(way)
            && self.filters.iter().all(|filter| filter.wants_more(way))
    }

    /// The connection is to be closed, once what may leave for the client has left.
    #[must_use]
    pub const fn closing(&self) -> Option<Closing> {
        self.closing
    }

    /// The first thing a filter did wrong.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// The client's connection is closed, by it ([`Peer::Remote`]) or here
    /// ([`Peer::Local`]): every filter is told; done, log and delete follow, exactly once.
    /// Returns what trapped on the way, which harms nobody any more.
    pub fn end(&mut self, by: Peer) -> Vec<Failure> {
        let mut failures = Vec::new();
        if std::mem::replace(&mut self.ended, true) {
            return failures;
        }
        self.close(Closing::ByFilter);
        for filter in &mut self.filters {
            if let Err(trap) = filter.end(by) {
                failures.push(Failure::crash(filter.context.plugin.clone(), trap));
            }
            filter.context.forget();
        }
        failures
    }

    /// Whether the last filter that was shown the connection holds it.
    fn is_held(&self) -> bool {
        self.filters.last().is_some_and(Filter::holds_connection)
    }

    /// Shows the connection to those that have not seen it, until one holds it.
    fn open(&mut self) {
        while self.closing.is_none() && !self.is_held() {
            let Some(FilterHandle { vm, root, plugin }) = self.unopened.next() else {
                return;
            };
            let position = self.filters.len();
            let exchange = self.exchange.clone();
            match Context::create(vm, root, plugin.clone(), exchange, position) {
                Ok(context) => self.filters.push(Filter::new(context)),
                Err(trap) => {
                    let failure = Failure::crash(plugin, *trap);
                    self.failure.get_or_insert(failure);
                    return self.close(Closing::Failure);
                }
            }
            if let Err(trap) = self.filters[position].open() {
                self.broken(position, trap);
            }
            self.apply_effects();
        }
    }

    /// Takes bytes to the filter at `position` (counted in list order; for what the
    /// upstream sent, one past it) and on from there, as far as they are let.
    fn advance(&mut self, way: Way, mut position: usize, mut chunk: Chunk) {
        loop {
            let next = match way {
                Way::Request => Some(position).filter(|at| *at < self.filters.len()),
                Way::Response => position.checked_sub(1),
            };
            let Some(index) = next else {
                return self.out[way as usize].push_back(chunk);
            };
            match self.filters[index].feed(way, chunk) {
                Ok(Some(passed)) => chunk = passed,
                Ok(None) => return,
                Err(trap) => return self.broken(index, trap),
            }
            position = match way {
                Way::Request => index + 1,
                Way::Response => index,
            };
        }
    }

    /// `proxy_continue_stream` of the filter at `position`: the connection, and what it
    /// holds of the client's bytes, go on to the next.
    fn resume(&mut self, position: usize) {
        let Some(filter) = self.filters.get_mut(position) else {
            return;
        };
        match filter.resume() {
            Ok(passed) => {
                if !self.close_is_pending() {
                    self.open();
                }
                if let (Some(chunk), None) = (passed, self.closing) {
                    self.advance(Way::Request, position + 1, chunk);
                }
            }
            Err(trap) => self.broken(position, trap),
        }
    }

    /// Carries out, in order, what guests have asked for.
    fn apply_effects(&mut self) {
        loop {
            let effect = self.exchange.borrow_mut().effects.pop_front();
            let Some((position, effect)) = effect else {
                return;
            };
            if self.closing.is_some() {
                continue;
            }
            match effect {
                Effect::Continue(StreamType::Downstream) => self.resume(position),
                Effect::Close(_) => self.close(Closing::ByFilter),
                Effect::TooLarge(way, callback) => {
                    let filter = self.filters.get(position);
                    if filter.is_some_and(|filter| !filter.context.dead) {
                        self.failed(position, callback, FailureReason::TooLarge(way));
                    }
                }
                Effect::RootFailed(trap) => {
                    if self.filters.get(position).is_some_and(Filter::holds) {
                        self.broken(position, trap);
                    }
                }
                Effect::VmEnded(trap) => {
                    let filter = self.filters.get(position);
                    if filter.is_some_and(|filter| !filter.context.dead) {
                        self.broken(position, trap);
                    }
                }
                // Of HTTP, or of what cannot be resumed: never queued for a connection.
                Effect::Continue(_) | Effect::LocalReply(..) | Effect::Inject => {}
            }
        }
    }

    fn close_is_pending(&self) -> bool {
        let exchange = self.exchange.borrow();
        let mut effects = exchange.effects.iter();
        effects.any(|(_, effect)| effect.is_stop())
    }

    fn broken(&mut self, position: usize, trap: Trap) {
        self.failed(position, trap.callback, FailureReason::Trap(trap));
    }

    fn failed(&mut self, position: usize, callback: &'static str, reason: FailureReason) {
        let context = &mut self.filters[position].context;
        context.give_up();
        self.failure.get_or_insert(Failure {
            plugin: context.plugin.clone(),
            callback,
            reason,
        });
        self.close(Closing::Failure);
    }

    /// What is on its way to the upstream is dropped, what is on its way to the client may
    /// still leave.
    fn close(&mut self, closing: Closing) {
        self.closing.get_or_insert(closing);
        self.out[Way::Request as usize].clear();
        let mut exchange = self.exchange.borrow_mut();
        exchange.wake(Way::Request);
        exchange.wake(Way::Response);
    }
}

impl Drop for TcpChain {
    fn drop(&mut self) {
        self.end(Peer::Local);
    }
}
