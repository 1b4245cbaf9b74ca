//! The response: the upstream's, until the filter returns it, or one of the filter's own.

use std::marker::PhantomData;

use super::body::{BodyError, Chunk, Handle, Shared};
use super::exchange::{Gate, Map, deciding};
use super::{BodyKind, HasBody, Held, NoBody, Trailers};
use crate::callbacks::{self, Data};
use crate::headers::Headers;
use crate::reply::Reply;
use crate::result::Result;
use crate::types::MapType;

/// What a filter returns.
///
/// ```
/// use cofferdam_sdk::prelude::*;
///
/// #[filter]
/// async fn tidy(request: Request) -> Result<Response> {
///     if request.path() == "/health" {
///         return Ok(Response::new(200).with_body("fine"));
///     }
///     let mut response = request.forward().await?;
///     response.headers_mut().remove("server")?;
///     Ok(response)
/// }
/// ```
#[must_use = "a response that is not returned is not sent"]
pub struct Response<B: BodyKind = NoBody> {
    source: Source,
    headers: Headers,
    kind: PhantomData<B>,
}

enum Source {
    Upstream(Shared),
    Here(Reply),
}

/// A response whose headers are on their way, and whose body streams by.
///
/// ```
/// use cofferdam_sdk::prelude::*;
///
/// #[filter]
/// async fn count(request: Request) -> Result<Response<Body>> {
///     let mut response = request.forward().await?.stream();
///     let mut size = 0;
///     while let Some(chunk) = response.chunk().await {
///         size += chunk.bytes().len();
///     }
///     info!("{size} bytes");
///     Ok(response.finish())
/// }
/// ```
#[must_use = "what streams by is returned in the end"]
pub struct StreamingResponse<B: HasBody> {
    response: Response<B>,
}

// === impl Response ===

impl<B: BodyKind> Response<B> {
    pub(super) const fn upstream(state: Shared) -> Self {
        Self {
            source: Source::Upstream(state),
            headers: Headers::of(MapType::ResponseHeaders),
            kind: PhantomData,
        }
    }

    pub(super) fn reply(&self) -> Option<&Reply> {
        match &self.source {
            Source::Upstream(_) => None,
            Source::Here(reply) => Some(reply),
        }
    }

    const fn state(&self) -> Option<&Shared> {
        match &self.source {
            Source::Upstream(state) => Some(state),
            Source::Here(_) => None,
        }
    }

    /// A response of the filter's own: returned before the request is forwarded, it is the
    /// answer; later it takes the place of the upstream's.
    ///
    /// ```
    /// use cofferdam_sdk::filter::Response;
    ///
    /// let response: Response = Response::new(429)
    ///     .with_header("retry-after", "1")
    ///     .with_body("later, please");
    /// assert_eq!(response.status(), 429);
    /// ```
    pub const fn new(status: u16) -> Self {
        Self {
            source: Source::Here(Reply::new(status)),
            headers: Headers::of(MapType::ResponseHeaders),
            kind: PhantomData,
        }
    }

    /// With that header too; on the upstream's response it takes the place of others of
    /// the name.
    ///
    /// ```
    /// use cofferdam_sdk::filter::Response;
    /// let response: Response = Response::new(302).with_header("location", "/");
    /// ```
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        match self.source {
            Source::Here(reply) => self.source = Source::Here(reply.header(name, value)),
            Source::Upstream(_) => {
                let _ = self.headers.set(name, value.into());
            }
        }
        self
    }

    /// With that body, if it is the filter's own; another's is [`Response::set_body`].
    ///
    /// ```
    /// use cofferdam_sdk::filter::Response;
    /// let response: Response = Response::new(404).with_body("no such thing");
    /// ```
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        if let Source::Here(reply) = self.source {
            self.source = Source::Here(reply.body(body));
        }
        self
    }

    /// Its status; 0 where the upstream's has none.
    ///
    /// ```
    /// use cofferdam_sdk::filter::Response;
    /// assert_eq!(Response::<cofferdam_sdk::filter::NoBody>::new(204).status(), 204);
    /// ```
    #[must_use]
    pub fn status(&self) -> u16 {
        match &self.source {
            Source::Here(reply) => reply.status(),
            Source::Upstream(_) => {
                let status = self.headers.get(":status").unwrap_or_default();
                status
                    .to_str()
                    .ok()
                    .and_then(|status| status.parse().ok())
                    .unwrap_or(0)
            }
        }
    }

    /// The upstream's headers, to read. Those of a filter's own response are where it is
    /// made.
    ///
    /// ```no_run
    /// # fn f(response: cofferdam_sdk::filter::Response) {
    /// let kind = response.headers().get("content-type");
    /// # }
    /// ```
    #[must_use]
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The upstream's headers, to change.
    ///
    /// ```no_run
    /// # fn f(mut response: cofferdam_sdk::filter::Response) -> cofferdam_sdk::Result<()> {
    /// response.headers_mut().set("x-frame-options", "DENY")?;
    /// # Ok(())
    /// # }
    /// ```
    pub const fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }
}

impl<B: BodyKind> From<Reply> for Response<B> {
    fn from(reply: Reply) -> Self {
        Self {
            source: Source::Here(reply),
            headers: Headers::of(MapType::ResponseHeaders),
            kind: PhantomData,
        }
    }
}

impl<B: HasBody> Response<B> {
    /// Has `map` called with every piece of the upstream's body that goes on, which it may
    /// change; the second argument says that it is the last. Where trailers follow,
    /// the last is what still waits: mostly nothing, and not every host takes bytes in the
    /// place of nothing. `content-length` is removed, because the length may change.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(request: Request) -> Result<Response<Body>> {
    /// let mut response = request.forward().await?;
    /// response.map_body(|piece, last| {
    ///     if last && let Err(status) = piece.append(b"<!-- the end -->") {
    ///         warn!("no end: {status}");
    ///     }
    /// });
    /// # Ok(response)
    /// # }
    /// ```
    pub fn map_body(&mut self, map: impl FnMut(&mut callbacks::Body, bool) + 'static) {
        self.drop_length();
        self.watch_body(map);
    }

    /// Like [`Response::map_body`], for who only looks: `content-length` stays.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(request: Request) -> Result<Response<Body>> {
    /// let mut response = request.forward().await?;
    /// response.watch_body(|piece, _| info!("{} bytes", piece.len()));
    /// # Ok(response)
    /// # }
    /// ```
    pub fn watch_body(&mut self, map: impl FnMut(&mut callbacks::Body, bool) + 'static) {
        let mut map = map;
        self.attach(Box::new(move |piece, last, _| {
            map(piece, last);
            Data::Continue
        }));
    }

    /// Like [`Response::map_body`], for who says of each piece what becomes of it, as
    /// [`Request::decide_body`](super::Request::decide_body) does. What waits past the
    /// host's bound is answered with 500.
    ///
    /// ```
    /// use cofferdam_sdk::callbacks::Data;
    /// use cofferdam_sdk::prelude::*;
    ///
    /// /// Passes on whole events of a stream of events.
    /// #[filter]
    /// async fn events(request: Request) -> Result<Response<Body>> {
    ///     let mut response = request.forward().await?;
    ///     response.decide_body(|piece, _last| match piece.bytes().ends_with(b"\n\n") {
    ///         true => Data::Continue,
    ///         false => Data::Buffer,
    ///     });
    ///     Ok(response)
    /// }
    /// ```
    pub fn decide_body(&mut self, map: impl FnMut(&mut callbacks::Body, bool) -> Data + 'static) {
        self.drop_length();
        self.attach(deciding(map));
    }

    fn attach(&self, map: Map) {
        if let Some(state) = self.state() {
            state.response.map.replace(Some(map));
        }
    }

    /// Lets the headers go, without `content-length`, to look at the body piece by piece.
    ///
    /// [`StreamingResponse`] has an example.
    pub fn stream(mut self) -> StreamingResponse<B> {
        self.drop_length();
        if let Some(state) = self.state() {
            state.response.gate.set(Gate::Chunks);
        }
        StreamingResponse { response: self }
    }

    fn drop_length(&mut self) {
        // Where it cannot be removed it has left.
        let _ = self.headers.remove("content-length");
    }
}

impl Response<Held> {
    /// The upstream's whole body, of at most `limit` bytes; empty where there is none. The
    /// headers wait meanwhile.
    ///
    /// # Errors
    /// When there is more, or when the host does not hold headers.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(request: Request) -> Result<Response<Held>> {
    /// let mut response = request.forward().await?;
    /// let body = response.body(64 << 10).await?;
    /// response.set_body(&body.to_ascii_uppercase())?;
    /// # Ok(response)
    /// # }
    /// ```
    pub async fn body(&mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        match self.state() {
            Some(state) => Handle(&state.response).whole(limit).await,
            None => Err(BodyError::NoBody),
        }
    }

    /// Puts `body` in the place of what [`Response::body`] has read, and sets
    /// `content-length`.
    ///
    /// # Errors
    /// When it was not read, when there was none, when the host does not take it.
    ///
    /// [`Response::body`] has an example.
    pub fn set_body(&mut self, body: &[u8]) -> Result<(), BodyError> {
        let Some(state) = self.state() else {
            return Err(BodyError::NoBody);
        };
        Handle(&state.response).set_whole(body)?;
        Ok(self.headers.set("content-length", body.len().to_string())?)
    }

    /// The trailers, once [`Response::body`] has read all that is before them; `None` where
    /// there is no body.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(request: Request) -> Result<Response<Held>> {
    /// let mut response = request.forward().await?;
    /// let body = response.body(64 << 10).await?;
    /// if let Some(mut trailers) = response.trailers() {
    ///     trailers.set("x-length", body.len().to_string())?;
    /// }
    /// # Ok(response)
    /// # }
    /// ```
    pub fn trailers(&mut self) -> Option<Trailers<'_>> {
        Trailers::here(&self.state()?.response)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it cannot be had, or is no such JSON.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(request: Request) -> Result<Response<Held>> {
    /// let mut response = request.forward().await?;
    /// let mut numbers: Vec<u32> = response.json(1 << 10).await?;
    /// numbers.sort_unstable();
    /// response.set_json(&numbers)?;
    /// # Ok(response)
    /// # }
    /// ```
    #[cfg(feature = "json")]
    pub async fn json<T: serde::de::DeserializeOwned>(&mut self, limit: usize) -> Result<T> {
        Ok(serde_json::from_slice(&self.body(limit).await?)?)
    }

    /// Replaces the body by JSON, as [`Response::set_body`] does; `content-type` says so.
    ///
    /// # Errors
    /// As [`Response::set_body`], or when `value` has no JSON.
    ///
    /// [`Response::json`] has an example.
    #[cfg(feature = "json")]
    pub fn set_json<T: serde::Serialize>(&mut self, value: &T) -> Result<()> {
        self.set_body(&serde_json::to_vec(value)?)?;
        Ok(self.headers.set("content-type", "application/json")?)
    }
}

// === impl StreamingResponse ===

impl<B: HasBody> StreamingResponse<B> {
    /// The next piece of the body; `None` at its end, and where trailers begin.
    ///
    /// The [type](Self) has an example.
    pub async fn chunk(&mut self) -> Option<Chunk<'_>> {
        let state = self.response.state()?;
        Handle(&state.response).chunk(state).await
    }

    /// Puts `bytes` behind what has come: for what was held back, once
    /// [`StreamingResponse::chunk`] has said that nothing more comes.
    ///
    /// # Errors
    /// When the host does not take them: where trailers have come.
    ///
    /// ```
    /// use cofferdam_sdk::prelude::*;
    ///
    /// #[filter]
    /// async fn sealed(request: Request) -> Result<Response<Body>> {
    ///     let mut response = request.forward().await?.stream();
    ///     while response.chunk().await.is_some() {}
    ///     response.append(b"-- end --")?;
    ///     Ok(response.finish())
    /// }
    /// ```
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        match self.response.state() {
            Some(state) => Handle(&state.response).append(bytes),
            None => Err(BodyError::NoBody),
        }
    }

    /// What of the body is left goes on by itself; its trailers, once all of it has. `None`
    /// where there is no body.
    ///
    /// [`Trailers`] has an example.
    pub async fn trailers(&mut self) -> Option<Trailers<'_>> {
        let state = self.response.state()?;
        Trailers::after(&state.response, state).await
    }

    /// What the filter returns; what of the body is left goes on by itself.
    ///
    /// The [type](Self) has an example.
    pub fn finish(self) -> Response<B> {
        self.response
    }
}

impl<B: BodyKind> std::fmt::Debug for Response<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response").finish_non_exhaustive()
    }
}

impl<B: HasBody> std::fmt::Debug for StreamingResponse<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamingResponse").finish_non_exhaustive()
    }
}
