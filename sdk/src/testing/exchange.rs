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
        let mut answers = self.exchanges(vec![message]);
        answers.pop().unwrap_or_default()
    }

    /// All at once; each ends when it is over.
    fn exchanges(&mut self, messages: Vec<Message>) -> Vec<Answer> {
        let begin = |message| (Some(Running::begin(self, message)), None);
        let mut all: Vec<(Option<Running>, Option<Answer>)> =
            messages.into_iter().map(begin).collect();
        let until = self.host.now.get() + PATIENCE;
        while all.iter().any(|(running, _)| running.is_some()) {
            let mut moved = self.settle();
            for (place, answer) in &mut all {
                if let Some(mut running) = place.take() {
                    moved |= running.advance(self);
                    match running.is_over() {
                        true => *answer = Some(running.end()),
                        false => *place = Some(running),
                    }
                }
            }
            if !moved && !self.step(until) {
                break;
            }
        }
        let answers = all
            .into_iter()
            .filter_map(|(running, answer)| answer.or_else(|| running.map(Running::end)))
            .collect();
        self.settle();
        answers
    }
}

/// An exchange under way.
struct Running {
    exchange: SharedExchange,
    chain: Chain,
    request: Flow,
    response: Flow,
}

impl Running {
    fn begin(tester: &Tester, message: Message) -> Self {
        let values = Box::new(Values(tester.properties.clone()));
        let exchange = Exchange::new(headers(&message.headers), values).share();
        Self {
            chain: Chain::begin(exchange.clone(), [tester.handle()], false),
            exchange,
            request: Flow::of(message),
            response: Flow::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.response.ended || self.chain.is_reset()
    }

    /// Goes on as far as it can now; whether anything has moved.
    fn advance(&mut self, tester: &mut Tester) -> bool {
        let Self {
            exchange,
            chain,
            request,
            response,
        } = self;
        chain.poll();
        let mut moved = request.take(Way::Request, chain, exchange);
        moved |= response.take(Way::Response, chain, exchange);
        if request.ended && response.is_untouched() && !chain.response_is_local() {
            let seen = request.seen.clone().unwrap_or_default();
            response.parts = Flow::of(tester.upstream_says(&seen)).parts;
        }
        moved |= request.give(Way::Request, chain, exchange);
        moved | response.give(Way::Response, chain, exchange)
    }

    /// What has come of it.
    fn end(mut self) -> Answer {
        let (stuck, cut) = (!self.is_over(), self.chain.is_reset());
        self.chain.end();
        Answer {
            response: self.response.seen.unwrap_or_default(),
            upstream: self.request.seen,
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
    pub fn send(mut self) -> Answer {
        if let Some(answer) = self.send_live() {
            return answer;
        }
        self.run_hostile();
        self.tester.exchange(self.message)
    }

    /// Sends it so many times at once, and waits for the end of all answers; not around a
    /// process.
    ///
    /// # Panics
    /// As [`Ask::send`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::{Reply, testing::Tester};
    /// # #[filter] async fn ask(request: Request, http: Http) -> Result<Response> {
    /// #     http.call(HttpCall::get("slow", "/")).await?;
    /// #     request.forward().await
    /// # }
    /// let mut tester = Tester::of::<ask>("");
    /// tester.slow_cluster("slow", Duration::from_secs(1), |_| Some(Reply::new(200)));
    /// let answers = tester.get("/").send_together(3);
    /// assert!(answers.len() == 3 && answers.iter().all(|answer| answer.status() == 200));
    /// ```
    pub fn send_together(self, many: usize) -> Vec<Answer> {
        self.tester.needs("requests that are there at one time");
        self.run_hostile();
        self.tester.exchanges(vec![self.message; many])
    }

    /// Sends it, and goes away as soon as it has to be waited for; not where the filter runs
    /// in a process of its own, of which nobody knows when it waits.
    ///
    /// ```
    /// # use cofferdam_sdk::prelude::*;
    /// # use cofferdam_sdk::testing::Tester;
    /// # #[filter] async fn nap(request: Request, clock: Clock) -> Result<Response> {
    /// #     clock.sleep(std::time::Duration::from_secs(1)).await;
    /// #     request.forward().await
    /// # }
    /// let mut tester = Tester::of::<nap>("");
    /// tester.get("/").abandon();
    /// tester.no_leaks();
    /// ```
    pub fn abandon(self) {
        self.tester.needs("to know when it is waited for");
        let Self { tester, message } = self;
        let mut running = Running::begin(tester, message);
        while !running.is_over() && tester.settle() | running.advance(tester) {}
        running.end();
        tester.settle();
    }

    /// Through a process, if the filter runs in one.
    fn send_live(&mut self) -> Option<Answer> {
        let mut live = self.tester.live.take()?;
        let answer = live.exchange(self.tester, self.message.clone());
        self.tester.live = Some(live);
        Some(answer)
    }

    /// The same with hostile headers, in another instance.
    fn run_hostile(&self) {
        if self.tester.hostile
            && let Some(mut twin) = self.tester.twin()
        {
            let mut message = self.message.clone();
            for (name, value) in HOSTILE {
                message.headers.push((name.to_vec(), value.to_vec()));
            }
            twin.exchange(message);
            let trapped = twin.host.trapped.take();
            assert!(trapped.is_empty(), "with hostile headers: {trapped:?}");
        }
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
