//! `grpc`: a real gRPC server, service `conformance.Peer`. Its messages are bytes without a
//! schema, so no protoc is needed to build it and a guest needs no protobuf to speak to it.
//! `conformance/README.md` has the table of its methods; another method has status 12.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::tokio_stream::Stream;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

/// How long `Slow` waits before it says anything.
const SLOW: Duration = Duration::from_secs(5);

/// Starts it.
pub(super) async fn start() -> io::Result<SocketAddr> {
    let address = super::free_port()?;
    // Bound anew by tonic at once; a port that was just given out is not given again soon.
    tokio::spawn(tonic::transport::Server::builder().serve(address, Peer));
    for _ in 0..100 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Ok(address);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "the gRPC peer does not listen",
    ))
}

/// The service.
#[derive(Debug, Clone, Copy)]
struct Peer;

/// Its methods, all of which are streams both ways to tonic: what a client sees of a unary
/// call is the same.
#[derive(Debug, Clone)]
struct Method(String);

/// Messages as they are.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

/// What a method sends.
#[derive(Debug)]
struct Answers(mpsc::UnboundedReceiver<Result<Bytes, Status>>);

impl Service<http::Request<Body>> for Peer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let method = Method(
            path.strip_prefix("/conformance.Peer/")
                .unwrap_or(path)
                .to_owned(),
        );
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Raw);
            Ok(grpc.streaming(method, request).await)
        })
    }
}

impl tonic::server::StreamingService<Bytes> for Method {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = BoxFuture<Response<Answers>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        if !["Echo", "Metadata", "Fail", "Slow", "Chat", "ChatFail"].contains(&&*self.0) {
            return Box::pin(ready(Err(Status::unimplemented("no such method"))));
        }
        let (answers, sent) = mpsc::unbounded_channel();
        let mut response = Response::new(Answers(sent));
        if let Ok(value) = "1".parse() {
            response.metadata_mut().insert("x-first", value);
        }
        let method = self.0.clone();
        let metadata = request.metadata().get("x-echo");
        let metadata = metadata.map(|value| Bytes::copy_from_slice(value.as_bytes()));
        let messages = request.into_inner();
        tokio::spawn(async move {
            if let Err(status) = run(&method, metadata, messages, &answers).await {
                let _ = answers.send(Err(status));
            }
        });
        let slow = self.0 == "Slow";
        Box::pin(async move {
            if slow {
                tokio::time::sleep(SLOW).await;
            }
            Ok(response)
        })
    }
}

type Sender = mpsc::UnboundedSender<Result<Bytes, Status>>;

async fn run(
    method: &str,
    metadata: Option<Bytes>,
    mut messages: Streaming<Bytes>,
    answers: &Sender,
) -> Result<(), Status> {
    // A client that is gone needs no answer.
    let say = |message: Bytes| drop(answers.send(Ok(message)));
    if method == "Chat" {
        while let Some(message) = messages.message().await? {
            say(message);
        }
    } else {
        let first = messages.message().await?.unwrap_or_default();
        if method == "Fail" {
            return Err(Status::permission_denied("denied"));
        }
        say(if method == "Metadata" {
            metadata.unwrap_or_default()
        } else {
            first
        });
        if method == "ChatFail" {
            return Err(Status::failed_precondition("enough"));
        }
    }
    // Trailing metadata goes with a status that is made here; OK is 0.
    let mut trailing = MetadataMap::new();
    if let Ok(value) = "1".parse() {
        trailing.insert("x-last", value);
    }
    Err(Status::with_metadata(Code::Ok, "", trailing))
}

impl Stream for Answers {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
