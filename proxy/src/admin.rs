//! Where an operator looks and acts, on a thread and a socket of their own. Nothing here
//! takes a lock that a request's path takes.
//!
//! What there is stands in one list ([`endpoint`]); who may use it is decided in one place
//! ([`guard`]).

mod certs;
mod change;
mod clusters;
pub(crate) mod endpoint;
mod filters;
mod guard;
mod listeners;
mod metrics;
mod openmetrics;
mod query;
mod reloads;
mod shown;
mod stats;
mod yaml;

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::AsFd as _;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::LocalSet;

use crate::config;
use crate::handover::{Inheritance, Key, Offered};
use crate::worker::Shared;
use change::Then;

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 64;
/// How long a client may take for a request, the first or the next.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a connection may last, and then how long its last answer may take.
const LIFE: Duration = Duration::from_secs(300);
const GRACE: Duration = Duration::from_secs(30);
/// Bytes of the longest head of a request.
const HEAD: usize = 16 << 10;
/// Most header fields of a request.
const FIELDS: usize = 64;

/// A socket for it, opened before anything runs.
#[derive(Debug)]
pub(crate) struct Admin {
    socket: StdTcpListener,
    config: config::Admin,
}

/// What it shows.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) shared: Arc<Shared>,
    /// True once the proxy drains.
    pub(crate) shutdown: watch::Receiver<bool>,
    pub(crate) begun: Instant,
}

/// What it knows.
#[derive(Debug)]
struct State {
    subject: Subject,
    config: config::Admin,
}

type Answer = Response<Full<Bytes>>;

// === impl Admin ===

impl Admin {
    /// Listens, or goes on to where another process has.
    pub(crate) fn bind(config: &config::Admin, inherited: &mut Inheritance) -> io::Result<Self> {
        let socket = match inherited.take(&Key::of_admin(config.address)).pop() {
            Some(socket) => StdTcpListener::from(socket),
            None => StdTcpListener::bind(config.address)?,
        };
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            config: config.clone(),
        })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The socket, for another process.
    pub(crate) fn offered(&self) -> io::Result<Offered> {
        Ok(Offered {
            key: Key::of_admin(self.config.address),
            socket: self.socket.as_fd().try_clone_to_owned()?,
        })
    }

    /// Serves until the process ends, which does not wait for it, or another takes over.
    pub(crate) fn spawn(self, subject: Subject) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let state = Arc::new(State {
            subject,
            config: self.config,
        });
        thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                if let Err(error) = LocalSet::new().block_on(&runtime, accept(self.socket, state)) {
                    tracing::error!("admin: {error}");
                }
            })
            .map(drop)
    }
}

async fn accept(socket: StdTcpListener, state: Arc<State>) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return Ok(());
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = state.subject.shared.stage.handed_over() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let state = state.clone();
                tokio::task::spawn_local(async move {
                    let then = serve(stream, &state).await;
                    drop(place);
                    if let Some(then) = then {
                        then.happen();
                    }
                });
            }
            // Out of descriptors, most likely: others may become free.
            Err(error) => {
                tracing::debug!("admin: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    // Whoever is there already is answered.
    std::future::pending().await
}

/// One connection; what is to happen once its last answer has left.
async fn serve(stream: TcpStream, state: &State) -> Option<Then> {
    let then = Cell::new(None);
    let answer = service_fn(|request: Request<Incoming>| {
        let (answer, then) = (endpoint::answer(state, &request), &then);
        async move {
            let response = answer.await;
            if let Some(asked) = response.extensions().get::<Then>() {
                then.set(Some(*asked));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD)
        .max_headers(FIELDS);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), answer));
    let served = tokio::select! {
        served = serving.as_mut() => served,
        // Whoever does not read must not keep a place for ever.
        () = tokio::time::sleep(LIFE) => {
            serving.as_mut().graceful_shutdown();
            match tokio::time::timeout(GRACE, serving).await {
                Ok(served) => served,
                Err(_) => return then.get(),
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!("admin: {error}");
    }
    then.get()
}

// === answers ===

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    response(status, TEXT, body)
}

fn json(value: &serde_json::Value) -> Answer {
    response(StatusCode::OK, JSON, format!("{value:#}\n"))
}
