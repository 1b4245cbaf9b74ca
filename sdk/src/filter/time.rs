//! Time: the one timer of a plugin, for everybody who sleeps.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::Tool;
use super::combine::{Either, first};
use super::exchange::{Scope, Tools};
use crate::{callbacks, raw};

/// Sleeps, and bounds what is waited for.
///
/// ```
/// use std::time::Duration;
/// use cofferdam_sdk::prelude::*;
///
/// #[filter]
/// async fn patient(request: Request, http: Http, clock: Clock) -> Result<Response> {
///     let asked = http.call(HttpCall::get("quota", "/take"));
///     match clock.timeout(Duration::from_millis(20), asked).await {
///         Ok(Ok(answer)) if answer.status() != Some(200) => Ok(Response::new(429)),
///         _ => request.forward().await, // granted, or not known in time
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Clock {
    scope: Rc<Scope>,
}

/// The time was up first.
///
/// ```
/// assert_eq!(cofferdam_sdk::filter::Elapsed.to_string(), "the time is up");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

/// Those who sleep, and the timer that is set for the first of them.
#[derive(Default)]
pub(super) struct Timers {
    sleepers: RefCell<Vec<Rc<Sleeper>>>,
    /// When the host was told to call, in nanoseconds since the epoch; 0: never.
    set_for: Cell<u64>,
}

pub(super) struct Sleeper {
    until: u64,
    context: u32,
    awake: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

struct Sleep {
    scope: Rc<Scope>,
    duration: Duration,
    sleeper: Option<Rc<Sleeper>>,
}

/// Wall-clock time in nanoseconds; 0 from a host that does not tell.
fn now() -> u64 {
    raw::current_time_nanoseconds().unwrap_or(0)
}

// === impl Clock ===

impl Clock {
    /// Waits that long, to the millisecond, and no shorter.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(clock: Clock) {
    /// clock.sleep(std::time::Duration::from_millis(50)).await;
    /// # }
    /// ```
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        Sleep {
            scope: self.scope.clone(),
            duration,
            sleeper: None,
        }
    }

    /// Waits for `what`, but no longer than that.
    ///
    /// # Errors
    /// When the time was up first; `what` is dropped then.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(http: Http, clock: Clock) -> Result<()> {
    /// let asked = http.call(HttpCall::get("a", "/"));
    /// let answer = clock.timeout(std::time::Duration::from_secs(1), asked).await??;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn timeout<F: Future>(&self, limit: Duration, what: F) -> Result<F::Output, Elapsed> {
        match first(pin!(what), pin!(self.sleep(limit))).await {
            Either::Left(output) => Ok(output),
            Either::Right(()) => Err(Elapsed),
        }
    }

    /// Time since the epoch.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # fn f(clock: Clock) {
    /// let seconds = clock.now().as_secs();
    /// # }
    /// ```
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(now())
    }
}

impl Tool for Clock {
    const TICKS: bool = true;

    fn of(tools: &Tools) -> Self {
        Self {
            scope: tools.scope.clone(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}

// === impl Timers ===

impl Timers {
    fn add(&self, sleeper: Rc<Sleeper>) {
        self.sleepers.borrow_mut().push(sleeper);
        self.set();
    }

    /// Has that context woken then.
    pub(super) fn wake_after(&self, duration: Duration, context: u32) -> Rc<Sleeper> {
        let sleeper = Rc::new(Sleeper::new(duration, context, None));
        self.add(sleeper.clone());
        sleeper
    }

    pub(super) fn remove(&self, sleeper: &Rc<Sleeper>) {
        let mut sleepers = self.sleepers.borrow_mut();
        sleepers.retain(|other| !Rc::ptr_eq(other, sleeper));
        // The timer goes off once more for nobody, which costs less than to set it anew.
    }

    /// The host's timer has gone off.
    pub(super) fn tick(&self) {
        let now = now();
        let mut due = Vec::new();
        self.sleepers.borrow_mut().retain(|sleeper| {
            let is_due = sleeper.until <= now;
            if is_due {
                due.push(sleeper.clone());
            }
            !is_due
        });
        for sleeper in due {
            sleeper.awake.set(true);
            let waker = sleeper.waker.take();
            waker.into_iter().for_each(Waker::wake);
            callbacks::wake(sleeper.context);
        }
        self.set_for.set(0);
        self.set();
    }

    /// Sets the host's timer for the first of those who sleep.
    fn set(&self) {
        const MILLISECOND: u64 = 1_000_000;
        let first = self
            .sleepers
            .borrow()
            .iter()
            .map(|sleeper| sleeper.until)
            .min();
        let set_for = self.set_for.get();
        let milliseconds = match first {
            Some(first) if set_for == 0 || first < set_for => {
                self.set_for.set(first);
                first.saturating_sub(now()).div_ceil(MILLISECOND).max(1)
            }
            // It goes off early enough.
            Some(_) => return,
            None => 0,
        };
        // Where the host takes no timer, nobody wakes; there is nothing else to do.
        let _ = raw::set_tick_period(u32::try_from(milliseconds).unwrap_or(u32::MAX));
    }
}

// === impl Sleeper ===

impl Sleeper {
    fn new(duration: Duration, context: u32, waker: Option<Waker>) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self {
            until: now().saturating_add(nanoseconds),
            context,
            awake: Cell::new(false),
            waker: RefCell::new(waker),
        }
    }
}

// === impl Sleep ===

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleeper) = &self.sleeper {
            if sleeper.awake.get() {
                return Poll::Ready(());
            }
            sleeper.waker.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        let waker = Some(cx.waker().clone());
        let sleeper = Rc::new(Sleeper::new(self.duration, self.scope.context, waker));
        self.sleeper = Some(sleeper.clone());
        self.scope.timers.add(sleeper);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(sleeper) = &self.sleeper {
            self.scope.timers.remove(sleeper);
        }
    }
}

// === impl Elapsed ===

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time is up")
    }
}

crate::result::debug_is_display!(Elapsed);

impl core::error::Error for Elapsed {}
