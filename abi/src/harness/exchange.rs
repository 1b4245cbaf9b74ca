//! One request: a scripted client, the chain, a scripted upstream.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::facts::Facts;
use super::message::Message;
use crate::chain::{Chain, Failure};
use crate::exchange::{LocalReply, SharedExchange};
use crate::headers::Headers;
use crate::stream::Part;
use crate::types::Way;

/// What comes, and when: after so much time. Times never decrease.
pub type Script = Vec<(Duration, Piece)>;

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Its headers; `true`: nothing follows them. (Those of a request are in
    /// [`Request::headers`] and are left empty here.)
    Head(Headers, bool),
    /// Some of its body; `true`: it is the last of it, and there are no trailers.
    Data(Bytes, bool),
    /// Its trailers, which end it.
    Trailers(Headers),
    /// The connection ends here.
    Cut,
}

/// A request that is to be made.
#[derive(Debug)]
pub struct Request {
    /// As filters see them first, with pseudo-headers.
    pub headers: Headers,
    /// What `request.protocol` says: `HTTP/1.1`.
    pub protocol: &'static str,
    /// What the client sends, from the moment the request begins.
    pub client: Script,
    /// A client that has no whole answer by then goes away.
    pub patience: Duration,
    /// Who answers.
    pub upstream: Box<dyn Upstream>,
    /// Properties that are to have these bytes, by path. Those the host makes of headers
    /// come before them.
    pub properties: Vec<(Vec<Bytes>, Bytes)>,
}

/// Who answers a request that has left the filters.
pub trait Upstream: fmt::Debug {
    /// The request's head is there.
    fn head(&mut self, request: &Message) -> Reply;

    /// The request is there to its end, and [`Reply::Wait`] was the answer to its head.
    fn answer(&mut self, request: &Message) -> Script;
}

/// What an upstream makes of a request's head.
#[derive(Debug)]
pub enum Reply {
    /// It waits for the end.
    Wait,
    /// It answers at once.
    Now(Script),
    /// There is none: the proxy itself answers, with this status and these details.
    Nobody(u16, &'static str),
}

/// What became of a request.
#[derive(Debug)]
pub struct Seen {
    /// What the client got, as far as it got it.
    pub response: Option<Message>,
    /// What left the filters upstream, as far as it did.
    pub request: Option<Message>,
    /// An upstream was there for it.
    pub reached: bool,
    /// The response was made in the proxy, and this is what it says of itself.
    pub details: Option<Bytes>,
    /// The first thing a filter did wrong.
    pub failure: Option<Failure>,
    /// What the filters shared; headers as they are at the end.
    pub exchange: SharedExchange,
}

/// A request on its way.
pub(super) struct Live {
    pub(super) chain: Chain,
    facts: Rc<Facts>,
    upstream: Box<dyn Upstream>,
    /// What the client has yet to send, and when.
    sending: VecDeque<(Duration, Piece)>,
    /// What the upstream has yet to send, and when.
    answering: VecDeque<(Duration, Piece)>,
    /// The upstream waits for the end of the request.
    waits: bool,
    response: Option<Message>,
    request: Option<Message>,
    deadline: Duration,
    pub(super) over: bool,
    /// That it is over has been told.
    told: bool,
}

// === impl Request ===

impl Request {
    /// What only an embedder knows of it.
    pub(super) fn facts(&mut self, now: Duration) -> Rc<Facts> {
        Rc::new(Facts {
            protocol: self.protocol,
            begun: now,
            reached: Cell::new(false),
            given: std::mem::take(&mut self.properties),
            ..Facts::default()
        })
    }
}

// === impl Live ===

impl Live {
    pub(super) fn new(request: Request, facts: Rc<Facts>, chain: Chain, now: Duration) -> Self {
        Self {
            chain,
            facts,
            upstream: request.upstream,
            sending: from(request.client, now),
            answering: VecDeque::new(),
            waits: false,
            response: None,
            request: None,
            deadline: now + request.patience,
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
        [first(&self.sending), first(&self.answering)]
            .into_iter()
            .flatten()
            .fold(self.deadline, Duration::min)
    }

    /// Moves whatever can move now.
    pub(super) fn pump(&mut self, now: Duration) -> bool {
        let mut moved = false;
        while !self.over && self.step(now) {
            moved = true;
        }
        moved
    }

    fn step(&mut self, now: Duration) -> bool {
        self.chain.poll();
        if self.chain.is_reset() {
            self.finish();
            return true;
        }
        if let Some(part) = self.chain.pop(Way::Request) {
            self.upstream_gets(&part, now);
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
            && due(&self.sending, now)
            && self.chain.wants_more(Way::Request)
            && let Some((_, piece)) = self.sending.pop_front()
        {
            self.push(Way::Request, piece);
            return true;
        }
        if !self.chain.response_is_local()
            && due(&self.answering, now)
            && self.chain.wants_more(Way::Response)
            && let Some((_, piece)) = self.answering.pop_front()
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
                    count(&self.facts.received, &bytes);
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
            Piece::Cut if way == Way::Request || self.response.is_some() => return self.finish(),
            Piece::Cut => return self.nobody(503, "upstream_reset_before_response_started"),
        };
        self.chain.push(way, part);
    }

    /// No upstream answers.
    fn nobody(&mut self, status: u16, details: &'static str) {
        self.facts.status.set(Some(i64::from(status)));
        self.chain.reply(&LocalReply {
            status: u32::from(status),
            details: Bytes::from_static(details.as_bytes()),
            grpc_status: -1,
            ..LocalReply::default()
        });
    }

    fn upstream_gets(&mut self, part: &Part, now: Duration) {
        let exchange = self.chain.exchange().clone();
        match part {
            Part::Headers { .. } => {
                let head = head(exchange.borrow().request_headers.as_ref());
                let reply = self.upstream.head(&head);
                self.request = Some(head);
                match reply {
                    Reply::Nobody(status, details) => return self.nobody(status, details),
                    Reply::Now(script) => self.answering = from(script, now),
                    Reply::Wait => self.waits = true,
                }
                self.facts.reached.set(true);
            }
            Part::Data { bytes, .. } => {
                if let Some(request) = &mut self.request {
                    request.append(bytes);
                }
            }
            Part::Trailers => {
                let trailers = exchange.borrow().request_trailers.clone();
                if let Some(request) = &mut self.request {
                    request.trailers = trailers.unwrap_or_default();
                }
            }
        }
        if part.is_last()
            && let Some(request) = &mut self.request
        {
            request.complete = true;
            if std::mem::take(&mut self.waits) {
                self.answering = from(self.upstream.answer(request), now);
            }
        }
    }

    fn client_gets(&mut self, part: &Part) {
        let exchange = self.chain.exchange().clone();
        match part {
            Part::Headers { .. } => {
                let head = head(exchange.borrow().response_headers.as_ref());
                self.facts.status.set(head.status().map(i64::from));
                self.response = Some(head);
            }
            Part::Data { bytes, .. } => {
                count(&self.facts.sent, bytes);
                if let Some(response) = &mut self.response {
                    response.append(bytes);
                }
            }
            Part::Trailers => {
                let trailers = exchange.borrow().response_trailers.clone();
                if let Some(response) = &mut self.response {
                    response.trailers = trailers.unwrap_or_default();
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
    fn finish(&mut self) {
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
    pub(super) fn seen(self) -> Seen {
        Seen {
            response: self.response,
            request: self.request,
            reached: self.facts.reached.get(),
            details: self.chain.details().cloned(),
            failure: self.chain.failure().cloned(),
            exchange: self.chain.exchange().clone(),
        }
    }
}

fn from(script: Script, now: Duration) -> VecDeque<(Duration, Piece)> {
    let at = |(after, piece)| (now + after, piece);
    script.into_iter().map(at).collect()
}

fn due(queue: &VecDeque<(Duration, Piece)>, now: Duration) -> bool {
    queue.front().is_some_and(|(at, _)| *at <= now)
}

fn count(sum: &Cell<i64>, bytes: &Bytes) {
    let more = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    sum.set(sum.get().saturating_add(more));
}

fn status(headers: &Headers) -> Option<i64> {
    let text = std::str::from_utf8(headers.get(b":status")?).ok()?;
    text.parse().ok()
}

fn head(map: Option<&Headers>) -> Message {
    Message {
        headers: map.cloned().unwrap_or_default(),
        ..Message::default()
    }
}
