//! Write proxy-wasm filters in Rust.
//!
//! ```
//! use cofferdam_sdk::prelude::*;
//! use serde::Deserialize;
//!
//! #[derive(Deserialize, Schema)]
//! struct Config {
//!     /// Whom to greet.
//!     who: String,
//! }
//!
//! #[filter]
//! async fn hello(config: &Config, mut request: Request) -> Result<Response> {
//!     request.headers_mut().set("x-hello", &config.who)?;
//!     let mut response = request.forward().await?; // the upstream is asked here
//!     response.headers_mut().set("x-filter", "hello")?;
//!     Ok(response)
//! }
//! ```
//! The book in `docs/` begins with the first filter and ends with the move from the `proxy-wasm`
//! crate; its examples are tests of this crate.
//!
//! The crate is a `cdylib`, built for `wasm32-wasip1` with
//! `-C link-arg=-zstack-size=65536`: otherwise every instance carries a stack of 1 MiB.
//!
//! Three layers, each on top of the next:
//!
//! | layer | for | a filter is |
//! |---|---|---|
//! | [`filter`](mod@filter) | most filters | one `async fn` from a request to a response |
//! | [`callbacks`] | the smallest and hottest ones | methods that the host calls |
//! | [`raw`] | what neither has | the hostcalls of ABI 0.2.1, as functions |
//!
//! A module exports the callbacks its filter uses and no others, and imports what Envoy 1.40
//! offers: it runs there as it runs here. No function of this crate panics, whatever the host
//! answers; headers and bodies are bytes.
//!
//! | feature | on | what it is |
//! |---|---|---|
//! | `small-heap` | yes | an allocator for modules; off, for who brings another |
//! | `json` | no | bodies as JSON, by `serde_json` |
//! | `testing` | no | [tests without wasm](#tests); for `dev-dependencies` |
//!
//! # Tests
//!
//! With the feature `testing`, `cargo test` runs a filter natively in the state machine of the
//! proxy itself: `testing::Tester`.
//!
//! # Raw
//!
//! The raw layer alone:
//! ```standalone_crate
//! use cofferdam_sdk::{Level, MapType, raw};
//!
//! cofferdam_sdk::abi!();
//!
//! #[unsafe(no_mangle)]
//! pub extern "C" fn proxy_on_request_headers(_context: u32, _count: u32, _end: u32) -> u32 {
//!     if let Err(status) = raw::replace_header(MapType::RequestHeaders, "x-hello", b"world") {
//!         let _ = raw::log(Level::Warn, &format!("no header: {status}"));
//!     }
//!     0 // continue
//! }
//! ```
//! Off wasm every hostcall answers [`Status::Unimplemented`], unless a test (feature
//! `testing`) runs the filter in a host.

extern crate alloc;

mod ambient;
#[cfg(all(doctest, feature = "testing", feature = "json"))]
mod book;
pub mod callbacks;
pub mod callout;
pub mod config;
pub mod cookie;
pub mod filter;
pub mod foreign;
pub mod grpc;
mod headers;
pub mod kv;
pub mod log;
pub mod metrics;
mod pairs;
pub mod property;
pub mod query;
pub mod queue;
pub mod raw;
mod reply;
mod result;
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
pub mod testing;
mod types;

pub use callout::{HttpCall, HttpCallResponse};
/// ```
/// use std::rc::Rc;
/// use cofferdam_sdk::callbacks::{Head, HttpFilter, Plugin};
/// use cofferdam_sdk::{Error, HttpCall, HttpCallResponse, Headers, Reply, callbacks, export};
///
/// struct Guard;
/// struct Exchange;
///
/// #[export(calls)] // answers to HTTP calls are wanted
/// impl Plugin for Guard {
///     type Stream = Exchange;
///     fn configure(_: &[u8]) -> Result<Self, Error> { Ok(Guard) }
///     fn stream(_: &Rc<Self>) -> Exchange { Exchange }
/// }
///
/// #[export]
/// impl HttpFilter for Exchange {
///     type Plugin = Guard;
///
///     fn on_request_headers(&mut self, _: &mut Headers, _: bool) -> Head {
///         match HttpCall::get("authz", "/check").send() {
///             Ok(_token) => Head::Stop,
///             Err(_) => Head::Continue,
///         }
///     }
///
///     fn on_http_call_response(&mut self, _token: u32, response: HttpCallResponse) {
///         let _ = match response.status() {
///             Some(200) => callbacks::resume_request(),
///             _ => Reply::new(403).send(),
///         };
///     }
/// }
/// # #[cfg(feature = "testing")] {
/// # use cofferdam_sdk::testing::Tester;
/// # let mut tester = Tester::of_callbacks::<Guard>("");
/// # tester.cluster("authz", |_| Reply::new(401));
/// # assert_eq!(tester.get("/").send().status(), 403);
/// # }
/// ```
pub use cofferdam_sdk_macros::export;
/// ```
/// use cofferdam_sdk::prelude::*;
///
/// async fn beat(clock: Clock) -> Result<()> {
///     loop {
///         info!("still here");
///         clock.sleep(std::time::Duration::from_secs(60)).await;
///     }
/// }
/// # // `background` names a function of a configuration, too.
/// # async fn beside(_config: &cofferdam_sdk::config::None, _http: Http, clock: Clock) -> Result<()> { beat(clock).await }
///
/// #[filter(on_error = 503)]
/// async fn passes(request: Request) -> Result<Response> {
///     request.forward().await
/// }
/// ```
pub use cofferdam_sdk_macros::filter;
pub use grpc::{GrpcCall, GrpcEvent, GrpcResponse, GrpcStatus};
pub use headers::{HeaderValue, Headers};
pub use pairs::{Pairs, decode_pairs, encode_pairs};
pub use reply::Reply;
pub use result::{Error, Result};
pub use types::{BufferType, Level, MapType, MetricType, Status, StreamType};

/// What a filter's source begins with: `use cofferdam_sdk::prelude::*;`.
///
/// ```
/// use cofferdam_sdk::prelude::*;
///
/// #[filter]
/// async fn nothing(request: Request) -> Result<Response> {
///     request.forward().await
/// }
/// ```
pub mod prelude {
    pub use crate::callout::HttpCall;
    pub use crate::config::Schema;
    pub use crate::filter::{
        Body, Clock, Connection, Grpc, GrpcStreams, Held, Http, Request, Response, join, race,
    };
    pub use crate::grpc::GrpcCall;
    pub use crate::{Error, Result, debug, error, filter, info, trace, warn};
}

/// What every module exports: the marker of ABI 0.2.1, the allocator the host uses to hand
/// over values, and `_initialize`, in which the C library of a WASI target is set up.
/// [`export`] writes it for the filters of the other layers.
///
/// `abi!(start)` also runs `start()` at the end of `_initialize`.
///
/// ```standalone_crate
/// cofferdam_sdk::abi!(cofferdam_sdk::log::set_panic_hook);
/// ```
#[macro_export]
macro_rules! abi {
    () => {
        $crate::abi!(|| ());
    };
    ($start:expr) => {
        /// Tells the host which ABI this module speaks; never called.
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_abi_version_0_2_1() {}

        /// Gives the host `size` bytes to write a value into.
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
            $crate::raw::allocate(size)
        }

        /// Called once, before any callback.
        #[unsafe(no_mangle)]
        pub extern "C" fn _initialize() {
            $crate::raw::call_constructors();
            ($start)();
        }
    };
}
