//! Active checks: whether an endpoint takes a connection, answers a request or says by
//! gRPC's health protocol that it serves. They go the way requests go: over TLS where the
//! cluster has it, in the cluster's protocol.
//!
//! They run on the balancer's threads, each over a connection of its own.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderName, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pingora_core::Error;
use pingora_core::protocols::l4::socket::SocketAddr as BackendAddress;
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::{HealthCheck as Check, HealthObserve};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connect::{ConnectError, dial, secure};
use crate::callout::framed;
use crate::collect;
use crate::config::{Cluster, HealthCheck, Probe, Protocol};
use crate::proxy_protocol::header;
use crate::tls::Speaks;

/// Longest body of an answer that is read.
const MOST: usize = 64 << 10;
/// Where gRPC's health protocol, version 1, is asked.
const GRPC_PATH: &str = "/grpc.health.v1.Health/Check";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The check of one cluster.
pub(super) struct Prober<O> {
    cluster: Arc<Cluster>,
    check: HealthCheck,
    observer: O,
    /// How the last check of an endpoint has ended.
    last: Mutex<HashMap<SocketAddr, bool>>,
}

/// What came back.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    trailers: HeaderMap,
}

// === impl Prober ===

impl<O> Prober<O> {
    pub(super) fn new(cluster: &Cluster, check: &HealthCheck, observer: O) -> Self {
        Self {
            cluster: Arc::new(cluster.clone()),
            check: check.clone(),
            observer,
            last: Mutex::default(),
        }
    }

    async fn probe(&self, address: SocketAddr) -> Result<(), String> {
        // It is we who ask.
        let header = (self.cluster.proxy_protocol).map(|version| header(version, None, None));
        let dialled = dial(address, header.as_deref()).await;
        let (stream, _) = match dialled {
            Ok(dialled) => dialled,
            // Without a socket of our own nothing is known of it, so it stays what it was.
            Err(ConnectError::Exhausted(_, error)) => {
                return match self.remembered().get(&address) {
                    Some(false) => Err(text(error)),
                    _ => Ok(()),
                };
            }
            Err(error) => return Err(text(error)),
        };
        let speaks = match self.check.probe {
            Probe::Connect => Speaks::Raw,
            Probe::Http { .. } | Probe::Grpc { .. } => Speaks::Http,
        };
        let Some(tls) = &self.cluster.tls else {
            return self
                .ask(stream, self.cluster.protocol == Protocol::Http2)
                .await;
        };
        let (stream, session) = secure(tls, speaks, stream, address).await.map_err(text)?;
        self.ask(stream, session.http2).await
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<SocketAddr, bool>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask<S>(&self, stream: S, http2: bool) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let cluster = &self.cluster;
        match &self.check.probe {
            Probe::Connect => Ok(()),
            Probe::Http {
                path,
                host,
                expected,
            } => {
                let host = host.as_deref().unwrap_or(&cluster.name);
                let request = self.request(Method::GET, host, path, http2, Bytes::new())?;
                let answer = exchange(stream, http2, request).await?;
                match expected.iter().any(|range| range.contains(&answer.status)) {
                    true => Ok(()),
                    false => Err(format!("status {}", answer.status)),
                }
            }
            Probe::Grpc { service } => {
                let asked = question(service).ok_or("the name is too long")?;
                let host = &cluster.name;
                let mut request = self.request(Method::POST, host, GRPC_PATH, http2, asked)?;
                let grpc = HeaderValue::from_static("application/grpc");
                request.headers_mut().insert(CONTENT_TYPE, grpc);
                let trailers = HeaderValue::from_static("trailers");
                request.headers_mut().insert(TE, trailers);
                serves(&exchange(stream, http2, request).await?)
            }
        }
    }

    fn request(
        &self,
        method: Method,
        host: &str,
        path: &str,
        http2: bool,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, String> {
        let scheme = if self.cluster.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        if http2 {
            let uri = Uri::builder().scheme(scheme).authority(host);
            *request.uri_mut() = uri.path_and_query(path).build().map_err(text)?;
        } else {
            *request.uri_mut() = path.parse().map_err(text)?;
            let host = HeaderValue::try_from(host).map_err(text)?;
            request.headers_mut().insert(HOST, host);
        }
        Ok(request)
    }
}

#[async_trait]
impl<O: HealthObserve + Send + Sync> Check for Prober<O> {
    async fn check(&self, target: &Backend) -> pingora_core::Result<()> {
        let failed = |why: String| Error::explain(pingora_core::Custom("HealthCheck"), why);
        let BackendAddress::Inet(address) = target.addr else {
            return Err(failed("not an address of the internet".to_owned()));
        };
        let probed = tokio::time::timeout(self.check.timeout, self.probe(address)).await;
        let probed = probed.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        self.remembered().insert(address, probed.is_ok());
        probed.map_err(failed)
    }

    async fn health_status_change(&self, target: &Backend, healthy: bool) {
        self.observer.observe(target, healthy).await;
    }

    fn health_threshold(&self, success: bool) -> usize {
        match success {
            true => self.check.healthy_threshold,
            false => self.check.unhealthy_threshold,
        }
    }
}

/// One request and its answer on a connection that ends with them.
async fn exchange<S>(
    stream: S,
    http2: bool,
    request: Request<Full<Bytes>>,
) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    if http2 {
        let handshake = http2::handshake(TokioExecutor::new(), io);
        let (mut sender, connection) = handshake.await.map_err(text)?;
        let answer = async { read(sender.send_request(request).await.map_err(text)?).await };
        return beside(answer, connection).await;
    }
    let (mut sender, connection) = http1::handshake(io).await.map_err(text)?;
    let answer = async { read(sender.send_request(request).await.map_err(text)?).await };
    beside(answer, connection).await
}

/// What `answer` answers while `connection` is driven.
async fn beside(
    answer: impl Future<Output = Result<Answer, String>>,
    connection: impl Future,
) -> Result<Answer, String> {
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It may have ended behind the answer.
        _ = connection => answer.await,
    }
}

async fn read(response: http::Response<hyper::body::Incoming>) -> Result<Answer, String> {
    let (head, body) = response.into_parts();
    let whole = collect::whole(body, MOST).await.map_err(text)?;
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        trailers: whole.trailers.unwrap_or_default(),
        body: whole.bytes,
    })
}

/// `HealthCheckRequest { service }` in its frame.
fn question(service: &str) -> Option<Bytes> {
    let mut message = Vec::new();
    if !service.is_empty() {
        // Field 1, and a length that the configuration keeps below 128.
        let length = u8::try_from(service.len()).unwrap_or(0);
        message.extend_from_slice(&[0x0a, length]);
        message.extend_from_slice(service.as_bytes());
    }
    framed(&message)
}

/// Whether the answer is `HealthCheckResponse { status: SERVING }`.
fn serves(answer: &Answer) -> Result<(), String> {
    if answer.status != 200 {
        return Err(format!("status {}", answer.status));
    }
    let status = (answer.trailers.get(GRPC_STATUS)).or_else(|| answer.headers.get(GRPC_STATUS));
    match status.map(HeaderValue::as_bytes) {
        Some(b"0") => {}
        Some(status) => return Err(format!("gRPC status {}", status.escape_ascii())),
        None => return Err("no gRPC status".to_owned()),
    }
    match &answer.body[..] {
        // Uncompressed, field 1: SERVING.
        [0, 0, 0, 0, length, 0x08, 1, ..] if *length >= 2 => Ok(()),
        _ => Err("it does not say that it serves".to_owned()),
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}
