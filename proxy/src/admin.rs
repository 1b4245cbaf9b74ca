//! Where an operator can look: `/metrics` and `/ready`, on a thread and a socket of their
//! own. Nothing here takes a lock that a request's path takes.

mod openmetrics;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::Shared;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::LocalSet;

use crate::readiness::Readiness;

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 64;
/// How long a client may take for a request, the first or the next.
const PATIENCE: Duration = Duration::from_secs(60);

/// A socket for it, opened before anything runs.
#[derive(Debug)]
pub(crate) struct Admin {
    socket: StdTcpListener,
}

/// What it shows.
#[derive(Debug, Clone)]
struct State {
    shared: Arc<Shared>,
    readiness: Arc<Readiness>,
    /// True once the proxy drains.
    shutdown: watch::Receiver<bool>,
}

// === impl Admin ===

impl Admin {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = StdTcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until the process ends, which does not wait for it.
    pub(crate) fn spawn(
        self,
        shared: Arc<Shared>,
        readiness: Arc<Readiness>,
        shutdown: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let state = State {
            shared,
            readiness,
            shutdown,
        };
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

async fn accept(socket: StdTcpListener, state: State) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return Ok(());
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let state = state.clone();
                tokio::task::spawn_local(async move {
                    serve(stream, state).await;
                    drop(place);
                });
            }
            // Out of descriptors, most likely: others may become free.
            Err(error) => {
                tracing::debug!("admin: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, state: State) {
    let answer = service_fn(|request: Request<Incoming>| {
        let response = state.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = served.await {
        tracing::debug!("admin: {error}");
    }
}

// === impl State ===

impl State {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        const TEXT: &str = "text/plain; charset=utf-8";
        let known = matches!(path, "/metrics" | "/ready");
        if known && !matches!(*method, Method::GET | Method::HEAD) {
            let mut response =
                response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET and HEAD only\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
        match path {
            "/metrics" => response(
                StatusCode::OK,
                openmetrics::CONTENT_TYPE,
                openmetrics::render(&self.shared),
            ),
            "/ready" if *self.shutdown.borrow() => {
                response(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n")
            }
            "/ready" => match &self.readiness.missing()[..] {
                [] => response(StatusCode::OK, TEXT, "ready\n"),
                missing => {
                    let text = format!("not ready: without {}\n", missing.join(", "));
                    response(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
                }
            },
            _ => response(
                StatusCode::NOT_FOUND,
                TEXT,
                "there are /metrics and /ready\n",
            ),
        }
    }
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
