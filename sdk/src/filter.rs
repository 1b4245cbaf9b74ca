//! The async layer: a filter is one `async fn`, from the request to the response.
//!
//! ```
//! use cofferdam_sdk::prelude::*;
//! use serde::Deserialize;
//!
//! #[derive(Deserialize, Schema)]
//! struct Config {
//!     /// What the response's header says.
//!     greeting: String,
//! }
//!
//! #[filter]
//! async fn greet(config: &Config, mut request: Request) -> Result<Response> {
//!     if request.headers().get("x-from").is_none() {
//!         return Ok(Response::new(403).with_body("who are you?"));
//!     }
//!     request.headers_mut().set("x-greeted", "1")?;
//!     let mut response = request.forward().await?; // the upstream is asked here
//!     response.headers_mut().set("x-greeting", &config.greeting)?;
//!     Ok(response)
//! }
//! ```
//! A response of one's own ends the exchange there; an `Err` is logged and answered with
//! 500, or let through with `#[filter(on_error = "open")]`.
//!
//! # The signature says what is exported
//!
//! The host calls a filter only for what its signature names:
//!
//! | in the signature | what it may do |
//! |---|---|
//! | `Request` | read and change the request's headers |
//! | `Request<Body>` | also its body, as it streams by |
//! | `Request<Held>` | also the whole body before the headers leave |
//! | `Result<Response>`, `<Response<Body>>`, `<Response<Held>>` | likewise for the response |
//! | an argument of type [`Http`] | ask other clusters over HTTP |
//! | an argument of type [`Grpc`] | ask other clusters over gRPC |
//! | an argument of type [`GrpcStreams`] | open gRPC streams to them |
//! | an argument of type [`Clock`] | sleep, and bound what is waited for |
//!
//! `async fn (connection: Connection) -> Result<()>` is a filter of connections that are not
//! HTTP: [`Connection`].
//!
//! What can no longer be changed has no method for it: a request that was forwarded is gone,
//! and one whose body streams has no `headers_mut`.
//!
//! ```compile_fail
//! # use cofferdam_sdk::prelude::*;
//! #[filter]
//! async fn late(mut request: Request) -> Result<Response> {
//!     let response = request.forward().await?;
//!     request.headers_mut().set("x-late", "1")?; // error: value borrowed after move
//!     Ok(response)
//! }
//! ```
//! ```compile_fail
//! # use cofferdam_sdk::prelude::*;
//! #[filter]
//! async fn blind(mut request: Request) -> Result<Response> {
//!     request.map_body(|_, _| ()); // error: the signature names no body
//!     request.forward().await
//! }
//! ```
//! ```compile_fail
//! # use cofferdam_sdk::prelude::*;
//! #[filter]
//! async fn hasty(mut request: Request<Body>) -> Result<Response> {
//!     let body = request.body(1024).await?; // error: only `Held` headers wait for a body
//!     request.forward().await
//! }
//! ```
//!
//! # Waiting
//!
//! While a filter waits, the host holds its message; when it goes on, the message is let
//! go. A future that is dropped is cancelled: an answer that still comes passes by. When the
//! exchange ends early (the client has gone, another filter has answered), the filter's
//! future is dropped where it waits.

mod body;
mod combine;
mod exchange;
mod grpc;
mod grpc_stream;
mod http;
mod request;
mod response;
mod run;
mod tcp;
mod time;
mod trailers;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

pub use body::{BodyError, Chunk};
pub use combine::{join, race};
pub use exchange::Tools;
pub use grpc::{Grpc, GrpcError};
pub use grpc_stream::{GrpcReceiver, GrpcSender, GrpcStreams};
pub use http::{CallError, Http};
pub use request::{Request, Streaming};
pub use response::{Response, StreamingResponse};
pub use run::{Begin, Exchange, Runner};
pub use tcp::{Connection, Flow, TcpFunction, Wire};
pub use time::{Clock, Elapsed};
pub use trailers::Trailers;

use crate::result::Result;

/// Of a message only the headers are looked at.
///
/// ```
/// use cofferdam_sdk::filter::{BodyKind, NoBody};
/// assert!(!NoBody::SEEN && !NoBody::HELD);
/// ```
#[derive(Debug, Clone, Copy)]
pub enum NoBody {}

/// Of a message the body is looked at too, as it streams by.
///
/// ```
/// use cofferdam_sdk::filter::{Body, BodyKind};
/// assert!(Body::SEEN && !Body::HELD);
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Body {}

/// A message's headers wait until its body has been looked at. The module is marked so
/// (custom section `filter.hold_headers`); Envoy needs `allow_on_headers_stop_iteration`.
///
/// ```
/// use cofferdam_sdk::filter::{BodyKind, Held};
/// assert!(Held::SEEN && Held::HELD);
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Held {}

/// What of a message a filter looks at: [`NoBody`], [`Body`] or [`Held`].
///
/// ```
/// use cofferdam_sdk::filter::{BodyKind, Held, NoBody};
/// fn looks<B: BodyKind>() -> (bool, bool) { (B::SEEN, B::HELD) }
/// assert_eq!(looks::<Held>(), (true, true));
/// assert_eq!(looks::<NoBody>(), (false, false));
/// ```
pub trait BodyKind: sealed::Sealed + 'static {
    /// The body is looked at.
    const SEEN: bool;
    /// Headers wait for the body.
    const HELD: bool;
}

/// A message whose body is looked at.
///
/// ```
/// use cofferdam_sdk::filter::{Body, Held, HasBody};
/// fn body<B: HasBody>() {}
/// body::<Body>();
/// body::<Held>();
/// ```
#[diagnostic::on_unimplemented(
    message = "this filter does not look at that body",
    label = "the signature names no body here",
    note = "write `Request<Body>` or `Response<Body>` in the filter's signature, \
            or `Held` if headers are to wait for the body"
)]
pub trait HasBody: BodyKind {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::NoBody {}
    impl Sealed for super::Body {}
    impl Sealed for super::Held {}
}

impl BodyKind for NoBody {
    const SEEN: bool = false;
    const HELD: bool = false;
}

impl BodyKind for Body {
    const SEEN: bool = true;
    const HELD: bool = false;
}

impl BodyKind for Held {
    const SEEN: bool = true;
    const HELD: bool = true;
}

impl HasBody for Body {}
impl HasBody for Held {}

/// What becomes of an exchange whose filter returns an `Err`.
///
/// ```
/// use cofferdam_sdk::filter::OnError;
/// assert_ne!(OnError::Reply(500), OnError::Open);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// It is answered with this status; cut, if response headers have left.
    Reply(u16),
    /// It goes on as if the filter were not there.
    Open,
}

/// A filter as [`filter`](macro@crate::filter) has understood it.
#[doc(hidden)]
pub trait Function: Sized + 'static {
    /// Its configuration; [`config::None`](crate::config::None) if it takes none.
    type Config: serde::de::DeserializeOwned + 'static;
    /// What there is for each exchange: [`Exchange`] or [`Wire`].
    type Stream: Begin<Self> + 'static;
    /// What an `Err` comes to.
    const ON_ERROR: OnError;
    /// Headers wait for bodies.
    const HELD: bool;

    /// Begins what runs beside all exchanges, if anything does.
    fn background(_config: Rc<Self::Config>, _tools: &Tools) -> Option<Pending<Result<()>>> {
        None
    }
}

/// A [`Function`] of HTTP exchanges.
#[doc(hidden)]
pub trait HttpFunction: Function {
    /// What it sees of requests.
    type Request: BodyKind;
    /// What it sees of responses.
    type Response: BodyKind;

    /// Begins an exchange.
    fn call(
        config: Rc<Self::Config>,
        request: Request<Self::Request>,
        tools: &Tools,
    ) -> Pending<Result<Response<Self::Response>>>;
}

/// A future that knows no thread.
#[doc(hidden)]
pub type Pending<T> = Pin<Box<dyn Future<Output = T>>>;

/// What a filter is given beside its request, because its signature names it.
///
/// ```
/// use cofferdam_sdk::filter::{Clock, Grpc, GrpcStreams, Http, Tool};
/// assert!(Http::CALLS && !Http::TICKS);
/// assert!(Clock::TICKS && !Clock::CALLS);
/// assert!(Grpc::GRPC && !Grpc::CALLS);
/// assert!(GrpcStreams::GRPC_STREAMS && !Grpc::GRPC_STREAMS);
/// ```
pub trait Tool {
    /// It needs the answers to HTTP calls.
    const CALLS: bool = false;
    /// It needs the answers to gRPC calls.
    const GRPC: bool = false;
    /// It needs what comes of gRPC streams.
    const GRPC_STREAMS: bool = false;
    /// It needs a timer.
    const TICKS: bool = false;

    /// The tool of one exchange, or of what runs beside them.
    #[doc(hidden)]
    fn of(tools: &Tools) -> Self;
}
