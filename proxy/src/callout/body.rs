//! Bodies of filters' own requests: whole ones, and those of gRPC streams, which are fed
//! message by message.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use crate::upstream::body::BodyError;
use crate::upstream::replay::weight;

/// What a call sends.
#[derive(Debug)]
pub(crate) enum CallBody {
    /// All of it is there.
    Whole {
        bytes: Bytes,
        trailers: Option<HeaderMap>,
    },
    /// It comes bit by bit.
    Fed(Feed),
}

/// The end of a stream at which its messages go in; whoever sends them has another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Feed(Rc<RefCell<Feeding>>);

#[derive(Debug, Default)]
struct Feeding {
    waiting: VecDeque<Bytes>,
    /// What is in `waiting`, by [`weight`].
    size: usize,
    ended: bool,
    cancelled: bool,
    waker: Option<Waker>,
}

// === impl CallBody ===

impl CallBody {
    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole { bytes, trailers } => bytes.is_empty() && trailers.is_none(),
            Self::Fed(_) => false,
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole {
                bytes,
                trailers: None,
            } => SizeHint::with_exact(bytes.len() as u64),
            _ => SizeHint::default(),
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Whole { bytes, .. } if !bytes.is_empty() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
            }
            Self::Whole { trailers, .. } => Poll::Ready(
                trailers
                    .take()
                    .map(|trailers| Ok(Frame::trailers(trailers))),
            ),
            Self::Fed(feed) => feed.poll_frame(cx),
        }
    }
}

// === impl Feed ===

impl Feed {
    /// Sends `bytes` when there is room for them. Returns how much waits now, by [`weight`].
    pub(crate) fn push(&self, bytes: Bytes) -> usize {
        let mut feeding = self.0.borrow_mut();
        if !feeding.ended {
            feeding.size += weight(&bytes);
            feeding.waiting.push_back(bytes);
        }
        feeding.wake();
        feeding.size
    }

    /// Nothing follows: half-closes the stream.
    pub(crate) fn end(&self) {
        let mut feeding = self.0.borrow_mut();
        feeding.ended = true;
        feeding.wake();
    }

    /// The stream is given up: what waits is not sent, and it is reset if it has not ended.
    pub(crate) fn cancel(&self) {
        let mut feeding = self.0.borrow_mut();
        feeding.cancelled = true;
        feeding.waiting.clear();
        feeding.wake();
    }

    fn poll_frame(&self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut feeding = self.0.borrow_mut();
        if feeding.cancelled {
            let reason = h2::Error::from(h2::Reason::CANCEL);
            return Poll::Ready(Some(Err(BodyError::Cancelled(reason))));
        }
        if let Some(bytes) = feeding.waiting.pop_front() {
            feeding.size -= weight(&bytes);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if feeding.ended {
            return Poll::Ready(None);
        }
        feeding.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

// === impl Feeding ===

impl Feeding {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_counts_however_small_it_is() {
        let (feed, cx) = (Feed::default(), Context::from_waker(Waker::noop()));
        assert_eq!(feed.push(Bytes::new()), 128);
        assert_eq!(feed.push(Bytes::from_static(&[0; 1_000])), 1_128);
        for left in [1_000, 0] {
            assert!(feed.poll_frame(&cx).is_ready());
            assert_eq!(feed.0.borrow().size, left);
        }
    }
}
