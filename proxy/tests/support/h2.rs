//! HTTP/2 with hyper: a client, an upstream, bodies that a test feeds by hand. Use it in
//! `#[tokio::test]`.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::LONGEST;

/// A body whose frames come one by one; an `Err` cuts the stream.
#[derive(Debug)]
pub(crate) struct Feed(mpsc::UnboundedReceiver<Result<Frame<Bytes>, Cut>>);

/// The other end of a [`Feed`]; the body ends when it goes.
pub(crate) type Feeder = mpsc::UnboundedSender<Result<Frame<Bytes>, Cut>>;

/// Cuts a stream.
#[derive(Debug)]
pub(crate) struct Cut;

/// A connection to the proxy.
pub(crate) type Client = SendRequest<Feed>;

/// What came whole.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

/// A body that is there already.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Feed {
    let (feeder, feed) = feed();
    let bytes = bytes.into();
    if !bytes.is_empty() {
        feeder.send(Ok(Frame::data(bytes))).unwrap();
    }
    feed
}

/// No body.
pub(crate) fn empty() -> Feed {
    full("")
}

/// A body by hand.
pub(crate) fn feed() -> (Feeder, Feed) {
    let (feeder, feed) = mpsc::unbounded_channel();
    (feeder, Feed(feed))
}

/// Feeds bytes.
pub(crate) fn data(feeder: &Feeder, bytes: impl Into<Bytes>) {
    feeder.send(Ok(Frame::data(bytes.into()))).unwrap();
}

/// Feeds trailers.
pub(crate) fn trailers(feeder: &Feeder, fields: &[(&'static str, &'static str)]) {
    let map = fields
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
    feeder.send(Ok(Frame::trailers(map))).unwrap();
}

/// A client by prior knowledge, on cleartext.
pub(crate) async fn connect(address: SocketAddr) -> Client {
    over(TcpStream::connect(address).await.unwrap()).await
}

/// A client over TLS; whether HTTP/2 was agreed on is for the test to have made sure of.
pub(crate) async fn connect_tls(
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
    name: &str,
) -> Client {
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = tokio_rustls::TlsConnector::from(config)
        .connect(name, stream)
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    over(stream).await
}

/// The same with other settings.
pub(crate) async fn connect_with(
    address: SocketAddr,
    set: impl FnOnce(&mut Builder<TokioExecutor>),
) -> Client {
    let mut builder = Builder::new(TokioExecutor::new());
    set(&mut builder);
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) async fn over<S>(stream: S) -> Client
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    client
}

/// A GET for `path`.
pub(crate) fn get(path: &str) -> Request<Feed> {
    Request::get(format!("http://test{path}"))
        .body(empty())
        .unwrap()
}

/// Sends, and reads the whole answer.
pub(crate) async fn fetch(
    client: &Client,
    request: Request<Feed>,
) -> (http::response::Parts, Whole) {
    let (head, body) = send(client, request).await.into_parts();
    let whole = whole(body).await.expect("a whole body");
    (head, whole)
}

/// Sends, and waits for the answer's head.
pub(crate) async fn send(client: &Client, request: Request<Feed>) -> Response<Incoming> {
    try_send(client, request).await.expect("an answer")
}

pub(crate) async fn try_send(
    client: &Client,
    request: Request<Feed>,
) -> hyper::Result<Response<Incoming>> {
    soon(client.clone().send_request(request)).await
}

/// Reads a body to its end.
pub(crate) async fn whole<B: Body<Data = Bytes>>(body: B) -> Result<Whole, B::Error> {
    let collected = soon(body.collect()).await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Ok(Whole {
        body: collected.to_bytes(),
        trailers,
    })
}

/// A future that must not take long.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LONGEST, future)
        .await
        .expect("in time")
}

/// An HTTP/2 upstream: cleartext by prior knowledge, or TLS.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// Heads that came.
    pub(crate) requests: Arc<Mutex<Vec<http::request::Parts>>>,
    /// Names asked for by TLS clients.
    pub(crate) names: Arc<Mutex<Vec<Option<String>>>>,
    /// Whether those went on with an earlier session.
    pub(crate) resumed: Arc<Mutex<Vec<bool>>>,
    /// The certificates they have shown.
    pub(crate) shown: Arc<Mutex<Vec<Option<Vec<u8>>>>>,
    /// Connections on which TLS (if any) was begun in earnest.
    pub(crate) connections: Arc<Mutex<usize>>,
}

// === impl Upstream ===

impl Upstream {
    /// Runs on the test's runtime; `answer` gets every request with its body unread.
    pub(crate) async fn new<F>(
        tls: Option<Arc<rustls::ServerConfig>>,
        answer: fn(Request<Incoming>) -> F,
    ) -> Self
    where
        F: Future<Output = Response<Feed>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            names: Arc::default(),
            resumed: Arc::default(),
            shown: Arc::default(),
            connections: Arc::default(),
        };
        let serving = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream, tls.clone(), answer));
            }
        });
        upstream
    }

    async fn serve<F>(
        self,
        stream: TcpStream,
        tls: Option<Arc<rustls::ServerConfig>>,
        answer: fn(Request<Incoming>) -> F,
    ) where
        F: Future<Output = Response<Feed>> + Send + 'static,
    {
        let requests = self.requests.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let (head, body) = request.into_parts();
            requests.lock().unwrap().push(head.clone());
            async move {
                Ok::<_, std::convert::Infallible>(answer(Request::from_parts(head, body)).await)
            }
        });
        *self.connections.lock().unwrap() += 1;
        let Some(tls) = tls else {
            let _ = server()
                .serve_connection(TokioIo::new(stream), service)
                .await;
            return;
        };
        let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await else {
            return;
        };
        let session = stream.get_ref().1;
        self.names
            .lock()
            .unwrap()
            .push(session.server_name().map(ToOwned::to_owned));
        let resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        self.resumed.lock().unwrap().push(resumed);
        let shown = session.peer_certificates().and_then(|chain| chain.first());
        self.shown
            .lock()
            .unwrap()
            .push(shown.map(|der| der.to_vec()));
        if session.alpn_protocol() == Some(b"h2") {
            let _ = server()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        } else {
            let builder = hyper::server::conn::http1::Builder::new();
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    }

    /// Heads that came so far.
    pub(crate) fn heads(&self) -> Vec<http::request::Parts> {
        self.requests.lock().unwrap().clone()
    }
}

fn server() -> hyper::server::conn::http2::Builder<TokioExecutor> {
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder.max_header_list_size(64 << 10);
    builder
}

/// Answers with the request's body and trailers.
pub(crate) async fn echo(request: Request<Incoming>) -> Response<Feed> {
    let (feeder, feed) = feed();
    let mut body = request.into_body();
    tokio::spawn(async move {
        while let Some(frame) = body.frame().await {
            if feeder.send(frame.map_err(|_| Cut)).is_err() {
                return;
            }
        }
    });
    Response::new(feed)
}

// === impl Feed ===

impl Body for Feed {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.0.poll_recv(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut by the test")
    }
}

impl std::error::Error for Cut {}
