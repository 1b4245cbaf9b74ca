//! The two clocks of an exchange in one timer: how long the upstream may take once it has
//! the whole request, and how long the stream may be silent.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use crate::flow::Flow;

/// The timer of one exchange; absent where neither clock runs.
#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    route: Option<Duration>,
    idle: Option<Duration>,
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
}

// === impl Timer ===

impl Timer {
    pub(crate) const fn new(route: Option<Duration>, idle: Option<Duration>) -> Self {
        Self {
            sleep: None,
            route,
            idle,
        }
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
        match (route, idle) {
            (Some(route), Some(idle)) => Some(if idle.0 < route.0 { idle } else { route }),
            (one, other) => one.or(other),
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(sleep) = self.sleep.take() {
            put_back(sleep);
        }
    }
}
