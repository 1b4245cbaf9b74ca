//! From a listening socket to requests, or to bytes that are not HTTP: accept, TLS, which
//! HTTP it is, and how long a connection may sit.

mod bind;
mod detect;
mod passed;
mod peeked;
mod proxied;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::unconstrained;

use crate::access_log::Flags;
use crate::config::Listener;
use crate::connection::Connection;
use crate::door::{Door, Entrance};
use crate::headers;
use crate::serve::{self, ResponseBody};
use crate::tcp;
use crate::tls::Session;
use crate::tls::forwarded::Forwarded;
use crate::tls::hello::Look;
use crate::traffic::Event;
use crate::upstream::Own;
use crate::worker::{ConnectionGuard, LocalExecutor, Worker};

use bind::Accepted;
pub(crate) use bind::{Acceptor, Socket, addresses, bind, bind_unix};
use peeked::Peeked;

/// HTTP/2 window of one stream, in bytes. One stalled upload must not take the whole
/// connection's.
const STREAM_WINDOW: u32 = 256 << 10;
/// HTTP/2 window of a connection: room for sixteen stalled uploads beside the others.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Bytes of a response that wait in an HTTP/2 stream for a client that does not read.
const SEND_BUFFER: usize = 64 << 10;
/// Requests at once on an HTTP/2 connection.
const MAX_STREAMS: u32 = 200;
/// Resets a client may send ahead of us: a mesh connection carries many callers' cancellations.
const MAX_PENDING_RESETS: usize = 200;
/// How long accepting pauses when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a draining worker waits for the first byte of a connection it has accepted.
const DRAIN_FIRST_BYTE: Duration = Duration::from_millis(500);

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Accepts until the worker drains, and then what is in the queue already: those clients
/// have been told that they are connected.
pub(crate) async fn accept_loop(
    worker: Rc<Worker>,
    acceptor: Rc<Acceptor>,
    entrance: Rc<Entrance>,
) {
    accept(worker, acceptor, &entrance).await;
    // Its socket has gone with it.
    entrance.closed.happen();
}

async fn accept(worker: Rc<Worker>, acceptor: Rc<Acceptor>, entrance: &Entrance) {
    let mut looked = false;
    loop {
        let accepted = if entrance.closing.has_happened() {
            if entrance.is_handed_over() {
                // Whoever waits there is the other process's: it closes none of them.
                return;
            }
            if !std::mem::replace(&mut looked, true) {
                // Who came while guest code ran is not known of before the system is asked.
                tokio::task::yield_now().await;
            }
            // Without the bound on what a task does in one turn: past it nobody seems to wait.
            match poll_once(pin!(unconstrained(acceptor.accept()))).await {
                Some(accepted) => accepted,
                None => return,
            }
        } else {
            tokio::select! {
                accepted = acceptor.accept() => accepted,
                () = entrance.closing.wait() => continue,
            }
        };
        match accepted {
            Ok(accepted) => {
                let guard = ConnectionGuard::new(worker.clone());
                tokio::task::spawn_local(serve_connection(
                    worker.clone(),
                    entrance.door(),
                    accepted,
                    guard,
                ));
            }
            Err(error) => {
                let (setup, listener) = entrance.door().setup();
                let name = &setup.listener(listener).config.name;
                tracing::warn!(listener = %name, "accept failed: {error}");
                if entrance.closing.has_happened() {
                    return;
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// What serves one connection. Boxed step by step, so that a connection that sits idle
/// keeps the room its protocol needs and not what its handshake once took.
type Serving = Pin<Box<dyn Future<Output = hyper::Result<()>>>>;

/// One connection, from its first byte to its last.
async fn serve_connection(
    worker: Rc<Worker>,
    door: Rc<Door>,
    accepted: Accepted,
    guard: ConnectionGuard,
) {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let (setup, listener) = door.setup();
    let counted = setup.listener(listener).traffic.connected();
    drop(setup);
    let (peer, local) = (accepted.peer(), accepted.local());
    let connection = Connection {
        id,
        door: door.clone(),
        peer,
        direct: peer,
        forwarded_for: peer.map(|peer| headers::forwarded_for(peer.ip())),
        local,
        tls: None,
        passed_name: None,
        forwarded_cert: Forwarded::default(),
        own: Own::default(),
        state: RefCell::default(),
    };
    let serving: Option<Serving> = match accepted {
        Accepted::Tcp { stream, .. } => {
            Box::pin(start(worker, connection, Peeked::new(stream))).await
        }
        Accepted::Unix { stream } => Box::pin(start(worker, connection, Peeked::new(stream))).await,
    };
    if let Some(serving) = serving {
        let served = tokio::select! {
            served = serving => served,
            () = door.cut.wait() => Ok(()),
        };
        if let Err(error) = served {
            tracing::debug!(connection = id, "connection ended: {error}");
        }
    }
    drop(counted);
    drop(guard);
}

/// Where it comes from, where that is told; TLS where the listener has it, and which HTTP it
/// is. `None` when there is none.
async fn start<S>(
    worker: Rc<Worker>,
    mut connection: Connection,
    mut stream: Peeked<S>,
) -> Option<Serving>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (setup, listener) = connection.door.setup();
    let config = setup.listener(listener).config.clone();
    // What is kept for as long as the connection lasts must not be a whole configuration.
    drop(setup);
    let door = connection.door.clone();
    let until = tokio::time::Instant::now() + config.header_timeout;
    if let Some(wanted) = &config.proxy_protocol {
        // Boxed: nobody else needs room for this.
        let reading = Box::pin(proxied::read(wanted, &mut connection, &mut stream));
        let verdict = first_bytes(&door, until, reading).await?;
        if let Ok(Some(event)) | Err(Some(event)) = verdict {
            happened(&door, event);
        }
        verdict.ok()?;
    }
    let Some(tls) = &config.tls else {
        if let Some(forward) = &config.tcp {
            if !forward.names.is_empty() {
                let looking = Box::pin(passed::hello(&mut stream));
                let hello = first_bytes(&door, until, looking).await?.ok()?;
                connection.passed_name = passed_name(&door, hello)?;
            }
            return Some(serve_tcp(worker, connection, stream));
        }
        connection.forwarded_cert = Forwarded::new(
            config.forward_client_cert,
            config.client_cert_details,
            None,
            None,
        );
        // Without TLS the first bytes tell HTTP/2 from HTTP/1.
        let detecting = detect::detect(&mut stream);
        let http2 = first_bytes(&door, until, detecting).await?.ok()?;
        return Some(serve_http(worker, config, connection, stream, http2));
    };
    let serving = tls.now();
    let acceptor = tokio_rustls::TlsAcceptor::from(serving.config.clone());
    let handshake = tokio::time::timeout_at(until, acceptor.accept(stream)).await;
    let handshake = match handshake {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("not within header_timeout".to_owned()),
    };
    let stream = match handshake {
        Ok(stream) => stream,
        Err(why) => {
            tls.counts.failed();
            let (listener, peer) = (&*config.name, connection.peer);
            tracing::debug!(listener, ?peer, "no TLS with this client: {why}");
            return None;
        }
    };
    let settled = stream.get_ref().1;
    let session = Session::of_server(settled, &serving);
    tls.counts.settled(&session);
    connection.forwarded_cert = Forwarded::new(
        config.forward_client_cert,
        config.client_cert_details,
        settled.peer_certificates(),
        session.own_certificate.as_deref(),
    );
    let http2 = session.http2;
    connection.tls = Some(session);
    if config.tcp.is_some() {
        return Some(serve_tcp(worker, connection, stream));
    }
    Some(serve_http(worker, config, connection, stream, http2))
}

fn serve_tcp<S>(worker: Rc<Worker>, connection: Connection, stream: S) -> Serving
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Box::pin(async move {
        tcp::serve(worker, connection, stream).await;
        Ok(())
    })
}

/// What `reading` the first bytes gives, unless they do not come in time.
async fn first_bytes<T>(
    door: &Door,
    until: tokio::time::Instant,
    reading: impl Future<Output = T>,
) -> Option<T> {
    let mut reading = pin!(tokio::time::timeout_at(until, reading));
    // While draining, a connection that has sent nothing is not worth waiting for; but one
    // whose request is on its way has been told that it is connected.
    let draining = async {
        door.ending.wait().await;
        tokio::time::sleep(DRAIN_FIRST_BYTE).await;
    };
    let read = tokio::select! {
        biased;
        read = reading.as_mut() => read,
        () = draining => return None,
    };
    if read.is_err() {
        happened(door, Event::Timeout);
    }
    read.ok()
}

/// The name that a client asks for, if it does; `None` where it is not served at all.
fn passed_name(door: &Door, hello: Look) -> Option<Option<Box<str>>> {
    let name = match hello {
        Look::Hello(name) => name,
        Look::TooLong => {
            happened(door, Event::HelloTooLong);
            return None;
        }
        Look::Other | Look::Partial => {
            happened(door, Event::TlsNotFound);
            return Some(None);
        }
    };
    happened(door, Event::TlsFound);
    happened(
        door,
        match name {
            Some(_) => Event::SniFound,
            None => Event::SniNotFound,
        },
    );
    Some(name)
}

fn happened(door: &Door, event: Event) {
    let (setup, listener) = door.setup();
    setup.listener(listener).traffic.happened(event);
}

fn serve_http<S>(
    worker: Rc<Worker>,
    config: Arc<Listener>,
    connection: Connection,
    stream: S,
    http2: bool,
) -> Serving
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let active = Rc::new(Active::new());
    let service = Service {
        worker,
        connection: Rc::new(connection),
        active,
    };
    let io = TokioIo::new(stream);
    if http2 {
        Box::pin(serve_http2(config, io, service))
    } else {
        Box::pin(serve_http1(config, io, service))
    }
}

async fn serve_http1<S>(
    config: Arc<Listener>,
    io: TokioIo<S>,
    service: Service,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = service.connection.clone();
    let mut builder = http1::Builder::new();
    // `pipeline_flush` stays off: with it a client that does not read has no back-pressure.
    // The header timeout is the idle timeout too: hyper has one clock for both.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.idle_timeout)
        .max_header_size(config.max_header_bytes)
        .max_buf_size(config.max_header_bytes.max(MIN_BUFFER))
        .auto_date_header(false);
    let mut serving = pin!(builder.serve_connection(io, service).with_upgrades());
    // A client may be about to send: only the end of the process closes what is idle. hyper
    // takes for idle what has read nothing yet, so who comes at the end has a moment for that.
    let late = connection.door.ending.has_happened();
    let ending = async {
        connection.door.ending.wait().await;
        if late {
            tokio::time::sleep(DRAIN_FIRST_BYTE).await;
        }
    };
    let result = tokio::select! {
        biased;
        result = serving.as_mut() => result,
        () = ending => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = &result
        && (error.is_parse() || error.is_parse_too_large())
    {
        log_refused(
            &connection,
            if error.is_parse_too_large() { 431 } else { 400 },
        );
    }
    result
}

/// hyper's smallest read buffer.
const MIN_BUFFER: usize = 8 << 10;

async fn serve_http2<S>(
    config: Arc<Listener>,
    io: TokioIo<S>,
    service: Service,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (active, connection) = (service.active.clone(), service.connection.clone());
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
        .enable_connect_protocol()
        .auto_date_header(false);
    let mut serving = pin!(builder.serve_connection(io, service));
    let mut closing = connection.door.closing.has_happened();
    loop {
        if closing {
            serving.as_mut().graceful_shutdown();
            return serving.await;
        }
        // Unlike HTTP/1, hyper has no idle clock here.
        tokio::select! {
            result = serving.as_mut() => return result,
            () = connection.door.closing.wait() => closing = true,
            () = active.idle_for(config.idle_timeout) => closing = true,
        }
    }
}

/// What hyper calls with every request of a connection.
struct Service {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    active: Rc<Active>,
}

/// Requests under way on a connection.
struct Active {
    count: Cell<usize>,
    since: Cell<Instant>,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = http::Response<ResponseBody>;
    type Error = Gone;
    // Boxed so that an idle connection does not keep room for a request.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Gone>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (worker, connection, active) = (
            self.worker.clone(),
            self.connection.clone(),
            self.active.clone(),
        );
        active.enter();
        Box::pin(async move {
            let _leave = Leave(active);
            let door = connection.door.clone();
            let http1 = request.version() < http::Version::HTTP_2;
            let served = serve::serve_request(worker, connection, request).await;
            let mut response = served.map_err(|serve::Cut| Gone)?;
            if http1
                && door.closing.has_happened()
                && response.status() != http::StatusCode::SWITCHING_PROTOCOLS
            {
                let close = http::HeaderValue::from_static("close");
                response
                    .headers_mut()
                    .insert(http::header::CONNECTION, close);
            }
            Ok(response)
        })
    }
}

/// The stream is cut without an answer.
#[derive(Debug)]
struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stream closed by a filter")
    }
}

impl std::error::Error for Gone {}

// === impl Active ===

impl Active {
    fn new() -> Self {
        Self {
            count: Cell::new(0),
            since: Cell::new(Instant::now()),
        }
    }

    fn enter(&self) {
        self.count.set(self.count.get() + 1);
        self.since.set(Instant::now());
    }

    /// Ready when no request has begun or been under way for that long.
    async fn idle_for(&self, timeout: Duration) {
        loop {
            let until = if self.count.get() == 0 {
                self.since.get() + timeout
            } else {
                Instant::now() + timeout
            };
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until.into()).await;
        }
    }
}

struct Leave(Rc<Active>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.since.set(Instant::now());
    }
}

/// A request that the codec refused never became an exchange, but the access log should know.
fn log_refused(connection: &Rc<Connection>, status: u16) {
    let (setup, listener) = connection.door.setup();
    setup.listener(listener).traffic.refused();
    if let Some(sink) = &setup.sink {
        let record = crate::access_log::Record {
            protocol: Some(http::Version::HTTP_11),
            method: "-",
            scheme: connection.scheme(),
            path: "-",
            status: Some(status),
            details: Some("http1.codec_error"),
            flags: Flags::DOWNSTREAM_PROTOCOL_ERROR,
            ..connection.record(std::time::SystemTime::now())
        };
        sink.record(&record);
        setup.flush_log_soon();
    }
}
