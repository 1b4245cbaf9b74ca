//! The clocks of an exchange in one timer: how long the upstream may take once it has the
//! whole request, how long the stream may be silent, and, where a configuration says so, how
//! long the request may take to come and how long all of it may last.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use crate::flow::Flow;

/// The timer of one exchange; absent where no clock runs.
#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    route: Option<Duration>,
    idle: Option<Duration>,
    /// Until when the whole request must have come.
    request: Option<Instant>,
    /// Until when everything must be over.
    end: Option<Instant>,
}

thread_local! {
    /// Sleeps of exchanges that are over. Setting one up costs more than all else a timer
    /// does; one that was set for an earlier deadline serves as it is, since a sleep that
    /// fires too early is only set again. Each wakes its last task once for nothing.
    static SPARE: RefCell<Vec<Pin<Box<Sleep>>>> = const { RefCell::new(Vec::new()) };
}

/// Most sleeps kept for later, on each worker.
const MOST_SPARE: usize = 256;

/// A sleep that has perhaps served before.
pub(crate) type Spare = Pin<Box<Sleep>>;

/// One to be polled by [`poll_until`].
pub(crate) fn spare(deadline: Instant) -> Spare {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    spare.unwrap_or_else(|| Box::pin(tokio::time::sleep_until(deadline.into())))
}

/// Keeps it for later.
pub(crate) fn put_back(sleep: Spare) {
    // The runtime's end may drop a connection after the thread's own data.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MOST_SPARE {
            spare.push(sleep);
        }
    });
}

/// Ready at `deadline`, whatever the sleep was set for.
pub(crate) fn poll_until(sleep: &mut Spare, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        if deadline < sleep.deadline().into_std() {
            sleep.as_mut().reset(deadline.into());
        }
        std::task::ready!(sleep.as_mut().poll(cx));
        if deadline <= Instant::now() {
            return Poll::Ready(());
        }
        sleep.as_mut().reset(deadline.into());
    }
}

/// Drops what is kept for later: before its runtime goes.
pub(crate) fn clear() {
    drop(SPARE.take());
}

/// Which clock ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    /// The route's.
    Route,
    /// The stream's silence.
    Idle,
    /// That of the whole request.
    Request,
    /// That of the whole stream.
    Duration,
}

// === impl Timer ===

impl Timer {
    pub(crate) const fn new(route: Option<Duration>, idle: Option<Duration>) -> Self {
        Self {
            sleep: None,
            route,
            idle,
            request: None,
            end: None,
        }
    }

    /// With the clocks that run from the request's head on, whatever moves.
    pub(crate) fn bounded(mut self, flow: &Flow) -> Self {
        let begun = flow.facts.begun;
        let request = flow.facts.listener().config.request_timeout;
        self.request = request.map(|timeout| begun + timeout);
        self.end = flow.ends_by();
        self
    }

    /// Ready when a clock has run out. Activity since only moves the deadline away, so the
    /// sleep is touched when it fires or when the deadline comes nearer, not per chunk.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, flow: &Flow) -> Poll<Expired> {
        let Some((deadline, which)) = self.deadline(flow) else {
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| spare(deadline));
        poll_until(sleep, deadline, cx).map(|()| which)
    }

    fn deadline(&self, flow: &Flow) -> Option<(Instant, Expired)> {
        let route = self
            .route
            .and_then(|timeout| Some((flow.request_complete()? + timeout, Expired::Route)));
        let idle = self
            .idle
            .map(|timeout| (flow.last_activity() + timeout, Expired::Idle));
        let first = earlier(route, idle);
        if self.request.is_none() && self.end.is_none() {
            return first;
        }
        // Whoever is being answered may go on sending.
        let coming = flow.request_complete().is_none() && flow.facts.status.get().is_none();
        let request = self.request.filter(|_| coming);
        let request = request.map(|deadline| (deadline, Expired::Request));
        let end = self.end.map(|deadline| (deadline, Expired::Duration));
        earlier(earlier(first, request), end)
    }
}

/// A deadline, and which clock's it is.
pub(crate) type Clock = Option<(Instant, Expired)>;

/// The one that runs out first.
pub(crate) fn earlier(one: Clock, other: Clock) -> Clock {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.0 < one.0 { other } else { one }),
        (one, other) => one.or(other),
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(sleep) = self.sleep.take() {
            put_back(sleep);
        }
    }
}
