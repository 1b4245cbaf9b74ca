//! A connection for one request: from the pool, or opened now.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::host::Word;
use super::line::{Dialled, Metered};
use super::load::Full;
use super::pool::{Active, Open, Pool, Slot, Wire};
use super::{Outcome, Pick, Upstream, UpstreamBody};
use crate::access_log::Flags;
use crate::config::{Cluster, Protocol, UpstreamTls};
use crate::connection::Connection;
use crate::descriptors;
use crate::flood::{Guarded, Streams};
use crate::tls::{Session, Speaks};
use crate::worker::LocalExecutor;

/// HTTP/2 window of one stream, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
/// HTTP/2 window of a connection: room for sixteen stalled streams beside the others.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Most bytes of a message that wait in a connection, either way; an upstream's header
/// block must fit.
pub(super) const BUFFER: usize = 64 << 10;
/// Largest header list taken from an HTTP/2 upstream.
const MAX_HEADER_LIST: u32 = 64 << 10;
/// How long an upstream's first settings are waited for. They must come first of all, but a
/// few send nothing before they have been asked something.
const SETTLING: Duration = Duration::from_secs(1);

/// A connection, lent for one request.
pub(crate) struct Lease {
    sender: Sender,
    active: Active,
    pub(crate) wire: Wire,
    /// It has carried requests before, so it may have died unseen.
    pub(crate) reused: bool,
}

/// What is left of a lease whose connection has stopped being HTTP; counted as before.
#[derive(Debug)]
pub(crate) struct Tunnel {
    _active: Active,
    _open: Open,
}

/// What a connection that is being made waits for, for whoever gives it up.
#[derive(Debug, Default)]
pub(crate) struct Attempted {
    pool: RefCell<Option<Rc<Pool>>>,
    /// Not for the endpoint, but for others to be done with theirs.
    waiting: Cell<bool>,
}

enum Sender {
    Http1(http1::SendRequest<UpstreamBody>),
    Http2(http2::SendRequest<UpstreamBody>, Slot),
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// No usable endpoint.
    NoEndpoint,
    /// The endpoint did not answer in time.
    Timeout(SocketAddr),
    /// There is no socket to try it with.
    Exhausted(SocketAddr, std::io::Error),
    /// The endpoint refused.
    Refused(SocketAddr, std::io::Error),
    /// TLS failed.
    Tls(SocketAddr, std::io::Error),
    /// HTTP could not be begun.
    Handshake(SocketAddr, hyper::Error),
    /// A circuit breaker is open.
    Overflow(SocketAddr),
}

// === impl Upstream ===

impl Upstream {
    /// A connection to an endpoint, for a client or for nobody in particular; `fresh` to have a
    /// new one whatever the pool holds.
    pub(crate) async fn connect(
        &self,
        pick: Pick,
        client: Option<&Connection>,
        fresh: bool,
    ) -> Result<Lease, ConnectError> {
        let attempted = Attempted::default();
        self.attempt(pick, client, fresh, &attempted).await
    }

    /// The same, for somebody who may give it up.
    pub(crate) async fn attempt(
        &self,
        pick: Pick,
        client: Option<&Connection>,
        fresh: bool,
        attempted: &Attempted,
    ) -> Result<Lease, ConnectError> {
        let mut pool = self.select(pick).ok_or(ConnectError::NoEndpoint)?;
        if let (Some(version), Some(client)) = (self.cluster.proxy_protocol, client) {
            pool = client.own.pool(client, version, pool);
        }
        let place = match pool.load.request() {
            Ok(place) => place,
            Err(Full) => return Err(ConnectError::Overflow(pool.address)),
        };
        if !fresh && let Some((sender, wire)) = pooled(&pool) {
            return Ok(Lease {
                sender,
                active: Active::new(pool, place),
                wire,
                reused: true,
            });
        }
        let address = pool.address;
        let _pending = (pool.load.pending()).map_err(|Full| ConnectError::Overflow(address))?;
        attempted.pool.replace(Some(pool.clone()));
        let waiting = &attempted.waiting;
        let opening = open(&self.cluster, &pool, waiting);
        // Whoever waits for another's connection waits no longer than for one of its own.
        // Boxed: a request that finds a connection in the pool needs no room for this.
        let opened = tokio::time::timeout(self.cluster.connect_timeout, Box::pin(opening)).await;
        let late = || match waiting.get() {
            // Not the endpoint's doing.
            true => ConnectError::Overflow(address),
            false => ConnectError::Timeout(address),
        };
        match opened.unwrap_or_else(|_| Err(late())) {
            Ok((sender, wire, reused)) => Ok(Lease {
                sender,
                active: Active::new(pool, place),
                wire,
                reused,
            }),
            Err(error @ ConnectError::Overflow(_)) => Err(error),
            // Nor is this the endpoint's doing.
            Err(error @ ConnectError::Exhausted(..)) => {
                pool.tally.add(Word::ConnectFailed);
                Err(error)
            }
            Err(error) => {
                pool.tally.add(Word::ConnectFailed);
                pool.note(Outcome::Failed);
                Err(error)
            }
        }
    }
}

/// What the pool has for a request right now.
fn pooled(pool: &Rc<Pool>) -> Option<(Sender, Wire)> {
    match pool.take_http1() {
        Some((sender, wire)) => Some((Sender::Http1(sender), wire)),
        None => {
            let (sender, slot, wire) = pool.take_http2()?;
            Some((Sender::Http2(sender, slot), wire))
        }
    }
}

// === impl Lease ===

impl Lease {
    /// Whether HTTP/2 is spoken here.
    pub(crate) const fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(..))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.active.pool.address
    }

    /// The name that its endpoint was found by, if it was.
    pub(crate) fn name(&self) -> Option<&str> {
        self.active.pool.name()
    }

    /// How the request has ended.
    pub(crate) fn note(&self, outcome: Outcome) {
        self.active.pool.note(outcome);
    }

    /// Sends the request; the future does not borrow the lease.
    pub(crate) fn send(
        &mut self,
        request: Request<UpstreamBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<UpstreamBody>>>> + use<>
    {
        let sent = match &mut self.sender {
            Sender::Http1(sender) => {
                let line = self.wire.line.clone();
                line.asked();
                Either::Left((sender.try_send_request(request), line))
            }
            Sender::Http2(sender, slot) => {
                slot.send();
                Either::Right(sender.try_send_request(request))
            }
        };
        async move {
            match sent {
                Either::Left((sent, line)) => {
                    let sent = sent.await;
                    line.answered();
                    sent
                }
                Either::Right(sent) => sent.await,
            }
        }
    }

    /// It stops being HTTP: the codec lets go of it, and it is open all the same.
    pub(crate) fn into_tunnel(self) -> Tunnel {
        let pool = &self.active.pool;
        // There is room: it has a place until the codec's task has seen that it is over.
        let place = pool.load.connection(true, false).ok().flatten();
        Tunnel {
            _open: pool.stays_open(place),
            _active: self.active,
        }
    }

    /// The response has been read to its end: others may have the connection. Without
    /// this call it is closed with the lease.
    pub(crate) fn give_back(self) {
        if let Sender::Http1(sender) = self.sender {
            self.active.pool.put_http1(sender, self.wire);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("address", &self.address())
            .field("reused", &self.reused)
            .finish_non_exhaustive()
    }
}

// === impl Attempted ===

impl Attempted {
    /// Its time was over. An endpoint that does not let anybody in has failed.
    pub(crate) fn timed_out(&self) {
        if let Some(pool) = self.pool.take()
            && !self.waiting.get()
        {
            pool.tally.add(Word::ConnectFailed);
            pool.note(Outcome::TimedOut);
        }
    }
}

/// A sender, what carries it, and whether it has carried requests before.
type Opened = (Sender, Wire, bool);

/// A new connection; where there may be no more of them, one that becomes free. `waiting`
/// says whether that is what it waits for.
async fn open(
    cluster: &Cluster,
    pool: &Rc<Pool>,
    waiting: &Cell<bool>,
) -> Result<Opened, ConnectError> {
    let _looking = pool.opening.look();
    loop {
        // What others will share is opened by one of them.
        let turn = match cluster.protocol == Protocol::Http2 || pool.shares() {
            true => Some(pool.opening.turn().await),
            false => None,
        };
        while turn.is_some() {
            if let Some((sender, wire)) = pooled(pool) {
                return Ok((sender, wire, true));
            }
            if pool.is_useless() {
                return Err(ConnectError::Overflow(pool.address));
            }
            if !pool.opening.suffice() {
                break;
            }
            pool.opening.over().await;
        }
        // One each worker may have, or it might wait for what only others have.
        let first = pool.tally.get(Word::ConnectionsActive) == 0;
        if let Ok(place) = pool.load.connection(first, waiting.get()) {
            waiting.set(false);
            let _opening = pool.opening.begin();
            drop(turn);
            return open_new(cluster, pool, pool.opened(place)).await;
        }
        drop(turn);
        waiting.set(true);
        match pool.take_any_http1() {
            Some((mut sender, wire)) => {
                if sender.ready().await.is_ok() {
                    return Ok((Sender::Http1(sender), wire, true));
                }
            }
            None => {
                // Somebody else may have opened one that all can share.
                if let Some((sender, slot, wire)) = pool.take_http2() {
                    return Ok((Sender::Http2(sender, slot), wire, true));
                }
                pool.make_room();
                pool.freed.notified().await;
            }
        }
    }
}

async fn open_new(cluster: &Cluster, pool: &Rc<Pool>, open: Open) -> Result<Opened, ConnectError> {
    let address = pool.address;
    let settling = SETTLING.min(cluster.connect_timeout / 2);
    let (stream, dialled) = dial(address, pool.header.as_deref()).await?;
    let Some(tls) = &cluster.tls else {
        let http2 = (cluster.protocol == Protocol::Http2).then_some(settling);
        let (stream, wire) = Metered::new(stream, dialled, None);
        return start(stream, http2, pool, wire, open).await;
    };
    let speaks = if tls.only_http2 {
        Speaks::Http2
    } else {
        Speaks::Http
    };
    let (stream, session) = secure(tls, speaks, stream, address).await?;
    let spoken = session.http2;
    if cluster.protocol == Protocol::Http2 && !spoken {
        let error = std::io::Error::other("the upstream does not offer HTTP/2 (ALPN h2)");
        return Err(ConnectError::Tls(address, error));
    }
    let (stream, wire) = Metered::new(stream, dialled, Some(session));
    let http2 = spoken.then_some(settling);
    start(stream, http2, pool, wire, open).await
}

/// A connection to an endpoint that begins with `header`, and how it came about.
pub(super) async fn dial(
    address: SocketAddr,
    header: Option<&[u8]>,
) -> Result<(TcpStream, Dialled), ConnectError> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).await.map_err(|error| {
        match descriptors::are_exhausted(&error) {
            true => ConnectError::Exhausted(address, error),
            false => ConnectError::Refused(address, error),
        }
    })?;
    // Answers are small and wanted now.
    let _ = stream.set_nodelay(true);
    if let Some(header) = header {
        let sent = stream.write_all(header).await;
        sent.map_err(|error| ConnectError::Refused(address, error))?;
    }
    let dialled = Dialled {
        local: stream.local_addr().ok(),
        begun,
        connected: Instant::now(),
    };
    Ok((stream, dialled))
}

/// TLS on it, with what the cluster shows and believes now; and what was settled.
pub(super) async fn secure(
    tls: &UpstreamTls,
    speaks: Speaks,
    stream: TcpStream,
    address: SocketAddr,
) -> Result<(TlsStream<TcpStream>, Session), ConnectError> {
    let (client, own) = tls.tls.now(speaks);
    // An address is not sent; whoever is behind it is then known by another name.
    let name = (tls.server_name.clone()).unwrap_or_else(|| address.ip().into());
    let stream = tokio_rustls::TlsConnector::from(client)
        .connect(name.clone(), stream)
        .await
        .map_err(|error| {
            tls.tls.counts.failed();
            ConnectError::Tls(address, error)
        })?;
    let session = Session::of_client(stream.get_ref().1, &name, own);
    tls.tls.counts.settled(&session);
    Ok((stream, session))
}

/// HTTP on it; with HTTP/2, settings are waited for so long.
async fn start<S>(
    stream: S,
    http2: Option<Duration>,
    pool: &Rc<Pool>,
    wire: Wire,
    open: Open,
) -> Result<Opened, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = pool.address;
    let failed = |error| ConnectError::Handshake(address, error);
    if let Some(settling) = http2 {
        let freed = pool.load.bounds_connections().then(|| pool.freed.clone());
        let streams = Streams::new(freed);
        let io = TokioIo::new(Guarded::of_upstream(stream, streams.clone()));
        let (sender, connection) = http2::Builder::new(LocalExecutor)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADER_LIST)
            .max_send_buf_size(BUFFER)
            .handshake(io)
            .await
            .map_err(failed)?;
        let taking = streams.clone();
        let mut running = tokio::task::spawn_local(async move {
            let mut connection = pin!(connection);
            // Whoever has a request on it is told there.
            let ended = poll_fn(|cx| {
                let ended = connection.as_mut().poll(cx);
                taking.taken_in();
                ended
            });
            let ended = ended.await;
            drop(open);
            ended
        });
        // What the peer does not allow would wait in the codec: how much that is comes first.
        let settled = tokio::time::timeout(settling, streams.settled());
        tokio::select! {
            biased;
            // There are settings, or it is gone on without.
            _ = settled => {}
            ended = &mut running => if let Ok(Err(error)) = ended {
                return Err(failed(error));
            },
        }
        if streams.is_leaving() {
            let error = std::io::Error::other("the upstream takes no request (GOAWAY)");
            return Err(ConnectError::Refused(address, error));
        }
        let slot = Slot::new(pool, &streams);
        pool.share_http2(sender.clone(), wire.clone(), streams);
        pool.freed.notify_waiters();
        let slot = slot.ok_or(ConnectError::Overflow(address))?;
        return Ok((Sender::Http2(sender, slot), wire, false));
    }
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let line = wire.line.clone();
    tokio::task::spawn_local(async move {
        let _ = line.turn.each(connection.with_upgrades()).await;
        drop(open);
    });
    Ok((Sender::Http1(sender), wire, false))
}

/// The futures of the two protocols.
enum Either<L, R> {
    Left(L),
    Right(R),
}

// === impl ConnectError ===

impl ConnectError {
    /// Which endpoint was tried.
    pub(crate) const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::NoEndpoint => None,
            Self::Timeout(address)
            | Self::Exhausted(address, _)
            | Self::Refused(address, _)
            | Self::Tls(address, _)
            | Self::Handshake(address, _)
            | Self::Overflow(address) => Some(*address),
        }
    }
}

impl ConnectError {
    /// What the access log says of it.
    pub(crate) const fn in_log(&self) -> (Flags, &'static str) {
        match self {
            Self::NoEndpoint => (Flags::NO_HEALTHY_UPSTREAM, "no_healthy_upstream"),
            Self::Overflow(_) => (
                Flags::UPSTREAM_OVERFLOW,
                "upstream_reset_before_response_started{overflow}",
            ),
            Self::Exhausted(..) => (
                Flags::UPSTREAM_CONNECTION_FAILURE,
                "upstream_connection_failure{out_of_file_descriptors}",
            ),
            _ => (
                Flags::UPSTREAM_CONNECTION_FAILURE,
                "upstream_connection_failure",
            ),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndpoint => f.write_str("no usable endpoint"),
            Self::Timeout(address) => write!(f, "{address} did not answer within connect_timeout"),
            Self::Exhausted(address, error) | Self::Refused(address, error) => {
                write!(f, "{address}: {error}")
            }
            Self::Tls(address, error) => write!(f, "{address}: TLS: {error}"),
            Self::Handshake(address, error) => write!(f, "{address}: {error}"),
            Self::Overflow(address) => write!(f, "{address}: a circuit breaker is open"),
        }
    }
}
