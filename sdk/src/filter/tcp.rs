//! Connections that are not HTTP.

use std::fmt;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::body::{Chunk, Handle, Shared};
use super::exchange::{Answer, Gate, Scope, Side, State, Tools};
use super::run::{Begin, Runner};
use super::{Function, OnError, Pending};
use crate::callbacks::{Action, Body, Data, Stream, TcpFilter};
use crate::callout::HttpCallResponse;
use crate::grpc::{GrpcEvent, GrpcResponse};
use crate::result::Result;
use crate::types::{Level, StreamType};
use crate::{log_at, raw};

/// A connection, and the bytes of either end. When the filter returns, what is left goes on
/// by itself; an `Err` closes it, unless `on_error = "open"`.
///
/// ```
/// use cofferdam_sdk::prelude::*;
///
/// /// Lets through what begins like TLS.
/// #[filter]
/// async fn tls_only(mut connection: Connection) -> Result<()> {
///     match connection.client.peek(1).await[..] {
///         [0x16] => Ok(()),
///         _ => Err(Error::new("not TLS")),
///     }
/// }
/// ```
/// The upstream is connected once every filter has let the connection go: when this one
/// asks for bytes, or returns.
#[derive(Debug)]
pub struct Connection {
    /// What the client sends. It waits, from the beginning.
    pub client: Flow,
    /// What the upstream sends. It goes on, until it is asked for. Do not wait for anything
    /// else with a piece of it in hand: Envoy cannot let go what waits there.
    pub server: Flow,
}

/// The bytes of one end of a [`Connection`]. Dropped, they go on by themselves.
///
/// ```
/// use cofferdam_sdk::prelude::*;
///
/// /// Both ends at once.
/// #[filter]
/// async fn counted(connection: Connection) -> Result<()> {
///     let Connection { mut client, mut server } = connection;
///     let sent = async {
///         let mut size = 0;
///         while let Some(piece) = client.chunk().await {
///             size += piece.bytes().len();
///         }
///         size
///     };
///     let received = async {
///         let mut size = 0;
///         while let Some(piece) = server.chunk().await {
///             size += piece.bytes().len();
///         }
///         size
///     };
///     let (sent, received) = join(sent, received).await;
///     info!("{sent} bytes there, {received} back");
///     Ok(())
/// }
/// # #[cfg(feature = "testing")] {
/// # use cofferdam_sdk::testing::Tester;
/// # let mut tester = Tester::of::<counted>("");
/// # let wire = tester.connect(["he", "llo"], ["ok"]);
/// # assert_eq!((wire.server(), wire.client()), (&b"hello"[..], &b"ok"[..]));
/// # assert!(tester.logs().join("").contains("5 bytes there, 2 back"));
/// # }
/// ```
pub struct Flow {
    state: Shared,
    of: fn(&State) -> &Side,
}

/// A [`Function`] of connections.
#[doc(hidden)]
pub trait TcpFunction: Function {
    /// Begins a connection.
    fn call(config: Rc<Self::Config>, connection: Connection, tools: &Tools)
    -> Pending<Result<()>>;
}

/// One connection of a [`TcpFunction`].
#[doc(hidden)]
pub struct Wire<F: TcpFunction> {
    plugin: Rc<Runner<F>>,
    scope: Rc<Scope>,
    state: Shared,
    task: Option<Pending<Result<()>>>,
}

// === impl Flow ===

impl Flow {
    /// The next piece that has come; `None` at the end. It waits while it is looked at, and
    /// goes on when the next one is asked for.
    ///
    /// ```
    /// use cofferdam_sdk::prelude::*;
    ///
    /// #[filter]
    /// async fn shout(mut connection: Connection) -> Result<()> {
    ///     while let Some(mut piece) = connection.client.chunk().await {
    ///         let loud = piece.bytes().to_ascii_uppercase();
    ///         piece.replace(&loud)?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub async fn chunk(&mut self) -> Option<Chunk<'_>> {
        Handle((self.of)(&self.state)).chunk(&self.state).await
    }

    /// The first bytes that have not gone on, as soon as there are so many, or no more will
    /// come. They go on waiting.
    ///
    /// [`Connection`] has an example.
    pub fn peek(&mut self, bytes: usize) -> impl Future<Output = Vec<u8>> + '_ {
        poll_fn(move |cx| {
            let side = (self.of)(&self.state);
            if side.size.get() < bytes && !side.ended.get() {
                side.gate.set(Gate::Whole);
                side.wait(cx);
                return Poll::Pending;
            }
            side.gate.set(Gate::Shut);
            let there = bytes.min(side.size.get());
            Poll::Ready(match there {
                0 => Vec::new(),
                there => raw::buffer(side.buffer, 0, there).unwrap_or_default(),
            })
        })
    }

    /// Has `map` called with every piece that goes on from here, which it may change; the
    /// second argument says that it is the last.
    ///
    /// ```
    /// use cofferdam_sdk::prelude::*;
    ///
    /// #[filter]
    /// async fn loud(connection: Connection) -> Result<()> {
    ///     connection.server.map(|piece, _last| {
    ///         let loud = piece.bytes().to_ascii_uppercase();
    ///         if let Err(status) = piece.replace(&loud) {
    ///             warn!("not so loud: {status}");
    ///         }
    ///     });
    ///     Ok(())
    /// }
    /// ```
    pub fn map(self, map: impl FnMut(&mut Body, bool) + 'static) {
        let mut map = map;
        let map = move |piece: &mut Body, last: bool, _: bool| {
            map(piece, last);
            Data::Continue
        };
        (self.of)(&self.state).map.replace(Some(Box::new(map)));
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        (self.of)(&self.state).gate.set(Gate::Open);
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").finish_non_exhaustive()
    }
}

// === impl Wire ===

const CLIENT: fn(&State) -> &Side = |state| &state.request;
const SERVER: fn(&State) -> &Side = |state| &state.response;

impl<F: TcpFunction> Wire<F> {
    fn poll(&mut self) {
        let Some(task) = &mut self.task else {
            return;
        };
        self.state.wake();
        let polled = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(result) = polled else {
            return;
        };
        self.task = None;
        CLIENT(&self.state).gate.set(Gate::Open);
        SERVER(&self.state).gate.set(Gate::Open);
        let Err(error) = result else {
            return;
        };
        log_at!(Level::Error, "{error}");
        if F::ON_ERROR != OnError::Open {
            // What waits must not be let go before.
            CLIENT(&self.state).passed();
            SERVER(&self.state).passed();
            self.state.closed.set(true);
            let _ = raw::close_stream(StreamType::Downstream);
        }
    }

    fn go_on(&mut self) {
        self.poll();
        let client = CLIENT(&self.state);
        if client.held.get() && !client.begun.get() && self.wants_bytes() {
            // The connection itself was held; bytes have not come yet.
            client.begun.set(true);
            client.held.set(false);
            let _ = raw::continue_stream(StreamType::Downstream);
        }
        CLIENT(&self.state).let_go();
        SERVER(&self.state).let_go();
    }

    /// Whoever asks for bytes lets the connection go: before, none come.
    fn wants_bytes(&self) -> bool {
        CLIENT(&self.state).gate.get() != Gate::Shut && !self.state.closed.get()
    }

    fn data(&mut self, of: fn(&State) -> &Side, size: usize, end: bool) -> Action {
        let side = of(&self.state);
        side.size.set(size);
        side.last.set(end);
        side.ended.set(end || side.ended.get());
        self.poll();
        let side = of(&self.state);
        if self.state.closed.get() || !side.passes() {
            side.held.set(!self.state.closed.get());
            return Action::Pause;
        }
        side.run_map(true);
        side.passed();
        Action::Continue
    }
}

impl<F: TcpFunction> Begin<F> for Wire<F> {
    fn begin(plugin: Rc<Runner<F>>, tools: Tools) -> Self {
        Self {
            plugin,
            scope: tools.scope,
            state: Rc::new(State::of_connection()),
            task: None,
        }
    }
}

impl<F: TcpFunction<Stream = Self>> TcpFilter for Wire<F> {
    type Plugin = Runner<F>;

    fn on_new_connection(&mut self) -> Action {
        let flow = |of| Flow {
            state: self.state.clone(),
            of,
        };
        let connection = Connection {
            client: flow(CLIENT),
            server: flow(SERVER),
        };
        let tools = Tools {
            scope: self.scope.clone(),
        };
        let config = self.plugin.config.clone();
        self.task = Some(F::call(config, connection, &tools));
        self.poll();
        let side = CLIENT(&self.state);
        if self.wants_bytes() {
            side.begun.set(true);
            return Action::Continue;
        }
        side.held.set(!self.state.closed.get());
        Action::Pause
    }

    fn on_downstream_data(&mut self, data: &mut Body, end: bool) -> Action {
        let action = self.data(CLIENT, data.len(), end);
        SERVER(&self.state).let_go();
        action
    }

    fn on_upstream_data(&mut self, data: &mut Body, end: bool) -> Action {
        let action = self.data(SERVER, data.len(), end);
        CLIENT(&self.state).let_go();
        action
    }
}

impl<F: TcpFunction> Stream for Wire<F> {
    fn wake(&mut self) {
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

impl<F: TcpFunction> fmt::Debug for Wire<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}
