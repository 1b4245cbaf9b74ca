//! One connection to an upstream: its number, when it came about, and what passes on it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pool::Wire;
use crate::flood;
use crate::tls::Session;
use crate::turn::Turn;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// What is known of a connection for as long as it is open. Its codec wants what counts its
/// bytes to be `Send`, hence the atomics; there is one thread.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its number in this process.
    pub(crate) id: u64,
    /// When it began to be made,
    pub(crate) begun: Instant,
    /// when the upstream had let it in,
    pub(crate) connected: Instant,
    /// and when TLS was settled, where it has that.
    pub(crate) secured: Option<Instant>,
    passed: [AtomicU64; 2],
    /// Of HTTP/1: up to how many bytes received the head of a response may come,
    head: AtomicU64,
    /// and what its codec may read at once.
    pub(super) turn: Turn,
}

/// Most bytes of all heads that come for one request: the largest that the codec takes, behind
/// those that only announce it.
const HEADS: u64 = 4 * super::connect::BUFFER as u64;

/// How a socket came about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialled {
    /// Its address here.
    pub(super) local: Option<SocketAddr>,
    pub(super) begun: Instant,
    pub(super) connected: Instant,
}

/// Bytes that have passed, TLS apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// A stream whose bytes are counted.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    stream: S,
    line: Arc<Line>,
}

// === impl Line ===

impl Line {
    fn new(dialled: Dialled, secured: Option<Instant>) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            begun: dialled.begun,
            connected: dialled.connected,
            secured,
            passed: Default::default(),
            head: AtomicU64::new(u64::MAX),
            turn: Turn::default(),
        })
    }

    /// What has passed so far.
    pub(crate) fn passed(&self) -> Passed {
        let [received, sent] = &self.passed;
        Passed {
            received: received.load(Ordering::Relaxed),
            sent: sent.load(Ordering::Relaxed),
        }
    }

    /// A request goes out: from here on heads are waited for, but not for ever.
    pub(super) fn asked(&self) {
        let [received, _] = &self.passed;
        let until = received.load(Ordering::Relaxed).saturating_add(HEADS);
        self.head.store(until, Ordering::Relaxed);
    }

    /// The response's head is here; of what follows there may be any amount.
    pub(super) fn answered(&self) {
        self.head.store(u64::MAX, Ordering::Relaxed);
    }

    /// Whether heads have come for one request without end.
    fn is_flooded(&self) -> bool {
        let [received, _] = &self.passed;
        received.load(Ordering::Relaxed) >= self.head.load(Ordering::Relaxed)
    }

    fn add(&self, which: usize, bytes: usize) {
        let passed = &self.passed[which];
        // Nobody else writes: it need not be done in one go.
        let all = passed.load(Ordering::Relaxed).wrapping_add(bytes as u64);
        passed.store(all, Ordering::Relaxed);
    }
}

// === impl Passed ===

impl Passed {
    /// What has passed since it was `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            received: self.received.saturating_sub(before.received),
            sent: self.sent.saturating_sub(before.sent),
        }
    }
}

// === impl Metered ===

const RECEIVED: usize = 0;
const SENT: usize = 1;

impl<S> Metered<S> {
    /// What carries a connection from now on, and what is known of it: `stream` is what
    /// `dialled` has come to, with TLS on it if there is a `session`.
    pub(super) fn new(stream: S, dialled: Dialled, session: Option<Session>) -> (Self, Wire) {
        let line = Line::new(dialled, session.is_some().then(Instant::now));
        let wire = Wire {
            local: dialled.local,
            tls: session.map(Rc::new),
            line: line.clone(),
        };
        (Self { stream, line }, wire)
    }

    fn sent(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.line.add(SENT, *bytes);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.line.is_flooded() {
            let why = "heads without end, and no response";
            return Poll::Ready(Err(io::Error::new(flood::ENDED, why)));
        }
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = this.line.turn.read(&mut this.stream, cx, buffer);
        this.line.add(RECEIVED, buffer.filled().len() - before);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.sent(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.sent(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
