//! Clients of both protocols that look alike.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor as _;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::within;

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    Two,
}

pub(crate) const BOTH: [Http; 2] = [Http::One, Http::Two];

/// A connection to the proxy.
#[derive(Debug)]
pub(crate) struct Client {
    sender: Sender,
    tasks: Tasks,
}

/// What a connection runs on, to be ended with it.
#[derive(Debug, Clone, Default)]
struct Tasks(Arc<Mutex<Vec<AbortHandle>>>);

#[derive(Debug)]
enum Sender {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

/// A response, read as far as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    /// The body was cut before its end.
    pub(crate) cut: bool,
}

/// A request's body.
#[derive(Debug)]
pub(crate) enum Body {
    Ready(VecDeque<Frame<Bytes>>),
    Fed(mpsc::UnboundedReceiver<Frame<Bytes>>),
}

/// Sends a body piece by piece; its end is when this goes.
#[derive(Debug)]
pub(crate) struct Feeder(mpsc::UnboundedSender<Frame<Bytes>>);

/// A request without a body.
pub(crate) fn get(path: &str) -> Request<Body> {
    request("GET", path, Body::whole(""))
}

/// A request with one.
pub(crate) fn post(path: &str, body: Body) -> Request<Body> {
    request("POST", path, body)
}

fn request(method: &str, path: &str, body: Body) -> Request<Body> {
    // HTTP/2 needs the whole URI, HTTP/1.1 a `host`; the client takes what it wants.
    let builder = Request::builder()
        .method(method)
        .uri(format!("http://proxy.test{path}"));
    builder.body(body).expect("a request")
}

// === impl Client ===

impl Client {
    pub(crate) async fn connect(address: SocketAddr, http: Http) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let io = TokioIo::new(stream);
        let tasks = Tasks::default();
        match http {
            Http::One => {
                let (sender, connection) = http1::handshake(io).await.expect("a handshake");
                tasks.execute(async move { drop(connection.await) });
                Self {
                    sender: Sender::One(sender),
                    tasks,
                }
            }
            Http::Two => {
                let handshake = http2::handshake(tasks.clone(), io).await;
                let (sender, connection) = handshake.expect("a handshake");
                tasks.execute(async move { drop(connection.await) });
                Self {
                    sender: Sender::Two(sender),
                    tasks,
                }
            }
        }
    }

    /// Sends a request and hands out the response with its body unread.
    pub(crate) fn start(
        &mut self,
        mut request: Request<Body>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send + 'static {
        let sent: Pin<Box<dyn Future<Output = _> + Send>> = match &mut self.sender {
            Sender::One(sender) => {
                let uri = request.uri().clone();
                if let Some(authority) = uri.authority()
                    && !request.headers().contains_key("host")
                {
                    let host = authority.as_str().parse().expect("a host");
                    request.headers_mut().insert("host", host);
                }
                *request.uri_mut() = uri
                    .path_and_query()
                    .map_or("/", |path| path.as_str())
                    .parse()
                    .expect("a path");
                Box::pin(sender.send_request(request))
            }
            Sender::Two(sender) => Box::pin(sender.send_request(request)),
        };
        sent
    }

    /// Sends a request and reads the whole response.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Answer {
        self.try_send(request).await.expect("a response")
    }

    /// The same where there may be none.
    pub(crate) async fn try_send(&mut self, request: Request<Body>) -> hyper::Result<Answer> {
        let path = request.uri().path().to_owned();
        within(&format!("the response to {path}"), async {
            Ok(Answer::read(self.start(request).await?).await)
        })
        .await
    }

    /// Waits until the connection can take another request.
    pub(crate) async fn ready(&mut self) -> hyper::Result<()> {
        match &mut self.sender {
            Sender::One(sender) => sender.ready().await,
            Sender::Two(sender) => sender.ready().await,
        }
    }

    /// Goes away without a word.
    pub(crate) fn leave(self) {
        let tasks = self.tasks.0.lock().expect("tasks");
        tasks.iter().for_each(AbortHandle::abort);
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let (head, mut body) = response.into_parts();
        let mut answer = Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body: Vec::new(),
            trailers: None,
            cut: false,
        };
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            match frame {
                None => return answer,
                Some(Err(_)) => {
                    answer.cut = true;
                    return answer;
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => answer.body.extend_from_slice(&data),
                    Err(frame) => answer.trailers = frame.into_trailers().ok(),
                },
            }
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("text"))
    }
}

// === impl Body ===

impl Body {
    pub(crate) fn whole(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        let frames = (!bytes.is_empty()).then(|| Frame::data(bytes));
        Self::Ready(frames.into_iter().collect())
    }

    /// Text, then one trailer.
    pub(crate) fn with_trailer(
        text: &'static str,
        name: &'static str,
        value: &'static str,
    ) -> Self {
        let mut trailers = HeaderMap::new();
        trailers.insert(name, value.parse().expect("a value"));
        Self::Ready(
            [
                Frame::data(Bytes::from_static(text.as_bytes())),
                Frame::trailers(trailers),
            ]
            .into(),
        )
    }

    pub(crate) fn fed() -> (Feeder, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Feeder(sender), Self::Fed(receiver))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Ready(frames) => Poll::Ready(frames.pop_front().map(Ok)),
            Self::Fed(receiver) => receiver.poll_recv(cx).map(|frame| frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Ready(frames) if frames.is_empty())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Ready(frames) if frames.iter().all(Frame::is_data) => {
                let size = frames
                    .iter()
                    .filter_map(Frame::data_ref)
                    .map(Bytes::len)
                    .sum::<usize>();
                http_body::SizeHint::with_exact(size as u64)
            }
            _ => http_body::SizeHint::default(),
        }
    }
}

// === impl Feeder ===

impl Feeder {
    pub(crate) fn feed(&self, bytes: impl AsRef<[u8]>) {
        // The other end may be gone, which some tests are about.
        let _ = self
            .0
            .send(Frame::data(Bytes::copy_from_slice(bytes.as_ref())));
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let task = tokio::spawn(future).abort_handle();
        self.0.lock().expect("tasks").push(task);
    }
}
