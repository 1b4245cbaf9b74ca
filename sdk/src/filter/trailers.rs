//! Trailers: what follows a body.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::task::Poll;

use super::exchange::{Ajar, Gate, Side, State};
use crate::headers::Headers;
use crate::types::{BufferType, MapType};

/// The trailers of a message, which waits while they are looked at: they are read and
/// changed as [`Headers`] are.
///
/// ```
/// use cofferdam_sdk::prelude::*;
///
/// #[filter]
/// async fn signed(request: Request<Body>) -> Result<Response<Body>> {
///     let mut request = request.stream();
///     if let Some(mut trailers) = request.trailers().await {
///         trailers.remove("x-internal")?;
///     }
///     let mut response = request.forward().await?.stream();
///     if let Some(mut trailers) = response.trailers().await {
///         trailers.set("x-signed", "1")?;
///     }
///     Ok(response.finish())
/// }
/// ```
/// A message without trailers is given some by whoever sets one before it waits for anything
/// else; otherwise the host refuses. HTTP/1.1 has trailers where both ends agreed on them.
///
/// Once the message is let go they cannot be changed any more:
/// ```compile_fail
/// # use cofferdam_sdk::prelude::*;
/// #[filter]
/// async fn late(request: Request<Body>) -> Result<Response> {
///     let mut request = request.stream();
///     let trailers = request.trailers().await;
///     let response = request.forward().await?; // error: `request` is still borrowed
///     if let Some(mut trailers) = trailers {
///         trailers.set("x-late", "1")?;
///     }
///     Ok(response)
/// }
/// ```
/// Nor are they there before the body has passed:
/// ```compile_fail
/// # use cofferdam_sdk::prelude::*;
/// #[filter]
/// async fn early(mut request: Request<Body>) -> Result<Response> {
///     let trailers = request.trailers().await; // error: only what streams, or has been read
///     request.forward().await
/// }
/// ```
pub struct Trailers<'a> {
    headers: Headers,
    message: PhantomData<&'a mut ()>,
}

// === impl Trailers ===

impl<'a> Trailers<'a> {
    const fn of(side: &Side) -> Self {
        let map = match side.buffer {
            BufferType::RequestBody => MapType::RequestTrailers,
            _ => MapType::ResponseTrailers,
        };
        Self {
            headers: Headers::of(map),
            message: PhantomData,
        }
    }

    /// Those of a message whose end is here, unless it is nothing but headers.
    pub(super) fn here(side: &Side) -> Option<Self> {
        (side.ended.get() && !side.bodiless.get()).then(|| Self::of(side))
    }

    /// Lets what is left of a body go on, and holds its end.
    pub(super) fn after(
        side: &'a Side,
        state: &'a State,
    ) -> impl Future<Output = Option<Self>> + use<'a> {
        Ajar::new(side, move || {
            if side.ended.get() {
                side.gate.set(Gate::Shut);
                return Poll::Ready(Self::here(side));
            }
            // Whoever has the response already needs no more of the request.
            if side.buffer == BufferType::RequestBody && state.response.begun.get() {
                return Poll::Ready(None);
            }
            side.gate.set(Gate::Chunks);
            Poll::Pending
        })
    }
}

impl Deref for Trailers<'_> {
    type Target = Headers;

    fn deref(&self) -> &Headers {
        &self.headers
    }
}

impl DerefMut for Trailers<'_> {
    fn deref_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }
}

impl fmt::Debug for Trailers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trailers").finish_non_exhaustive()
    }
}
