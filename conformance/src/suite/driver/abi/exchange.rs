//! One request in process: a scripted client, the chain, a scripted upstream.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::{Chain, Headers, LocalReply, Part, SharedExchange, Way};

use super::facts::Facts;
use super::peer;
use crate::suite::outcome::{self, Message};
use crate::suite::step::{Answer, Http, Request, Reset, Step};
use crate::suite::values::{Body, Header};

/// Between pieces of a body, which arrive apart from each other.
const PACE: Duration = Duration::from_millis(10);
/// A client that says nothing else gives up then.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request on its way.
pub(super) struct Live {
    pub(super) chain: Chain,
    answer: Answer,
    facts: Rc<Facts>,
    head_request: bool,
    /// What the client has yet to send, and when.
    client: VecDeque<(Duration, Piece)>,
    /// What the upstream has yet to send, and when.
    upstream: VecDeque<(Duration, Piece)>,
    target: Target,
    response: Option<Message>,
    request: Option<Message>,
    deadline: Duration,
    pub(super) over: bool,
    /// That it is over has been told.
    told: bool,
}

/// Where it goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    /// Not known: its head has not left the filters.
    Open,
    Upstream,
    Peer,
    Nowhere,
}

/// A piece of a message.
enum Piece {
    Head(Headers, bool),
    Data(Bytes, bool),
    Trailers(Headers),
    /// The connection ends.
    Cut,
}

/// The request of a step as filters are to see it first.
pub(super) struct Begin {
    pub(super) headers: Headers,
    pub(super) facts: Rc<Facts>,
}

// === impl Live ===

impl Live {
    /// What a chain needs before it begins.
    pub(super) fn prepare(step: &Step, now: Duration) -> Begin {
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
        let protocol = match request.http {
            Http::V10 => "HTTP/1.0",
            Http::V11 => "HTTP/1.1",
            Http::V2 => "HTTP/2",
        };
        let facts = Facts {
            protocol,
            begun: now,
            ..Facts::default()
        };
        Begin {
            headers: Headers::from_entries(entries),
            facts: Rc::new(facts),
        }
    }

    pub(super) fn new(step: &Step, begin: Begin, chain: Chain, now: Duration) -> Self {
        let request = step.request.clone().unwrap_or_default();
        let patience = request.abort.map_or(PATIENCE, |wait| wait.0);
        Self {
            chain,
            answer: step.upstream.clone().unwrap_or_default(),
            facts: begin.facts,
            head_request: request.method == "HEAD",
            client: sending(&request, now),
            upstream: VecDeque::new(),
            target: Target::Open,
            response: None,
            request: None,
            deadline: now + patience,
            over: false,
            told: false,
        }
    }

    /// When something will happen by itself. What is due already and did not move waits for
    /// something else: a filter holds as much as it may.
    pub(super) fn next_time(&self, now: Duration) -> Duration {
        let first = |queue: &VecDeque<(Duration, Piece)>| {
            let at = queue.front().map(|(at, _)| *at);
            at.filter(|at| *at > now)
        };
        [first(&self.client), first(&self.upstream)]
            .into_iter()
            .flatten()
            .fold(self.deadline, Duration::min)
    }

    /// Moves whatever can move now. Requests that reached the peer are told to it.
    pub(super) fn pump(&mut self, now: Duration, peer: &mut Vec<Message>) -> bool {
        let mut moved = false;
        while !self.over && self.step(now, peer) {
            moved = true;
        }
        moved
    }

    fn step(&mut self, now: Duration, peer: &mut Vec<Message>) -> bool {
        self.chain.poll();
        if self.chain.is_reset() {
            self.finish();
            return true;
        }
        if let Some(part) = self.chain.pop(Way::Request) {
            self.upstream_gets(&part, now, peer);
            return true;
        }
        if let Some(part) = self.chain.pop(Way::Response) {
            self.client_gets(&part);
            return true;
        }
        if now >= self.deadline {
            self.finish();
            return true;
        }
        if !self.chain.request_is_closed()
            && due(&self.client, now)
            && self.chain.wants_more(Way::Request)
            && let Some((_, piece)) = self.client.pop_front()
        {
            self.push(Way::Request, piece);
            return true;
        }
        if !self.chain.response_is_local()
            && due(&self.upstream, now)
            && self.chain.wants_more(Way::Response)
            && let Some((_, piece)) = self.upstream.pop_front()
        {
            self.push(Way::Response, piece);
            return true;
        }
        false
    }

    fn push(&mut self, way: Way, piece: Piece) {
        let part = match piece {
            // The request's are in the exchange since it began.
            Piece::Head(_, end) if way == Way::Request => Part::Headers { end },
            Piece::Head(headers, end) => {
                self.facts.status.set(status(&headers));
                self.chain.exchange().borrow_mut().response_headers = Some(headers);
                Part::Headers { end }
            }
            Piece::Data(bytes, end) => {
                if way == Way::Request {
                    let so_far = self.facts.received.get();
                    let more = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
                    self.facts.received.set(so_far.saturating_add(more));
                }
                Part::Data { bytes, end }
            }
            Piece::Trailers(map) => {
                let mut exchange = self.chain.exchange().borrow_mut();
                match way {
                    Way::Request => exchange.request_trailers = Some(map),
                    Way::Response => exchange.response_trailers = Some(map),
                }
                drop(exchange);
                Part::Trailers
            }
            Piece::Cut if self.response.is_some() => return self.finish(),
            Piece::Cut => return self.unavailable("upstream_reset_before_response_started"),
        };
        self.chain.push(way, part);
    }

    /// No upstream answers.
    fn unavailable(&mut self, details: &'static str) {
        self.facts.status.set(Some(503));
        self.chain.reply(&LocalReply {
            status: 503,
            details: Bytes::from_static(details.as_bytes()),
            grpc_status: -1,
            ..LocalReply::default()
        });
    }

    fn upstream_gets(&mut self, part: &Part, now: Duration, peer: &mut Vec<Message>) {
        let exchange = self.chain.exchange().clone();
        match part {
            Part::Headers { .. } => {
                let head = message(exchange.borrow().request_headers.as_ref());
                let path = head.values(":path").first().copied().unwrap_or_default();
                self.target = match path {
                    "" => {
                        self.facts.status.set(Some(404));
                        self.chain.reply(&LocalReply {
                            status: 404,
                            details: Bytes::from_static(b"route_not_found"),
                            grpc_status: -1,
                            ..LocalReply::default()
                        });
                        return self.target = Target::Nowhere;
                    }
                    path if path.starts_with("/refused/") => {
                        self.unavailable("upstream_connect_failed");
                        return self.target = Target::Nowhere;
                    }
                    path if path.starts_with("/peer/") => Target::Peer,
                    _ => Target::Upstream,
                };
                self.facts.reached.set(self.target == Target::Upstream);
                self.request = Some(head);
                if self.answer.early && self.target == Target::Upstream {
                    self.answers(now);
                }
            }
            Part::Data { bytes, .. } => {
                if let Some(request) = &mut self.request {
                    request.body = [&request.body[..], bytes].concat().into();
                }
            }
            Part::Trailers => {
                let trailers = message(exchange.borrow().request_trailers.as_ref()).headers;
                if let Some(request) = &mut self.request {
                    request.trailers = trailers;
                }
            }
        }
        if part.is_last()
            && let Some(request) = &mut self.request
        {
            request.complete = true;
            match self.target {
                Target::Upstream if !self.answer.early => self.answers(now),
                Target::Peer => {
                    peer.push(request.clone());
                    self.upstream = answering_peer(request, now);
                }
                _ => {}
            }
        }
    }

    /// The scripted upstream begins to answer.
    fn answers(&mut self, now: Duration) {
        let at = now + self.answer.delay.map_or(Duration::ZERO, |wait| wait.0);
        self.upstream = answering(&self.answer, self.head_request, at);
    }

    fn client_gets(&mut self, part: &Part) {
        let exchange = self.chain.exchange().clone();
        match part {
            Part::Headers { .. } => {
                let head = message(exchange.borrow().response_headers.as_ref());
                self.facts.status.set(head.status().map(i64::from));
                self.response = Some(head);
            }
            Part::Data { bytes, .. } => {
                let more = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
                let so_far = self.facts.sent.get();
                self.facts.sent.set(so_far.saturating_add(more));
                if let Some(response) = &mut self.response {
                    response.body = [&response.body[..], bytes].concat().into();
                }
            }
            Part::Trailers => {
                let trailers = message(exchange.borrow().response_trailers.as_ref()).headers;
                if let Some(response) = &mut self.response {
                    response.trailers = trailers;
                }
            }
        }
        if part.is_last() {
            if let Some(response) = &mut self.response {
                response.complete = true;
            }
            self.finish();
        }
    }

    /// Nothing more happens.
    pub(super) fn finish(&mut self) {
        self.facts.over.set(true);
        self.chain.end();
        self.over = true;
    }

    /// The exchange, once, when it is over.
    pub(super) fn take_finished(&mut self) -> Option<SharedExchange> {
        let news = self.over && !std::mem::replace(&mut self.told, self.over);
        news.then(|| self.chain.exchange().clone())
    }

    /// What became of it.
    pub(super) fn seen(self) -> outcome::Exchange {
        // What goes elsewhere than to the upstream, it does not see.
        let upstream = self.request.filter(|_| self.target == Target::Upstream);
        outcome::Exchange {
            response: self.response,
            upstream,
        }
    }
}

fn due(queue: &VecDeque<(Duration, Piece)>, now: Duration) -> bool {
    queue.front().is_some_and(|(at, _)| *at <= now)
}

/// What a client sends, and when.
fn sending(request: &Request, now: Duration) -> VecDeque<(Duration, Piece)> {
    let body = request.body.as_ref();
    let empty = body.is_none_or(|body| body.announced() == Some(0));
    let ends = empty && request.trailers.is_empty();
    let mut out = VecDeque::from([(now, Piece::Head(Headers::default(), ends))]);
    if !ends {
        // HTTP/2 says with the last bytes that they are the last, HTTP/1 after them.
        let tells_early = request.http == Http::V2;
        let pieces = body.map_or(&[][..], Body::pieces);
        continue_with(&mut out, now, pieces, &request.trailers, tells_early, true);
    }
    out
}

/// What the scripted upstream sends, and when.
fn answering(answer: &Answer, head_request: bool, at: Duration) -> VecDeque<(Duration, Piece)> {
    if answer.reset == Some(Reset::BeforeHeaders) {
        return VecDeque::from([(at, Piece::Cut)]);
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
    let mut out = VecDeque::from([(at, Piece::Head(Headers::from_entries(entries), ends))]);
    if !ends {
        let pieces = answer.body.pieces();
        let whole = answer.reset.is_none();
        continue_with(&mut out, at, pieces, &answer.trailers, false, whole);
        if !whole {
            let last = out.back().map_or(at, |(at, _)| *at);
            out.push_back((last + PACE, Piece::Cut));
        }
    }
    out
}

/// What the peer sends, and when.
fn answering_peer(request: &Message, now: Duration) -> VecDeque<(Duration, Piece)> {
    let answered = peer::answer(request);
    let at = now + answered.delay;
    let Some(response) = answered.response else {
        return VecDeque::from([(at, Piece::Cut)]);
    };
    let own = |list: &[(String, String)]| {
        let entries = list.iter().map(|(name, value)| pair(name, value));
        Headers::from_entries(entries.collect())
    };
    let mut out = VecDeque::from([(at, Piece::Head(own(&response.headers), false))]);
    if !response.body.is_empty() {
        out.push_back((at, Piece::Data(response.body.clone(), false)));
    }
    out.push_back(match (response.complete, response.trailers.is_empty()) {
        (false, _) => (at + PACE, Piece::Cut),
        (true, true) => (at, Piece::Data(Bytes::new(), true)),
        (true, false) => (at, Piece::Trailers(own(&response.trailers))),
    });
    out
}

fn continue_with(
    out: &mut VecDeque<(Duration, Piece)>,
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
        out.push_back((at, Piece::Data(piece.0.clone(), last)));
        if last {
            return;
        }
        at += apart;
    }
    if !trailers.is_empty() {
        out.push_back((at, Piece::Trailers(Headers::from_entries(pairs(trailers)))));
    } else if ends {
        out.push_back((at, Piece::Data(Bytes::new(), true)));
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

fn status(headers: &Headers) -> Option<i64> {
    std::str::from_utf8(headers.get(b":status")?)
        .ok()?
        .parse()
        .ok()
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
