//! The peers answer as `conformance/README.md` says.

use std::time::Duration;

use super::*;
use crate::socket::client::Client;
use crate::socket::{Ending, Frame, Protocol, Received, pairs};

const LIMIT: Duration = Duration::from_secs(10);

async fn ask(
    address: SocketAddr,
    protocol: Protocol,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Received {
    let client = Client::connect(address, protocol).await.unwrap();
    let mut all = pairs([(":method", "POST"), (":authority", "peer")]);
    all.extend(pairs(fields.iter().copied()));
    client.side().send(Frame::Head {
        fields: all,
        end: false,
    });
    let data = body.to_vec().into();
    client.side().send(Frame::Data { data, end: true });
    client
        .side()
        .wait(LIMIT, |seen| seen.ending.is_some())
        .await;
    client.side().received()
}

#[test]
fn the_web_peer_answers_by_path() {
    runtime().block_on(async {
        let web = web::start().await.unwrap();
        let get = |path: &'static str| {
            let fields = [(":path", path), ("x-echo-a", "1")];
            let address = web.address();
            async move { ask(address, Protocol::Http1, &fields, b"hello").await }
        };
        let echo = get("/echo").await;
        assert_eq!((echo.status(), &*echo.body), (Some(200), &b"hello"[..]));
        assert_eq!(echo.field("x-echo-a"), Some(&b"1"[..]));
        assert_eq!(echo.field("x-method"), Some(&b"POST"[..]));
        assert_eq!(get("/peer/fail?x").await.status(), Some(500));
        assert_eq!(get("/big").await.body.len(), 512 * 1024);
        assert_eq!(get("/trailers").await.trailers, Some(pairs([("x-t", "v")])));
        let half = get("/half").await;
        assert_eq!((half.ending, &*half.body), (Some(Ending::Cut), &b"hal"[..]));
        assert_eq!(get("/reset").await.head, None);
        assert_eq!(get("/any").await.body, b"peer ok");
        assert_eq!(web.take().len(), 7);
        assert!(web.take().is_empty());
    });
}

#[test]
fn nobody_listens_at_refused() {
    let (address, _socket) = refusing().unwrap();
    let error = std::net::TcpStream::connect(address).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(TcpListener::bind(address).is_err(), "and nobody else can");
}

#[test]
fn the_grpc_peer_speaks_grpc() {
    runtime().block_on(async {
        let address = grpc::start().await.unwrap();
        let call = |method: &'static str, messages: &'static [u8]| async move {
            let fields = [
                (":path", method),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
            ];
            ask(address, Protocol::Http2, &fields, messages).await
        };
        let last = |seen: &Received, name: &str| {
            let trailers = seen.trailers.as_ref().or(seen.head.as_ref()).unwrap();
            let found = trailers.iter().find(|(field, _)| field == name.as_bytes());
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let two = b"\0\0\0\0\x02ab\0\0\0\0\x01c";
        let chat = call("/conformance.Peer/Chat", two).await;
        assert_eq!(chat.field("x-first"), Some(&b"1"[..]));
        assert_eq!(chat.body, two);
        assert_eq!(last(&chat, "grpc-status").as_deref(), Some("0"));
        assert_eq!(last(&chat, "x-last").as_deref(), Some("1"));
        let fail = call("/conformance.Peer/Fail", b"\0\0\0\0\0").await;
        assert_eq!(last(&fail, "grpc-status").as_deref(), Some("7"));
        assert_eq!(last(&fail, "grpc-message").as_deref(), Some("denied"));
        let chat = call("/conformance.Peer/ChatFail", two).await;
        assert_eq!(chat.body, &two[..7]);
        assert_eq!(last(&chat, "grpc-status").as_deref(), Some("9"));
        let none = call("/conformance.Peer/None", b"").await;
        assert_eq!(last(&none, "grpc-status").as_deref(), Some("12"));
    });
}
