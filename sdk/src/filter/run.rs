//! From callbacks to the future of an exchange, and back.
//!
//! An exchange's future is polled in each of its callbacks and when something it waits for
//! has come. Then each way's [`Gate`](super::exchange::Gate) says whether that way goes on:
//! for the callback that runs by what it answers, for the other way by `continue_stream`.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::exchange::{Answer, Gate, Scope, Side, State, Tools};
use super::time::{Sleeper, Timers};
use super::{BodyKind, Function, HttpFunction, OnError, Pending, Request, Response};
use crate::callbacks::{self, Action, Body, Data, Head, HttpFilter, Plugin, Stream};
use crate::callout::HttpCallResponse;
use crate::grpc::{GrpcEvent, GrpcResponse};
use crate::headers::Headers;
use crate::reply::Reply;
use crate::result::Result;
use crate::types::{Level, StreamType};
use crate::{config, log_at, property, raw};

/// How long a held body may show nothing before the host is looked at.
const GUARD: Duration = Duration::from_secs(1);
/// After so many looks a body that shows nothing is not waited for: Envoy does not tell of
/// a response's body that it keeps.
const LOOKS: u32 = 10;

/// One configuration of a [`Function`].
#[doc(hidden)]
pub struct Runner<F: Function> {
    pub(super) config: Rc<F::Config>,
    scope: Rc<Scope>,
    /// The host has been seen to hold headers for a body.
    holds: Cell<bool>,
    background: RefCell<Option<Pending<Result<()>>>>,
}

/// What a [`Runner`] makes for each exchange or connection.
#[doc(hidden)]
pub trait Begin<F: Function>: Stream {
    /// A new one.
    #[doc(hidden)]
    fn begin(plugin: Rc<Runner<F>>, tools: Tools) -> Self;
}

/// One exchange of an [`HttpFunction`].
#[doc(hidden)]
pub struct Exchange<F: HttpFunction> {
    plugin: Rc<Runner<F>>,
    scope: Rc<Scope>,
    state: Rc<State>,
    task: Option<Pending<Result<Response<F::Response>>>>,
    /// Looks whether the host holds, until it has been seen to.
    guard: Option<Rc<Sleeper>>,
    looks: u32,
}

// === impl Runner ===

impl<F: Function> Runner<F> {
    fn poll_background(&self) {
        // Out of its place while it is polled: what it does may come back here.
        let Some(mut future) = self.background.take() else {
            return;
        };
        match future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Pending => {
                self.background.replace(Some(future));
            }
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => log_at!(Level::Error, "beside all exchanges: {error}"),
        }
    }
}

impl<F: Function> Plugin for Runner<F> {
    type Stream = F::Stream;

    fn configure(configuration: &[u8]) -> Result<Self> {
        let config = Rc::new(config::parse::<F::Config>(configuration)?);
        let scope = Rc::new(Scope::new(callbacks::context(), Rc::new(Timers::default())));
        let tools = Tools {
            scope: scope.clone(),
        };
        let runner = Self {
            background: RefCell::new(F::background(config.clone(), &tools)),
            config,
            scope,
            holds: Cell::new(false),
        };
        runner.poll_background();
        Ok(runner)
    }

    fn stream(plugin: &Rc<Self>) -> F::Stream {
        let scope = Scope::new(callbacks::context(), plugin.scope.timers.clone());
        let scope = Rc::new(scope);
        F::Stream::begin(plugin.clone(), Tools { scope })
    }

    fn on_tick(&self) {
        self.scope.timers.tick();
        self.poll_background();
    }

    fn on_http_call_response(&self, token: u32, response: HttpCallResponse) {
        self.scope.answered(token, Answer::Http(response));
        self.poll_background();
    }

    fn on_grpc_response(&self, token: u32, response: GrpcResponse) {
        self.scope.answered(token, Answer::Grpc(response));
        self.poll_background();
    }

    fn on_grpc_event(&self, token: u32, event: GrpcEvent) {
        self.scope.heard(token, event);
        self.poll_background();
    }
}

// === impl Exchange ===

impl<F: HttpFunction> Begin<F> for Exchange<F> {
    fn begin(plugin: Rc<Runner<F>>, tools: Tools) -> Self {
        Self {
            plugin,
            scope: tools.scope,
            state: Rc::new(State::new()),
            task: None,
            guard: None,
            looks: 0,
        }
    }
}

impl<F: HttpFunction> Exchange<F> {
    fn poll(&mut self) {
        let Some(task) = &mut self.task else {
            return;
        };
        self.state.wake();
        let polled = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(result) = polled {
            self.task = None;
            self.finish(result);
        }
    }

    fn finish(&mut self, result: Result<Response<F::Response>>) {
        match result {
            Ok(response) => match response.reply() {
                Some(reply) => self.answer(reply),
                None => self.open(),
            },
            Err(error) => {
                log_at!(Level::Error, "{error}");
                match F::ON_ERROR {
                    OnError::Reply(status) => {
                        self.answer(&Reply::new(status).details("filter_error"));
                    }
                    OnError::Open => self.open(),
                }
            }
        }
    }

    /// Everything goes on.
    fn open(&self) {
        self.state.request.gate.set(Gate::Open);
        self.state.response.gate.set(Gate::Open);
    }

    /// Ends the exchange with an answer of the filter's; by a cut, where another has begun.
    fn answer(&self, reply: &Reply) {
        self.open();
        for side in [&self.state.request, &self.state.response] {
            side.map.take();
            // The answer lets go what waits, or takes its place.
            side.passed();
        }
        let answered = if self.state.response.left.get() {
            raw::close_stream(StreamType::HttpResponse)
        } else {
            reply.send()
        };
        if let Err(status) = answered {
            log_at!(Level::Error, "the answer is not taken: {status}");
        }
    }

    /// Something else than a callback of its own has come: both ways are looked at.
    fn go_on(&mut self) {
        self.poll();
        self.state.request.let_go();
        self.state.response.let_go();
    }

    fn head(&mut self, of: fn(&State) -> &Side, held: bool) -> Head {
        let side = of(&self.state);
        if side.passes() {
            side.left.set(true);
            side.passed();
            return Head::Continue;
        }
        side.held.set(true);
        if !held {
            return Head::Stop;
        }
        if side.gate.get() == Gate::Whole && !self.plugin.holds.get() {
            self.guard = Some(self.scope.timers.wake_after(GUARD, self.scope.context));
        }
        Head::Hold
    }

    fn data(&mut self, of: fn(&State) -> &Side, size: usize, end: bool) -> Data {
        let side = of(&self.state);
        side.size.set(size);
        side.last.set(end);
        side.ended.set(end || side.ended.get());
        if side.gate.get() == Gate::Whole && !side.left.get() {
            self.plugin.holds.set(true);
            self.drop_guard();
        }
        self.poll();
        let side = of(&self.state);
        if !side.passes() {
            side.held.set(true);
            return Data::Buffer;
        }
        let data = side.run_map(true);
        side.left.set(true);
        if matches!(data, Data::Buffer | Data::Hold) {
            // The next piece, or the end, decides.
            side.held.set(false);
            return data;
        }
        side.passed();
        data
    }

    fn trailers(&mut self, of: fn(&State) -> &Side) -> Action {
        of(&self.state).ended.set(true);
        of(&self.state).last.set(true);
        self.poll();
        let side = of(&self.state);
        if !side.passes() {
            side.held.set(true);
            return Action::Pause;
        }
        side.run_map(false);
        side.left.set(true);
        side.passed();
        Action::Continue
    }

    /// A body was to be waited for, and has not come: does the host keep it from us?
    fn look_at_host(&mut self) {
        if self.guard.is_none() {
            return;
        }
        self.drop_guard();
        for side in [&self.state.request, &self.state.response] {
            let waits = side.gate.get() == Gate::Whole && side.held.get() && !side.left.get();
            if !waits || side.size.get() > 0 {
                continue;
            }
            self.looks += 1;
            if self.looks >= LOOKS || keeps_body(side) {
                side.not_held.set(true);
            } else {
                self.guard = Some(self.scope.timers.wake_after(GUARD, self.scope.context));
            }
        }
    }

    fn drop_guard(&mut self) {
        if let Some(guard) = self.guard.take() {
            self.scope.timers.remove(&guard);
        }
    }
}

impl<F: HttpFunction> Drop for Exchange<F> {
    fn drop(&mut self) {
        self.drop_guard();
    }
}

/// Whether the host has a body that it has not shown.
fn keeps_body(side: &Side) -> bool {
    if raw::buffer_status(side.buffer).is_ok_and(|(size, _)| size > 0) {
        return true;
    }
    let size = |name| property::int(&["request", name]).unwrap_or(0);
    side.stream == StreamType::HttpRequest && size("total_size") > size("headers_bytes")
}

const REQUEST: fn(&State) -> &Side = |state| &state.request;
const RESPONSE: fn(&State) -> &Side = |state| &state.response;

impl<F: HttpFunction<Stream = Self>> HttpFilter for Exchange<F> {
    type Plugin = Runner<F>;

    fn on_request_headers(&mut self, _headers: &mut Headers, end: bool) -> Head {
        self.state.request.begin(end);
        let request = Request::new(self.state.clone());
        let tools = Tools {
            scope: self.scope.clone(),
        };
        self.task = Some(F::call(self.plugin.config.clone(), request, &tools));
        self.poll();
        self.head(REQUEST, F::Request::HELD)
    }

    fn on_request_body(&mut self, body: &mut Body, end: bool) -> Data {
        let answer = self.data(REQUEST, body.len(), end);
        self.state.response.let_go();
        answer
    }

    fn on_request_trailers(&mut self, _trailers: &mut Headers) -> Action {
        let answer = self.trailers(REQUEST);
        self.state.response.let_go();
        answer
    }

    fn on_response_headers(&mut self, _headers: &mut Headers, end: bool) -> Head {
        self.state.response.begin(end);
        if !self.state.forwarded.get() && !self.state.request.left.get() {
            // Somebody else has answered: nobody waits for what the filter would have said.
            self.task = None;
            self.open();
            self.state.request.passed();
        }
        self.poll();
        self.state.request.let_go();
        self.head(RESPONSE, F::Response::HELD)
    }

    fn on_response_body(&mut self, body: &mut Body, end: bool) -> Data {
        let answer = self.data(RESPONSE, body.len(), end);
        self.state.request.let_go();
        answer
    }

    fn on_response_trailers(&mut self, _trailers: &mut Headers) -> Action {
        let answer = self.trailers(RESPONSE);
        self.state.request.let_go();
        answer
    }
}

impl<F: HttpFunction> Stream for Exchange<F> {
    fn wake(&mut self) {
        self.look_at_host();
        self.go_on();
    }

    fn http_call_response(&mut self, token: u32, response: HttpCallResponse) {
        self.scope.answered(token, Answer::Http(response));
        self.go_on();
    }

    fn grpc_response(&mut self, token: u32, response: GrpcResponse) {
        self.scope.answered(token, Answer::Grpc(response));
        self.go_on();
    }

    fn grpc_event(&mut self, token: u32, event: GrpcEvent) {
        self.scope.heard(token, event);
        self.go_on();
    }

    fn log(&mut self) {}
}

impl<F: Function> fmt::Debug for Runner<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").finish_non_exhaustive()
    }
}

impl<F: HttpFunction> fmt::Debug for Exchange<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}
