//! One exchange through the filter under test.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::{Attributes, Chain, Exchange, Headers, Part, SharedExchange, Value, Way};

use super::host::{Properties, Tester};
use super::message::{Answer, Seen, headers, pairs};
use crate::pairs::Pairs;
use crate::reply::Reply;

/// For what waits longer, in the tester's time, nobody waits.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A request that is being put together.
///
/// ```
/// # use cofferdam_sdk::prelude::*;
/// # use cofferdam_sdk::testing::Tester;
/// # #[filter] async fn pass(request: Request) -> Result<Response> { request.forward().await }
/// let mut tester = Tester::of::<pass>("");
/// let answer = tester
///     .request("PUT", "/item/7")
///     .header("content-type", "text/plain")
///     .chunks(["se", "ven"])
///     .trailer("x-sum", "7")
///     .send();
/// let seen = answer.upstream().unwrap();
/// assert_eq!((seen.body(), seen.trailer("x-sum")), (&b"seven"[..], Some("7")));
/// ```
#[derive(Debug)]
#[must_use = "it is not sent by itself"]
pub struct Ask<'a> {
    tester: &'a mut Tester,
    message: Message,
}

/// A message, in the pieces it comes in.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    pub(super) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) chunks: Vec<Vec<u8>>,
    pub(super) trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One way of an exchange: what is to come, and what has come out.
#[derive(Default)]
struct Flow {
    parts: VecDeque<(Part, Option<Headers>)>,
    seen: Option<Seen>,
    ended: bool,
}

/// What a test says of properties.
pub(super) struct Values(pub(super) Properties);

impl Attributes for Values {
    fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
        let mut same = self.0.iter().filter(|(known, _)| known == path);
        same.next_back().map(|(_, value)| Value::text(value))
    }
}

// === impl Tester ===

impl Tester {
    /// A request without a body.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::testing::Tester;
    /// # #[filter] async fn pass(request: Request) -> Result<Response> { request.forward().await }
    /// let answer = Tester::of::<pass>("").request("DELETE", "/item/7").send();
    /// ```
    pub fn request(&mut self, method: &str, path: &str) -> Ask<'_> {
        let pair = |name: &str, value: &str| (name.into(), value.into());
        let headers = vec![
            pair(":authority", "test"),
            pair(":path", path),
            pair(":method", method),
            pair(":scheme", "http"),
        ];
        let message = Message {
            headers,
            ..Message::default()
        };
        Ask {
            tester: self,
            message,
        }
    }

    /// A `GET`.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::testing::Tester;
    /// # #[filter] async fn pass(request: Request) -> Result<Response> { request.forward().await }
    /// let answer = Tester::of::<pass>("").get("/").send();
    /// ```
    pub fn get(&mut self, path: &str) -> Ask<'_> {
        self.request("GET", path)
    }

    /// A `POST` with that body.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::testing::Tester;
    /// # #[filter] async fn pass(request: Request) -> Result<Response> { request.forward().await }
    /// let answer = Tester::of::<pass>("").post("/", "a body").send();
    /// ```
    pub fn post(&mut self, path: &str, body: impl Into<Vec<u8>>) -> Ask<'_> {
        let body = body.into();
        let length = body.len().to_string();
        self.request("POST", path)
            .header("content-length", length)
            .chunks([body])
    }

    fn exchange(&mut self, message: Message) -> Answer {
        let exchange = Exchange::new(
            headers(&message.headers),
            Box::new(Values(self.properties.clone())),
        )
        .share();
        let mut chain = Chain::begin(exchange.clone(), [self.handle()], false);
        let (mut request, mut response) = (Flow::of(message), Flow::default());
        let until = self.host.now.get() + PATIENCE;
        let mut stuck = false;
        while !response.ended && !chain.is_reset() {
            let mut moved = self.settle();
            chain.poll();
            moved |= request.take(Way::Request, &mut chain, &exchange);
            moved |= response.take(Way::Response, &mut chain, &exchange);
            if request.ended && response.is_untouched() && !chain.response_is_local() {
                let seen = request.seen.clone().unwrap_or_default();
                response.parts = Flow::of(self.upstream_says(&seen)).parts;
            }
            moved |= request.give(Way::Request, &mut chain, &exchange);
            moved |= response.give(Way::Response, &mut chain, &exchange);
            if !moved && !self.step(until) {
                stuck = true;
                break;
            }
        }
        let cut = chain.is_reset();
        chain.end();
        drop(chain);
        self.settle();
        Answer {
            response: response.seen.unwrap_or_default(),
            upstream: request.seen,
            cut,
            stuck,
        }
    }
}

impl Tester {
    /// The upstream's answer to what has reached it.
    pub(super) fn upstream_says(&mut self, seen: &Seen) -> Message {
        let trailers = self.trailers.clone();
        Message::of((self.upstream)(seen), self.piece, trailers)
    }
}

// === impl Message ===

impl Message {
    /// An answer whose body comes in pieces of so many bytes at most.
    pub(super) fn of(reply: Reply, piece: usize, trailers: Pairs) -> Self {
        let (headers, body) = reply.into_message();
        Self {
            headers,
            chunks: body.chunks(piece).map(<[u8]>::to_vec).collect(),
            trailers,
        }
    }
}

// === impl Ask ===

impl Ask<'_> {
    /// With that header too; any bytes will do.
    ///
    /// The [type](Self) has an example of this and the others.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let pair = (name.as_bytes().to_vec(), value.as_ref().to_vec());
        self.message.headers.push(pair);
        self
    }

    /// With a body that comes in these pieces.
    pub fn chunks<C: Into<Vec<u8>>>(mut self, chunks: impl IntoIterator<Item = C>) -> Self {
        self.message.chunks = chunks.into_iter().map(Into::into).collect();
        self
    }

    /// With that trailer too.
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let pair = (name.as_bytes().to_vec(), value.as_ref().to_vec());
        self.message.trailers.push(pair);
        self
    }

    /// Sends it, and waits for the end of the answer.
    ///
    /// # Panics
    /// When the filter crashes on the same request with hostile headers.
    pub fn send(self) -> Answer {
        let Self { tester, message } = self;
        if let Some(mut live) = tester.live.take() {
            let answer = live.exchange(tester, message);
            tester.live = Some(live);
            return answer;
        }
        if tester.hostile
            && let Some(mut twin) = tester.twin()
        {
            let mut message = message.clone();
            for (name, value) in HOSTILE {
                message.headers.push((name.to_vec(), value.to_vec()));
            }
            twin.exchange(message);
            let trapped = twin.host.trapped.take();
            assert!(trapped.is_empty(), "with hostile headers: {trapped:?}");
        }
        tester.exchange(message)
    }
}

/// What no decent client sends.
const HOSTILE: &[(&[u8], &[u8])] = &[
    (b"x-bytes", b"\xff\xfe\x80"),
    (b"cookie", b"a=\xff; =; ;;a"),
    (b"authorization", b"Bearer \xc3\x28"),
    (b"authorization", b""),
    (b"content-type", b"\xf0\x9f"),
    (b"x-forwarded-for", b",,\xff,"),
    (b"accept", b""),
];

// === impl Flow ===

impl Flow {
    fn of(message: Message) -> Self {
        let has_trailers = !message.trailers.is_empty();
        let chunks = message.chunks.len();
        let mut parts = VecDeque::new();
        let end = chunks == 0 && !has_trailers;
        parts.push_back((Part::Headers { end }, Some(headers(&message.headers))));
        for chunk in message.chunks {
            let bytes = Bytes::from(chunk);
            parts.push_back((Part::Data { bytes, end: false }, None));
        }
        if has_trailers {
            parts.push_back((Part::Trailers, Some(headers(&message.trailers))));
        } else if chunks > 0 {
            let bytes = Bytes::new();
            parts.push_back((Part::Data { bytes, end: true }, None));
        }
        Self {
            parts,
            ..Self::default()
        }
    }

    /// Nothing has come of it, nor is anything to come.
    fn is_untouched(&self) -> bool {
        self.parts.is_empty() && self.seen.is_none()
    }

    /// Takes what may leave.
    fn take(&mut self, way: Way, chain: &mut Chain, exchange: &SharedExchange) -> bool {
        let mut moved = false;
        while let Some(part) = chain.pop(way) {
            moved = true;
            let exchange = exchange.borrow();
            let (head, trailers) = match way {
                Way::Request => (&exchange.request_headers, &exchange.request_trailers),
                Way::Response => (&exchange.response_headers, &exchange.response_trailers),
            };
            let seen = self.seen.get_or_insert_default();
            match part {
                Part::Headers { end } => {
                    seen.headers = head.as_ref().map(pairs).unwrap_or_default();
                    self.ended |= end;
                }
                Part::Data { bytes, end } => {
                    seen.body.extend_from_slice(&bytes);
                    self.ended |= end;
                }
                Part::Trailers => {
                    seen.trailers = trailers.as_ref().map(pairs).unwrap_or_default();
                    self.ended = true;
                }
            }
        }
        moved
    }

    /// Gives what comes next, if it is wanted.
    fn give(&mut self, way: Way, chain: &mut Chain, exchange: &SharedExchange) -> bool {
        if !chain.wants_more(way) || (way == Way::Request && chain.request_is_closed()) {
            return false;
        }
        let Some((part, map)) = self.parts.pop_front() else {
            return false;
        };
        if let Some(map) = map {
            let mut exchange = exchange.borrow_mut();
            match (way, &part) {
                (Way::Request, Part::Trailers) => exchange.request_trailers = Some(map),
                (Way::Request, _) => {} // they came with the exchange
                (Way::Response, Part::Trailers) => exchange.response_trailers = Some(map),
                (Way::Response, _) => exchange.response_headers = Some(map),
            }
        }
        chain.push(way, part);
        true
    }
}
