//! The request, until it is forwarded.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::task::Poll;

use super::body::{BodyError, Chunk, Handle, Shared};
use super::exchange::{Gate, Map, deciding};
use super::response::Response;
use super::{BodyKind, HasBody, Held, NoBody, Trailers};
use crate::callbacks::{self, Data};
use crate::headers::{HeaderValue, Headers};
use crate::result::Result;
use crate::types::MapType;

/// A request whose headers have not left: they wait for the filter.
///
/// ```
/// use cofferdam_sdk::prelude::*;
///
/// #[filter]
/// async fn versioned(mut request: Request) -> Result<Response> {
///     let path = format!("/v2{}", request.path().lossy());
///     request.headers_mut().set(":path", path)?;
///     request.forward().await
/// }
/// ```
#[must_use = "a request that is dropped is not forwarded"]
pub struct Request<B: BodyKind = NoBody> {
    state: Shared,
    headers: Headers,
    kind: PhantomData<B>,
}

/// A request whose headers are on their way, and whose body streams by.
///
/// It has no headers to change any more:
/// ```compile_fail
/// # use cofferdam_sdk::prelude::*;
/// #[filter]
/// async fn late(request: Request<Body>) -> Result<Response> {
///     let mut request = request.stream();
///     request.headers_mut().set("x-late", "1")?;
///     request.forward().await
/// }
/// ```
/// [`Chunk`] has an example that is right.
#[must_use = "what streams by has a response"]
pub struct Streaming {
    state: Shared,
}

// === impl Request ===

impl<B: BodyKind> Request<B> {
    pub(super) const fn new(state: Shared) -> Self {
        Self {
            state,
            headers: Headers::of(MapType::RequestHeaders),
            kind: PhantomData,
        }
    }

    /// Its headers, to read.
    ///
    /// ```no_run
    /// # fn f(request: cofferdam_sdk::filter::Request) {
    /// let agent = request.headers().get("user-agent");
    /// # }
    /// ```
    #[must_use]
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Its headers, to change.
    ///
    /// ```no_run
    /// # fn f(mut request: cofferdam_sdk::filter::Request) -> cofferdam_sdk::Result<()> {
    /// request.headers_mut().remove("cookie")?;
    /// # Ok(())
    /// # }
    /// ```
    pub const fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// Its method; empty where there is none.
    ///
    /// ```no_run
    /// # fn f(request: cofferdam_sdk::filter::Request) {
    /// let is_get = request.method() == "GET";
    /// # }
    /// ```
    #[must_use]
    pub fn method(&self) -> HeaderValue {
        self.headers.get(":method").unwrap_or_default()
    }

    /// Its path with the query behind it.
    ///
    /// ```no_run
    /// # fn f(request: cofferdam_sdk::filter::Request) {
    /// let is_api = request.path().as_bytes().starts_with(b"/api/");
    /// # }
    /// ```
    #[must_use]
    pub fn path(&self) -> HeaderValue {
        self.headers.get(":path").unwrap_or_default()
    }

    /// The host it is for.
    ///
    /// ```no_run
    /// # fn f(request: cofferdam_sdk::filter::Request) {
    /// let is_ours = request.host() == "example.com";
    /// # }
    /// ```
    #[must_use]
    pub fn host(&self) -> HeaderValue {
        self.headers.get(":authority").unwrap_or_default()
    }

    /// The parameters of its query.
    ///
    /// ```no_run
    /// # fn f(request: cofferdam_sdk::filter::Request) {
    /// let page = request.query().get("page").and_then(|page| page.parse::<u32>().ok());
    /// # }
    /// ```
    #[must_use]
    pub fn query(&self) -> crate::query::Query {
        crate::query::Query::of_path(self.path().as_bytes())
    }

    /// The value of that cookie.
    ///
    /// ```no_run
    /// # fn f(request: cofferdam_sdk::filter::Request) {
    /// let session = request.cookie("session");
    /// # }
    /// ```
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<HeaderValue> {
        crate::cookie::find(&self.headers, name)
    }

    /// Sends it on, and waits for the response's headers: the upstream's, or of whoever
    /// else answers. What of its body has not been looked at goes on by itself.
    ///
    /// What is seen of the response is what the filter's signature returns; a response that
    /// is not returned needs a type: `request.forward::<NoBody>()`.
    ///
    /// # Errors
    /// None so far; the body of [`Response`] has some.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::filter::{Request, Response};
    /// # async fn f(request: Request) -> cofferdam_sdk::Result<Response> {
    /// let response = request.forward().await?;
    /// # Ok(response)
    /// # }
    /// ```
    pub async fn forward<R: BodyKind>(self) -> Result<Response<R>> {
        forward(self.state).await
    }
}

impl<B: HasBody> Request<B> {
    /// Has `map` called with every piece of the body that goes on, which it may change;
    /// the second argument says that it is the last. Where trailers follow, the last is what
    /// still waits: mostly nothing, and not every host takes bytes in the place of nothing.
    ///
    /// `content-length` is removed, because the length may change.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(mut request: Request<Body>) -> Result<Response> {
    /// request.map_body(|piece, _last| {
    ///     let loud = piece.bytes().to_ascii_uppercase();
    ///     if let Err(status) = piece.replace(&loud) {
    ///         warn!("not so loud: {status}");
    ///     }
    /// });
    /// request.forward().await
    /// # }
    /// ```
    pub fn map_body(&mut self, map: impl FnMut(&mut callbacks::Body, bool) + 'static) {
        self.drop_length();
        self.watch_body(map);
    }

    /// Like [`Request::map_body`], for who only looks: `content-length` stays.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(mut request: Request<Body>) -> Result<Response> {
    /// let mut sum = 0;
    /// request.watch_body(move |piece, last| {
    ///     sum += piece.len();
    ///     if last {
    ///         info!("{sum} bytes");
    ///     }
    /// });
    /// request.forward().await
    /// # }
    /// ```
    pub fn watch_body(&mut self, map: impl FnMut(&mut callbacks::Body, bool) + 'static) {
        let mut map = map;
        self.attach(Box::new(move |piece, last, _| {
            map(piece, last);
            Data::Continue
        }));
    }

    /// Like [`Request::map_body`], for who says of each piece what becomes of it:
    /// [`Data::Continue`] lets it go, [`Data::Buffer`] has it wait in the host, which shows
    /// it again with what has come since, [`Data::Drop`] drops it.
    ///
    /// So a filter can wait for the rest of what a piece ends with, and have it also where
    /// trailers follow: there the last call finds what waits, but no host takes bytes where
    /// nothing does. What waits is bounded by the host (413 past it). The end goes on
    /// whatever is answered to the last piece: without its bytes, if they are dropped.
    ///
    /// ```
    /// use cofferdam_sdk::callbacks::Data;
    /// use cofferdam_sdk::prelude::*;
    ///
    /// /// Passes on whole lines.
    /// #[filter]
    /// async fn lines(mut request: Request<Body>) -> Result<Response> {
    ///     request.decide_body(|piece, _last| match piece.bytes().last() {
    ///         Some(b'\n') => Data::Continue,
    ///         _ => Data::Buffer,
    ///     });
    ///     request.forward().await
    /// }
    /// ```
    pub fn decide_body(&mut self, map: impl FnMut(&mut callbacks::Body, bool) -> Data + 'static) {
        self.drop_length();
        self.attach(deciding(map));
    }

    fn attach(&self, map: Map) {
        self.state.request.map.replace(Some(map));
    }

    /// Lets the headers go, without `content-length`, to look at the body piece by piece.
    ///
    /// [`Chunk`] has an example.
    pub fn stream(mut self) -> Streaming {
        self.drop_length();
        self.state.request.gate.set(Gate::Chunks);
        Streaming { state: self.state }
    }

    fn drop_length(&mut self) {
        // Where it cannot be removed it has left.
        let _ = self.headers.remove("content-length");
    }
}

impl Request<Held> {
    /// The whole body, of at most `limit` bytes; empty where there is none. The headers
    /// wait meanwhile. What comes with trailers is whole too.
    ///
    /// # Errors
    /// When there is more, or when the host does not hold headers.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(mut request: Request<Held>) -> Result<Response> {
    /// let body = request.body(64 << 10).await?;
    /// request.headers_mut().set("x-length", body.len().to_string())?;
    /// request.forward().await
    /// # }
    /// ```
    pub async fn body(&mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        Handle(&self.state.request).whole(limit).await
    }

    /// Puts `body` in the place of what [`Request::body`] has read, and sets
    /// `content-length`.
    ///
    /// # Errors
    /// When it was not read, when there was none, when the host does not take it.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(mut request: Request<Held>) -> Result<Response> {
    /// let body = request.body(64 << 10).await?;
    /// request.set_body(&body.to_ascii_uppercase())?;
    /// request.forward().await
    /// # }
    /// ```
    pub fn set_body(&mut self, body: &[u8]) -> Result<(), BodyError> {
        Handle(&self.state.request).set_whole(body)?;
        Ok(self.headers.set("content-length", body.len().to_string())?)
    }

    /// The trailers, once [`Request::body`] has read all that is before them; `None` where
    /// there is no body.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(mut request: Request<Held>) -> Result<Response> {
    /// let body = request.body(64 << 10).await?;
    /// let sum = request.trailers().and_then(|trailers| trailers.get("x-sum"));
    /// if sum.is_some_and(|sum| sum != body.len().to_string().as_str()) {
    ///     return Ok(Response::new(400));
    /// }
    /// request.forward().await
    /// # }
    /// ```
    pub fn trailers(&mut self) -> Option<Trailers<'_>> {
        Trailers::here(&self.state.request)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it cannot be had, or is no such JSON.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # #[derive(serde::Deserialize)] struct Order { count: u32 }
    /// # async fn f(mut request: Request<Held>) -> Result<Response> {
    /// let order: Order = request.json(64 << 10).await?;
    /// # let _ = order.count;
    /// request.forward().await
    /// # }
    /// ```
    #[cfg(feature = "json")]
    pub async fn json<T: serde::de::DeserializeOwned>(&mut self, limit: usize) -> Result<T> {
        Ok(serde_json::from_slice(&self.body(limit).await?)?)
    }

    /// Replaces the body by JSON, as [`Request::set_body`] does; `content-type` says so.
    ///
    /// # Errors
    /// As [`Request::set_body`], or when `value` has no JSON.
    ///
    /// ```no_run
    /// # use cofferdam_sdk::prelude::*;
    /// # async fn f(mut request: Request<Held>) -> Result<Response> {
    /// let mut numbers: Vec<u32> = request.json(1 << 10).await?;
    /// numbers.push(7);
    /// request.set_json(&numbers)?;
    /// request.forward().await
    /// # }
    /// ```
    #[cfg(feature = "json")]
    pub fn set_json<T: serde::Serialize>(&mut self, value: &T) -> Result<()> {
        self.set_body(&serde_json::to_vec(value)?)?;
        Ok(self.headers.set("content-type", "application/json")?)
    }
}

// === impl Streaming ===

impl Streaming {
    /// The next piece of the body; `None` at its end, where trailers begin, and once a
    /// response has come.
    ///
    /// [`Chunk`] has an example.
    pub async fn chunk(&mut self) -> Option<Chunk<'_>> {
        Handle(&self.state.request).chunk(&self.state).await
    }

    /// Puts `bytes` behind what has come: for what was held back, once [`Streaming::chunk`]
    /// has said that nothing more comes.
    ///
    /// # Errors
    /// When the host does not take them: where trailers have come, or a response.
    ///
    /// ```
    /// use cofferdam_sdk::prelude::*;
    ///
    /// #[filter]
    /// async fn sealed(request: Request<Body>) -> Result<Response> {
    ///     let mut request = request.stream();
    ///     while request.chunk().await.is_some() {}
    ///     request.append(b"-- end --")?;
    ///     request.forward().await
    /// }
    /// ```
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        Handle(&self.state.request).append(bytes)
    }

    /// What of the body is left goes on by itself; its trailers, once all of it has. `None`
    /// where there is no body, and once a response has come.
    ///
    /// [`Trailers`] has an example.
    pub async fn trailers(&mut self) -> Option<Trailers<'_>> {
        Trailers::after(&self.state.request, &self.state).await
    }

    /// What of the body is left goes on by itself; waits for the response's headers.
    ///
    /// # Errors
    /// None so far.
    ///
    /// [`Chunk`] has an example.
    pub async fn forward<R: BodyKind>(self) -> Result<Response<R>> {
        forward(self.state).await
    }
}

async fn forward<R: BodyKind>(state: Shared) -> Result<Response<R>> {
    state.request.gate.set(Gate::Open);
    state.forwarded.set(true);
    poll_fn(|cx| match state.response.begun.get() {
        true => Poll::Ready(()),
        false => {
            state.response.wait(cx);
            Poll::Pending
        }
    })
    .await;
    Ok(Response::upstream(state))
}

impl<B: BodyKind> std::fmt::Debug for Request<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Streaming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streaming").finish_non_exhaustive()
    }
}
