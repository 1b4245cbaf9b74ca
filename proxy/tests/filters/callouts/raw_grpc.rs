//! gRPC servers that do what no library would.

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::{World, guest};
use crate::support::h2::{Cut, Feed, Upstream, data, feed, trailers};
use crate::support::{run, within};

/// What to answer, by the method's name.
async fn answer(request: Request<Incoming>) -> Response<Feed> {
    let (feeder, body) = feed();
    let mut response = Response::new(body);
    let grpc = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    let good = || trailers(&feeder, &[("grpc-status", "0")]);
    let method = request
        .uri()
        .path()
        .rsplit('/')
        .next()
        .unwrap_or("")
        .to_owned();
    match &method[..] {
        "Split" => {
            for byte in b"\0\0\0\0\x05split" {
                data(&feeder, vec![*byte]);
            }
            good();
        }
        "Joined" => {
            data(&feeder, &b"\0\0\0\0\x03one\0\0\0\0\0\0\0\0\0\x05three"[..]);
            good();
        }
        "Compressed" => {
            data(&feeder, &b"\x01\0\0\0\x03one"[..]);
            good();
        }
        "Half" => {
            data(&feeder, &b"\0\0\0\0\x05ha"[..]);
            good();
        }
        "Huge" => data(&feeder, &b"\0\xff\xff\xff\xff"[..]),
        "Silent" => good(),
        "Unknown" => data(&feeder, &b"\0\0\0\0\x03one"[..]),
        "Reset" => {
            data(&feeder, &b"\0\0\0\0\x03one"[..]);
            // Reset at once, the stream would not even have headers.
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                drop(feeder.send(Err(Cut)));
            });
            return response;
        }
        "Trailers" => {
            let headers = response.headers_mut();
            headers.insert("grpc-status", "9".parse().expect("a value"));
            headers.insert("grpc-message", "not%20now".parse().expect("a value"));
        }
        number => {
            *response.status_mut() = number.parse().expect("a status");
            let page = Bytes::from_static(b"<html>");
            data(&feeder, page);
        }
    }
    drop(feeder);
    response
}

/// What each kind of answer is to a call, and the last of what it is to a stream.
fn table(test: &[(&str, &str, &str)]) {
    let Some(filter) = guest() else { return };
    run(async {
        let server = Upstream::new(None, answer).await;
        let cluster = format!(
            "{{ name: s, endpoints: ['{}'], protocol: http2 }}",
            server.address
        );
        let world = World::start(filter, |config| config.cluster(cluster)).await;
        for (method, call, stream) in test {
            let outcome = world.outcome(&format!("grpc s raw.Server {method}")).await;
            assert!(outcome.contains(call), "{method}: {outcome}");
            let before = world.answers().len();
            world
                .call(&[&format!("stream s raw.Server {method} send=x")])
                .await;
            let told = world.answers().split_off(before);
            assert!(
                told.last().expect("an end").contains(stream),
                "{method}: {told:#?}"
            );
            let ends = told.iter().filter(|line| line.contains("trailing")).count();
            assert_eq!(ends, 1, "{method}: {told:#?}");
        }
        assert_eq!(world.proxy.lines(&["ERROR"]), [""; 0]);
        assert_eq!(
            *server.connections.lock().expect("connections"),
            1,
            "one connection for all"
        );
    });
}

#[test]
fn messages_are_found_however_they_come() {
    table(&[
        ("Split", "grpc 0, 5 bytes: split", "closed 0"),
        // A call has one message; of several the last is taken, as in Envoy.
        ("Joined", "grpc 0, 5 bytes: three", "closed 0"),
    ]);
}

#[test]
fn answers_that_are_wrong_end_the_call() {
    table(&[
        ("Compressed", "grpc 13, 0 bytes", "closed 13"),
        ("Half", "grpc 13, 0 bytes", "closed 13"),
        ("Huge", "grpc 8, 0 bytes", "closed 8"),
        ("Silent", "grpc 13, 0 bytes", "closed 0"),
        ("Unknown", "grpc 2, 0 bytes", "closed 2"),
        ("Reset", "grpc 13, 0 bytes", "closed 13"),
        (
            "Trailers",
            "grpc 9, 0 bytes: status 9 \"not now\"",
            "closed 9: status 9 \"not now\"",
        ),
    ]);
}

#[test]
fn answers_of_http_have_a_status_of_grpc() {
    table(&[
        ("400", "grpc 13, ", "closed 13"),
        ("401", "grpc 16, ", "closed 16"),
        ("403", "grpc 7, ", "closed 7"),
        ("404", "grpc 12, ", "closed 12"),
        ("429", "grpc 14, ", "closed 14"),
        ("500", "grpc 2, ", "closed 2"),
        ("502", "grpc 14, ", "closed 14"),
        ("503", "grpc 14, ", "closed 14"),
        ("504", "grpc 14, ", "closed 14"),
    ]);
}

/// A server that answers with one message and then waits to hear how the stream ends.
async fn listening() -> (
    std::net::SocketAddr,
    tokio::sync::mpsc::UnboundedReceiver<String>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut connection = h2::server::handshake(stream).await.expect("a handshake");
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut answer = respond
                    .send_response(Response::new(()), false)
                    .expect("headers");
                let message = Bytes::from_static(b"\0\0\0\0\x03one");
                answer.send_data(message, false).expect("a message");
                let mut body = request.into_body();
                let end = loop {
                    match body.data().await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => break format!("{:?}", error.reason()),
                        None => break "end".to_owned(),
                    }
                };
                drop(tell.send(end));
            });
        }
    });
    (address, told)
}

#[test]
fn a_stream_that_is_given_up_is_reset() {
    let Some(filter) = guest() else { return };
    run(async {
        let (address, mut told) = listening().await;
        let cluster = format!("{{ name: s, endpoints: ['{address}'], protocol: http2 }}");
        let world = World::start(filter, |config| config.cluster(cluster)).await;
        let call = "stream s raw.Server Any send=x cancel=1";
        world.call(&[call]).await;
        let heard = within("the end of the stream", told.recv()).await;
        assert_eq!(heard.as_deref(), Some("Some(CANCEL)"));
    });
}
