//! Bodies: whole, or piece by piece.

use std::fmt;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;

use super::exchange::{Ajar, Gate, Side, State};
use crate::raw;
use crate::types::Status;

/// Why a body could not be had, or changed.
///
/// ```
/// use cofferdam_sdk::filter::BodyError;
/// let error = BodyError::TooLarge { limit: 1024 };
/// assert_eq!(error.to_string(), "a body of more than 1024 bytes");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// There is more than was asked for. What has come still waits.
    TooLarge {
        /// How much was asked for, in bytes.
        limit: usize,
    },
    /// The message was sent without a body, and the ABI cannot give it one.
    NoBody,
    /// It is to be replaced whole, but has not been waited for whole.
    NotRead,
    /// The host does not hold headers for a body: the filter would have waited for ever. In
    /// Envoy set `allow_on_headers_stop_iteration: true`.
    NotHeld,
    /// The host does not let it be changed.
    Refused(Status),
}

/// A piece of a body that waits, and goes on when this is dropped.
///
/// ```
/// use cofferdam_sdk::prelude::*;
///
/// #[filter]
/// async fn shout(request: Request<Body>) -> Result<Response> {
///     let mut request = request.stream();
///     while let Some(mut chunk) = request.chunk().await {
///         let loud = chunk.bytes().to_ascii_uppercase();
///         chunk.replace(&loud)?;
///     }
///     request.forward().await
/// }
/// ```
#[derive(Debug)]
pub struct Chunk<'a> {
    side: Handle<'a>,
    bytes: Vec<u8>,
    last: bool,
}

/// One way of an exchange that is not gone.
#[derive(Clone, Copy)]
pub(super) struct Handle<'a>(pub(super) &'a Side);

// === impl Chunk ===

impl Chunk<'_> {
    /// What came.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # fn f(chunk: cofferdam_sdk::filter::Chunk<'_>) {
    /// let lines = chunk.bytes().split(|byte| *byte == b'\n').count();
    /// # }
    /// ```
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether nothing of the body comes behind it. `false` is no promise: the end of a body
    /// mostly comes by itself, later.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # fn f(chunk: cofferdam_sdk::filter::Chunk<'_>) {
    /// let is_whole = chunk.is_last() || chunk.bytes().ends_with(b"\n");
    /// # }
    /// ```
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.last
    }

    /// Puts `bytes` in its place; they may be more or fewer, or none.
    ///
    /// # Errors
    /// When the host does not take them.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # fn f(mut chunk: cofferdam_sdk::filter::Chunk<'_>) -> Result<()> {
    /// chunk.replace(b"")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn replace(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        let Handle(side) = self.side;
        let (size, end) = (side.size.get(), side.taken.get());
        let start = end.saturating_sub(self.bytes.len());
        if start == 0 {
            raw::set_buffer(side.buffer, 0, end, bytes)?;
        } else {
            // Not every host puts bytes into the midst of others.
            let mut all = raw::buffer(side.buffer, 0, start)?;
            all.extend_from_slice(bytes);
            raw::set_buffer(side.buffer, 0, end, &all)?;
        }
        side.taken.set(start + bytes.len());
        side.size.set(size - (end - start) + bytes.len());
        self.bytes = bytes.to_vec();
        Ok(())
    }
}

// === impl Handle ===

impl<'a> Handle<'a> {
    /// The next piece; `None` at the end. Nothing goes on while a piece is looked at.
    pub(super) fn chunk(self, state: &'a State) -> impl Future<Output = Option<Chunk<'a>>> {
        let Self(side) = self;
        Ajar::new(side, move || {
            let (size, taken) = (side.size.get(), side.taken.get());
            if size > taken {
                side.gate.set(Gate::Shut);
                side.taken.set(size);
                let bytes = raw::buffer(side.buffer, taken, size - taken).unwrap_or_default();
                return Poll::Ready(Some(Chunk {
                    side: self,
                    bytes,
                    last: side.ended.get(),
                }));
            }
            // Whoever has the response already needs no more of the request.
            let over = side.ended.get()
                || (side.buffer == state.request.buffer && state.response.begun.get());
            if over {
                return Poll::Ready(None);
            }
            side.gate.set(Gate::Chunks);
            Poll::Pending
        })
    }

    /// Puts `bytes` behind what the host has.
    pub(super) fn append(self, bytes: &[u8]) -> Result<(), BodyError> {
        let Self(side) = self;
        raw::set_buffer(side.buffer, side.size.get(), 0, bytes)?;
        side.size.set(side.size.get() + bytes.len());
        side.taken.set(side.taken.get() + bytes.len());
        Ok(())
    }

    /// All of the body.
    pub(super) fn whole(
        self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<u8>, BodyError>> + use<'a> {
        let Self(side) = self;
        poll_fn(move |cx| {
            if side.gate.get() == Gate::Whole && side.not_held.get() {
                side.gate.set(Gate::Shut);
                return Poll::Ready(Err(BodyError::NotHeld));
            }
            if side.size.get() > limit {
                side.gate.set(Gate::Shut);
                return Poll::Ready(Err(BodyError::TooLarge { limit }));
            }
            if !side.ended.get() {
                side.gate.set(Gate::Whole);
                side.wait(cx);
                return Poll::Pending;
            }
            side.gate.set(Gate::Shut);
            side.read.set(true);
            if side.size.get() == 0 {
                return Poll::Ready(Ok(Vec::new()));
            }
            let bytes = raw::buffer(side.buffer, 0, side.size.get());
            Poll::Ready(bytes.map_err(BodyError::Refused))
        })
    }

    /// Puts `bytes` in the place of a body that was read whole.
    pub(super) fn set_whole(self, bytes: &[u8]) -> Result<(), BodyError> {
        let Self(side) = self;
        if !side.read.get() {
            return Err(BodyError::NotRead);
        }
        if side.bodiless.get() {
            return Err(BodyError::NoBody);
        }
        raw::set_buffer(side.buffer, 0, side.size.get(), bytes)?;
        side.size.set(bytes.len());
        Ok(())
    }
}

impl fmt::Debug for Handle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

/// Keeps what a stage of the request or the response is about.
pub(super) type Shared = Rc<State>;

// === impl BodyError ===

impl From<Status> for BodyError {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => write!(f, "a body of more than {limit} bytes"),
            Self::NoBody => f.write_str("a message without a body cannot be given one"),
            Self::NotRead => f.write_str("a body must be read whole before it is replaced"),
            Self::NotHeld => f.write_str(
                "the host does not hold headers for their body: \
                 set allow_on_headers_stop_iteration for this filter",
            ),
            Self::Refused(status) => write!(f, "the body cannot be changed: {status}"),
        }
    }
}

crate::result::debug_is_display!(BodyError);

impl core::error::Error for BodyError {}
