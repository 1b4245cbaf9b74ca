//! A request's way through its filters.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use cofferdam_abi::{Exchange, Part, Way};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Response, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;

use super::answer::{self, Answer};
use super::head::{promised, rebuild, repair_length, report_dropped, sees_body};
use super::upgrade::Upgrade;
use super::{Cut, ResponseBody, response};
use crate::config::Route;
use crate::connection::Connection;
use crate::facts::{Facts, Properties};
use crate::flow::{End, Flow};
use crate::headers::{self, BadHeaders};
use crate::pump::{Pump, Source, Stopped};
use crate::timer::Timer;
use crate::trailers;
use crate::upstream::UpstreamBody;
use crate::upstream::body::Filtered;
use crate::worker::Worker;

/// A request that has passed its filters.
pub(crate) struct Admitted {
    pub(super) head: Box<Parts>,
    pub(super) body: Body,
    pub(super) upgrade: Option<Upgrade>,
    /// What the client takes: said in its own `te`, which goes no further.
    pub(super) takes_trailers: bool,
}

/// Its body.
pub(crate) enum Body {
    Plain(Incoming),
    /// The pump, and a part that was taken with the head; `None` for a request that
    /// ended with its head.
    Filtered(Option<(Pump, Option<Part>)>),
}

/// A request that goes no further.
pub(crate) enum Stop {
    /// With this answer.
    Answer(Box<Answer>, Option<Incoming>),
    /// With an answer a filter has made already.
    Filtered(Option<Incoming>),
    /// Without any.
    Cut,
}

// === impl Stop ===

impl Stop {
    pub(super) fn answer(answer: Answer, unread: Option<Incoming>) -> Self {
        Self::Answer(Box::new(answer), unread)
    }

    /// Sends whatever there is to send.
    pub(crate) async fn finish(self, end: End) -> Result<Response<ResponseBody>, Cut> {
        match self {
            Self::Answer(answer, unread) => answer::send(end, *answer, unread, None).await,
            Self::Filtered(unread) => {
                answer::linger(unread);
                response::local(end, None).await
            }
            Self::Cut => {
                end.0.facts.flag(crate::access_log::Flags::LOCAL_RESET);
                Err(Cut)
            }
        }
    }
}

/// Takes away what belongs to the client's connection, adds what the next hop needs.
pub(crate) fn sanitise(
    worker: &Worker,
    connection: &Connection,
    head: &mut Parts,
    keep_upgrade: bool,
) {
    headers::strip_hop_by_hop(&mut head.headers, keep_upgrade);
    if head.version == Version::HTTP_2 {
        headers::join_cookie(&mut head.headers);
        headers::one_length(&mut head.headers);
    }
    // The codec has answered it, or will when somebody reads the body.
    head.headers.remove(header::EXPECT);
    headers::request_id(&mut head.headers, &mut worker.rng.borrow_mut());
    if let Some(peer) = &connection.forwarded_for {
        headers::append_forwarded(&mut head.headers, peer);
    }
    headers::set_forwarded_proto(&mut head.headers, connection.tls.is_some());
    connection.forwarded_cert.apply(&mut head.headers);
}

/// The request as its filters will see it.
pub(crate) fn exchange(head: &Parts, facts: &Rc<Facts>) -> Exchange {
    let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let authority = headers::authority(&head.uri, &head.headers);
    let scheme = facts.connection.scheme();
    Exchange::new(
        headers::request_map(&head.method, scheme, authority, path, &head.headers),
        Box::new(Properties(facts.clone())),
    )
}

/// Takes the request through its filters, until its head may leave them.
pub(crate) async fn admit(
    flow: &Rc<Flow>,
    mut head: Box<Parts>,
    body: Incoming,
    upgrade: Option<Upgrade>,
) -> Result<Admitted, Stop> {
    let takes_trailers = trailers::accepted(&head.headers);
    let Some(filters) = &flow.filters else {
        return Ok(Admitted {
            head,
            body: Body::Plain(body),
            upgrade,
            takes_trailers,
        });
    };
    let ended = body.is_end_stream() && upgrade.is_none();
    let http2 = head.version == Version::HTTP_2;
    let source = (!body.is_end_stream()).then_some(Source::Body(body));
    let mut pump = Pump::new(flow.clone(), Way::Request, source, http2);
    flow.with_chain(Way::Request, |chain| {
        chain.push(Way::Request, Part::Headers { end: ended })
    });
    let mut timer = Timer::new(None, flow.stream_idle_timeout()).bounded(flow);

    let mut ended = false;
    let mut next = async |pump: &mut Pump| {
        poll_fn(|cx| match pump.poll_part(cx) {
            Poll::Ready(Ok(part)) => Poll::Ready(Ok(part)),
            Poll::Ready(Err(Stopped::Reset)) => Poll::Ready(Err(Stop::Cut)),
            Poll::Ready(Err(Stopped::Answered)) => {
                Poll::Ready(Err(Stop::Filtered(pump.take_source())))
            }
            Poll::Ready(Err(Stopped::Source(_) | Stopped::Raw(_))) => {
                Poll::Ready(Err(Stop::answer(Answer::broken_request(), None)))
            }
            Poll::Pending => timer
                .poll(cx, flow)
                .map(|expired| Err(Stop::answer(Answer::expired(expired), pump.take_source()))),
        })
        .await
    };
    if let Part::Headers { end } = next(&mut pump).await? {
        ended = end;
    }

    let (cleared, made) = {
        let mut exchange = filters.exchange.borrow_mut();
        let cleared = std::mem::take(&mut exchange.route_cleared);
        let map = exchange.request_headers.as_ref();
        let changed = map.filter(|map| map.is_changed());
        let made = changed.map(|map| headers::request_from_pairs(map.entries(), filters.invalid));
        (cleared, made)
    };
    let changed = made.is_some();
    if let Some(made) = made {
        let stop = |why: String, pump: &mut Pump| {
            Stop::answer(Answer::bad_filtered_request(why), pump.take_source())
        };
        let made = made.and_then(|made| match &upgrade {
            Some(_) if !Upgrade::allows(&made.method) => Err(BadHeaders::Malformed(":method")),
            _ => Ok(made),
        });
        let made =
            made.map_err(|bad| stop(format!("invalid_request_headers{{{bad}}}"), &mut pump))?;
        report_dropped(&made.dropped);
        rebuild(&mut head, made).map_err(|why| stop(why, &mut pump))?;
    }
    // Framing must say what the filters made of the body; whoever looks at bodies may have
    // changed it with its first bytes, so those are waited for.
    let mut first = None;
    if !ended
        && upgrade.is_none()
        && head.headers.contains_key(header::CONTENT_LENGTH)
        && sees_body(flow, Way::Request)
    {
        let part = next(&mut pump).await?;
        repair_length(flow, Way::Request, &mut head.headers, &part);
        first = Some(part);
    }
    if changed {
        headers::strip_hop_by_hop(&mut head.headers, upgrade.is_some());
    }
    if changed || cleared {
        flow.facts.route.set(flow.facts.listener().find(&head));
    }
    if ended {
        flow.complete_request();
    }
    let body = Body::Filtered((!ended).then_some((pump, first)));
    Ok(Admitted {
        head,
        body,
        upgrade,
        takes_trailers,
    })
}

// === impl Body ===

impl Body {
    /// Whether nothing more of it will come.
    pub(super) fn is_ended(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_end_stream(),
            Self::Filtered(rest) => rest.is_none(),
        }
    }

    /// The client's body, when nobody will send it.
    pub(super) fn unread(self) -> Option<Incoming> {
        match self {
            Self::Plain(body) => Some(body),
            Self::Filtered(pump) => pump.and_then(|(mut pump, _)| pump.take_source()),
        }
    }

    /// It as the upstream's connection pulls it; `head` says which trailers there may be, and
    /// promises nothing that will not come.
    pub(super) fn outgoing(
        self,
        flow: &Rc<Flow>,
        head: &mut Parts,
        route: &Route,
        http2: bool,
    ) -> UpstreamBody {
        match self {
            body if body.is_ended() => {
                flow.complete_request();
                // A filter may have given it a length; the next request would be the body.
                if promised(&head.headers).is_some_and(|length| length != 0) {
                    head.headers.remove(header::CONTENT_LENGTH);
                }
                UpstreamBody::Empty
            }
            Self::Plain(body) => {
                let sendable = (!http2).then(|| trailers::announced(&head.headers));
                UpstreamBody::Plain {
                    body,
                    flow: flow.clone(),
                    sendable,
                }
            }
            Self::Filtered(None) => UpstreamBody::Empty,
            Self::Filtered(Some((pump, first))) => {
                if !http2 {
                    trailers::announce(&mut head.headers, &flow.facts.setup.trailer_names(route));
                }
                let sendable = (!http2).then(|| trailers::announced(&head.headers));
                let promised = promised(&head.headers);
                UpstreamBody::Filtered(Filtered::new(pump, Way::Request, first, promised, sendable))
            }
        }
    }
}
