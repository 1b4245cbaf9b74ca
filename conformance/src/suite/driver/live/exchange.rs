//! One HTTP exchange through a program: the client's side, the upstream's, and how they find
//! each other.

use std::io;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{IDLE, QUIET, Stage};
use crate::socket::client::Client;
use crate::socket::{Ending, Frame, Pairs, Protocol, Received, Side, pairs};
use crate::suite::outcome::{Exchange, Message};
use crate::suite::step::{Answer, Http, Request, Reset, Step};
use crate::suite::values::{Body, Header};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long the upstream waits for a request that looks as it was sent, before it takes
/// another for a rewritten one.
const RECOGNISED: Duration = Duration::from_millis(100);

/// Runs the exchange of a step.
pub(super) async fn run(stage: &Stage, step: &Step) -> io::Result<Exchange> {
    let Some(request) = &step.request else {
        return Ok(Exchange::default());
    };
    let protocol = match request.http {
        Http::V2 => Protocol::Http2,
        Http::V10 | Http::V11 => Protocol::Http1,
    };
    let client = Client::connect(stage.listen, protocol).await?;
    let answer = step.upstream.clone().unwrap_or_default();
    let looks = (request.method.clone(), request.path.clone());
    stage.running().push(looks.clone());
    let mut served = None;
    {
        let upstream = serve(stage, request, &answer, &mut served);
        let downstream = async {
            send(stage, request, client.side()).await;
            finish(stage, request, client.side()).await;
        };
        // Whatever the upstream still wants to say when the client has its answer, or is
        // gone, nobody hears.
        tokio::select! {
            () = downstream => {}
            () = async { upstream.await; std::future::pending().await } => {}
        }
    }
    let side = client.side();
    let response = side.received();
    // Connections are closed before the record is taken: what a filter is told about that
    // belongs to the exchange.
    drop(client);
    stage.settle(QUIET, &[]).await;
    let served = served.or_else(|| stage.claim(request, true));
    let mut running = stage.running();
    if let Some(at) = running.iter().position(|other| *other == looks) {
        running.swap_remove(at);
    }
    drop(running);
    Ok(Exchange {
        response: response.head.is_some().then(|| received(&response)),
        upstream: served.map(|side| message(&side)),
    })
}

/// The client's request, its pieces apart from each other.
async fn send(stage: &Stage, request: &Request, side: &Side) {
    if let Some(raw) = &request.raw {
        side.send(Frame::Raw(raw.0.clone()));
        return;
    }
    let mut fields = pairs([
        (":method", &*request.method),
        (":path", &request.path),
        (":authority", &request.host),
    ]);
    fields.extend(own(&request.headers, request.http == Http::V2));
    let body = request.body.as_ref();
    if let Some(length) = body.and_then(Body::announced)
        && !has(&request.headers, "content-length")
    {
        fields.extend(pairs([("content-length", length.to_string())]));
    }
    if request.http == Http::V10 {
        side.send(Frame::Raw(old(&fields, body)));
        return;
    }
    if !request.trailers.is_empty() && request.http == Http::V11 {
        fields.extend(pairs([("trailer", names(&request.trailers))]));
    }
    let progress = || side.progress();
    deliver(
        stage,
        side,
        fields,
        body,
        &request.trailers,
        &progress,
        false,
    )
    .await;
}

/// A message: head, pieces and trailers. Pieces of a list are sent when the one before has
/// been dealt with; the message is left without its end where that is asked for.
async fn deliver(
    stage: &Stage,
    side: &Side,
    fields: Pairs,
    body: Option<&Body>,
    trailers: &[Header],
    progress: &(dyn Fn() -> usize + Sync),
    unfinished: bool,
) {
    let pieces = body.map_or(&[][..], Body::pieces);
    let apart = matches!(body, Some(Body::Chunks(_)));
    let empty = pieces.iter().all(|piece| piece.0.is_empty());
    let trailers = (!trailers.is_empty()).then(|| own(trailers, true));
    let end = (body.is_none() || (!apart && empty)) && trailers.is_none() && !unfinished;
    side.send(Frame::Head { fields, end });
    if end {
        return;
    }
    for piece in pieces {
        if apart {
            stage.settle(IDLE, &[progress]).await;
        }
        let last = !apart && trailers.is_none() && !unfinished;
        let data = piece.0.clone();
        side.send(Frame::Data { data, end: last });
    }
    if apart || unfinished {
        stage.settle(IDLE, &[progress]).await;
    }
    if unfinished {
        return;
    }
    match trailers {
        Some(fields) => side.send(Frame::Trailers(fields)),
        None if apart => side.send(Frame::Data {
            data: Bytes::new(),
            end: true,
        }),
        None => {}
    }
}

/// Waits for the end of the answer, as long as the client does.
async fn finish(stage: &Stage, request: &Request, side: &Side) {
    let limit = request.abort.map_or(PATIENCE, |abort| abort.0);
    let ended = side.wait(limit, |seen| seen.ending.is_some()).await;
    if !ended && request.abort.is_some() {
        side.send(Frame::Close);
        stage.settle(IDLE, &[]).await;
    }
}

/// The upstream's part: finds the request, and answers it as the step says.
async fn serve(stage: &Stage, request: &Request, answer: &Answer, served: &mut Option<Side>) {
    let begun = Instant::now();
    let side = loop {
        if let Some(side) = stage.claim(request, begun.elapsed() > RECOGNISED) {
            break side;
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    };
    *served = Some(side.clone());
    let ready = |seen: &Received| seen.ending.is_some() || (answer.early && seen.head.is_some());
    if !side.wait(PATIENCE, ready).await {
        return;
    }
    if let Some(delay) = answer.delay {
        tokio::time::sleep(delay.0).await;
    }
    if answer.reset == Some(Reset::BeforeHeaders) {
        side.send(Frame::Reset);
        return;
    }
    let mut fields = pairs([(":status", answer.status.to_string())]);
    fields.extend(own(&answer.headers, true));
    let unfinished = answer.reset == Some(Reset::BeforeEnd);
    let bodyless = request.method == "HEAD" || matches!(answer.status, 204 | 304);
    let body = (!bodyless).then_some(&answer.body);
    if let Some(length) = answer.body.announced()
        && !matches!(answer.status, 204 | 304)
        && !has(&answer.headers, "content-length")
    {
        // One that is cut has promised more.
        let length = length + usize::from(unfinished);
        fields.extend(pairs([("content-length", length.to_string())]));
    }
    let progress = || side.progress();
    let trailers = if bodyless { &[] } else { &answer.trailers[..] };
    deliver(stage, &side, fields, body, trailers, &progress, unfinished).await;
    if unfinished {
        side.send(Frame::Reset);
    }
}

// === impl Stage ===

impl Stage {
    /// The first exchange at the upstream that belongs to no step yet and has the request's
    /// method and path; where that is asked for, one that looks like nobody's request.
    fn claim(&self, request: &Request, any: bool) -> Option<Side> {
        let exchanges = self.upstream.exchanges();
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        let running = self.running();
        let looks = |side: &Side, method: &str, path: &str| {
            let seen = side.received();
            seen.field(":method") == Some(method.as_bytes())
                && seen.field(":path") == Some(path.as_bytes())
        };
        let free = || {
            let all = exchanges.iter().enumerate();
            all.filter(|(number, _)| !claimed.contains(number))
        };
        let strange = |side: &Side| {
            !running
                .iter()
                .any(|(method, path)| looks(side, method, path))
        };
        let found = free()
            .find(|(_, side)| looks(side, &request.method, &request.path))
            .or_else(|| free().find(|(_, side)| any && strange(side)));
        let (number, side) = found.map(|(number, side)| (number, side.clone()))?;
        claimed.push(number);
        Some(side)
    }

    fn running(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An exchange as the suite knows it.
pub(in super::super) fn message(side: &Side) -> Message {
    received(&side.received())
}

fn received(seen: &Received) -> Message {
    let texts = |fields: &Pairs| {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let pair = |(name, value): &(Bytes, Bytes)| (text(name), text(value));
        fields.iter().map(pair).collect()
    };
    Message {
        headers: seen.head.as_ref().map_or_else(Vec::new, texts),
        body: seen.body.clone().into(),
        trailers: seen.trailers.as_ref().map_or_else(Vec::new, texts),
        complete: seen.ending == Some(Ending::Complete),
    }
}

/// A case's headers; HTTP/2 has no capitals.
fn own(headers: &[Header], lower: bool) -> Pairs {
    let name = |header: &Header| {
        if lower {
            header.name.to_ascii_lowercase()
        } else {
            header.name.clone()
        }
    };
    pairs(headers.iter().map(|header| (name(header), &header.value)))
}

fn has(headers: &[Header], name: &str) -> bool {
    headers
        .iter()
        .any(|header| header.name.eq_ignore_ascii_case(name))
}

fn names(headers: &[Header]) -> String {
    let names: Vec<&str> = headers.iter().map(|header| &*header.name).collect();
    names.join(", ")
}

/// A request of HTTP/1.0 in bytes.
fn old(fields: &Pairs, body: Option<&Body>) -> Bytes {
    let value = |name: &str| {
        let found = fields.iter().find(|(field, _)| field == name.as_bytes());
        found.map_or(&b""[..], |(_, value)| value)
    };
    let mut bytes = [
        value(":method"),
        b" ",
        value(":path"),
        b" HTTP/1.0\r\nhost: ",
    ]
    .concat();
    bytes.extend_from_slice(value(":authority"));
    bytes.extend_from_slice(b"\r\n");
    for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(b":")) {
        bytes.extend_from_slice(&[name, &b": "[..], value, b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend(body.map(Body::bytes).unwrap_or_default());
    bytes.into()
}
