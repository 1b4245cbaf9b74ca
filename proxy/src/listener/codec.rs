//! A connection that carries HTTP, in the codec's hands: its bounds, its clocks and its end.

use std::error::Error as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::client_io::{ClientIo, Seen};
use super::head_clock::HeadClock;
use super::stalled::{self, Executor, Streams, Tails};
use super::{DRAIN_FIRST_BYTE, Serving};
use crate::access_log::Flags;
use crate::config::Listener;
use crate::connection::{Connection, Received};
use crate::door::Door;
use crate::flood::Guarded;
use crate::serve::{self, ResponseBody};
use crate::traffic::Event;
use crate::worker::Worker;

/// HTTP/2 window of one stream, in bytes. One stalled upload must not take the whole
/// connection's.
const STREAM_WINDOW: u32 = 256 << 10;
/// HTTP/2 window of a connection: room for sixteen stalled uploads beside the others.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Bytes of a response that wait in an HTTP/2 stream for a client that does not read.
const SEND_BUFFER: usize = 64 << 10;
/// Resets a client may send ahead of us: a mesh connection carries many callers' cancellations.
const MAX_PENDING_RESETS: usize = 200;
/// How long a client that is told that it is over, and has nothing under way, may take to close.
const GOOD_BYE: Duration = Duration::from_secs(5);

/// How long a kept connection has had no request before the end of the process closes it. A
/// client that is at work has its next one on its way, and would lose it; with the answer to that
/// it is told that it is over.
const QUIET: Duration = Duration::from_millis(250);

/// Serves the requests of one connection.
pub(super) fn serve<S>(
    worker: Rc<Worker>,
    config: Arc<Listener>,
    mut connection: Connection,
    stream: S,
    http2: bool,
) -> Serving
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let seen = Arc::new(Seen::default());
    let mut io = ClientIo::new(stream, seen.clone(), config.send_timeout);
    if !http2 && connection.door.setup().0.takes_notes() {
        let counter = Arc::<AtomicU64>::default();
        connection.received = Some(Received::new(counter.clone()));
        io = io.counted(counter);
    }
    let service = Service {
        worker,
        connection: Rc::new(connection),
    };
    if http2 {
        let io = TokioIo::new(Guarded::of_client(io, seen.frames.clone()));
        serve_http2(config, io, seen, service)
    } else {
        serve_http1(&config, TokioIo::new(io), seen, service)
    }
}

fn serve_http1<S>(
    config: &Listener,
    io: TokioIo<ClientIo<S>>,
    seen: Arc<Seen>,
    service: Service,
) -> Serving
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = service.connection.clone();
    let mut builder = http1::Builder::new();
    // `pipeline_flush` stays off: with it a client that does not read has no back-pressure.
    // hyper has one clock for both; ours goes by the other once something has come.
    builder
        .timer(HeadClock::new(seen.clone(), config.header_timeout))
        .header_read_timeout(config.idle_timeout)
        .max_header_size(config.max_header_bytes)
        .max_buf_size(config.max_header_bytes.max(MIN_BUFFER))
        .auto_date_header(false);
    let serving = builder.serve_connection(io, service).with_upgrades();
    Box::pin(drive_http1(Box::pin(serving), connection, seen))
}

/// What is made before is not kept beside it for as long as the connection lasts.
async fn drive_http1<S>(
    mut serving: Pin<Box<http1::UpgradeableConnection<TokioIo<ClientIo<S>>, Service>>>,
    connection: Rc<Connection>,
    seen: Arc<Seen>,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // A client may be about to send: only the end of the process closes what is idle. hyper
    // takes for idle what has read nothing yet, so who comes at the end has a moment for that.
    let late = connection.door.ending.has_happened();
    let ending = async {
        match late {
            true => late_in(&connection).await,
            false => {
                connection.door.ending.wait().await;
                stalled::idle(&connection.requests, &Tails::default(), QUIET).await;
            }
        }
    };
    let result = tokio::select! {
        biased;
        result = seen.turn.each(serving.as_mut()) => result,
        () = ending => {
            serving.as_mut().graceful_shutdown();
            seen.turn.each(serving).await
        }
    };
    if let Err(error) = &result {
        let cut = seen.cut();
        let slow = cut.is_none() && error.is_timeout() && seen.has_begun();
        let cut = if slow { Some(Event::SlowHead) } else { cut };
        if let Some(cut) = cut {
            tell_cut(&connection, cut);
            if slow {
                log_refused(&connection, None, "request_header_timeout");
            }
        } else if error.is_parse_too_large() {
            log_refused(&connection, Some(431), "http1.codec_error");
        } else if error.is_parse() {
            log_refused(&connection, Some(400), "http1.codec_error");
        }
    }
    result
}

/// hyper's smallest read buffer.
const MIN_BUFFER: usize = 8 << 10;

fn serve_http2<S>(
    config: Arc<Listener>,
    io: TokioIo<Guarded<ClientIo<S>>>,
    seen: Arc<Seen>,
    service: Service,
) -> Serving
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = service.connection.clone();
    let streams = Streams::new(service);
    let tails = streams.tails();
    let mut builder = http2::Builder::new(streams.executor());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(config.max_concurrent_streams)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
        .enable_connect_protocol()
        .auto_date_header(false);
    let serving = builder.serve_connection(io, streams);
    Box::pin(drive_http2(
        Box::pin(serving),
        config,
        connection,
        seen,
        tails,
    ))
}

/// What is made before is not kept beside it for as long as the connection lasts.
async fn drive_http2<S>(
    mut serving: Pin<Box<Http2<S>>>,
    config: Arc<Listener>,
    connection: Rc<Connection>,
    seen: Arc<Seen>,
    tails: Rc<Tails>,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = &connection.requests;
    // hyper waits for the preface for as long as it takes.
    let begun = poll_fn(|cx| match serving.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if seen.frames.has_framed() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    let begun = tokio::select! {
        biased;
        begun = tokio::time::timeout(config.header_timeout, begun) => begun,
        () = late_in(&connection) => return Ok(()),
    };
    match begun {
        Ok(Some(result)) => return ended_http2(&connection, &seen, result),
        Ok(None) => {}
        Err(_) => {
            tell_cut(&connection, Event::SlowHead);
            return Ok(());
        }
    }
    let mut closing = connection.door.closing.has_happened();
    let result = loop {
        if closing {
            serving.as_mut().graceful_shutdown();
            requests.touch();
            // Who neither asks for anything nor says good-bye is not waited for, nor who goes on
            // as if nothing had been said.
            break tokio::select! {
                result = serving.as_mut() => result,
                () = stalled::gone(requests, &tails, GOOD_BYE) => Ok(()),
            };
        }
        // Unlike HTTP/1, hyper has no idle clock here.
        tokio::select! {
            result = serving.as_mut() => break result,
            () = connection.door.closing.wait() => closing = true,
            () = stalled::idle(requests, &tails, config.idle_timeout) => closing = true,
        }
    };
    ended_http2(&connection, &seen, result)
}

/// The process ends, and a moment has passed since.
async fn late_in(connection: &Connection) {
    connection.door.ending.wait().await;
    tokio::time::sleep(DRAIN_FIRST_BYTE).await;
}

/// Counts a connection that ended for what its client did.
fn ended_http2(
    connection: &Connection,
    seen: &Seen,
    result: hyper::Result<()>,
) -> hyper::Result<()> {
    if let Err(error) = &result {
        let reason = error.source().and_then(|source| {
            let error = source.downcast_ref::<h2::Error>()?;
            error.reason().filter(|_| error.is_library())
        });
        match (seen.cut(), reason) {
            (Some(cut), _) => tell_cut(connection, cut),
            // What the codec itself bounds.
            (None, Some(h2::Reason::ENHANCE_YOUR_CALM)) => tell_cut(connection, Event::Flood),
            (None, reason) if reason.is_some() || seen.frames.is_broken() => {
                let (setup, listener) = connection.door.setup();
                setup.listener(listener).traffic.refused();
            }
            _ => {}
        }
    }
    result
}

fn tell_cut(connection: &Connection, cut: Event) {
    let (setup, listener) = connection.door.setup();
    setup.listener(listener).traffic.happened(cut);
    let (id, peer) = (connection.id, connection.peer);
    tracing::debug!(connection = id, ?peer, ?cut, "a client's connection is cut");
}

/// An HTTP/2 connection in hyper's hands.
type Http2<S> = http2::Connection<TokioIo<Guarded<ClientIo<S>>>, Streams, Executor>;

/// What hyper calls with every request of a connection.
pub(super) struct Service {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<ResponseBody>;
    type Error = Gone;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Answer {
            door: self.connection.door.clone(),
            meant_tunnel: request.method() == http::Method::CONNECT,
            served: self.serve(request),
        }
    }
}

impl Service {
    /// One request.
    pub(super) fn serve(&self, request: Request<Incoming>) -> Served {
        let (worker, connection) = (self.worker.clone(), self.connection.clone());
        Box::pin(serve::serve_request(worker, connection, request))
    }
}

/// A request that is being served. Boxed, so that an idle connection does not keep room for
/// one; and where it begins, as it takes some KiB, all of which a move would copy.
pub(super) type Served = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, serve::Cut>>>>;

/// One of HTTP/1.
pub(super) struct Answer {
    served: Served,
    door: Rc<Door>,
    /// What follows it was meant for a tunnel that there may not be.
    meant_tunnel: bool,
}

impl Future for Answer {
    type Output = Result<Response<ResponseBody>, Gone>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(mut response) = ready!(self.served.as_mut().poll(cx)) else {
            return Poll::Ready(Err(Gone));
        };
        if (self.meant_tunnel || self.door.closing.has_happened())
            && response.status() != http::StatusCode::SWITCHING_PROTOCOLS
        {
            let close = http::HeaderValue::from_static("close");
            response
                .headers_mut()
                .insert(http::header::CONNECTION, close);
        }
        Poll::Ready(Ok(response))
    }
}

/// The stream is cut without an answer.
#[derive(Debug)]
pub(super) struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stream closed by a filter")
    }
}

impl std::error::Error for Gone {}

/// A request that never became an exchange, but of which the access log should know.
fn log_refused(connection: &Connection, status: Option<u16>, details: &'static str) {
    let (setup, listener) = connection.door.setup();
    setup.listener(listener).traffic.refused();
    if let Some(sink) = &setup.sink {
        let record = crate::access_log::Record {
            protocol: Some(http::Version::HTTP_11),
            method: "-",
            scheme: connection.scheme(),
            path: "-",
            status,
            details: Some(details),
            flags: Flags::DOWNSTREAM_PROTOCOL_ERROR,
            ..connection.record(std::time::SystemTime::now())
        };
        sink.record(&record);
        setup.flush_log_soon();
    }
}
