//! How long an HTTP/1 client may take. The codec has one clock for a connection that sits
//! idle and for a head that comes slowly; this one tells them apart by whether anything has
//! come.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

use super::client_io::Seen;
use crate::timer;

/// The codec's clock, which it sets when it waits for a request.
#[derive(Debug)]
pub(super) struct HeadClock {
    seen: Arc<Seen>,
    /// From the first byte of a head to its last.
    limit: Duration,
}

struct Waiting {
    sleep: Option<timer::Spare>,
    deadline: Instant,
    /// The deadline is that of a head.
    begun: bool,
    seen: Arc<Seen>,
    limit: Duration,
}

// === impl HeadClock ===

impl HeadClock {
    pub(super) const fn new(seen: Arc<Seen>, limit: Duration) -> Self {
        Self { seen, limit }
    }
}

impl Timer for HeadClock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.seen.expect();
        Box::pin(Waiting {
            sleep: None,
            deadline,
            begun: false,
            seen: self.seen.clone(),
            limit: self.limit,
        })
    }
}

// === impl Waiting ===

impl Sleep for Waiting {}

impl Future for Waiting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if !this.begun && this.seen.has_begun() {
            this.begun = true;
            this.deadline = this.deadline.min(Instant::now() + this.limit);
        }
        let deadline = this.deadline;
        let sleep = this.sleep.get_or_insert_with(|| timer::spare(deadline));
        timer::poll_until(sleep, deadline, cx)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(sleep) = self.sleep.take() {
            timer::put_back(sleep);
        }
    }
}
