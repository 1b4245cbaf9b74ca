//! What travels through a filter, and how its journey may end.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::error::Trap;
use crate::types::Way;

/// A piece of a message on its way. Headers and trailers are in the exchange's maps; only
/// their turn is told here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The headers; `end` when nothing follows.
    Headers {
        /// Nothing follows.
        end: bool,
    },
    /// Some of the body; `end` when nothing follows.
    Data {
        /// May be empty with `end`.
        bytes: Bytes,
        /// Nothing follows.
        end: bool,
    },
    /// The trailers; nothing follows.
    Trailers,
}

/// What one step lets go: seldom more than two, so that the heap is left alone.
pub(crate) type Parts = SmallVec<[Part; 2]>;

impl Part {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        match self {
            Self::Headers { end } | Self::Data { end, .. } => *end,
            Self::Trailers => true,
        }
    }
}

/// Why a filter's part ended before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    Trap(Box<Trap>),
    /// More body than may be kept, that way.
    TooLarge(Way),
    /// The same, and whoever counts limits has been told, with this callback.
    Overfilled(Way, &'static str),
}

impl From<Trap> for Broken {
    fn from(trap: Trap) -> Self {
        Self::Trap(trap.into())
    }
}

impl From<Box<Trap>> for Broken {
    fn from(trap: Box<Trap>) -> Self {
        Self::Trap(trap)
    }
}
