//! HTTP/2 streams whose responses wait for the client's window.
//!
//! The codec asks a body for more only once it can send more, and a body's clocks run when
//! it is asked. So while a piece of a response waits for window, the task that drives its
//! stream looks at the clocks instead: at the silence of the stream, which every byte that
//! leaves ends, and at the time of the whole. When one runs out the stream's future is
//! dropped, and with it go what waits to be sent and the upstream's connection; the codec
//! resets the stream.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::codec::{Gone, Service};
use crate::flow::Flow;
use crate::serve::{self, ResponseBody};
use crate::timer::{self, Expired, Spare};
use crate::upstream::body::BodyError;

/// What hyper calls with every request of an HTTP/2 connection.
pub(super) struct Streams {
    service: Service,
    next: Next,
}

/// The stream whose request has been taken last, until its task is started: the codec does
/// one right after the other.
type Next = Rc<Cell<Option<Rc<Stream>>>>;

/// Runs the codec's tasks on the worker's own thread: one for each stream.
#[derive(Clone)]
pub(super) struct Executor(Next);

/// A stream, as the task that drives it and the bytes of its response know it.
struct Stream {
    /// The exchange, once there is a response with a body.
    flow: RefCell<Option<Rc<Flow>>>,
    /// The codec has been given something, and has not come back for more.
    has_some: Cell<bool>,
    /// When something of it last left.
    moved: Cell<Instant>,
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
            next: Rc::default(),
        }
    }

    pub(super) fn executor(&self) -> Executor {
        Executor(self.next.clone())
    }
}

impl hyper::service::Service<Request<Incoming>> for Streams {
    type Response = Response<Told>;
    type Error = Gone;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Gone>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let stream = Rc::new(Stream {
            flow: RefCell::default(),
            has_some: Cell::new(false),
            moved: Cell::new(Instant::now()),
        });
        self.next.set(Some(stream.clone()));
        let served = self.service.serve(request);
        Box::pin(async move {
            let response = served.await?;
            Ok(response.map(|body| {
                stream.flow.replace(body.flow().cloned());
                Told { body, stream }
            }))
        })
    }
}

// === impl Executor ===

impl<F: Future + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, future: F) {
        let stream = self.0.take();
        tokio::task::spawn_local(async move {
            match stream {
                Some(stream) => drive(future, &stream).await,
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
        std::task::ready!(timer::poll_until(sleep, deadline, cx));
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
    stream.flow.take();
}

// === impl Stream ===

impl Stream {
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
