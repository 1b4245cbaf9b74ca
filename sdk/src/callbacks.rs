//! The callback layer: for the smallest and hottest filters.
//!
//! A [`Plugin`] is one configuration of the filter, an [`HttpFilter`] is its part in one
//! exchange, a [`TcpFilter`] its part in one connection. [`export`](crate::export) in front
//! of their `impl`s makes exports of the methods that are written there, and of no others:
//! a host calls, and copies, and holds back only for what a filter looks at.
//!
//! ```
//! use std::rc::Rc;
//! use cofferdam_sdk::callbacks::{Head, HttpFilter, Plugin};
//! use cofferdam_sdk::{Error, Headers, export};
//!
//! struct Stamp;
//!
//! #[export]
//! impl Plugin for Stamp {
//!     type Stream = Exchange;
//!
//!     fn configure(_configuration: &[u8]) -> Result<Self, Error> {
//!         Ok(Stamp)
//!     }
//!
//!     fn stream(_plugin: &Rc<Self>) -> Exchange {
//!         Exchange
//!     }
//! }
//!
//! struct Exchange;
//!
//! #[export]
//! impl HttpFilter for Exchange {
//!     type Plugin = Stamp;
//!
//!     fn on_request_headers(&mut self, headers: &mut Headers, _end: bool) -> Head {
//!         if let Err(status) = headers.set("x-stamp", "1") {
//!             cofferdam_sdk::warn!("no stamp: {status}");
//!         }
//!         Head::Continue
//!     }
//! }
//! ```
//! Nothing here panics when a host calls in another order than it should, or calls back
//! into a callback that runs: what cannot be delivered passes by.

mod body;
mod dispatch;
mod peer;

use std::rc::Rc;

pub use body::Body;
pub use dispatch::{Callback, Dispatcher, Entry, Exports, Stream};
pub use peer::Peer;

use crate::callout::HttpCallResponse;
use crate::grpc::{GrpcEvent, GrpcResponse};
use crate::headers::Headers;
use crate::result::Error;

/// What a header callback has decided.
///
/// ```
/// assert_eq!(cofferdam_sdk::callbacks::Head::Continue as u32, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Head {
    /// The headers go on.
    Continue = 0,
    /// The headers wait, the body comes: they leave when a body or trailers callback
    /// answers Continue. Only where the filter is marked (`hold_headers`), and in Envoy only
    /// with `allow_on_headers_stop_iteration`; elsewhere the same as [`Head::Stop`].
    Hold = 1,
    /// Headers and all behind them wait for [`resume_request`] or [`resume_response`].
    Stop = 4,
}

/// What a body callback has decided.
///
/// ```
/// assert_eq!(cofferdam_sdk::callbacks::Data::Continue as u32, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Data {
    /// What the callback was shown goes on.
    Continue = 0,
    /// It waits; the next callback is shown all of it again, with what has come since. The
    /// host answers 413 (of a response, 500) past its limit.
    Buffer = 1,
    /// It waits, and the sender is slowed down; the next callback is shown what has come
    /// since.
    Hold = 2,
    /// What the callback has left of it is dropped.
    Drop = 3,
}

/// What a callback has decided about trailers, a connection or its bytes.
///
/// ```
/// assert_eq!(cofferdam_sdk::callbacks::Action::Pause as u32, 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// It goes on.
    Continue = 0,
    /// It waits.
    Pause = 1,
}

/// One configuration of a filter: a root context of the ABI. Its methods take `&self`,
/// because streams hold it too.
///
/// ```
/// use std::cell::{Cell, RefCell};
/// use std::rc::Rc;
/// use cofferdam_sdk::callbacks::{self, HttpFilter, Plugin};
/// use cofferdam_sdk::queue::Queue;
/// use cofferdam_sdk::{
///     Error, GrpcCall, GrpcResponse, HttpCall, HttpCallResponse, export, info, raw, warn,
/// };
///
/// /// Keeps a list fresh, and tells what comes through a queue.
/// struct Keeper { lines: Queue, list: RefCell<Vec<u8>>, asked: Cell<bool> }
/// struct Exchange;
///
/// #[export(calls, grpc)]
/// impl Plugin for Keeper {
///     type Stream = Exchange;
///
///     fn configure(_configuration: &[u8]) -> Result<Self, Error> {
///         raw::set_tick_period(60_000)?; // milliseconds
///         let (list, asked) = (RefCell::default(), Cell::default());
///         Ok(Self { lines: Queue::register("lines")?, list, asked })
///     }
///
///     fn stream(_plugin: &Rc<Self>) -> Exchange { Exchange }
///
///     fn on_tick(&self) {
///         self.asked.set(HttpCall::get("lists", "/").send().is_ok());
///         let beat = GrpcCall::new("fleet", "pkg.Fleet", "Beat").send();
///         beat.map_or_else(|status| warn!("no beat: {status}"), |_token| ());
///     }
///
///     fn on_http_call_response(&self, _token: u32, response: HttpCallResponse) {
///         self.asked.set(false);
///         self.list.replace(response.into_body());
///     }
///
///     fn on_grpc_response(&self, _token: u32, response: GrpcResponse) {
///         if let Err(status) = response { warn!("{status}"); }
///     }
///
///     fn on_queue_ready(&self, queue: u32) {
///         while queue == self.lines.id() && let Ok(Some(line)) = self.lines.pop() {
///             info!("{} bytes", line.len());
///         }
///     }
///
///     fn on_done(&self) -> bool {
///         !self.asked.get() // otherwise `raw::done` ends it
///     }
/// }
///
/// #[export]
/// impl HttpFilter for Exchange { type Plugin = Keeper; }
/// # #[cfg(feature = "testing")] {
/// # use cofferdam_sdk::{Reply, testing::Tester};
/// # let mut tester = Tester::of_callbacks::<Keeper>("");
/// # tester.cluster("lists", |_| Reply::new(200).body("a"));
/// # tester.advance(std::time::Duration::from_secs(61));
/// # assert!(tester.logs().join("").contains("no beat"));
/// # let _ = callbacks::context();
/// # }
/// ```
pub trait Plugin: Sized + 'static {
    /// Its part in one exchange or connection.
    type Stream: Stream + 'static;

    /// A plugin of that configuration, which may be empty.
    ///
    /// # Errors
    /// What is wrong with it: the host does not use the plugin then, and logs the reason.
    fn configure(configuration: &[u8]) -> Result<Self, Error>;

    /// A new exchange or connection.
    fn stream(plugin: &Rc<Self>) -> Self::Stream;

    /// The time of [`crate::raw::set_tick_period`] has passed.
    fn on_tick(&self) {}

    /// There may be an item in a queue this plugin has registered.
    fn on_queue_ready(&self, _queue: u32) {}

    /// The answer to a call that was begun here, not in a stream. Write
    /// `#[export(calls)]` in front of the plugin.
    fn on_http_call_response(&self, _token: u32, _response: HttpCallResponse) {}

    /// Likewise to a gRPC call: `#[export(grpc)]`.
    fn on_grpc_response(&self, _token: u32, _response: GrpcResponse) {}

    /// Something has come of a gRPC stream that was opened here ([`crate::grpc::open`]):
    /// `#[export(grpc_streams)]`, which answers to calls are part of.
    ///
    /// [`GrpcEvent`] has an example.
    fn on_grpc_event(&self, _token: u32, _event: GrpcEvent) {}

    /// The plugin is to end. With `false` it goes on until [`crate::raw::done`].
    fn on_done(&self) -> bool {
        true
    }
}

/// A filter's part in one HTTP exchange. It is dropped when the exchange is over.
///
/// ```
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use cofferdam_sdk::callbacks::{self, Action, Body, Data, Head, HttpFilter, Plugin};
/// use cofferdam_sdk::{
///     Error, GrpcCall, GrpcResponse, Headers, HttpCall, HttpCallResponse, Reply, export, info, raw,
/// };
///
/// /// Lets requests go after a while, when two services have been asked.
/// #[derive(Default)]
/// struct Gate { waiting: RefCell<Vec<u32>> }
///
/// #[export(calls, grpc)]
/// impl Plugin for Gate {
///     type Stream = Exchange;
///     fn configure(_: &[u8]) -> Result<Self, Error> {
///         raw::set_tick_period(10)?;
///         Ok(Self::default())
///     }
///     fn stream(plugin: &Rc<Self>) -> Exchange {
///         Exchange { plugin: plugin.clone(), asked: 0, size: 0 }
///     }
///     fn on_tick(&self) {
///         self.waiting.take().into_iter().for_each(callbacks::wake);
///     }
/// }
///
/// struct Exchange { plugin: Rc<Gate>, asked: u32, size: usize }
///
/// impl Exchange {
///     fn answered(&mut self, well: bool) {
///         self.asked -= 1;
///         if !well {
///             let _ = Reply::new(403).send();
///         } else if self.asked == 0 {
///             self.plugin.waiting.borrow_mut().push(callbacks::context());
///         }
///     }
/// }
///
/// #[export]
/// impl HttpFilter for Exchange {
///     type Plugin = Gate;
///
///     fn on_request_headers(&mut self, _headers: &mut Headers, _end: bool) -> Head {
///         self.asked += u32::from(HttpCall::get("authz", "/").send().is_ok());
///         self.asked += u32::from(GrpcCall::new("quota", "pkg.Quota", "Take").send().is_ok());
///         if self.asked > 0 { Head::Stop } else { Head::Continue }
///     }
///
///     fn on_http_call_response(&mut self, _token: u32, response: HttpCallResponse) {
///         self.answered(response.status() == Some(200));
///     }
///
///     fn on_grpc_response(&mut self, _token: u32, response: GrpcResponse) {
///         self.answered(response.is_ok());
///     }
///
///     fn on_wake(&mut self) {
///         let _ = callbacks::resume_request();
///     }
///
///     fn on_request_body(&mut self, body: &mut Body, _end: bool) -> Data {
///         self.size += body.len();
///         Data::Continue
///     }
///
///     fn on_request_trailers(&mut self, trailers: &mut Headers) -> Action {
///         let _ = trailers.remove("x-internal");
///         Action::Continue
///     }
///
///     fn on_response_headers(&mut self, headers: &mut Headers, _end: bool) -> Head {
///         let _ = headers.remove("content-length");
///         Head::Continue
///     }
///
///     fn on_response_body(&mut self, body: &mut Body, end: bool) -> Data {
///         match end && body.append(b"\n").is_err() {
///             true => Data::Drop,
///             false => Data::Continue,
///         }
///     }
///
///     fn on_response_trailers(&mut self, trailers: &mut Headers) -> Action {
///         let _ = trailers.set("x-size", self.size.to_string());
///         Action::Continue
///     }
///
///     fn on_log(&mut self) {
///         info!("{} bytes", self.size);
///     }
/// }
/// # #[cfg(feature = "testing")] {
/// # use cofferdam_sdk::testing::Tester;
/// # let mut tester = Tester::of_callbacks::<Gate>("");
/// # tester.cluster("authz", |_| Reply::new(200));
/// # tester.grpc_cluster("quota", |_, _| Ok(Vec::new()));
/// # tester.upstream(|_| Reply::new(200).body("ok"));
/// # assert_eq!(tester.post("/", "abc").send().text(), "ok\n");
/// # assert!(tester.logs().join("").contains("3 bytes"));
/// # tester.no_leaks();
/// # }
/// ```
pub trait HttpFilter: Sized + 'static {
    /// What it is part of.
    type Plugin: Plugin<Stream = Self>;

    /// The request's headers; `end`: nothing follows them.
    fn on_request_headers(&mut self, _headers: &mut Headers, _end: bool) -> Head {
        Head::Continue
    }

    /// A piece of the request's body; `end`: it is the last, and there are no trailers.
    fn on_request_body(&mut self, _body: &mut Body, _end: bool) -> Data {
        Data::Continue
    }

    /// The request's trailers.
    fn on_request_trailers(&mut self, _trailers: &mut Headers) -> Action {
        Action::Continue
    }

    /// The response's headers; `end`: nothing follows them.
    fn on_response_headers(&mut self, _headers: &mut Headers, _end: bool) -> Head {
        Head::Continue
    }

    /// A piece of the response's body; `end`: it is the last, and there are no trailers.
    fn on_response_body(&mut self, _body: &mut Body, _end: bool) -> Data {
        Data::Continue
    }

    /// The response's trailers.
    fn on_response_trailers(&mut self, _trailers: &mut Headers) -> Action {
        Action::Continue
    }

    /// The answer to a call that was begun in this exchange. The plugin says that there are
    /// such: `#[export(calls)]`.
    fn on_http_call_response(&mut self, _token: u32, _response: HttpCallResponse) {}

    /// Likewise to a gRPC call: `#[export(grpc)]`.
    fn on_grpc_response(&mut self, _token: u32, _response: GrpcResponse) {}

    /// Something has come of a gRPC stream that was opened here: `#[export(grpc_streams)]`.
    ///
    /// [`GrpcEvent`] has an example.
    fn on_grpc_event(&mut self, _token: u32, _event: GrpcEvent) {}

    /// The plugin has called [`wake`].
    fn on_wake(&mut self) {}

    /// The exchange is over; headers of both ways can be read once more.
    fn on_log(&mut self) {}
}

/// A filter's part in one TCP connection. It is dropped when the connection is closed.
///
/// ```
/// use std::rc::Rc;
/// use cofferdam_sdk::callbacks::{Action, Body, Plugin, TcpFilter};
/// use cofferdam_sdk::{Error, export};
///
/// struct Shout;
/// struct Connection;
///
/// #[export]
/// impl Plugin for Shout {
///     type Stream = Connection;
///     fn configure(_: &[u8]) -> Result<Self, Error> { Ok(Shout) }
///     fn stream(_: &Rc<Self>) -> Connection { Connection }
/// }
///
/// #[export]
/// impl TcpFilter for Connection {
///     type Plugin = Shout;
///     fn on_downstream_data(&mut self, data: &mut Body, _end: bool) -> Action {
///         let loud = data.bytes().to_ascii_uppercase();
///         match data.replace(&loud) {
///             Ok(()) => Action::Continue,
///             Err(_) => Action::Pause,
///         }
///     }
/// }
/// ```
/// One that asks first:
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use cofferdam_sdk::callbacks::{self, Action, Body, Peer, Plugin, TcpFilter};
/// use cofferdam_sdk::{
///     Error, GrpcCall, GrpcResponse, HttpCall, HttpCallResponse, StreamType, export, info, raw,
/// };
///
/// #[derive(Default)]
/// struct Door { last: Cell<u32> }
///
/// #[export(calls, grpc)]
/// impl Plugin for Door {
///     type Stream = Connection;
///     fn configure(_: &[u8]) -> Result<Self, Error> {
///         raw::set_tick_period(10)?;
///         Ok(Self::default())
///     }
///     fn stream(plugin: &Rc<Self>) -> Connection {
///         Connection { plugin: plugin.clone(), back: 0 }
///     }
///     fn on_tick(&self) { callbacks::wake(self.last.get()); }
/// }
///
/// struct Connection { plugin: Rc<Door>, back: usize }
///
/// #[export]
/// impl TcpFilter for Connection {
///     type Plugin = Door;
///
///     fn on_new_connection(&mut self) -> Action {
///         match HttpCall::get("admission", "/").send() {
///             Ok(_token) => Action::Pause,
///             Err(_) => Action::Continue,
///         }
///     }
///
///     fn on_http_call_response(&mut self, _token: u32, response: HttpCallResponse) {
///         if response.status() != Some(200) {
///             let _ = raw::close_stream(StreamType::Downstream);
///             return;
///         }
///         if GrpcCall::new("audit", "pkg.Audit", "Connected").send().is_err() {
///             self.plugin.last.set(callbacks::context());
///         }
///     }
///
///     fn on_grpc_response(&mut self, _token: u32, _response: GrpcResponse) {
///         self.plugin.last.set(callbacks::context());
///     }
///
///     fn on_wake(&mut self) {
///         let _ = raw::continue_stream(StreamType::Downstream);
///     }
///
///     fn on_upstream_data(&mut self, data: &mut Body, _end: bool) -> Action {
///         self.back += data.len();
///         Action::Continue
///     }
///
///     fn on_downstream_close(&mut self, by: Peer) {
///         info!("client: {by:?}");
///     }
///
///     fn on_upstream_close(&mut self, by: Peer) {
///         info!("server: {by:?}");
///     }
///
///     fn on_log(&mut self) {
///         info!("{} bytes back", self.back);
///     }
/// }
/// # #[cfg(feature = "testing")] {
/// # use cofferdam_sdk::{Reply, testing::Tester};
/// # let mut tester = Tester::of_callbacks::<Door>("");
/// # tester.cluster("admission", |_| Reply::new(200));
/// # tester.grpc_cluster("audit", |_, _| Ok(Vec::new()));
/// # let wire = tester.connect(["hello"], ["ok"]);
/// # assert_eq!((wire.server(), wire.client()), (&b"hello"[..], &b"ok"[..]));
/// # assert!(tester.logs().join("").contains("2 bytes back"));
/// # }
/// ```
pub trait TcpFilter: Sized + 'static {
    /// What it is part of.
    type Plugin: Plugin<Stream = Self>;

    /// A client has connected; the upstream has not been, until all filters continue.
    fn on_new_connection(&mut self) -> Action {
        Action::Continue
    }

    /// Bytes of the client; `end`: it sends no more.
    fn on_downstream_data(&mut self, _data: &mut Body, _end: bool) -> Action {
        Action::Continue
    }

    /// Bytes of the upstream; `end`: it sends no more.
    fn on_upstream_data(&mut self, _data: &mut Body, _end: bool) -> Action {
        Action::Continue
    }

    /// The client's connection is closed.
    fn on_downstream_close(&mut self, _by: Peer) {}

    /// The upstream's connection is closed.
    fn on_upstream_close(&mut self, _by: Peer) {}

    /// The answer to a call that was begun in this connection.
    fn on_http_call_response(&mut self, _token: u32, _response: HttpCallResponse) {}

    /// Likewise to a gRPC call: `#[export(grpc)]`.
    fn on_grpc_response(&mut self, _token: u32, _response: GrpcResponse) {}

    /// Something has come of a gRPC stream that was opened here: `#[export(grpc_streams)]`.
    ///
    /// [`GrpcEvent`] has an example.
    fn on_grpc_event(&mut self, _token: u32, _event: GrpcEvent) {}

    /// The plugin has called [`wake`].
    fn on_wake(&mut self) {}

    /// The connection is over.
    fn on_log(&mut self) {}
}

/// The number of the exchange or connection whose callback runs, of the plugin where one of
/// its own does; 0 outside of callbacks.
///
/// ```
/// assert_eq!(cofferdam_sdk::callbacks::context(), 0);
/// ```
#[must_use]
pub fn context() -> u32 {
    crate::ambient::context()
}

/// Has `on_wake` of that exchange or connection called, once the callback of the plugin
/// that runs has returned. Nothing happens if it is over by then.
///
/// ```no_run
/// # let waiting: Vec<u32> = Vec::new();
/// // in `Plugin::on_tick`
/// for stream in waiting {
///     cofferdam_sdk::callbacks::wake(stream);
/// }
/// ```
pub fn wake(stream: u32) {
    crate::ambient::wake(stream);
}

/// Lets go a request that waits, once the running callback has returned.
///
/// # Errors
/// Where the host does not do so.
///
/// ```no_run
/// cofferdam_sdk::callbacks::resume_request()?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn resume_request() -> Result<(), crate::Status> {
    crate::raw::continue_stream(crate::StreamType::HttpRequest)
}

/// Lets go a response that waits, once the running callback has returned.
///
/// # Errors
/// Where the host does not do so.
///
/// ```no_run
/// cofferdam_sdk::callbacks::resume_response()?;
/// # Ok::<(), cofferdam_sdk::Status>(())
/// ```
pub fn resume_response() -> Result<(), crate::Status> {
    crate::raw::continue_stream(crate::StreamType::HttpResponse)
}
