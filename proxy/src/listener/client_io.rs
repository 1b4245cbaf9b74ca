//! A client's connection as its codec has it: what is noted of it on the way, and how long
//! it may take none of what is sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::flood;
use crate::traffic::Event;
use crate::turn::Turn;

/// What is seen of a connection's bytes. Atomic because the codec wants its clock `Sync`;
/// there is one thread.
#[derive(Debug, Default)]
pub(super) struct Seen {
    begun: AtomicBool,
    stalled: AtomicBool,
    /// Of HTTP/2.
    pub(super) frames: Arc<flood::Seen>,
    /// Of HTTP/1.
    pub(super) turn: Turn,
}

/// The connection.
#[derive(Debug)]
pub(super) struct ClientIo<S> {
    stream: S,
    seen: Arc<Seen>,
    /// What comes, where somebody counts it.
    received: Option<Arc<AtomicU64>>,
    limit: Duration,
    /// While something waits to be sent.
    stall: Option<Pin<Box<Sleep>>>,
}

// === impl Seen ===

impl Seen {
    /// Something has come of the next request.
    pub(super) fn begun(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// The next request is waited for.
    pub(super) fn expect(&self) {
        self.begun.store(false, Ordering::Relaxed);
    }

    /// Why it was ended here, as far as its bytes tell.
    pub(super) fn cut(&self) -> Option<Event> {
        if self.frames.is_flooded() {
            Some(Event::Flood)
        } else if self.stalled.load(Ordering::Relaxed) {
            Some(Event::Unread)
        } else {
            None
        }
    }
}

// === impl ClientIo ===

impl<S> ClientIo<S> {
    /// One that may take nothing for at most `limit`.
    pub(super) fn new(stream: S, seen: Arc<Seen>, limit: Duration) -> Self {
        Self {
            stream,
            seen,
            received: None,
            limit,
            stall: None,
        }
    }

    /// Has what comes added to `counter`.
    pub(super) fn counted(mut self, counter: Arc<AtomicU64>) -> Self {
        self.received = Some(counter);
        self
    }

    /// What came of sending, and the clock that runs while nothing comes of it.
    fn sent<T>(&mut self, cx: &mut Context<'_>, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            if self.stall.is_some() {
                self.stall = None;
            }
            return sent;
        }
        let limit = self.limit;
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        std::task::ready!(stall.as_mut().poll(cx));
        self.seen.stalled.store(true, Ordering::Relaxed);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = this.seen.turn.read(&mut this.stream, cx, buffer);
        let come = buffer.filled().len() - before;
        if come > 0 {
            this.seen.begun();
            if let Some(received) = &this.received {
                received.fetch_add(come as u64, Ordering::Relaxed);
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClientIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.sent(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.sent(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.sent(cx, ended)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.sent(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
