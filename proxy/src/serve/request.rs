//! The request's half of the data path: through the filters, to the route's action, to an
//! upstream that answers.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use cofferdam_abi::{Exchange, Headers, Part, Way};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;

use super::answer::{self, Answer};
use super::upgrade::Upgrade;
use super::{Cut, ResponseBody, response};
use crate::config::{Action, Route};
use crate::connection::Connection;
use crate::facts::{Facts, Properties};
use crate::flow::{Broken, End, Flow};
use crate::headers;
use crate::pump::{Pump, Source, Stopped};
use crate::route;
use crate::timer::{Expired, Timer};
use crate::trailers;
use crate::upstream::body::Filtered;
use crate::upstream::{Lease, UpstreamBody};
use crate::worker::Worker;

/// A request that has passed its filters.
pub(crate) struct Admitted {
    head: Parts,
    body: Body,
    upgrade: Option<Upgrade>,
    /// What the client takes: said in its own `te`, which goes no further.
    takes_trailers: bool,
}

/// Its body.
enum Body {
    Plain(Incoming),
    /// The pump, and a part that was taken with the head; `None` for a request that
    /// ended with its head.
    Filtered(Option<(Pump, Option<Part>)>),
}

/// A request that an upstream has answered.
pub(crate) struct Forwarded {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
    pub(crate) timer: Timer,
    pub(crate) upgrade: Option<Upgrade>,
    pub(crate) takes_trailers: bool,
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
    fn answer(answer: Answer, unread: Option<Incoming>) -> Self {
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
    // The codec has answered it, or will when somebody reads the body.
    head.headers.remove(header::EXPECT);
    headers::request_id(&mut head.headers, &mut worker.rng.borrow_mut());
    if let Some(peer) = connection.peer_ip() {
        headers::append_forwarded_for(&mut head.headers, peer);
    }
    headers::set_forwarded_proto(&mut head.headers, connection.tls.is_some());
}

/// The request as its filters will see it.
pub(crate) fn exchange(head: &Parts, facts: &Rc<Facts>) -> Exchange {
    let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let authority = headers::authority(&head.uri, &head.headers);
    let scheme = facts.connection.scheme();
    let pairs = headers::request_to_pairs(&head.method, scheme, authority, path, &head.headers);
    Exchange::new(
        Headers::from_entries(pairs),
        Box::new(Properties(facts.clone())),
    )
}

/// Takes the request through its filters, until its head may leave them.
pub(crate) async fn admit(
    flow: &Rc<Flow>,
    mut head: Parts,
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
    let mut timer = Timer::new(None, flow.worker.stream_idle_timeout(flow));

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
                .map(|_| Err(Stop::answer(Answer::idle(), pump.take_source()))),
        })
        .await
    };
    if let Part::Headers { end } = next(&mut pump).await? {
        ended = end;
    }

    let (changed, pairs) = {
        let exchange = filters.exchange.borrow();
        let map = exchange.request_headers.as_ref();
        let changed = map.is_some_and(Headers::is_changed);
        (
            changed,
            map.filter(|_| changed).map(|map| map.entries().to_vec()),
        )
    };
    if let Some(pairs) = pairs {
        let stop = |why: String, pump: &mut Pump| {
            Stop::answer(Answer::bad_filtered_request(why), pump.take_source())
        };
        let made = headers::request_from_pairs(&pairs, filters.invalid)
            .map_err(|bad| stop(format!("invalid_request_headers{{{bad}}}"), &mut pump))?;
        report_dropped(&made.dropped);
        rebuild(&mut head, made).map_err(|why| stop(why, &mut pump))?;
    }
    // Framing must say what the filters made of the body; whoever looks at bodies may have
    // changed it with its first bytes, so those are waited for.
    let mut first = None;
    if !ended && head.headers.contains_key(header::CONTENT_LENGTH) && sees_body(flow, Way::Request)
    {
        let part = next(&mut pump).await?;
        repair_length(flow, Way::Request, &mut head.headers, &part);
        first = Some(part);
    }
    if changed {
        headers::strip_hop_by_hop(&mut head.headers, upgrade.is_some());
        let listener = flow.worker.listener(flow.facts.connection.listener);
        flow.facts.route.set(listener.find(&head));
    }
    if ended {
        flow.complete_request();
        // A filter may have promised what will not come; the next request would be it.
        if promised(&head.headers).is_some_and(|length| length != 0) {
            head.headers.remove(header::CONTENT_LENGTH);
        }
    }
    let body = Body::Filtered((!ended).then_some((pump, first)));
    Ok(Admitted {
        head,
        body,
        upgrade,
        takes_trailers,
    })
}

/// Does what the route says.
pub(crate) async fn forward(flow: &Rc<Flow>, admitted: Admitted) -> Result<Forwarded, Stop> {
    let Admitted {
        mut head,
        body,
        upgrade,
        takes_trailers,
    } = admitted;
    let worker = flow.worker.clone();
    let listener = worker.listener(flow.facts.connection.listener);
    let Some(index) = flow.facts.route.get() else {
        return Err(Stop::answer(Answer::no_route(), body.unread()));
    };
    let route = &listener.config.routes[index];
    let (clusters, host_rewrite) = match &route.action {
        Action::Forward {
            clusters,
            host_rewrite,
            ..
        } => (clusters, host_rewrite),
        action => return Err(Stop::answer(act(action, &head, flow), body.unread())),
    };
    let cluster = match &clusters[..] {
        [(only, _)] => *only,
        several => several[route::pick_cluster(several, worker.rng.borrow_mut().u64(..))].0,
    };
    flow.facts.cluster.set(Some(cluster));
    let upstream = worker.upstream(cluster);

    headers::apply_edits(&mut head.headers, &route.request_headers);
    // What follows an upgrade's head is not its body.
    let body = if upgrade.is_some() {
        Body::Filtered(None)
    } else {
        body
    };
    let upgrade = upgrade
        .filter(|_| route.upgrades && upstream.cluster.protocol != crate::config::Protocol::Http2);
    if upgrade.is_none() && head.method == Method::CONNECT {
        return Err(Stop::answer(Answer::no_tunnel(), body.unread()));
    }
    match &upgrade {
        Some(upgrade) => upgrade.prepare(&mut head, &mut worker.rng.borrow_mut()),
        None => {
            head.headers.remove(header::UPGRADE);
            head.headers.remove(header::CONNECTION);
        }
    }

    let mut lease = match upstream.connect(false).await {
        Ok(lease) => lease,
        Err(error) => {
            tracing::debug!(cluster = %upstream.cluster.name, "{error}");
            flow.facts.upstream.set(error.address());
            return Err(Stop::answer(Answer::not_connected(&error), body.unread()));
        }
    };
    let body = body.outgoing(flow, &mut head, &worker, route, lease.is_http2());
    aim(
        &mut head,
        route,
        host_rewrite.as_deref(),
        lease.is_http2(),
        upstream.cluster.tls.is_some(),
    );
    let mut request = Request::from_parts(head, body);
    let mut timer = Timer::new(route.timeout, route.idle_timeout);
    loop {
        flow.facts.upstream.set(Some(lease.address()));
        flow.facts.upstream_local.set(lease.local);
        flow.facts.attempts.set(flow.facts.attempts.get() + 1);
        let sent = lease.send(request);
        match wait(flow, sent, &mut timer).await {
            Ok(Ok(response)) => {
                return Ok(Forwarded {
                    response,
                    lease,
                    timer,
                    upgrade,
                    takes_trailers,
                });
            }
            Ok(Err(mut error)) => {
                // A pooled connection may have died unseen; what was never sent can be
                // sent again.
                if lease.reused
                    && let Some(unsent) = error.take_message()
                {
                    match upstream.connect(true).await {
                        Ok(fresh) => {
                            lease = fresh;
                            request = unsent;
                            continue;
                        }
                        Err(error) => {
                            flow.facts.upstream.set(error.address());
                            let unread = unsent.into_body().take_source();
                            return Err(Stop::answer(Answer::not_connected(&error), unread));
                        }
                    }
                }
                let error = error.into_error();
                tracing::debug!(cluster = %upstream.cluster.name, upstream = %lease.address(), "{error:?}");
                return Err(failed(flow, &error));
            }
            Err(stop) => return Err(stop),
        }
    }
}

/// Waits for the response, while a filter may answer instead and the timers run.
async fn wait<T>(
    flow: &Rc<Flow>,
    sent: impl Future<Output = T>,
    timer: &mut Timer,
) -> Result<T, Stop> {
    let mut sent = pin!(sent);
    poll_fn(|cx| {
        if let Poll::Ready(result) = sent.as_mut().poll(cx) {
            return Poll::Ready(Ok(result));
        }
        if let Some(stop) = poll_filters(flow, cx) {
            return Poll::Ready(Err(stop));
        }
        flow.watch_request(cx.waker());
        timer.poll(cx, flow).map(|expired| {
            Err(Stop::answer(
                match expired {
                    Expired::Route => Answer::timeout(),
                    Expired::Idle => Answer::idle(),
                },
                None,
            ))
        })
    })
    .await
}

/// Whether a filter has answered or closed the stream while its request was under way.
fn poll_filters(flow: &Rc<Flow>, cx: &Context<'_>) -> Option<Stop> {
    let filters = flow.filters.as_ref()?;
    filters
        .exchange
        .borrow_mut()
        .set_waker(Way::Response, cx.waker());
    let stopped = flow.with_chain(Way::Response, |chain| {
        chain.poll();
        (chain.is_reset(), chain.request_is_closed())
    });
    match stopped {
        Some((true, _)) => Some(Stop::Cut),
        Some((_, true)) => Some(Stop::Filtered(None)),
        _ => None,
    }
}

/// There is no response; but that is the upstream's fault only if the request reached it
/// as it should.
fn failed(flow: &Rc<Flow>, error: &hyper::Error) -> Stop {
    let by_filter = flow
        .filters
        .as_ref()
        .is_some_and(|filters| filters.chain.borrow().request_is_closed());
    if by_filter {
        return Stop::Filtered(None);
    }
    let answer = match flow.broken() {
        Some(Broken::ByClient) => Answer::broken_request(),
        Some(Broken::ByFilters) => {
            Answer::bad_filtered_request("request_length_changed".to_owned())
        }
        None => Answer::upstream_failed(error),
    };
    Stop::answer(answer, None)
}

/// Routes that need no upstream.
fn act(action: &Action, head: &Parts, flow: &Flow) -> Answer {
    use crate::access_log::Flags;
    match action {
        Action::Respond { status, body } => {
            let mut answer = Answer::new(*status, Flags::none(), "direct_response", "");
            answer.body = body.clone();
            answer
        }
        Action::Redirect { status, .. } => {
            let target = route::Target {
                scheme: flow.facts.connection.scheme(),
                authority: headers::authority(&head.uri, &head.headers),
                path_and_query: head.uri.path_and_query().map_or("/", PathAndQuery::as_str),
            };
            let mut answer = Answer::new(*status, Flags::none(), "direct_response", "");
            let location = route::redirect_location(action, &target);
            match location.and_then(|location| HeaderValue::try_from(location).ok()) {
                Some(location) => answer.headers.push((header::LOCATION, location)),
                None => answer.status = StatusCode::INTERNAL_SERVER_ERROR,
            }
            answer
        }
        Action::Forward { .. } => Answer::no_route(),
    }
}

/// Makes the target what the upstream's protocol wants, after the route's rewrites.
fn aim(head: &mut Parts, route: &Route, host: Option<&str>, http2: bool, tls: bool) {
    head.version = if http2 {
        Version::HTTP_2
    } else {
        Version::HTTP_11
    };
    let path = head
        .uri
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    let path = route::rewrite_path(route, path.as_str())
        .and_then(|rewritten| PathAndQuery::try_from(rewritten).ok())
        .unwrap_or(path);
    let authority = host
        .unwrap_or_else(|| headers::authority(&head.uri, &head.headers))
        .to_owned();
    if http2 {
        head.headers.remove(header::HOST);
        let uri = Uri::builder()
            .scheme(if tls { "https" } else { "http" })
            .authority(authority.as_str())
            .path_and_query(path.clone())
            .build();
        head.uri = uri.unwrap_or_else(|_| Uri::from(path));
        return;
    }
    if (host.is_some()
        || head.uri.authority().is_some()
        || !head.headers.contains_key(header::HOST))
        && let Ok(value) = HeaderValue::try_from(authority)
    {
        head.headers.insert(header::HOST, value);
    }
    if head.uri.authority().is_some() || head.uri.path_and_query() != Some(&path) {
        // `OPTIONS *` has the target `*`, which is a path of its own.
        head.uri = Uri::from(path);
    }
}

/// Puts what filters made of a head into the head.
fn rebuild(head: &mut Parts, made: headers::RequestHead) -> Result<(), String> {
    head.method = made.method;
    head.headers = made.headers;
    if head.version == Version::HTTP_2 || head.method == Method::CONNECT {
        let mut uri = Uri::builder().path_and_query(made.path);
        if let Some(authority) = made.authority {
            uri = uri
                .authority(authority)
                .scheme(made.scheme.map_or("http", |scheme| {
                    if scheme == http::uri::Scheme::HTTPS {
                        "https"
                    } else {
                        "http"
                    }
                }));
        }
        head.uri = uri.build().map_err(|error| error.to_string())?;
        return Ok(());
    }
    if let Some(authority) = made.authority
        && let Ok(host) = HeaderValue::try_from(authority.as_str())
    {
        head.headers.insert(header::HOST, host);
    }
    head.uri = Uri::from(made.path);
    Ok(())
}

pub(crate) fn sees_body(flow: &Flow, way: Way) -> bool {
    flow.filters
        .as_ref()
        .is_some_and(|filters| filters.chain.borrow().sees_body(way))
}

/// Makes `content-length` right when filters have changed the body; `part` is the first of
/// it that comes out of them.
pub(crate) fn repair_length(flow: &Flow, way: Way, headers: &mut http::HeaderMap, part: &Part) {
    let Some(filters) = &flow.filters else { return };
    if !filters.repair || !filters.chain.borrow_mut().changed_body(way) {
        return;
    }
    match part {
        Part::Data { bytes, end: true } => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        _ => {
            headers.remove(header::CONTENT_LENGTH);
        }
    }
}

pub(crate) fn report_dropped(dropped: &[headers::Dropped]) {
    for field in dropped {
        let name = String::from_utf8_lossy(&field.name);
        tracing::warn!(header = %name, why = field.why, "header made by a filter left out");
    }
}

/// What `content-length` says.
pub(crate) fn promised(headers: &http::HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

// === impl Body ===

impl Body {
    /// The client's body, when nobody will send it.
    fn unread(self) -> Option<Incoming> {
        match self {
            Self::Plain(body) => Some(body),
            Self::Filtered(pump) => pump.and_then(|(mut pump, _)| pump.take_source()),
        }
    }

    fn outgoing(
        self,
        flow: &Rc<Flow>,
        head: &mut Parts,
        worker: &Worker,
        route: &Route,
        http2: bool,
    ) -> UpstreamBody {
        match self {
            Self::Plain(body) if body.is_end_stream() => {
                flow.complete_request();
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
                    trailers::announce(&mut head.headers, &worker.trailer_names(route));
                }
                let sendable = (!http2).then(|| trailers::announced(&head.headers));
                let promised = promised(&head.headers);
                UpstreamBody::Filtered(Filtered::new(pump, Way::Request, first, promised, sendable))
            }
        }
    }
}
