//! HTTP/2 frames that cost the other side nothing and us something: pings, settings,
//! priorities, window updates, empty pieces, streams that are opened to be reset. The codec
//! answers or drops each, for as long as they come; here they are counted, and past a bound
//! the connection ends with GOAWAY (ENHANCE_YOUR_CALM).
//!
//! A connection has credit. Such frames take of it, what we send for requests adds to it
//! (Envoy likewise allows so many window updates for each DATA frame), and so does time.
//! The clock is read only when the credit is used up. Clients and upstreams are counted
//! alike, but that a response costs a little: of heads that promise another one an upstream
//! may send any number.
//!
//! Heads that are wrong by themselves end the connection here too, with the code that RFC 9113
//! asks for; the codec knows one for all.

mod heads;
mod streams;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use heads::{Head, Heads, Piece};
use streams::Books;

pub(crate) use streams::Streams;

/// Most credit there may be, and what there is at first.
const MOST: u32 = 5_000;
/// What a millisecond adds.
const PER_MILLISECOND: u64 = 1;
/// What a frame adds that answers a request, or is one.
const ANSWERED: u32 = 10;
/// What a reset costs: 500 at once where nothing was answered, as many as Envoy allows.
const RESET: u32 = 10;

const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;

/// The kind of the error by which a connection ends here; all that a codec hands on of it.
/// Neither the system nor TLS has errors of this kind on a connection.
pub(crate) const ENDED: io::ErrorKind = io::ErrorKind::QuotaExceeded;

/// A connection whose frames are counted.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    stream: S,
    side: Side,
    seen: Arc<Seen>,
    inbound: Heads,
    outbound: Heads,
    credit: Credit,
    /// The last stream that the client has opened.
    last: u32,
    /// The first frame has come.
    settled: bool,
    /// Of one to an upstream.
    books: Option<Books>,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Upstream,
}

/// What is seen of its frames. Atomic because some codecs want their clocks `Sync`; there is
/// one thread.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    framed: AtomicBool,
    flooded: AtomicBool,
    broken: AtomicBool,
}

/// Why a connection is ended, by its number in GOAWAY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Protocol = 1,
    FrameSize = 6,
    Flood = 11,
}

#[derive(Debug)]
struct Credit {
    left: u32,
    /// Until when time has been credited.
    since: Instant,
}

// === impl Guarded ===

impl<S> Guarded<S> {
    /// A client's.
    pub(crate) fn of_client(stream: S, seen: Arc<Seen>) -> Self {
        Self::new(stream, Side::Client, seen)
    }

    /// One to an upstream, whose streams are counted. Whoever has a request on it is told by the
    /// kind of the error that ends it, [`ENDED`].
    pub(crate) fn of_upstream(stream: S, streams: Arc<Streams>) -> Self {
        let books = Some(Books::new(streams));
        Self {
            books,
            ..Self::new(stream, Side::Upstream, Arc::default())
        }
    }

    fn new(stream: S, side: Side, seen: Arc<Seen>) -> Self {
        let (inbound, outbound) = match side {
            Side::Client => (PREFACE, 0),
            Side::Upstream => (0, PREFACE),
        };
        Self {
            stream,
            side,
            seen,
            inbound: Heads::behind(inbound),
            outbound: Heads::behind(outbound),
            credit: Credit::new(),
            last: 0,
            settled: false,
            books: None,
        }
    }

    /// Why it may not go on with what has come, if it may not.
    fn came(&mut self, bytes: &[u8]) -> Option<Why> {
        let (credit, last, settled) = (&mut self.credit, &mut self.last, &mut self.settled);
        let (side, books) = (self.side, &mut self.books);
        let mut wrong = None;
        self.inbound.see(bytes, |piece| {
            if let Some(books) = books {
                books.came(piece);
            }
            let Piece::Head(head) = piece else { return };
            if head.kind == HEADERS && side == Side::Client {
                *last = (*last).max(head.stream);
            }
            if wrong.is_none() {
                wrong = fault(head, std::mem::replace(settled, true));
            }
            if wrong.is_none() && !credit.take(cost(side, head)) {
                wrong = Some(Why::Flood);
            }
        });
        if self.settled {
            self.seen.framed.store(true, Ordering::Relaxed);
        }
        wrong
    }

    fn went(&mut self, bytes: &[u8]) {
        let (credit, books) = (&mut self.credit, &mut self.books);
        self.outbound.see(bytes, |piece| {
            let Piece::Head(head) = piece else { return };
            if let Some(books) = books {
                books.went(head);
            }
            if matches!(head.kind, DATA | HEADERS) {
                credit.add(ANSWERED);
            }
        });
    }

    /// Whether something could be written.
    fn wrote(&self, written: bool) {
        if let Some(books) = &self.books {
            books.wrote(written);
        }
    }

    /// GOAWAY behind the last whole frame that has left; where one is on its way still, the
    /// client does not read, and the connection's end is all that it is told.
    fn dismiss(&mut self, cx: &mut Context<'_>, why: Why)
    where
        S: AsyncWrite + Unpin,
    {
        if !self.outbound.is_between() {
            return;
        }
        let [a, b, c, d] = self.last.to_be_bytes();
        let code = why as u8;
        let frame = [0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, code];
        // Whether it can be written or not, this was the end.
        if let Poll::Ready(Ok(_)) = Pin::new(&mut self.stream).poll_write(cx, &frame) {
            let _ = Pin::new(&mut self.stream).poll_flush(cx);
        }
    }
}

// === impl Seen ===

impl Seen {
    /// HTTP/2 has begun: a frame has come (of a client: behind the preface).
    pub(crate) fn has_framed(&self) -> bool {
        self.framed.load(Ordering::Relaxed)
    }

    /// It is over for its frames: too many of them, or one that is wrong.
    fn ended(&self, flooded: bool) {
        let which = if flooded { &self.flooded } else { &self.broken };
        which.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_flooded(&self) -> bool {
        self.flooded.load(Ordering::Relaxed)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}

// === impl Why ===

impl Why {
    const fn text(self) -> &'static str {
        match self {
            Self::Protocol => "something else came before settings",
            Self::FrameSize => "a frame of a wrong length",
            Self::Flood => "a flood of frames",
        }
    }
}

/// What is wrong with a head whatever its frame holds.
const fn fault(head: Head, settled: bool) -> Option<Why> {
    let is_ack = head.flags & ACK != 0;
    if !settled && (head.kind != SETTINGS || is_ack) {
        return Some(Why::Protocol);
    }
    let fits = match head.kind {
        PRIORITY => head.length == 5,
        RST_STREAM | WINDOW_UPDATE => head.length == 4,
        SETTINGS if is_ack => head.length == 0,
        SETTINGS => head.length.is_multiple_of(6),
        PING => head.length == 8,
        _ => true,
    };
    if fits { None } else { Some(Why::FrameSize) }
}

/// What a frame costs.
const fn cost(side: Side, head: Head) -> u32 {
    match (side, head.kind) {
        (_, DATA) if head.length > 0 || head.flags & END_STREAM != 0 => 0,
        // A request is answered, which is paid for, or reset, which costs.
        (Side::Client, HEADERS) => 0,
        (_, RST_STREAM) => RESET,
        _ => 1,
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let Some(why) = this.came(&buffer.filled()[before..]) else {
            return Poll::Ready(Ok(()));
        };
        buffer.set_filled(before);
        this.seen.ended(why == Why::Flood);
        this.dismiss(cx, why);
        let error = io::Error::new(ENDED, why.text());
        Poll::Ready(Err(error))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.wrote(written.is_ready());
        let written = std::task::ready!(written)?;
        this.went(&bytes[..written]);
        Poll::Ready(Ok(written))
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
        let this = &mut *self;
        let stream = Pin::new(&mut this.stream);
        let written = stream.poll_write_vectored(cx, slices);
        this.wrote(written.is_ready());
        let written = std::task::ready!(written)?;
        let mut left = written;
        for slice in slices {
            let length = slice.len().min(left);
            this.went(&slice[..length]);
            left -= length;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

// === impl Credit ===

impl Credit {
    fn new() -> Self {
        Self {
            left: MOST,
            since: Instant::now(),
        }
    }

    fn add(&mut self, credit: u32) {
        self.left = self.left.saturating_add(credit).min(MOST);
    }

    /// Whether there was so much.
    fn take(&mut self, cost: u32) -> bool {
        if self.left < cost {
            self.add_time(Instant::now());
        }
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    fn add_time(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_millis();
        let earned = u64::try_from(passed).unwrap_or(u64::MAX) * PER_MILLISECOND;
        if earned > 0 {
            self.since = now;
            self.add(u32::try_from(earned).unwrap_or(MOST));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const A_PING: Head = Head {
        length: 8,
        kind: PING,
        flags: 0,
        stream: 0,
    };

    #[test]
    fn time_and_answers_add_credit_up_to_a_bound() {
        let mut credit = Credit::new();
        let begun = credit.since;
        credit.left = 0;
        credit.add_time(begun + Duration::from_millis(20));
        assert_eq!(credit.left, 20);
        // Only once.
        credit.add_time(begun + Duration::from_millis(20));
        assert_eq!(credit.left, 20);
        credit.add(ANSWERED);
        assert_eq!(credit.left, 30);
        credit.add_time(begun + Duration::from_secs(1 << 40));
        assert_eq!(credit.left, MOST);
        credit.add(u32::MAX);
        assert_eq!(credit.left, MOST);
    }

    #[test]
    fn heads_may_be_wrong_by_themselves() {
        let head = |kind, length, flags| Head {
            length,
            kind,
            flags,
            stream: 0,
        };
        assert_eq!(fault(head(SETTINGS, 12, 0), false), None);
        assert_eq!(fault(head(SETTINGS, 0, ACK), false), Some(Why::Protocol));
        assert_eq!(fault(A_PING, false), Some(Why::Protocol));
        assert_eq!(fault(A_PING, true), None);
        for (kind, length, flags) in [
            (PRIORITY, 4, 0),
            (RST_STREAM, 3, 0),
            (SETTINGS, 7, 0),
            (SETTINGS, 6, ACK),
            (PING, 9, 0),
            (WINDOW_UPDATE, 5, 0),
        ] {
            assert_eq!(fault(head(kind, length, flags), true), Some(Why::FrameSize));
        }
        // What belongs to streams is for the codec.
        assert_eq!(fault(head(DATA, 1 << 20, 0), true), None);
    }

    #[test]
    fn what_carries_something_costs_nothing() {
        let head = |kind, length, flags| Head {
            length,
            kind,
            flags,
            stream: 1,
        };
        for side in [Side::Client, Side::Upstream] {
            assert_eq!(cost(side, head(DATA, 1, 0)), 0);
            assert_eq!(cost(side, head(DATA, 0, END_STREAM)), 0);
            assert_eq!(cost(side, head(DATA, 0, 0)), 1);
            assert_eq!(cost(side, A_PING), 1);
            // What nobody knows is skipped, and counted.
            assert_eq!(cost(side, head(0xfe, 100, 0)), 1);
            assert_eq!(cost(side, head(RST_STREAM, 4, 0)), RESET);
        }
        assert_eq!(cost(Side::Client, head(HEADERS, 9, 0)), 0);
        // Less than the request has added.
        assert_eq!(cost(Side::Upstream, head(HEADERS, 9, 0)), 1);
    }
}
