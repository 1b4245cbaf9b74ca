//! One request on its way to an upstream: an attempt, and perhaps more of them.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;

use super::answer::Answer;
use super::forward::{failed, is_closed, wait};
use super::head::{aim, announce_body};
use super::request::{Body, Stop};
use super::retry::{Lost, Retries, Verdict};
use crate::access_log::Flags;
use crate::config::Route;
use crate::flow::Flow;
use crate::timer::{Expired, Timer};
use crate::upstream::load::Count;
use crate::upstream::replay::Replay;
use crate::upstream::{Attempted, ConnectError, Lease, Outcome, Pick, Upstream, UpstreamBody};

/// Which attempt a request is.
pub(super) const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");

/// A request on its way.
pub(super) struct Sending<'a> {
    pub(super) flow: &'a Rc<Flow>,
    pub(super) upstream: &'a Upstream,
    pub(super) route: &'a Route,
    pub(super) host: Option<&'a str>,
    pub(super) pick: Pick,
    /// As it left the filters, until nobody needs it any more.
    pub(super) head: Option<Box<Parts>>,
    pub(super) payload: Payload,
    pub(super) retries: Option<Retries<'a>>,
}

/// What there is to send behind the head.
pub(super) enum Payload {
    /// As it was before the first attempt.
    Unsent(Body),
    /// Nothing, however often.
    Nothing,
    /// It can be sent again, as long as it has not grown too long.
    Kept(Replay),
    /// It has been sent.
    Gone,
}

/// Why an attempt has brought no response.
enum Failed {
    /// For no reason that another attempt could mend.
    Stop(Stop),
    NotConnected(ConnectError),
    Broken {
        error: hyper::Error,
        unsent: bool,
    },
    /// The time of one attempt is over.
    TooSlow,
}

/// The time of one attempt.
#[derive(Clone, Copy)]
struct Limit {
    began: Instant,
    length: Duration,
}

// === impl Sending ===

impl Sending<'_> {
    /// Sends it until there is a response that stands.
    pub(super) async fn answered(
        &mut self,
        timer: &mut Timer,
    ) -> Result<(Response<Incoming>, Lease), Stop> {
        loop {
            let pause = match self.attempt(timer).await {
                Ok((response, lease)) => {
                    lease.note(Outcome::Answered(response.status().as_u16()));
                    match self.after_response(&response) {
                        None => return Ok((response, lease)),
                        Some(pause) => {
                            // Its connection is good for another request if it is done with
                            // this one.
                            let sent = self.flow.request_complete().is_some();
                            if sent && http_body::Body::is_end_stream(response.body()) {
                                lease.give_back();
                            }
                            pause
                        }
                    }
                }
                Err(failed) => self.after_loss(failed)?,
            };
            let slept = wait(self.flow, tokio::time::sleep(pause), timer).await;
            if let Err(stop) = slept {
                self.after_loss(Failed::Stop(stop))?;
            }
        }
    }

    /// The pause before the next attempt, if this response does not stand.
    fn after_response(&mut self, response: &Response<Incoming>) -> Option<Duration> {
        let repeatable = self.payload.can_repeat();
        let verdict = self
            .retries
            .as_mut()?
            .after_response(self.upstream, response, repeatable);
        match verdict {
            Verdict::Again(pause) => Some(pause),
            Verdict::Stands(flags) => {
                self.flow.facts.flag(flags);
                if let Payload::Kept(replay) = &self.payload {
                    replay.settle();
                }
                None
            }
        }
    }

    /// The pause before the next attempt, or the end.
    fn after_loss(&mut self, failure: Failed) -> Result<Duration, Stop> {
        self.flow.note(|notes| match &failure {
            Failed::NotConnected(error) => {
                if let Some(address) = error.address() {
                    notes.connected(address, self.upstream.name_of(address).as_deref(), None);
                }
            }
            Failed::Broken { error, .. } => notes.upstream_broke(error),
            Failed::Stop(_) | Failed::TooSlow => {}
        });
        let lost = match &failure {
            Failed::Stop(_) => None,
            // Not the upstream's doing.
            Failed::Broken { .. } if self.flow.broken().is_some() || is_closed(self.flow) => None,
            Failed::NotConnected(error) => Some(Lost::NotConnected(error)),
            Failed::Broken { error, unsent } => Some(Lost::Broken {
                error,
                unsent: *unsent,
            }),
            Failed::TooSlow => Some(Lost::TooSlow),
        };
        let repeatable = self.payload.can_repeat();
        if let (Some(retries), Some(lost)) = (&mut self.retries, lost) {
            match retries.after_loss(self.upstream, lost, repeatable) {
                Verdict::Again(pause) => return Ok(pause),
                Verdict::Stands(flags) => self.flow.facts.flag(flags),
            }
        }
        Err(match failure {
            Failed::Stop(Stop::Answer(answer, None)) => Stop::Answer(answer, self.unread()),
            Failed::Stop(stop) => stop,
            Failed::NotConnected(error) => {
                self.flow.facts.not_connected(&error);
                Stop::answer(Answer::not_connected(&error), self.unread())
            }
            Failed::Broken { error, .. } => failed(self.flow, &error),
            Failed::TooSlow => {
                let mut answer = Answer::expired(Expired::Route);
                answer.details = bytes::Bytes::from_static(b"upstream_per_try_timeout");
                Stop::answer(answer, self.unread())
            }
        })
    }

    async fn attempt(&mut self, timer: &mut Timer) -> Result<(Response<Incoming>, Lease), Failed> {
        let (flow, upstream) = (self.flow, self.upstream);
        let facts = &flow.facts;
        facts.attempts.set(facts.attempts.get() + 1);
        let length = (self.retries.as_ref()).and_then(|retries| retries.policy.per_try_timeout);
        let limit = length.map(|length| Limit {
            began: Instant::now(),
            length,
        });
        // Only filters and access logs ask for these times.
        let asked = (flow.filters.is_some() || flow.is_logged()).then(Instant::now);
        let awaited = self.payload.is_awaited();
        let mut lease = self.connect(false, awaited, limit, timer).await?;
        if let Some(asked) = asked {
            let now = Instant::now();
            facts.pool_ready.set(Some(now - asked));
            facts.first_sent.set(Some(now));
        }
        let mut request = self.request(lease.is_http2());
        loop {
            facts.upstream.set(Some(lease.address()));
            facts.set_wire(&lease.wire);
            flow.note(|notes| {
                notes.connected(lease.address(), lease.name(), Some(&lease.wire.line));
                notes.request_leaves(&request, lease.is_http2());
            });
            let sent = lease.send(request);
            let sent = match limit {
                None => wait(flow, sent, timer).await.map_err(Failed::Stop),
                Some(limit) => Box::pin(within(flow, limit, sent, timer)).await,
            };
            let mut error = match sent {
                Ok(Ok(response)) => return Ok((response, lease)),
                Ok(Err(error)) => error,
                Err(failed) => {
                    self.note_timeout(&failed, &lease);
                    return Err(failed);
                }
            };
            let unsent = error.take_message();
            // A pooled connection may have died unseen; what was never sent can be sent
            // again, and that is no retry.
            if lease.reused
                && let Some(unsent) = unsent
            {
                // Gone first, with its place.
                drop(lease);
                let awaited = !unsent.body().is_end_stream();
                // Boxed: it is rare.
                match Box::pin(self.connect(true, awaited, limit, timer)).await {
                    Ok(fresh) => {
                        lease = fresh;
                        request = unsent;
                        continue;
                    }
                    Err(failed) => {
                        if !matches!(self.payload, Payload::Kept(_)) {
                            super::linger(unsent.into_body().take_source());
                        }
                        return Err(failed);
                    }
                }
            }
            // What the client or a filter broke off says nothing of the endpoint.
            if self.flow.broken().is_none() && !is_closed(self.flow) {
                lease.note(Outcome::Failed);
            }
            let unsent = unsent.is_some();
            let error = error.into_error();
            tracing::debug!(cluster = %upstream.cluster.name, upstream = %lease.address(), "{error:?}");
            return Err(Failed::Broken { error, unsent });
        }
    }

    /// A connection; `fresh` whatever the pool has, `awaited` where some of the request is still
    /// to come.
    async fn connect(
        &self,
        fresh: bool,
        awaited: bool,
        limit: Option<Limit>,
        timer: &mut Timer,
    ) -> Result<Lease, Failed> {
        let attempted = Attempted::default();
        let client = Some(&*self.flow.facts.connection);
        let upstream = self.upstream;
        let mut connecting = pin!(upstream.attempt(self.pick, client, fresh, &attempted));
        // What the pool has costs no timer.
        let at_once = poll_fn(|cx| Poll::Ready(connecting.as_mut().poll(cx))).await;
        let connected = match at_once {
            Poll::Ready(connected) => connected,
            Poll::Pending => {
                if !awaited {
                    self.flow.complete_request();
                }
                let connecting = connecting.as_mut();
                let waited = match limit {
                    None => {
                        let waited = Box::pin(wait(self.flow, connecting, timer)).await;
                        waited.map_err(Failed::Stop)
                    }
                    Some(limit) => Box::pin(within(self.flow, limit, connecting, timer)).await,
                };
                waited.inspect_err(|failed| {
                    if let Some(count) = failed.timed_out() {
                        self.upstream.load.count(count);
                        attempted.timed_out();
                    }
                })?
            }
        };
        connected.map_err(|error| {
            tracing::debug!(cluster = %self.upstream.cluster.name, "{error}");
            Failed::NotConnected(error)
        })
    }

    /// The request as this attempt sends it.
    fn request(&mut self, http2: bool) -> Request<UpstreamBody> {
        let flow = self.flow;
        let again = self
            .retries
            .as_ref()
            .map(|retries| retries.policy.buffer_limit);
        let (mut head, body) = match std::mem::replace(&mut self.payload, Payload::Gone) {
            Payload::Unsent(body) => {
                let mut head = self.head.take().unwrap_or_else(empty);
                let body = body.outgoing(flow, &mut head, self.route, http2);
                match (again, body) {
                    (None, body) => (head, body),
                    (Some(_), UpstreamBody::Empty) => {
                        self.head = Some(head.clone());
                        self.payload = Payload::Nothing;
                        (head, UpstreamBody::Empty)
                    }
                    (Some(limit), body) => {
                        self.head = Some(head.clone());
                        let replay = Replay::new(body, limit);
                        let body = UpstreamBody::Replayed(replay.attempt());
                        self.payload = Payload::Kept(replay);
                        (head, body)
                    }
                }
            }
            payload => {
                let body = match &payload {
                    Payload::Kept(replay) => UpstreamBody::Replayed(replay.attempt()),
                    _ => UpstreamBody::Empty,
                };
                self.payload = payload;
                (self.head.clone().unwrap_or_else(empty), body)
            }
        };
        let tls = self.upstream.cluster.tls.is_some();
        aim(&mut head, self.route, self.host, http2, tls);
        if !http2 && !body.is_end_stream() {
            announce_body(&mut head);
        }
        if self.route.attempt_count.request {
            let count = HeaderValue::from(flow.facts.attempts.get());
            head.headers.insert(ATTEMPT_COUNT, count);
        }
        Request::from_parts(*head, body)
    }

    fn note_timeout(&self, failed: &Failed, lease: &Lease) {
        if let Some(count) = failed.timed_out() {
            lease.note(Outcome::TimedOut);
            self.upstream.load.count(count);
        }
    }

    /// A body that nobody will read.
    fn unread(&mut self) -> Option<Incoming> {
        match std::mem::replace(&mut self.payload, Payload::Gone) {
            Payload::Unsent(body) => body.unread(),
            Payload::Kept(replay) => replay.take_source(),
            Payload::Nothing | Payload::Gone => None,
        }
    }
}

// === impl Failed ===

impl Failed {
    /// What is counted, if it is that the upstream has taken too long.
    fn timed_out(&self) -> Option<Count> {
        match self {
            Self::TooSlow => Some(Count::PerTryTimeout),
            Self::Stop(Stop::Answer(answer, _)) if answer.flags == Flags::UPSTREAM_TIMEOUT => {
                Some(Count::Timeout)
            }
            _ => None,
        }
    }
}

// === impl Payload ===

impl Payload {
    fn can_repeat(&self) -> bool {
        match self {
            Self::Unsent(_) | Self::Nothing => true,
            Self::Kept(replay) => replay.can_repeat(),
            Self::Gone => false,
        }
    }

    /// Whether some of it is still to come.
    fn is_awaited(&self) -> bool {
        match self {
            Self::Unsent(body) => !body.is_ended(),
            Self::Kept(_) => true,
            Self::Nothing | Self::Gone => false,
        }
    }
}

/// Waits no longer than an attempt may take, once the whole request is here.
async fn within<T>(
    flow: &Rc<Flow>,
    limit: Limit,
    future: impl Future<Output = T>,
    timer: &mut Timer,
) -> Result<T, Failed> {
    let mut future = pin!(future);
    let mut sleep = pin!(tokio::time::sleep(limit.length));
    let limited = poll_fn(|cx| {
        if let Poll::Ready(result) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        let Some(complete) = flow.request_complete() else {
            return Poll::Pending;
        };
        let deadline = (complete.max(limit.began) + limit.length).into();
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx).map(|()| None)
    });
    let waited = wait(flow, limited, timer).await.map_err(Failed::Stop)?;
    waited.ok_or(Failed::TooSlow)
}

/// Of a request that is never sent: whoever comes here has no head to send.
fn empty() -> Box<Parts> {
    Box::new(Request::new(()).into_parts().0)
}
