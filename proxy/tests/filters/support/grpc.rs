//! A gRPC server: tonic, with messages that are plain bytes.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::PATIENCE;
use bytes::{Buf as _, BufMut as _};
use tokio::net::TcpListener;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::tokio_stream::Stream;
use tonic::codegen::tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::codegen::{BoxFuture, Context, Poll, Service};
use tonic::server::{StreamingService, UnaryService};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status, Streaming};

/// A running server. Methods of any service:
///
/// * `Say` answers with the message behind `said `, `Large` with as many bytes as it says
/// * `Fail` answers NOT_FOUND, `Wait` never
/// * `Chat` answers each message in upper case, and `bye` at the client's end
/// * `Never` reads nothing and says nothing
#[derive(Debug, Clone)]
pub(crate) struct Grpc {
    pub(crate) address: SocketAddr,
    /// What it saw: methods with their metadata, messages, and how streams ended.
    seen: Arc<Mutex<Vec<String>>>,
}

// === impl Grpc ===

impl Grpc {
    /// Runs on the test's runtime.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = Self {
            address: listener.local_addr().expect("an address"),
            seen: Arc::default(),
        };
        let incoming = TcpListenerStream::new(listener);
        let serving = Server::builder().serve_with_incoming(server.clone(), incoming);
        tokio::spawn(async move { serving.await.expect("a server") });
        server
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("seen").clone()
    }

    /// Waits until it has seen something that begins so.
    pub(crate) async fn saw(&self, start: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let seen = self.seen();
            if let Some(found) = seen.iter().find(|line| line.starts_with(start)) {
                return found.clone();
            }
            assert!(Instant::now() < until, "no {start:?}: {seen:#?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn see(&self, what: impl Into<String>) {
        self.seen.lock().expect("seen").push(what.into());
    }
}

type HttpRequest = http::Request<tonic::body::Body>;
type HttpResponse = http::Response<tonic::body::Body>;

impl Service<HttpRequest> for Grpc {
    type Response = HttpResponse;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<HttpResponse, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        let server = self.clone();
        let mut line = format!("{} {}", request.method(), request.uri());
        for (name, value) in request.headers() {
            line.push_str(&format!(" {name}={}", value.to_str().expect("text")));
        }
        server.see(line);
        let method = request
            .uri()
            .path()
            .rsplit('/')
            .next()
            .unwrap_or("")
            .to_owned();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Plain);
            Ok(match &method[..] {
                "Chat" | "Never" => grpc.streaming(Method { server, method }, request).await,
                _ => grpc.unary(Method { server, method }, request).await,
            })
        })
    }
}

/// One method, called once.
struct Method {
    server: Grpc,
    method: String,
}

impl UnaryService<Vec<u8>> for Method {
    type Response = Vec<u8>;
    type Future = BoxFuture<Response<Vec<u8>>, Status>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        let message = String::from_utf8(request.into_inner()).expect("text");
        self.server.see(format!("{}: {message}", self.method));
        let method = self.method.clone();
        Box::pin(async move {
            match &method[..] {
                "Say" => Ok(Response::new(format!("said {message}").into_bytes())),
                "Large" => Ok(Response::new(vec![b'x'; message.parse().expect("a size")])),
                "Fail" => Err(Status::new(Code::NotFound, "no such thing: é 100%")),
                "Wait" => std::future::pending().await,
                _ => Err(Status::new(Code::Unimplemented, "no such method")),
            }
        })
    }
}

impl StreamingService<Vec<u8>> for Method {
    type Response = Vec<u8>;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Vec<u8>, Status>> + Send>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<Vec<u8>>>) -> Self::Future {
        let (server, method) = (self.server.clone(), self.method.clone());
        let mut incoming = request.into_inner();
        Box::pin(async move {
            let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
            tokio::spawn(async move {
                if method == "Never" {
                    sender.closed().await;
                    return drop(incoming);
                }
                loop {
                    match incoming.message().await {
                        Ok(Some(message)) => {
                            let text = String::from_utf8(message).expect("text");
                            server.see(format!("Chat: {text}"));
                            drop(sender.send(Ok(text.to_uppercase().into_bytes())));
                        }
                        Ok(None) => {
                            server.see("Chat: end");
                            drop(sender.send(Ok(b"bye".to_vec())));
                            return;
                        }
                        Err(status) => return server.see(format!("Chat: {:?}", status.code())),
                    }
                }
            });
            let stream: Self::ResponseStream = Box::pin(UnboundedReceiverStream::new(receiver));
            let mut response = Response::new(stream);
            response
                .metadata_mut()
                .insert("x-hello", "yes".parse().expect("a value"));
            Ok(response)
        })
    }
}

/// Messages are bytes.
#[derive(Debug, Clone, Copy)]
struct Plain;

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; from.remaining()];
        from.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}
