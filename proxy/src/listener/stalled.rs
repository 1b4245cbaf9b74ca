//! HTTP/2 streams whose responses wait for the client's window.
//!
//! The codec asks a body for more only once it can send more, and a body's clocks run when
//! it is asked. So while a piece of a response waits for window, the task that drives its
//! stream looks at the clocks instead: at the silence of the stream, which every byte that
//! leaves ends, and at the time of the whole. When one runs out the stream's future is
//! dropped, and with it go what waits to be sent and the upstream's connection; the codec
//! resets the stream.
//!
//! The last piece of a response may be the codec's alone, and then nobody can reset its
//! stream. Such [`Tails`] keep a connection from being idle while they move, and have it closed
//! politely once one has not moved for too long.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::codec::{Gone, Served, Service};
use crate::connection::Requests;
use crate::flow::Flow;
use crate::serve::{self, ResponseBody};
use crate::timer::{self, Expired, Spare};
use crate::upstream::body::BodyError;

/// What hyper calls with every request of an HTTP/2 connection.
pub(super) struct Streams {
    service: Service,
    executor: Executor,
}

/// The stream whose request has been taken last, until its task is started: the codec does
/// one right after the other.
type Next = Rc<Cell<Option<Rc<Stream>>>>;

/// Runs the codec's tasks on the worker's own thread: one for each stream.
#[derive(Clone, Default)]
pub(super) struct Executor {
    next: Next,
    tails: Rc<Tails>,
}

/// Streams whose tasks are over, and whose last bytes have not left.
#[derive(Default)]
pub(super) struct Tails(RefCell<Vec<Rc<Stream>>>);

/// A stream, as the task that drives it and the bytes of its response know it.
struct Stream {
    /// The exchange, once there is a response with a body.
    flow: RefCell<Option<Rc<Flow>>>,
    /// The codec has been given something, and has not come back for more.
    has_some: Cell<bool>,
    /// When something of it last left,
    moved: Cell<Instant>,
    /// and how long nothing may, once its task is over.
    limit: Cell<Option<Duration>>,
}

/// A response's body whose bytes tell when they leave.
pub(super) struct Told {
    body: ResponseBody,
    stream: Rc<Stream>,
}

/// Some of its bytes.
pub(super) struct Piece {
    bytes: Bytes,
    stream: Rc<Stream>,
}

// === impl Streams ===

impl Streams {
    pub(super) fn new(service: Service) -> Self {
        Self {
            service,
            executor: Executor::default(),
        }
    }

    pub(super) fn executor(&self) -> Executor {
        self.executor.clone()
    }

    pub(super) fn tails(&self) -> Rc<Tails> {
        self.executor.tails.clone()
    }
}

impl hyper::service::Service<Request<Incoming>> for Streams {
    type Response = Response<Told>;
    type Error = Gone;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let stream = Rc::new(Stream {
            flow: RefCell::default(),
            has_some: Cell::new(false),
            moved: Cell::new(Instant::now()),
            limit: Cell::new(None),
        });
        self.executor.next.set(Some(stream.clone()));
        Answer {
            served: self.service.serve(request),
            stream,
        }
    }
}

/// A request that is being served.
pub(super) struct Answer {
    served: Served,
    stream: Rc<Stream>,
}

impl Future for Answer {
    type Output = Result<Response<Told>, Gone>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(response) = ready!(self.served.as_mut().poll(cx)) else {
            return Poll::Ready(Err(Gone));
        };
        let stream = self.stream.clone();
        Poll::Ready(Ok(response.map(|body| {
            stream.flow.replace(body.flow().cloned());
            Told { body, stream }
        })))
    }
}

// === impl Executor ===

impl<F: Future + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, future: F) {
        let stream = self.next.take();
        let tails = self.tails.clone();
        tokio::task::spawn_local(async move {
            match stream {
                Some(stream) => {
                    drive(future, &stream).await;
                    tails.add(stream);
                }
                // The other half of a tunnel.
                None => {
                    future.await;
                }
            }
        });
    }
}

/// Drives a stream to its end, or until it has waited for window for too long.
async fn drive<F: Future>(future: F, stream: &Stream) {
    let mut future = pin!(future);
    let mut sleep: Option<Spare> = None;
    poll_fn(|cx| {
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some((deadline, which)) = stream.deadline() else {
            return Poll::Pending;
        };
        let sleep = sleep.get_or_insert_with(|| timer::spare(deadline));
        ready!(timer::poll_until(sleep, deadline, cx));
        if let Some(flow) = &*stream.flow.borrow() {
            serve::cut(flow, which);
        }
        Poll::Ready(())
    })
    .await;
    if let Some(sleep) = sleep {
        timer::put_back(sleep);
    }
    // What the codec has of it may outlast the exchange.
    let flow = stream.flow.take();
    let limit = flow.and_then(|flow| flow.stream_idle_timeout());
    stream.limit.set(limit);
}

/// Ready when a connection has had nothing under way for that long, and nothing has left it; or
/// when the end of a response has waited for its window for too long.
pub(super) async fn idle(requests: &Requests, tails: &Tails, time: Duration) {
    over(requests, tails, time, |now| tails.are_stalled(now)).await;
}

/// The same of a connection that is told good-bye now: or when something is begun on it so much
/// later that its client cannot have missed that.
pub(super) async fn gone(requests: &Requests, tails: &Tails, time: Duration) {
    let told = Instant::now();
    over(requests, tails, time, |_| {
        requests.last_begun() > told + time
    })
    .await;
}

async fn over(
    requests: &Requests,
    tails: &Tails,
    time: Duration,
    is_over: impl Fn(Instant) -> bool,
) {
    loop {
        let now = Instant::now();
        if is_over(now) {
            return;
        }
        let until = match requests.none_since() {
            Some(since) => tails.moved().map_or(since, |moved| moved.max(since)) + time,
            None => now + time,
        };
        if until <= now {
            return;
        }
        tokio::time::sleep_until(until.into()).await;
    }
}

// === impl Tails ===

impl Tails {
    fn add(&self, stream: Rc<Stream>) {
        if stream.is_sent() {
            return;
        }
        let mut held = self.0.borrow_mut();
        // Most have left long since.
        if held.len() == held.capacity() {
            held.retain(|stream| !stream.is_sent());
        }
        held.push(stream);
    }

    /// When something of them last left.
    fn moved(&self) -> Option<Instant> {
        let mut held = self.0.borrow_mut();
        held.retain(|stream| !stream.is_sent());
        held.iter().map(|stream| stream.moved.get()).max()
    }

    fn are_stalled(&self, now: Instant) -> bool {
        self.0.borrow().iter().any(|stream| {
            let limit = stream.limit.get().filter(|_| !stream.is_sent());
            limit.is_some_and(|limit| stream.moved.get() + limit <= now)
        })
    }
}

// === impl Stream ===

impl Stream {
    /// Whether nothing is left of it but this.
    fn is_sent(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) == 1
    }

    /// Until when it may wait, while it is the client that is waited for.
    fn deadline(&self) -> Option<(Instant, Expired)> {
        if !self.has_some.get() {
            return None;
        }
        let flow = self.flow.borrow();
        let flow = flow.as_ref()?;
        let moved = flow.last_activity().max(self.moved.get());
        let silence = |limit: Duration| (moved + limit, Expired::Idle);
        let idle = flow.stream_idle_timeout().map(silence);
        let end = flow.ends_by().map(|end| (end, Expired::Duration));
        timer::earlier(idle, end)
    }
}

// === impl Told ===

impl Body for Told {
    type Data = Piece;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BodyError>>> {
        self.stream.has_some.set(false);
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.stream.has_some.set(true);
        let told = |bytes| Piece {
            bytes,
            stream: self.stream.clone(),
        };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(told))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Piece ===

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.stream.moved.set(Instant::now());
    }
}
