//! One request in process: what the client sends and what the upstream answers, and when.

use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::Headers;
use cofferdam_abi::harness::{self, Piece, Reply, Script, Upstream};

use super::{Asked, peer};
use crate::suite::outcome::{self, Message};
use crate::suite::step::{Answer, Http, Request, Reset, Step};
use crate::suite::values::{Body, Header};

/// Between pieces of a body, which arrive apart from each other.
const PACE: Duration = Duration::from_millis(10);
/// A client that says nothing else gives up then.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is behind the filters, for one request.
#[derive(Debug)]
struct Behind {
    answer: Answer,
    head_request: bool,
    asked: Asked,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Upstream,
    Peer,
    Refused,
    /// There is no route for it.
    Nowhere,
}

/// The request of a step.
pub(super) fn request(step: &Step, asked: Asked) -> harness::Request {
    let request = step.request.clone().unwrap_or_default();
    let mut entries = vec![
        pair(":authority", &request.host),
        pair(":path", &request.path),
        pair(":method", &request.method),
        pair(":scheme", "http"),
    ];
    entries.extend(pairs(&request.headers));
    if let Some(length) = request.body.as_ref().and_then(Body::announced) {
        entries.push(pair("content-length", &length.to_string()));
    }
    harness::Request {
        headers: Headers::from_entries(entries),
        protocol: match request.http {
            Http::V10 => "HTTP/1.0",
            Http::V11 => "HTTP/1.1",
            Http::V2 => "HTTP/2",
        },
        client: sending(&request),
        patience: request.abort.map_or(PATIENCE, |wait| wait.0),
        upstream: Box::new(Behind {
            answer: step.upstream.clone().unwrap_or_default(),
            head_request: request.method == "HEAD",
            asked,
        }),
        properties: Vec::new(),
    }
}

/// What became of it.
pub(super) fn seen(seen: Option<harness::Seen>) -> outcome::Exchange {
    let Some(seen) = seen else {
        return unavailable();
    };
    // What goes elsewhere than to the upstream, it does not see.
    let upstream = seen
        .request
        .filter(|request| target(request) == Target::Upstream);
    outcome::Exchange {
        response: seen.response.as_ref().map(own),
        upstream: upstream.as_ref().map(own),
    }
}

/// What a client gets while a filter that must not be skipped cannot run.
fn unavailable() -> outcome::Exchange {
    outcome::Exchange {
        response: Some(Message {
            headers: vec![(":status".to_owned(), "503".to_owned())],
            complete: true,
            ..Message::default()
        }),
        upstream: None,
    }
}

fn target(request: &harness::Message) -> Target {
    match request.headers.get(b":path").map_or(&[][..], |path| path) {
        b"" => Target::Nowhere,
        path if path.starts_with(b"/refused/") => Target::Refused,
        path if path.starts_with(b"/peer/") => Target::Peer,
        _ => Target::Upstream,
    }
}

// === impl Upstream for Behind ===

impl Upstream for Behind {
    fn head(&mut self, request: &harness::Message) -> Reply {
        match target(request) {
            Target::Nowhere => Reply::Nobody(404, "route_not_found"),
            Target::Refused => Reply::Nobody(503, "upstream_connect_failed"),
            Target::Upstream if self.answer.early => Reply::Now(self.answers()),
            Target::Upstream | Target::Peer => Reply::Wait,
        }
    }

    fn answer(&mut self, request: &harness::Message) -> Script {
        if target(request) != Target::Peer {
            return self.answers();
        }
        let request = own(request);
        let answer = answering_peer(&request);
        self.asked.borrow_mut().push(request);
        answer
    }
}

// === impl Behind ===

impl Behind {
    /// The scripted upstream's answer.
    fn answers(&self) -> Script {
        let at = self.answer.delay.map_or(Duration::ZERO, |wait| wait.0);
        answering(&self.answer, self.head_request, at)
    }
}

/// What a client sends, and when.
fn sending(request: &Request) -> Script {
    let now = Duration::ZERO;
    let body = request.body.as_ref();
    let empty = body.is_none_or(|body| body.announced() == Some(0));
    let ends = empty && request.trailers.is_empty();
    let mut out = Vec::from([(now, Piece::Head(Headers::default(), ends))]);
    if !ends {
        // HTTP/2 says with the last bytes that they are the last, HTTP/1 after them.
        let tells_early = request.http == Http::V2;
        let pieces = body.map_or(&[][..], Body::pieces);
        continue_with(&mut out, now, pieces, &request.trailers, tells_early, true);
    }
    out
}

/// What the scripted upstream sends, and when.
fn answering(answer: &Answer, head_request: bool, at: Duration) -> Script {
    if answer.reset == Some(Reset::BeforeHeaders) {
        return Vec::from([(at, Piece::Cut)]);
    }
    let bodiless = head_request || matches!(answer.status, 204 | 304);
    let mut entries = vec![pair(":status", &answer.status.to_string())];
    entries.extend(pairs(&answer.headers));
    if let Some(length) = answer
        .body
        .announced()
        .filter(|_| !matches!(answer.status, 204 | 304))
    {
        entries.push(pair("content-length", &length.to_string()));
    }
    let empty = bodiless || answer.body.announced() == Some(0);
    let ends = empty && answer.trailers.is_empty() && answer.reset.is_none();
    let mut out = Vec::from([(at, Piece::Head(Headers::from_entries(entries), ends))]);
    if !ends {
        let pieces = answer.body.pieces();
        let whole = answer.reset.is_none();
        continue_with(&mut out, at, pieces, &answer.trailers, false, whole);
        if !whole {
            let last = out.last().map_or(at, |(at, _)| *at);
            out.push((last + PACE, Piece::Cut));
        }
    }
    out
}

/// What the peer sends, and when.
fn answering_peer(request: &Message) -> Script {
    let answered = peer::answer(request);
    let at = answered.delay;
    let Some(response) = answered.response else {
        return Vec::from([(at, Piece::Cut)]);
    };
    let mut out = Vec::from([(at, Piece::Head(headers(&response.headers), false))]);
    if !response.body.is_empty() {
        out.push((at, Piece::Data(response.body.clone(), false)));
    }
    out.push(match (response.complete, response.trailers.is_empty()) {
        (false, _) => (at + PACE, Piece::Cut),
        (true, true) => (at, Piece::Data(Bytes::new(), true)),
        (true, false) => (at, Piece::Trailers(headers(&response.trailers))),
    });
    out
}

fn continue_with(
    out: &mut Script,
    mut at: Duration,
    pieces: &[crate::suite::values::Chunk],
    trailers: &[Header],
    tells_early: bool,
    ends: bool,
) {
    let apart = if pieces.len() > 1 {
        PACE
    } else {
        Duration::ZERO
    };
    for (index, piece) in pieces.iter().enumerate() {
        let last = index + 1 == pieces.len() && tells_early && trailers.is_empty() && ends;
        out.push((at, Piece::Data(piece.0.clone(), last)));
        if last {
            return;
        }
        at += apart;
    }
    if !trailers.is_empty() {
        out.push((at, Piece::Trailers(Headers::from_entries(pairs(trailers)))));
    } else if ends {
        out.push((at, Piece::Data(Bytes::new(), true)));
    }
}

fn pair(name: &str, value: &str) -> (Bytes, Bytes) {
    let name = name.to_ascii_lowercase();
    (name.into(), Bytes::copy_from_slice(value.as_bytes()))
}

fn pairs(headers: &[Header]) -> Vec<(Bytes, Bytes)> {
    let own = |header: &Header| pair(&header.name, &header.value);
    headers.iter().map(own).collect()
}

pub(super) fn headers(list: &[(String, String)]) -> Headers {
    let entries = list.iter().map(|(name, value)| pair(name, value));
    Headers::from_entries(entries.collect())
}

fn own(of: &harness::Message) -> Message {
    Message {
        body: of.body.clone(),
        trailers: message(Some(&of.trailers)).headers,
        complete: of.complete,
        ..message(Some(&of.headers))
    }
}

/// A map as those outside see it.
pub(super) fn message(map: Option<&Headers>) -> Message {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let entries = map.map_or(&[][..], Headers::entries);
    Message {
        headers: entries
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        ..Message::default()
    }
}
