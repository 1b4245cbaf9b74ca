//! gRPC streams: one end to send, one to receive.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::exchange::{Scope, Tools};
use super::{CallError, GrpcError, Tool};
use crate::grpc::{self, GrpcEvent, GrpcStatus};
use crate::pairs::Pairs;

/// Opens gRPC streams to other clusters.
///
/// ```
/// use cofferdam_sdk::prelude::*;
///
/// #[filter]
/// async fn scan(request: Request<Body>, streams: GrpcStreams) -> Result<Response> {
///     let (mut scan, mut verdicts) =
///         streams.open("scanner", "pkg.Scanner", "Scan", &[("x-tenant", "7")])?;
///     let mut request = request.stream();
///     while let Some(piece) = request.chunk().await {
///         scan.send(piece.bytes())?;
///         if verdicts.next().await?.as_deref() != Some(b"clean") {
///             return Ok(Response::new(403)); // and the stream is cancelled
///         }
///     }
///     scan.close();
///     let (status, _trailing_metadata) = verdicts.finish().await;
///     info!("scanned: {status}");
///     request.forward().await
/// }
/// ```
/// What is over cannot be used any more:
/// ```compile_fail
/// # use cofferdam_sdk::prelude::*;
/// #[filter]
/// async fn late(request: Request, streams: GrpcStreams) -> Result<Response> {
///     let (lines, _answers) = streams.open::<&str, &str>("log", "pkg.Log", "Lines", &[])?;
///     lines.close();
///     lines.send(b"late")?; // error: value borrowed after move
///     request.forward().await
/// }
/// ```
#[derive(Clone)]
pub struct GrpcStreams {
    scope: Rc<Scope>,
}

/// The end of a gRPC stream that sends. Dropped, it closes its side of the stream, and what
/// the other end still says is received.
///
/// ```
/// use cofferdam_sdk::filter::{GrpcError, GrpcSender};
///
/// fn all(mut lines: GrpcSender, text: &str) -> Result<(), GrpcError> {
///     text.lines().try_for_each(|line| lines.send(line.as_bytes()))
/// } // and nothing more
/// ```
pub struct GrpcSender {
    token: u32,
    inbox: Rc<Inbox>,
}

/// The end of a gRPC stream that receives. Dropped before the stream is over, it cancels it.
///
/// What comes while nobody asks is kept: the ABI has no flow control for it.
///
/// ```
/// use cofferdam_sdk::filter::{GrpcError, GrpcReceiver};
///
/// async fn size(mut answers: GrpcReceiver) -> Result<usize, GrpcError> {
///     let mut size = 0;
///     while let Some(message) = answers.next().await? {
///         size += message.len();
///     }
///     Ok(size)
/// }
/// ```
pub struct GrpcReceiver {
    scope: Rc<Scope>,
    token: u32,
    inbox: Rc<Inbox>,
}

/// What has come of a stream.
#[derive(Default)]
pub(super) struct Inbox {
    initial: RefCell<Option<Pairs>>,
    messages: RefCell<VecDeque<Vec<u8>>>,
    trailing: RefCell<Pairs>,
    end: RefCell<Option<GrpcStatus>>,
    waker: Cell<Option<Waker>>,
}

// === impl GrpcStreams ===

impl GrpcStreams {
    /// Opens a stream of `service` (with its package) and `method`, with that metadata. It
    /// has no time limit of its own: [`Clock::timeout`](super::Clock::timeout) is for that.
    ///
    /// # Errors
    /// When it cannot be opened. Whether anybody is there is known later: by
    /// [`GrpcReceiver::next`].
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(streams: GrpcStreams) -> Result<()> {
    /// let (mut lines, answers) = streams.open("log", "pkg.Log", "Lines", &[("x-tenant", "7")])?;
    /// lines.send(b"\x0a\x01x")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn open<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        cluster: &str,
        service: &str,
        method: &str,
        metadata: &[(N, V)],
    ) -> Result<(GrpcSender, GrpcReceiver), GrpcError> {
        let token = grpc::open(cluster, service, method, metadata)
            .map_err(|status| GrpcError::not_sent(cluster, status))?;
        let inbox = Rc::<Inbox>::default();
        let mut streams = self.scope.streams.borrow_mut();
        streams.push((token, inbox.clone()));
        let receiver = GrpcReceiver {
            scope: self.scope.clone(),
            token,
            inbox: inbox.clone(),
        };
        Ok((GrpcSender { token, inbox }, receiver))
    }
}

impl Tool for GrpcStreams {
    const GRPC_STREAMS: bool = true;

    fn of(tools: &Tools) -> Self {
        Self {
            scope: tools.scope.clone(),
        }
    }
}

// === impl GrpcSender ===

impl GrpcSender {
    /// Sends a message, encoded. It does not wait: the host keeps what cannot be sent yet,
    /// and ends the stream with status 8 where that is too much.
    ///
    /// # Errors
    /// When the stream is over: with its status, if it has come to its end.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # fn f(mut lines: cofferdam_sdk::filter::GrpcSender) -> Result<()> {
    /// lines.send(b"\x0a\x01x")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn send(&mut self, message: &[u8]) -> Result<(), GrpcError> {
        if let Some(status) = &*self.inbox.end.borrow() {
            return Err(GrpcError::Status(status.clone()));
        }
        grpc::send(self.token, message)
            .map_err(|status| GrpcError::Call(CallError::NotSent(status)))
    }

    /// Nothing more is sent. So does who drops it.
    ///
    /// ```no_run
    /// # fn f(lines: cofferdam_sdk::filter::GrpcSender) {
    /// lines.close();
    /// # }
    /// ```
    pub fn close(self) {}
}

impl Drop for GrpcSender {
    fn drop(&mut self) {
        grpc::close(self.token);
    }
}

// === impl GrpcReceiver ===

impl GrpcReceiver {
    /// The metadata that the other end begins with: the headers of its response. Empty
    /// where the response is nothing but its end.
    ///
    /// # Errors
    /// The status, where the stream ended before.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(mut answers: cofferdam_sdk::filter::GrpcReceiver) -> Result<()> {
    /// let metadata = answers.initial_metadata().await?;
    /// info!("{} fields", metadata.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn initial_metadata(&mut self) -> impl Future<Output = Result<Pairs, GrpcError>> + '_ {
        let inbox = &*self.inbox;
        poll_fn(
            |cx| match (&*inbox.initial.borrow(), &*inbox.end.borrow()) {
                (Some(metadata), _) => Poll::Ready(Ok(metadata.clone())),
                (None, Some(end)) => Poll::Ready(Err(GrpcError::Status(end.clone()))),
                (None, None) => inbox.wait(cx),
            },
        )
    }

    /// The next message, encoded; `None` at the end.
    ///
    /// # Errors
    /// The status, where the stream ended with one that is not 0.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(mut answers: cofferdam_sdk::filter::GrpcReceiver) -> Result<()> {
    /// while let Some(message) = answers.next().await? {
    ///     info!("{} bytes", message.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[expect(clippy::should_implement_trait, reason = "it is waited for")]
    pub fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, GrpcError>> + '_ {
        let inbox = &*self.inbox;
        poll_fn(|cx| {
            if let Some(message) = inbox.messages.borrow_mut().pop_front() {
                return Poll::Ready(Ok(Some(message)));
            }
            match &*inbox.end.borrow() {
                Some(end) if end.is_ok() => Poll::Ready(Ok(None)),
                Some(end) => Poll::Ready(Err(GrpcError::Status(end.clone()))),
                None => inbox.wait(cx),
            }
        })
    }

    /// How it ended, and the trailing metadata; empty where there was none. Messages that
    /// come meanwhile, or have not been asked for, are dropped.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(answers: cofferdam_sdk::filter::GrpcReceiver) -> Result<()> {
    /// let (status, metadata) = answers.finish().await;
    /// info!("{} ({} fields)", status.code(), metadata.len());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn finish(self) -> (GrpcStatus, Pairs) {
        let inbox = &*self.inbox;
        let status = poll_fn(|cx| {
            inbox.messages.borrow_mut().clear();
            match &*inbox.end.borrow() {
                Some(end) => Poll::Ready(end.clone()),
                None => inbox.wait(cx),
            }
        });
        (status.await, inbox.trailing.take())
    }
}

impl Drop for GrpcReceiver {
    fn drop(&mut self) {
        let mut streams = self.scope.streams.borrow_mut();
        let before = streams.len();
        streams.retain(|(stream, _)| *stream != self.token);
        if streams.len() < before {
            grpc::cancel(self.token);
        }
    }
}

// === impl Inbox ===

impl Inbox {
    pub(super) fn put(&self, event: GrpcEvent) {
        match event {
            GrpcEvent::InitialMetadata(metadata) => {
                self.initial.replace(Some(metadata));
            }
            GrpcEvent::Message(message) => self.messages.borrow_mut().push_back(message),
            GrpcEvent::TrailingMetadata(metadata) => {
                self.trailing.replace(metadata);
            }
            GrpcEvent::Closed(status) => {
                self.end.replace(Some(status));
            }
        }
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    fn wait<T>(&self, cx: &Context<'_>) -> Poll<T> {
        self.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

macro_rules! opaque {
    ($($name:ident)*) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        })*
    };
}

opaque!(GrpcStreams GrpcSender GrpcReceiver);
