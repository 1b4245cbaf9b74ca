//! From a listening socket to requests, or to bytes that are not HTTP: accept, TLS, which
//! HTTP it is, and how long a connection may sit.

mod bind;
mod client_io;
mod codec;
mod detect;
mod head_clock;
mod passed;
mod peeked;
mod proxied;
mod stalled;

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::{Connection, Requests};
use crate::descriptors;
use crate::door::{Door, Entrance};
use crate::headers;
use crate::tcp;
use crate::tls::Session;
use crate::tls::forwarded::Forwarded;
use crate::tls::hello::Look;
use crate::traffic::Event;
use crate::upstream::Own;
use crate::worker::{ConnectionGuard, Worker};

use bind::Accepted;
pub(crate) use bind::{Acceptor, Holder, Socket, addresses, bind, bind_unix};
use peeked::Peeked;

/// How long accepting pauses when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often the log tells of that.
const SILENCE: Duration = Duration::from_secs(10);

/// How long a socket that closes waits for the rest of handshakes that have begun: the way to a
/// distant client and back.
const LAST_HANDSHAKES: Duration = Duration::from_millis(250);

/// How long a draining worker waits for the first byte of a connection it has accepted.
const DRAIN_FIRST_BYTE: Duration = Duration::from_millis(500);

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Accepts until the worker drains, and then who is about to be let in: those clients have been
/// told that they are connected.
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
    let serve = |accepted| {
        let guard = ConnectionGuard::new(worker.clone());
        let serving = serve_connection(worker.clone(), entrance.door(), accepted, guard);
        tokio::task::spawn_local(serving);
    };
    let mut failures = Failures::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = entrance.closing.wait() => break,
            accepted = acceptor.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => serve(accepted),
            Err(error) => {
                failures.tell(entrance, &error);
                // A client that has gone before it was accepted is no reason to wait.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    if entrance.is_handed_over() {
        // Whoever waits there is the other process's: it closes none of them.
        return;
    }
    match acceptor.turn_newcomers_away() {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => tracing::debug!("who comes right now may be reset: {error}"),
    }
    // On a unix socket nobody is on the way: who has connected is in the queue.
    if let Acceptor::Tcp(_) = &*acceptor {
        let mut last = pin!(tokio::time::sleep(LAST_HANDSHAKES));
        loop {
            tokio::select! {
                biased;
                () = last.as_mut() => break,
                accepted = acceptor.accept() => match accepted {
                    Ok(accepted) => serve(accepted),
                    Err(_) => break,
                },
            }
        }
    }
    // Who came while guest code ran is not known of before the system itself is asked.
    while let Some(accepted) = acceptor.accept_now() {
        serve(accepted);
    }
}

/// Connections that could not be accepted.
#[derive(Default)]
struct Failures {
    /// Those that nobody has been told of.
    untold: u64,
    told: Option<Instant>,
}

impl Failures {
    /// Counts one; the log has a line of them now and then.
    fn tell(&mut self, entrance: &Entrance, error: &io::Error) {
        let (setup, listener) = entrance.door().setup();
        let listener = setup.listener(listener);
        listener.traffic.happened(Event::NotAccepted);
        self.untold += 1;
        if self.told.is_some_and(|told| told.elapsed() < SILENCE) {
            return;
        }
        self.told = Some(Instant::now());
        let times = std::mem::take(&mut self.untold);
        let name = &*listener.config.name;
        let help = match descriptors::are_exhausted(error) {
            true => "; clients wait, raise the limit (`ulimit -n`, LimitNOFILE=)",
            false => "",
        };
        tracing::warn!(listener = name, times, "accept failed: {error}{help}");
    }
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
        direct_local: local,
        handshake: None,
        received: None,
        tls: None,
        passed_name: None,
        forwarded_cert: Forwarded::default(),
        own: Own::default(),
        state: RefCell::default(),
        requests: Requests::new(),
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
    let begun = tokio::time::Instant::now();
    let until = begun + config.header_timeout;
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
        return Some(codec::serve(worker, config, connection, stream, http2));
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
    connection.handshake = Some(begun.elapsed());
    let session = Session::of_server(settled, &serving);
    tls.counts.settled(&session);
    connection.forwarded_cert = Forwarded::new(
        config.forward_client_cert,
        config.client_cert_details,
        settled.peer_certificates(),
        session.own_certificate.as_deref(),
    );
    let http2 = session.http2;
    connection.tls = Some(Box::new(session));
    if config.tcp.is_some() {
        return Some(serve_tcp(worker, connection, stream));
    }
    Some(codec::serve(worker, config, connection, stream, http2))
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
