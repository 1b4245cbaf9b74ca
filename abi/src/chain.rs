//! The filters of one exchange, in order: parts go in at one end and come out at the
//! other, in request order one way and in reverse the other.
//!
//! Sans-IO: the embedder pushes what arrives and pops what may leave. What a guest asked
//! for (resume, local reply, close) is carried out here, after its callback has returned.
//! The chain ends exactly once, by [`Chain::end`] or when it is dropped.

mod effects;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;

use crate::error::Trap;
use crate::exchange::{LocalReply, SharedExchange};
use crate::plugin::Plugin;
use crate::reply;
use crate::stream::{Broken, Context, Part, Parts, StreamContext};
use crate::types::Way;
use crate::vm::{RootId, Vm};

/// All filters of one exchange.
#[derive(Debug)]
pub struct Chain {
    exchange: SharedExchange,
    filters: Vec<StreamContext>,
    out: [VecDeque<Part>; 2],
    answer: Answer,
    /// The stream must be cut, not answered.
    reset: bool,
    /// The first thing that went wrong.
    failure: Option<Failure>,
    details: Option<Bytes>,
    /// The filter that made the answer, and in which callback.
    answered_by: Option<(Rc<Plugin>, &'static str)>,
    /// The end of the response has come out.
    response_complete: bool,
    /// Grows whenever an answer made here, or a reset, puts an end to what was on its way.
    epoch: u32,
    done_before_log: bool,
    ended: bool,
    observer: Option<Box<dyn Observer>>,
}

/// Who wants to know how long the heads of messages stay in filters.
pub trait Observer: std::fmt::Debug {
    /// The head that goes that way has come to this filter: its callback is next.
    fn came(&mut self, way: Way, plugin: &Rc<Plugin>);

    /// This filter has let it go on.
    fn left(&mut self, way: Way, plugin: &Rc<Plugin>);
}

/// Where the response comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Nothing yet.
    None,
    /// The upstream's is on its way through the filters.
    Upstream,
    /// One made here is on its way through the filters, or around them.
    Local,
    /// Headers have left.
    Committed,
}

/// On whose behalf an answer is made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// The filter at that position asked for it, in that callback.
    Guest(usize, &'static str),
    /// A filter broke.
    Failure,
    /// The embedder has nothing better.
    Embedder,
}

/// What a filter did wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The filter.
    pub plugin: Rc<Plugin>,
    /// The export that was being run, or that had been shown what became too much.
    pub callback: &'static str,
    /// What happened.
    pub reason: FailureReason,
}

/// How a filter ended its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureReason {
    /// Its guest trapped.
    Trap(Trap),
    /// More body than it may keep.
    TooLarge(Way),
}

/// A filter ready to join a chain.
#[derive(Debug)]
pub struct FilterHandle {
    /// Its VM on this worker.
    pub vm: Rc<RefCell<Vm>>,
    /// Its root context there.
    pub root: RootId,
    /// What it is.
    pub plugin: Rc<Plugin>,
}

// === impl Failure ===

impl Failure {
    pub(crate) const fn crash(plugin: Rc<Plugin>, trap: Trap) -> Self {
        Self {
            plugin,
            callback: trap.callback,
            reason: FailureReason::Trap(trap),
        }
    }
}

// === impl Chain ===

impl Chain {
    /// Opens a stream context in every filter, in request order. A filter that traps
    /// doing so fails the stream once the request's headers are pushed.
    pub fn begin(
        exchange: SharedExchange,
        handles: impl IntoIterator<Item = FilterHandle>,
        done_before_log: bool,
    ) -> Self {
        let handles = handles.into_iter();
        let mut chain = Self {
            exchange,
            filters: Vec::with_capacity(handles.size_hint().0),
            out: [VecDeque::new(), VecDeque::new()],
            answer: Answer::None,
            reset: false,
            failure: None,
            details: None,
            answered_by: None,
            response_complete: false,
            epoch: 0,
            done_before_log,
            ended: false,
            observer: None,
        };
        for handle in handles {
            let FilterHandle { vm, root, plugin } = handle;
            let position = chain.filters.len();
            let exchange = chain.exchange.clone();
            match Context::create(vm, root, plugin.clone(), exchange, position) {
                Ok(context) => chain.filters.push(StreamContext::new(context)),
                Err(trap) => {
                    chain.failure = Some(Failure::crash(plugin, *trap));
                    break;
                }
            }
        }
        chain
    }

    /// A part that came from the client (or from the upstream, the other way). Headers and
    /// trailers must be in the exchange before. What comes when nobody wants it any more is
    /// dropped.
    pub fn push(&mut self, way: Way, part: Part) {
        // What a timer asked for meanwhile comes first.
        self.apply_effects();
        if self.is_closed(way) {
            return;
        }
        match way {
            Way::Request if self.failure.is_some() => {
                self.local_reply(&reply::failed(), By::Failure)
            }
            Way::Request => self.advance(Way::Request, 0, part),
            Way::Response => {
                if self.answer == Answer::None {
                    self.answer = Answer::Upstream;
                }
                self.advance(Way::Response, self.filters.len(), part);
            }
        }
        self.apply_effects();
    }

    /// Tells `observer` of every head that comes from now on.
    pub fn observe(&mut self, observer: Box<dyn Observer>) {
        self.observer = Some(observer);
    }

    /// The next part that may leave that way.
    pub fn pop(&mut self, way: Way) -> Option<Part> {
        self.out[way as usize].pop_front()
    }

    /// The embedder's last word: an answer that goes around the filters, when one that was
    /// made here already is held back by them.
    pub fn reply_now(&mut self, reply: &LocalReply) {
        self.local_reply(reply, By::Failure);
        self.apply_effects();
    }

    /// Whether the exchange is over.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether anything may leave that way now.
    #[must_use]
    pub fn has_output(&self, way: Way) -> bool {
        !self.out[way as usize].is_empty()
    }

    /// Calls a foreign function of the filter at `position` (in request order): see
    /// [`Vm::foreign_function`]. Nothing happens where there is no such filter.
    pub fn foreign_function(&mut self, position: usize, function: u32, args: Bytes) {
        let Some(filter) = self.filters.get_mut(position) else {
            return;
        };
        if let Err(trap) = filter.context.foreign_function(function, args) {
            self.broken(position, trap.into());
        }
        self.apply_effects();
    }

    /// Carries out what other callbacks (a timer's, another stream's) asked of this one.
    pub fn poll(&mut self) {
        self.apply_effects();
    }

    /// Whether more may be read that way: no filter is holding back more than it may.
    pub fn wants_more(&mut self, way: Way) -> bool {
        self.out[way as usize].is_empty()
            && self.filters.iter_mut().all(|filter| filter.wants_more(way))
    }

    /// An answer of the embedder itself (no route, no upstream): passes back through every
    /// filter that has seen the request.
    pub fn reply(&mut self, reply: &LocalReply) {
        self.local_reply(reply, By::Embedder);
        self.apply_effects();
    }

    /// The request goes nowhere any more: an answer was made here.
    #[must_use]
    pub fn request_is_closed(&self) -> bool {
        self.answer == Answer::Local
            || self.reset
            || (self.answer == Answer::Committed && self.details.is_some())
    }

    /// The response was made here, not upstream.
    #[must_use]
    pub const fn response_is_local(&self) -> bool {
        self.details.is_some()
    }

    /// For the access log: what the local answer said of itself.
    #[must_use]
    pub const fn details(&self) -> Option<&Bytes> {
        self.details.as_ref()
    }

    /// The filter whose answer this was last, and in which callback it made it.
    #[must_use]
    pub fn answered_by(&self) -> Option<(&Plugin, &'static str)> {
        let (plugin, callback) = self.answered_by.as_ref()?;
        Some((plugin, callback))
    }

    /// The stream must be cut: its headers have left, or a filter wants it so.
    #[must_use]
    pub const fn is_reset(&self) -> bool {
        self.reset
    }

    /// The first thing a filter did wrong.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether any filter looks at bodies that way.
    #[must_use]
    pub fn sees_body(&self, way: Way) -> bool {
        self.filters.iter().any(|filter| filter.sees_body(way))
    }

    /// Whether any filter has changed the body that way.
    pub fn changed_body(&mut self, way: Way) -> bool {
        self.filters
            .iter_mut()
            .any(|filter| filter.changed_body(way))
    }

    /// The maps and properties all filters share.
    #[must_use]
    pub const fn exchange(&self) -> &SharedExchange {
        &self.exchange
    }

    /// The exchange is over: log, done and delete, exactly once (section 6.1). Returns
    /// what trapped on the way, which harms nobody any more.
    pub fn end(&mut self) -> Vec<Failure> {
        if std::mem::replace(&mut self.ended, true) {
            return Vec::new();
        }
        let mut failures = Vec::new();
        let mut run =
            |filter: &mut StreamContext, step: fn(&mut StreamContext) -> Result<(), Box<Trap>>| {
                if let Err(trap) = step(filter) {
                    let plugin = filter.context.plugin.clone();
                    failures.push(Failure::crash(plugin, *trap));
                    // A crash in its done leaves it its delete.
                    filter.context.dead |= filter.context.vm.borrow().is_failed();
                }
            };
        if !self.done_before_log {
            self.filters
                .iter_mut()
                .for_each(|filter| run(filter, StreamContext::log));
        }
        for filter in &mut self.filters {
            run(filter, |filter| filter.context.done());
            if self.done_before_log {
                run(filter, StreamContext::log);
            }
            run(filter, |filter| filter.context.delete());
        }
        failures
    }

    /// Whether nobody wants to know what comes that way.
    fn is_closed(&self, way: Way) -> bool {
        let answered = match way {
            Way::Request => self.request_is_closed(),
            Way::Response => self.response_is_local() || self.response_complete,
        };
        answered || self.reset || self.ended
    }

    /// Takes a part to the filter at `position` (counted in request order; for responses
    /// one past it) and on from there.
    fn advance(&mut self, way: Way, mut position: usize, mut part: Part) {
        let epoch = self.epoch;
        loop {
            if self.observer.is_some() && matches!(part, Part::Headers { .. }) {
                self.tell_observer(way, position);
            }
            let next = match way {
                Way::Request => Some(position).filter(|at| *at < self.filters.len()),
                Way::Response => position.checked_sub(1),
            };
            let Some(index) = next else {
                if way == Way::Response {
                    self.answer = Answer::Committed;
                    self.response_complete |= part.is_last();
                }
                self.out[way as usize].push_back(part);
                break;
            };
            let mut passed = Parts::new();
            let fed = self.filters[index].feed(way, part, &mut passed);
            // Most parts pass as they are: then there is nobody to come back to.
            if passed.len() != 1 || fed.is_err() {
                self.pass_on(way, index, passed, fed);
                break;
            }
            let Some(passed) = passed.pop() else { break };
            (position, part) = (after(way, index), passed);
        }
        // As after each of the filters that have let it pass: the last to be asked is the
        // only one that can have asked for anything.
        if self.epoch == epoch && self.stop_is_pending() {
            self.apply_effects();
        }
    }

    /// A head stands before the filter at `position` (as in [`Self::advance`]).
    #[cold]
    fn tell_observer(&mut self, way: Way, position: usize) {
        let (behind, before) = match way {
            Way::Request => (position.checked_sub(1), Some(position)),
            Way::Response => (Some(position), position.checked_sub(1)),
        };
        let Some(observer) = &mut self.observer else {
            return;
        };
        let filters = &self.filters;
        let plugin = |index: Option<usize>| Some(&filters.get(index?)?.context.plugin);
        if let Some(plugin) = plugin(behind) {
            observer.left(way, plugin);
        }
        if let Some(plugin) = plugin(before) {
            observer.came(way, plugin);
        }
    }

    fn pass_on(&mut self, way: Way, index: usize, passed: Parts, fed: Result<(), Broken>) {
        let next = after(way, index);
        let epoch = self.epoch;
        for part in passed {
            self.advance(way, next, part);
            // A filter that has answered or closed must not be shown the rest.
            if self.epoch == epoch && self.stop_is_pending() {
                self.apply_effects();
            }
            if self.epoch != epoch {
                break;
            }
        }
        if let Err(broken) = fed {
            self.broken(index, broken);
        }
    }
}

/// The position a part has behind that filter.
const fn after(way: Way, index: usize) -> usize {
    match way {
        Way::Request => index + 1,
        Way::Response => index,
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.end();
    }
}
