//! The servers around the proxy, on threads that end with the process: the tap in front of
//! it, the echo behind it, and the clusters of tests.yaml.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::difference::{Message, changed, lines};
use crate::author::test::Cluster;
use crate::demo;

/// Bodies are kept whole, to be compared.
const LARGEST: usize = 64 << 20;
/// Nobody waits longer for the proxy: its own limits are shorter.
const PATIENCE: Duration = Duration::from_secs(120);

/// What echo and clusters have seen since it was last taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    /// What reached the echo, and what it answered.
    echo: Option<(Message, Message)>,
    /// Callouts: to whom, and what was answered.
    callouts: Vec<(String, Message, u16)>,
}

type Shown = Arc<dyn Fn(&str) + Send + Sync>;

/// A listening socket.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The upstream: answers with the request as it reached it. Of TCP, with the same bytes.
pub(super) fn echo(seen: Seen, tcp: bool) -> io::Result<SocketAddr> {
    let listener = bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = listener.local_addr()?;
    if tcp {
        spawn("dev-echo", listener, move |mut stream| async move {
            let (mut read, mut write) = stream.split();
            // A client that breaks off is none of our business.
            let _ = tokio::io::copy(&mut read, &mut write).await;
        })?;
        return Ok(address);
    }
    serve("dev-echo", listener, move |request| {
        let seen = seen.clone();
        async move {
            let text = demo::describe(&request);
            let request = heard(request).await;
            let mut response = Response::new(Full::new(Bytes::from(text.clone())));
            let kind = http::HeaderValue::from_static("text/plain");
            response
                .headers_mut()
                .insert(http::header::CONTENT_TYPE, kind);
            let mut headers = listed(response.headers());
            headers.push(("content-length".to_owned(), text.len().to_string()));
            let answer = Message {
                line: "200".to_owned(),
                headers,
                body: text.into(),
            };
            seen.lock().echo = Some((request, answer));
            response
        }
    })?;
    Ok(address)
}

/// A cluster that answers callouts by its rules.
pub(super) fn cluster(cluster: &Cluster, seen: Seen) -> io::Result<SocketAddr> {
    let listener = bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = listener.local_addr()?;
    let cluster = cluster.clone();
    serve("dev-cluster", listener, move |request| {
        let (seen, cluster) = (seen.clone(), cluster.clone());
        async move {
            let (method, path) = (
                request.method().to_string(),
                request.uri().path().to_owned(),
            );
            let call = heard(request).await;
            let (status, headers, body) = cluster.answer(&method, &path);
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
            for (name, value) in headers {
                let name = http::HeaderName::from_bytes(&name);
                let value = http::HeaderValue::from_bytes(&value);
                if let (Ok(name), Ok(value)) = (name, value) {
                    response.headers_mut().append(name, value);
                }
            }
            seen.lock()
                .callouts
                .push((cluster.name.clone(), call, status));
            response
        }
    })?;
    Ok(address)
}

/// What clients speak to: passes requests on, one after the other, and shows each.
pub(super) fn tap(
    listener: TcpListener,
    filtered: SocketAddr,
    plain: SocketAddr,
    seen: Seen,
    say: Shown,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    // What the proxy does by itself is learnt with the first request.
    let own: Arc<tokio::sync::Mutex<Option<[Vec<String>; 2]>>> = Arc::default();
    let shown = say.clone();
    serve("dev-tap", listener, move |request| {
        let (own, seen, say) = (own.clone(), seen.clone(), shown.clone());
        async move {
            // One at a time: what is seen elsewhere meanwhile belongs to it.
            let mut own = own.lock().await;
            if own.is_none() {
                *own = learn(plain, &seen).await;
            }
            let begun = Instant::now();
            let (mut parts, body) = request.into_parts();
            let body = whole(body).await;
            end_to_end(&mut parts.headers, body.len());
            let client = message(&parts.method, &parts.uri, &parts.headers, body.clone());
            seen.take();
            let forwarded = Request::from_parts(parts, Full::new(body));
            let answer = ask(filtered, forwarded).await;
            let record = seen.take();
            let others = own.as_ref();
            match answer {
                Ok((response, answer)) => {
                    for line in report(&client, &answer, &record, others, begun.elapsed()) {
                        say(&line);
                    }
                    response
                }
                Err(error) => {
                    say(&format!("{} → no answer: {error}", client.line));
                    let mut response = Response::new(Full::default());
                    *response.status_mut() = StatusCode::BAD_GATEWAY;
                    response
                }
            }
        }
    })?;
    say(&format!("listening on http://{address}"));
    Ok(())
}

/// Leaves out what concerns the client's connection alone; a body is passed on whole.
fn end_to_end(headers: &mut HeaderMap, body: usize) {
    use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
    headers.remove(CONNECTION);
    headers.remove("keep-alive");
    if headers.remove(TRANSFER_ENCODING).is_some() {
        headers.insert(CONTENT_LENGTH, body.into());
    }
}

/// What the proxy adds to requests and responses where there is no filter.
async fn learn(plain: SocketAddr, seen: &Seen) -> Option<[Vec<String>; 2]> {
    let request = Request::builder()
        .uri("/")
        .header("host", "learn")
        .body(Full::default())
        .ok()?;
    let sent = message(
        request.method(),
        request.uri(),
        request.headers(),
        Bytes::new(),
    );
    let (_, got) = ask(plain, request).await.ok()?;
    let (reached, answered) = seen.take().echo?;
    Some([changed(&sent, &reached), changed(&answered, &got)])
}

fn report(
    client: &Message,
    answer: &Message,
    record: &Record,
    own: Option<&[Vec<String>; 2]>,
    time: Duration,
) -> Vec<String> {
    let none = [Vec::new(), Vec::new()];
    let [requests, responses] = own.unwrap_or(&none);
    let mut out = vec![format!(
        "{} → {} ({} ms)",
        client.line,
        answer.line,
        time.as_millis()
    )];
    for (cluster, call, status) in &record.callouts {
        out.push(format!("  callout to {cluster}: {} → {status}", call.line));
    }
    match &record.echo {
        None => {
            out.push("  answered without the upstream".to_owned());
            let headers = answer
                .headers
                .iter()
                .filter(|(name, _)| !responses.contains(name));
            out.extend(headers.map(|(name, value)| format!("    + {name}: {value}")));
        }
        Some((reached, answered)) => {
            for (title, lines) in [
                ("request", lines(client, reached, requests)),
                ("response", lines(answered, answer, responses)),
            ] {
                if lines.is_empty() {
                    out.push(format!("  {title}: unchanged"));
                } else {
                    out.push(format!("  {title}"));
                    out.extend(lines.iter().map(|line| format!("    {line}")));
                }
            }
        }
    }
    out
}

/// Sends a request over a connection of its own.
async fn ask(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Full<Bytes>>, Message), String> {
    let asked = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| error.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::task::spawn_local(connection);
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| error.to_string())?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, LARGEST)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        let body = body.to_bytes();
        let message = Message {
            line: parts.status.as_u16().to_string(),
            headers: listed(&parts.headers),
            body: body.clone(),
        };
        Ok((Response::from_parts(parts, Full::new(body)), message))
    };
    tokio::time::timeout(PATIENCE, asked)
        .await
        .map_err(|_| "the proxy does not answer".to_owned())?
}

async fn heard(request: Request<Incoming>) -> Message {
    let (parts, body) = request.into_parts();
    let body = whole(body).await;
    message(&parts.method, &parts.uri, &parts.headers, body)
}

/// What came of a body; too much of it is as good as a broken connection.
async fn whole(body: Incoming) -> Bytes {
    let collected = Limited::new(body, LARGEST).collect().await;
    collected
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default()
}

fn message(method: &http::Method, uri: &http::Uri, headers: &HeaderMap, body: Bytes) -> Message {
    Message {
        line: format!("{method} {uri}"),
        headers: listed(headers),
        body,
    }
}

fn listed(headers: &HeaderMap) -> Vec<(String, String)> {
    let own = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    };
    headers.iter().map(own).collect()
}

/// An HTTP/1.1 server.
fn serve<A, F>(name: &str, listener: TcpListener, answer: A) -> io::Result<()>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + 'static,
{
    spawn(name, listener, move |stream| {
        let answer = Rc::new(answer.clone());
        async move {
            let service = service_fn(move |request| {
                let answered = answer(request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            // A client that breaks off is none of our business.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    })
}

/// A server on a thread of its own.
fn spawn<A, F>(name: &str, listener: TcpListener, answer: A) -> io::Result<()>
where
    A: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                    return;
                };
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => {
                            tokio::task::spawn_local(answer(stream));
                        }
                        // Out of files, most likely: they come back.
                        Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    }
                }
            });
        })?;
    Ok(())
}

// === impl Seen ===

impl Seen {
    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Record {
        std::mem::take(&mut self.lock())
    }
}
