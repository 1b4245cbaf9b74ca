//! What the futures of one exchange and the callbacks that poll them both know.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::grpc_stream::Inbox;
use super::time::Timers;
use crate::callbacks::{Body, Data};
use crate::callout::HttpCallResponse;
use crate::grpc::{GrpcEvent, GrpcResponse};
use crate::raw;
use crate::types::{BufferType, StreamType};

/// What a filter wants of one way of its exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Gate {
    /// Nothing goes on: the filter thinks.
    #[default]
    Shut,
    /// Nothing goes on, until all of the body is there.
    Whole,
    /// What it has seen goes on; it waits for more.
    Chunks,
    /// Everything goes on.
    Open,
}

/// What the filter has attached, to be called with each piece that goes on.
/// With it, whether it is the last one, and whether this is the callback of the body itself.
pub(super) type Map = Box<dyn FnMut(&mut Body, bool, bool) -> Data>;

/// One way of an exchange.
pub(super) struct Side {
    pub(super) gate: Cell<Gate>,
    /// Its headers have come.
    pub(super) begun: Cell<bool>,
    /// It has no body.
    pub(super) bodiless: Cell<bool>,
    /// Its headers have gone on.
    pub(super) left: Cell<bool>,
    /// Nothing more comes.
    pub(super) ended: Cell<bool>,
    /// The last body callback was the last.
    pub(super) last: Cell<bool>,
    /// Its body has been read whole.
    pub(super) read: Cell<bool>,
    /// The host keeps the body until the headers go.
    pub(super) not_held: Cell<bool>,
    /// The host holds it because we said so.
    pub(super) held: Cell<bool>,
    /// Bytes that wait in the host.
    pub(super) size: Cell<usize>,
    /// How many of them the filter has been given.
    pub(super) taken: Cell<usize>,
    pub(super) map: RefCell<Option<Map>>,
    /// Of those who wait for anything of it.
    wakers: RefCell<Vec<Waker>>,
    pub(super) buffer: BufferType,
    pub(super) stream: StreamType,
}

/// A map that may drop pieces. The last one's bytes go and the end itself goes on; and outside
/// of a body's own callback there is no other way to drop what waits. Here, so that filters
/// that decide about nothing do not import what this takes.
pub(super) fn deciding(mut map: impl FnMut(&mut Body, bool) -> Data + 'static) -> Map {
    Box::new(move |body, last, own| match map(body, last) {
        Data::Drop if last || !own => {
            if !body.is_empty() {
                // A host that does not take it keeps what it has.
                let _ = body.replace(b"");
            }
            Data::Continue
        }
        data => data,
    })
}

/// What a call may come to.
#[derive(Debug)]
pub(super) enum Answer {
    Http(HttpCallResponse),
    Grpc(GrpcResponse),
}

/// A wait in which a way's gate is open for what has been seen. Given up before it is over,
/// it shuts the gate: what comes then has been seen by nobody.
pub(super) struct Ajar<'a, F> {
    side: &'a Side,
    poll: F,
    over: bool,
}

/// An answer that somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Slot {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

/// A call that can be waited for.
pub(super) trait Asked {
    /// What the wait comes to.
    type Output;

    /// Its token; or what the wait comes to at once.
    fn send(&self) -> Result<u32, Self::Output>;

    fn answered(answer: Answer) -> Self::Output;

    /// Nobody waits any more.
    fn forget(token: u32);
}

/// The wait for one answer. Dropped before it comes, nobody waits for it any more.
pub(super) struct Waiting<C: Asked> {
    scope: Rc<Scope>,
    call: C,
    sent: Option<(u32, Rc<RefCell<Slot>>)>,
}

/// On whose behalf calls and timers are: an exchange, or what runs beside them.
pub(super) struct Scope {
    pub(super) context: u32,
    pub(super) calls: RefCell<Vec<(u32, Rc<RefCell<Slot>>)>>,
    pub(super) streams: RefCell<Vec<(u32, Rc<Inbox>)>>,
    pub(super) timers: Rc<Timers>,
}

/// What an exchange is to its filter.
pub(super) struct State {
    pub(super) request: Side,
    pub(super) response: Side,
    /// The filter has asked for the response.
    pub(super) forwarded: Cell<bool>,
    /// The connection is being closed from here.
    pub(super) closed: Cell<bool>,
}

/// What a [`Tool`](super::Tool) is made of.
#[doc(hidden)]
#[derive(Clone)]
pub struct Tools {
    pub(super) scope: Rc<Scope>,
}

// === impl Side ===

impl Side {
    const fn new(buffer: BufferType, stream: StreamType) -> Self {
        Self {
            gate: Cell::new(Gate::Shut),
            begun: Cell::new(false),
            bodiless: Cell::new(false),
            left: Cell::new(false),
            ended: Cell::new(false),
            last: Cell::new(false),
            read: Cell::new(false),
            not_held: Cell::new(false),
            held: Cell::new(false),
            size: Cell::new(0),
            taken: Cell::new(0),
            map: RefCell::new(None),
            wakers: RefCell::new(Vec::new()),
            buffer,
            stream,
        }
    }

    /// Its headers are here; `end`: nothing follows them.
    pub(super) fn begin(&self, end: bool) {
        self.begun.set(true);
        self.ended.set(end);
        self.bodiless.set(end);
    }

    /// Whether what has come goes on.
    pub(super) fn passes(&self) -> bool {
        matches!(self.gate.get(), Gate::Open | Gate::Chunks)
    }

    /// Whoever polls with this is to be woken when anything has come. The exchange itself is
    /// polled then anyway; what it is made of may want to be told.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        if !cx.waker().will_wake(Waker::noop()) {
            self.wakers.borrow_mut().push(cx.waker().clone());
        }
    }

    /// What waited has gone on.
    pub(super) fn passed(&self) {
        self.held.set(false);
        self.size.set(0);
        self.taken.set(0);
    }

    /// Shows what goes on to what the filter has attached, which may keep it: but for the
    /// last, behind which nothing would come to let it go.
    /// `own`: from the body's own callback.
    pub(super) fn run_map(&self, own: bool) -> Data {
        // Taken out: it may attach another.
        let Some(mut map) = self.map.take() else {
            return Data::Continue;
        };
        let mut body = Body::new(
            self.buffer,
            u32::try_from(self.size.get()).unwrap_or(u32::MAX),
        );
        let last = self.last.get();
        let data = map(&mut body, last, own);
        self.size.set(body.len());
        self.map.borrow_mut().get_or_insert(map);
        match data {
            Data::Buffer | Data::Hold if last => Data::Continue,
            data => data,
        }
    }

    /// From a callback of something else: lets go what waits, if it may now.
    pub(super) fn let_go(&self) {
        if self.held.get() && self.passes() {
            if self.size.get() > 0 || self.last.get() {
                let data = self.run_map(false);
                if matches!(data, Data::Buffer | Data::Hold) {
                    // It waits for what comes next, and for nobody else.
                    self.held.set(false);
                    return;
                }
            }
            self.left.set(true);
            self.passed();
            // A host that does not take it has nothing held.
            let _ = raw::continue_stream(self.stream);
        }
    }
}

// === impl State ===

impl State {
    /// Something has come: wakes those who wait.
    pub(super) fn wake(&self) {
        for side in [&self.request, &self.response] {
            side.wakers.take().into_iter().for_each(Waker::wake);
        }
    }

    pub(super) const fn new() -> Self {
        Self {
            request: Side::new(BufferType::RequestBody, StreamType::HttpRequest),
            response: Side::new(BufferType::ResponseBody, StreamType::HttpResponse),
            forwarded: Cell::new(false),
            closed: Cell::new(false),
        }
    }

    /// Of a connection: the client is one side, the server the other, whose bytes go on
    /// until somebody asks for them.
    pub(super) fn of_connection() -> Self {
        let state = Self {
            request: Side::new(BufferType::DownstreamData, StreamType::Downstream),
            response: Side::new(BufferType::UpstreamData, StreamType::Upstream),
            ..Self::new()
        };
        state.response.gate.set(Gate::Open);
        state
    }
}

// === impl Scope ===

impl Scope {
    pub(super) const fn new(context: u32, timers: Rc<Timers>) -> Self {
        Self {
            context,
            calls: RefCell::new(Vec::new()),
            streams: RefCell::new(Vec::new()),
            timers,
        }
    }

    /// The answer to a call has come.
    pub(super) fn answered(&self, token: u32, answer: Answer) {
        let slot = {
            let mut calls = self.calls.borrow_mut();
            let place = calls.iter().position(|(call, _)| *call == token);
            place.map(|place| calls.swap_remove(place).1)
        };
        if let Some(slot) = slot {
            let waker = {
                let mut slot = slot.borrow_mut();
                slot.answer = Some(answer);
                slot.waker.take()
            };
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl Scope {
    /// Something has come of a gRPC stream.
    pub(super) fn heard(&self, token: u32, event: GrpcEvent) {
        let inbox = {
            let mut streams = self.streams.borrow_mut();
            let place = streams.iter().position(|(stream, _)| *stream == token);
            match (place, &event) {
                (Some(place), GrpcEvent::Closed(_)) => Some(streams.swap_remove(place).1),
                (place, _) => place
                    .and_then(|place| streams.get(place))
                    .map(|(_, inbox)| inbox.clone()),
            }
        };
        if let Some(inbox) = inbox {
            inbox.put(event);
        }
    }
}

// === impl Ajar ===

impl<'a, F> Ajar<'a, F> {
    pub(super) const fn new(side: &'a Side, poll: F) -> Self {
        Self {
            side,
            poll,
            over: false,
        }
    }
}

impl<T, F: FnMut() -> Poll<T> + Unpin> Future for Ajar<'_, F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let polled = (self.poll)();
        self.over = polled.is_ready();
        if !self.over {
            self.side.wait(cx);
        }
        polled
    }
}

impl<F> Drop for Ajar<'_, F> {
    fn drop(&mut self) {
        if !self.over && self.side.gate.get() == Gate::Chunks {
            self.side.gate.set(Gate::Shut);
        }
    }
}

// === impl Waiting ===

impl<C: Asked> Waiting<C> {
    pub(super) const fn new(scope: Rc<Scope>, call: C) -> Self {
        Self {
            scope,
            call,
            sent: None,
        }
    }
}

impl<C: Asked + Unpin> Future for Waiting<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let Some((_, slot)) = &self.sent else {
            let token = match self.call.send() {
                Ok(token) => token,
                Err(output) => return Poll::Ready(output),
            };
            let slot = Rc::new(RefCell::new(Slot {
                answer: None,
                waker: Some(cx.waker().clone()),
            }));
            self.scope.calls.borrow_mut().push((token, slot.clone()));
            self.sent = Some((token, slot));
            return Poll::Pending;
        };
        let mut slot = slot.borrow_mut();
        match slot.answer.take() {
            Some(answer) => Poll::Ready(C::answered(answer)),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<C: Asked> Drop for Waiting<C> {
    fn drop(&mut self) {
        if let Some((token, _)) = self.sent {
            let mut calls = self.scope.calls.borrow_mut();
            let before = calls.len();
            calls.retain(|(call, _)| *call != token);
            if calls.len() < before {
                C::forget(token);
            }
        }
    }
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tools").finish_non_exhaustive()
    }
}
