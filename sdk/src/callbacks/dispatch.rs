//! From the host's numbers to plugins and streams.
//!
//! A stream is taken out of its place while it is called, so that a host that calls back
//! into a running callback finds nobody there, and nothing is borrowed across user code.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use super::{Action, Body, Data, Head, HttpFilter, Peer, Plugin, TcpFilter};
use crate::callout::HttpCallResponse;
use crate::grpc::{GrpcEvent, GrpcResponse, GrpcStatus};
use crate::headers::Headers;
use crate::types::{BufferType, Level, MapType};
use crate::{ambient, grpc, log, raw};

/// All contexts of one module.
///
/// [`export`](crate::export) makes one and calls it; there is nothing to do with it by hand.
#[doc(hidden)]
pub struct Dispatcher<P: Plugin> {
    roots: RefCell<Vec<(u32, Rc<P>)>>,
    /// In the order of ids, which only grow.
    streams: RefCell<Vec<Place<P>>>,
}

struct Place<P: Plugin> {
    id: u32,
    /// Elsewhere while it is called.
    stream: Option<P::Stream>,
}

/// Where the [`Dispatcher`] of a plugin is; written by [`export`](crate::export).
#[doc(hidden)]
pub trait Entry: Plugin {
    /// Whether answers to HTTP calls are exported.
    const CALLS: bool;
    /// Whether answers to gRPC calls are.
    const GRPC: bool;
    /// Whether what comes of gRPC streams is.
    const GRPC_STREAMS: bool;

    /// Lends the one dispatcher of the module.
    fn with<R>(call: impl FnOnce(&Dispatcher<Self>) -> R) -> R;
}

/// A stream of either kind, as its plugin knows it; written by [`export`](crate::export).
#[doc(hidden)]
pub trait Stream {
    /// The plugin has woken it.
    fn wake(&mut self);

    /// A call it has begun is answered.
    fn http_call_response(&mut self, token: u32, response: HttpCallResponse);

    /// Likewise a gRPC call.
    fn grpc_response(&mut self, token: u32, response: GrpcResponse);

    /// Something has come of a gRPC stream it has opened.
    fn grpc_event(&mut self, token: u32, event: GrpcEvent);

    /// It is over.
    fn log(&mut self);
}

/// An export by its name, and what it does: for tests off wasm, which have no linker.
#[doc(hidden)]
pub type Callback<P> = (&'static str, fn(&Dispatcher<P>, [u32; 5]) -> u32);

/// What [`export`](crate::export) has made of an `impl`.
#[doc(hidden)]
pub trait Exports<P: Plugin> {
    /// Each export of it.
    const CALLBACKS: &'static [Callback<P>];
}

// === impl Dispatcher ===

impl<P: Plugin> Dispatcher<P> {
    /// Without any context.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "nobody else makes one")]
    pub const fn new() -> Self {
        Self {
            roots: RefCell::new(Vec::new()),
            streams: RefCell::new(Vec::new()),
        }
    }

    /// `proxy_on_context_create`. A stream whose plugin is not configured is left out.
    pub fn context_create(&self, id: u32, parent: u32) {
        let Some(plugin) = self.plugin(parent) else {
            return;
        };
        let before = ambient::enter(id);
        let stream = P::stream(&plugin);
        ambient::enter(before);
        self.streams.borrow_mut().push(Place {
            id,
            stream: Some(stream),
        });
    }

    /// `proxy_on_configure`.
    pub fn configure(&self, root: u32) -> bool {
        log::ask_level();
        let configuration = raw::buffer(BufferType::PluginConfiguration, 0, usize::MAX);
        let before = ambient::enter(root);
        let plugin = P::configure(&configuration.unwrap_or_default());
        ambient::enter(before);
        match plugin {
            Ok(plugin) => {
                let mut roots = self.roots.borrow_mut();
                roots.retain(|(id, _)| *id != root);
                roots.push((root, Rc::new(plugin)));
                true
            }
            Err(error) => {
                crate::log_at!(Level::Error, "configuration: {error}");
                false
            }
        }
    }

    /// `proxy_on_done`: of streams it is always answered with yes.
    pub fn done(&self, id: u32) -> bool {
        self.call_plugin(id, |plugin| plugin.on_done())
            .unwrap_or(true)
    }

    /// `proxy_on_delete`.
    pub fn delete(&self, id: u32) {
        let place = {
            let mut streams = self.streams.borrow_mut();
            let place = streams.binary_search_by_key(&id, |place| place.id);
            place.ok().map(|place| streams.remove(place))
        };
        let root = {
            let mut roots = self.roots.borrow_mut();
            let root = roots.iter().position(|(root, _)| *root == id);
            root.map(|root| roots.swap_remove(root))
        };
        // What they do when they are dropped finds everything as it should be.
        let before = ambient::enter(id);
        drop((place, root));
        ambient::enter(before);
        ambient::forget(id);
    }

    /// The plugin of that root.
    fn plugin(&self, root: u32) -> Option<Rc<P>> {
        let roots = self.roots.borrow();
        let found = roots.iter().find(|(id, _)| *id == root)?;
        Some(found.1.clone())
    }

    fn call_plugin<R>(&self, root: u32, call: impl FnOnce(&P) -> R) -> Option<R> {
        let plugin = self.plugin(root)?;
        let before = ambient::enter(root);
        let result = call(&plugin);
        ambient::enter(before);
        Some(result)
    }

    /// Calls a stream that is there and not being called.
    fn call_stream<R>(&self, id: u32, call: impl FnOnce(&mut P::Stream) -> R) -> Option<R> {
        let mut stream = self.with_place(id, |place| place.stream.take())??;
        let before = ambient::enter(id);
        let result = call(&mut stream);
        ambient::enter(before);
        // Where it has been deleted meanwhile, it is dropped here.
        self.with_place(id, |place| place.stream = Some(stream));
        Some(result)
    }

    fn with_place<R>(&self, id: u32, with: impl FnOnce(&mut Place<P>) -> R) -> Option<R> {
        let mut streams = self.streams.borrow_mut();
        let place = match streams.last() {
            // Most calls are for the newest stream.
            Some(last) if last.id == id => streams.len() - 1,
            _ => streams.binary_search_by_key(&id, |place| place.id).ok()?,
        };
        streams.get_mut(place).map(with)
    }
}

impl<P: Plugin> fmt::Debug for Dispatcher<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let streams = self.streams.try_borrow().map_or(0, |streams| streams.len());
        let mut dispatcher = f.debug_struct("Dispatcher");
        dispatcher
            .field("streams", &streams)
            .finish_non_exhaustive()
    }
}

impl<P: Plugin> Dispatcher<P> {
    /// `proxy_on_tick`.
    pub fn tick(&self, root: u32) {
        self.call_plugin(root, |plugin| plugin.on_tick());
        self.wake();
    }

    /// `proxy_on_queue_ready`.
    pub fn queue_ready(&self, root: u32, queue: u32) {
        self.call_plugin(root, |plugin| plugin.on_queue_ready(queue));
        self.wake();
    }

    /// `proxy_on_http_call_response`: to whoever has begun the call, if that is still there.
    pub fn http_call_response(&self, root: u32, token: u32, counts: [u32; 3]) {
        let Some(owner) = ambient::ended(token) else {
            return;
        };
        let response = HttpCallResponse::take(counts[0], counts[1], counts[2]);
        if owner == root {
            self.call_plugin(root, |plugin| plugin.on_http_call_response(token, response));
        } else if raw::set_effective_context(owner).is_ok() {
            self.call_stream(owner, |stream| stream.http_call_response(token, response));
        }
        self.wake();
    }

    /// `proxy_on_grpc_receive`: of a call's answer there is one message.
    pub fn grpc_receive(&self, root: u32, token: u32, size: u32) {
        self.grpc_response(root, token, || Ok(grpc::take_message(size)));
    }

    /// `proxy_on_grpc_close`: the call has failed, if it has not been answered before.
    pub fn grpc_close(&self, root: u32, token: u32, status: u32) {
        self.grpc_response(root, token, || Err(GrpcStatus::take(status)));
    }

    fn grpc_response(&self, root: u32, token: u32, response: impl FnOnce() -> GrpcResponse) {
        let Some(owner) = ambient::ended(token) else {
            return;
        };
        let response = response();
        if owner == root {
            self.call_plugin(root, |plugin| plugin.on_grpc_response(token, response));
        } else if raw::set_effective_context(owner).is_ok() {
            self.call_stream(owner, |stream| stream.grpc_response(token, response));
        }
        self.wake();
    }

    /// `proxy_on_grpc_receive`, of calls and of streams.
    pub fn grpc_message(&self, root: u32, token: u32, size: u32) {
        match ambient::listener(token) {
            Some(owner) => {
                let message = GrpcEvent::Message(grpc::take_message(size));
                self.grpc_event(root, token, owner, message);
            }
            None => self.grpc_receive(root, token, size),
        }
    }

    /// `proxy_on_grpc_close`, of calls and of streams.
    pub fn grpc_end(&self, root: u32, token: u32, status: u32) {
        match ambient::listener(token) {
            Some(owner) => {
                let end = GrpcEvent::Closed(grpc::take_end(token, status));
                ambient::ended(token);
                self.grpc_event(root, token, owner, end);
            }
            None => self.grpc_close(root, token, status),
        }
    }

    /// `proxy_on_grpc_receive_initial_metadata`.
    pub fn grpc_initial_metadata(&self, root: u32, token: u32, count: u32) {
        if let Some(owner) = ambient::listener(token) {
            let metadata = grpc::take_metadata(MapType::GrpcInitialMetadata, count);
            self.grpc_event(root, token, owner, GrpcEvent::InitialMetadata(metadata));
        }
    }

    /// `proxy_on_grpc_receive_trailing_metadata`.
    pub fn grpc_trailing_metadata(&self, root: u32, token: u32, count: u32) {
        if let Some(owner) = ambient::listener(token) {
            let metadata = grpc::take_metadata(MapType::GrpcTrailingMetadata, count);
            self.grpc_event(root, token, owner, GrpcEvent::TrailingMetadata(metadata));
        }
    }

    fn grpc_event(&self, root: u32, token: u32, owner: u32, event: GrpcEvent) {
        if owner == root {
            self.call_plugin(root, |plugin| plugin.on_grpc_event(token, event));
        } else if raw::set_effective_context(owner).is_ok() {
            self.call_stream(owner, |stream| stream.grpc_event(token, event));
        }
        self.wake();
    }

    /// `proxy_on_log`; roots write no log here.
    pub fn log(&self, id: u32) {
        self.call_stream(id, Stream::log);
    }

    /// The streams that a plugin has woken.
    fn wake(&self) {
        while let Some(woken) = ambient::next_woken() {
            if raw::set_effective_context(woken).is_ok() {
                self.call_stream(woken, Stream::wake);
            }
        }
    }
}

impl<P: Plugin> Dispatcher<P>
where
    P::Stream: HttpFilter,
{
    /// `proxy_on_request_headers`.
    pub fn request_headers(&self, id: u32, end: bool) -> u32 {
        let headers = &mut Headers::of(MapType::RequestHeaders);
        let head = self.call_stream(id, |stream| stream.on_request_headers(headers, end));
        head.unwrap_or(Head::Continue) as u32
    }

    /// `proxy_on_request_body`.
    pub fn request_body(&self, id: u32, size: u32, end: bool) -> u32 {
        let body = &mut Body::new(BufferType::RequestBody, size);
        let data = self.call_stream(id, |stream| stream.on_request_body(body, end));
        data.unwrap_or(Data::Continue) as u32
    }

    /// `proxy_on_request_trailers`.
    pub fn request_trailers(&self, id: u32) -> u32 {
        let trailers = &mut Headers::of(MapType::RequestTrailers);
        let action = self.call_stream(id, |stream| stream.on_request_trailers(trailers));
        action.unwrap_or(Action::Continue) as u32
    }

    /// `proxy_on_response_headers`.
    pub fn response_headers(&self, id: u32, end: bool) -> u32 {
        let headers = &mut Headers::of(MapType::ResponseHeaders);
        let head = self.call_stream(id, |stream| stream.on_response_headers(headers, end));
        head.unwrap_or(Head::Continue) as u32
    }

    /// `proxy_on_response_body`.
    pub fn response_body(&self, id: u32, size: u32, end: bool) -> u32 {
        let body = &mut Body::new(BufferType::ResponseBody, size);
        let data = self.call_stream(id, |stream| stream.on_response_body(body, end));
        data.unwrap_or(Data::Continue) as u32
    }

    /// `proxy_on_response_trailers`.
    pub fn response_trailers(&self, id: u32) -> u32 {
        let trailers = &mut Headers::of(MapType::ResponseTrailers);
        let action = self.call_stream(id, |stream| stream.on_response_trailers(trailers));
        action.unwrap_or(Action::Continue) as u32
    }
}

impl<P: Plugin> Dispatcher<P>
where
    P::Stream: TcpFilter,
{
    /// `proxy_on_new_connection`.
    pub fn new_connection(&self, id: u32) -> u32 {
        let action = self.call_stream(id, TcpFilter::on_new_connection);
        action.unwrap_or(Action::Continue) as u32
    }

    /// `proxy_on_downstream_data`.
    pub fn downstream_data(&self, id: u32, size: u32, end: bool) -> u32 {
        let data = &mut Body::new(BufferType::DownstreamData, size);
        let action = self.call_stream(id, |stream| stream.on_downstream_data(data, end));
        action.unwrap_or(Action::Continue) as u32
    }

    /// `proxy_on_upstream_data`.
    pub fn upstream_data(&self, id: u32, size: u32, end: bool) -> u32 {
        let data = &mut Body::new(BufferType::UpstreamData, size);
        let action = self.call_stream(id, |stream| stream.on_upstream_data(data, end));
        action.unwrap_or(Action::Continue) as u32
    }

    /// `proxy_on_downstream_connection_close`.
    pub fn downstream_close(&self, id: u32, by: u32) {
        self.call_stream(id, |stream| {
            stream.on_downstream_close(Peer::from_number(by))
        });
    }

    /// `proxy_on_upstream_connection_close`.
    pub fn upstream_close(&self, id: u32, by: u32) {
        self.call_stream(id, |stream| stream.on_upstream_close(Peer::from_number(by)));
    }
}
