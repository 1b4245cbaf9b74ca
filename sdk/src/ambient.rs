//! What belongs to the running VM and to nobody in particular: whose turn it is, who waits
//! for which call, what has been asked for while a callback runs.
//!
//! A VM runs on one thread and is entered by one callback at a time. Off wasm, where tests
//! have several VMs on a thread, each brings its own along ([`Ambient::swap`]).

use std::cell::{Cell, RefCell};

thread_local! {
    static AMBIENT: Ambient = const { Ambient::new() };
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Ambient {
    /// The context whose callback runs.
    context: Cell<u32>,
    calls: RefCell<Vec<Call>>,
    /// Streams that are to be called once the callback of their plugin has ended.
    woken: RefCell<Vec<u32>>,
    /// Metrics by kind and name, and their numbers.
    metrics: RefCell<Vec<(u32, String, u32)>>,
}

/// A call or a stream under way.
#[derive(Debug)]
struct Call {
    token: u32,
    /// The context that has begun it.
    owner: u32,
    kind: Kind,
}

/// What comes of a [`Call`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One answer.
    Call,
    /// Whatever comes, until it is closed.
    Stream,
    /// Likewise; from here nothing is sent any more.
    HalfClosed,
}

impl Ambient {
    const fn new() -> Self {
        Self {
            context: Cell::new(0),
            calls: RefCell::new(Vec::new()),
            woken: RefCell::new(Vec::new()),
            metrics: RefCell::new(Vec::new()),
        }
    }

    /// Puts another VM's in the place of this thread's, and the other way round.
    #[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
    pub(crate) fn swap(other: &Self) {
        AMBIENT.with(|own| {
            own.context.swap(&other.context);
            own.calls.swap(&other.calls);
            own.woken.swap(&other.woken);
            own.metrics.swap(&other.metrics);
        });
    }
}

/// The context whose callback runs; 0 outside of all.
pub(crate) fn context() -> u32 {
    AMBIENT.with(|ambient| ambient.context.get())
}

/// Says whose turn it is, until it is said again; who it was before.
pub(crate) fn enter(context: u32) -> u32 {
    AMBIENT.with(|ambient| ambient.context.replace(context))
}

/// The current context waits for the answer to that call.
pub(crate) fn began(token: u32) {
    begin(token, Kind::Call);
}

/// The current context listens to that stream.
pub(crate) fn opened(token: u32) {
    begin(token, Kind::Stream);
}

fn begin(token: u32, kind: Kind) {
    AMBIENT.with(|ambient| {
        let owner = ambient.context.get();
        let call = Call { token, owner, kind };
        ambient.calls.borrow_mut().push(call);
    });
}

/// Who listens to that stream, if it is one.
pub(crate) fn listener(token: u32) -> Option<u32> {
    AMBIENT.with(|ambient| {
        let calls = ambient.calls.borrow();
        let mut streams = calls.iter().filter(|call| call.kind != Kind::Call);
        streams
            .find(|call| call.token == token)
            .map(|call| call.owner)
    })
}

/// Nothing more is sent on that stream: whether anything could be.
pub(crate) fn half_closed(token: u32) -> bool {
    AMBIENT.with(|ambient| {
        let mut calls = ambient.calls.borrow_mut();
        let mut streams = calls.iter_mut().filter(|call| call.kind == Kind::Stream);
        let stream = streams.find(|call| call.token == token);
        stream.map(|call| call.kind = Kind::HalfClosed).is_some()
    })
}

/// The call has been answered, or nobody waits for it any more: who did.
pub(crate) fn ended(token: u32) -> Option<u32> {
    AMBIENT.with(|ambient| {
        let mut calls = ambient.calls.borrow_mut();
        let place = calls.iter().position(|call| call.token == token)?;
        Some(calls.swap_remove(place).owner)
    })
}

/// Nobody waits any more for what a context that is gone has begun.
pub(crate) fn forget(context: u32) {
    AMBIENT.with(|ambient| {
        let mut calls = ambient.calls.borrow_mut();
        calls.retain(|call| call.owner != context);
    });
}

/// Has that stream called once the current callback has ended.
pub(crate) fn wake(context: u32) {
    AMBIENT.with(|ambient| ambient.woken.borrow_mut().push(context));
}

/// One of those [woken](wake).
pub(crate) fn next_woken() -> Option<u32> {
    AMBIENT.with(|ambient| ambient.woken.borrow_mut().pop())
}

/// The number of a metric, from `define` the first time.
pub(crate) fn metric<E>(
    kind: u32,
    name: &str,
    define: impl FnOnce() -> Result<u32, E>,
) -> Result<u32, E> {
    AMBIENT.with(|ambient| {
        let mut metrics = ambient.metrics.borrow_mut();
        let known = metrics.iter().find(|(k, n, _)| *k == kind && n == name);
        if let Some((_, _, number)) = known {
            return Ok(*number);
        }
        let number = define()?;
        metrics.push((kind, name.to_owned(), number));
        Ok(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_answered_to_who_began_it_and_once() {
        let before = enter(7);
        began(4);
        assert_eq!(enter(before), 7);
        assert_eq!(ended(4), Some(7));
        assert_eq!(ended(4), None);
    }

    #[test]
    fn a_stream_is_listened_to_until_it_ends_and_half_closed_once() {
        let before = enter(5);
        began(4);
        opened(6);
        enter(before);
        assert_eq!(
            (listener(6), listener(6), listener(4)),
            (Some(5), Some(5), None)
        );
        assert_eq!(
            [half_closed(6), half_closed(6), half_closed(4)],
            [true, false, false]
        );
        assert_eq!((ended(6), listener(6)), (Some(5), None));
        assert_eq!(ended(4), Some(5));
    }

    #[test]
    fn who_is_gone_waits_for_nothing() {
        enter(9);
        began(8);
        forget(9);
        assert_eq!(ended(8), None);
        enter(0);
    }

    #[test]
    fn a_metric_is_defined_once() {
        let first: Result<u32, ()> = metric(0, "a-name", || Ok(4));
        assert_eq!(first, Ok(4));
        assert_eq!(metric(0, "a-name", || Err(())), Ok(4));
        assert_eq!(metric(1, "a-name", || Err(())), Err(()));
    }
}
