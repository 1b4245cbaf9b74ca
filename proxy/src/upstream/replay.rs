//! A request's body that can be sent again: what has been sent of it is kept, up to a bound.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::UpstreamBody;
use super::body::BodyError;

/// A body, between attempts.
#[derive(Debug)]
pub(crate) struct Replay(Rc<RefCell<State>>);

/// It as one attempt sends it.
#[derive(Debug)]
pub(crate) struct Attempt {
    state: Rc<RefCell<State>>,
    number: u32,
    /// How many of the kept frames it has had.
    had: usize,
    hint: SizeHint,
}

#[derive(Debug)]
struct State {
    source: UpstreamBody,
    kept: Vec<Kept>,
    /// How many bytes more may be kept.
    room: usize,
    /// More has been sent than is kept.
    lost: bool,
    ended: bool,
    /// Number of the attempt that may read.
    attempt: u32,
    /// Who waits for more, to be told when another attempt takes over.
    waker: Option<Waker>,
    hint: SizeHint,
}

/// What a piece takes at least.
const PIECE: usize = 128;

/// What a piece that is kept counts: many small ones must not take more than is allowed.
pub(crate) fn weight(piece: &Bytes) -> usize {
    piece.len().max(PIECE)
}

#[derive(Debug, Clone)]
enum Kept {
    Data(Bytes),
    Trailers(HeaderMap),
}

// === impl Replay ===

impl Replay {
    /// `limit` in bytes, of which no piece takes less than [`PIECE`].
    pub(crate) fn new(source: UpstreamBody, limit: usize) -> Self {
        Self(Rc::new(RefCell::new(State {
            hint: source.size_hint(),
            source,
            kept: Vec::new(),
            room: limit,
            lost: false,
            ended: false,
            attempt: 0,
            waker: None,
        })))
    }

    /// It from its beginning, for an attempt that takes the last one's place.
    pub(crate) fn attempt(&self) -> Attempt {
        let mut state = self.0.borrow_mut();
        state.attempt += 1;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        Attempt {
            state: self.0.clone(),
            number: state.attempt,
            had: 0,
            hint: state.hint,
        }
    }

    /// Whether another attempt would have all of it.
    pub(crate) fn can_repeat(&self) -> bool {
        !self.0.borrow().lost
    }

    /// There will be no other attempt: what is not kept yet need not be.
    pub(crate) fn settle(&self) {
        self.0.borrow_mut().room = 0;
    }

    /// Takes back the client's body. To an attempt that still sends it, it breaks off: the
    /// upstream must not take what it has for all of it.
    pub(crate) fn take_source(&self) -> Option<Incoming> {
        let mut state = self.0.borrow_mut();
        state.lost = true;
        state.attempt += 1;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        std::mem::replace(&mut state.source, UpstreamBody::Empty).take_source()
    }
}

// === impl Attempt ===

impl Attempt {
    pub(super) fn take_source(self) -> Option<Incoming> {
        Replay(self.state).take_source()
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let state = self.state.borrow();
        // One whose place another has taken never ends: it breaks off.
        let had_all = state.lost || self.had == state.kept.len();
        state.attempt == self.number && had_all && (state.ended || state.source.is_end_stream())
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.hint
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let state = &mut *self.state.borrow_mut();
        if state.attempt != self.number {
            return Poll::Ready(Some(Err(BodyError::Superseded)));
        }
        if let Some(kept) = state.kept.get(self.had) {
            self.had += 1;
            return Poll::Ready(Some(Ok(kept.clone().into())));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut state.source).poll_frame(cx) else {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        match &frame {
            None => state.ended = true,
            Some(Err(_)) => state.lost = true,
            Some(Ok(frame)) => state.keep(frame),
        }
        self.had = state.kept.len();
        Poll::Ready(frame)
    }
}

// === impl State ===

impl State {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        if self.lost {
            return;
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.kept.push(Kept::Trailers(trailers.clone()));
        } else if let Some(data) = frame.data_ref() {
            match self.room.checked_sub(weight(data)) {
                Some(room) => {
                    self.room = room;
                    self.kept.push(Kept::Data(data.clone()));
                }
                None => {
                    self.lost = true;
                    self.kept = Vec::new();
                }
            }
        }
    }
}

impl From<Kept> for Frame<Bytes> {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Data(bytes) => Self::data(bytes),
            Kept::Trailers(trailers) => Self::trailers(trailers),
        }
    }
}
