//! A request that its filters have let go: what its route does with it, and the upstream
//! that answers.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use cofferdam_abi::Way;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;

use super::answer::Answer;
use super::request::{Admitted, Body, Stop};
use super::retry::Retries;
use super::sending::{Payload, Sending};
use super::upgrade::Upgrade;
use super::{asked, placement};
use crate::config::Action;
use crate::flow::{Broken, Flow};
use crate::headers;
use crate::route;
use crate::timer::Timer;
use crate::upstream::{Lease, Pick};

/// A request that an upstream has answered.
pub(crate) struct Forwarded {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
    pub(crate) timer: Timer,
    pub(crate) upgrade: Option<Upgrade>,
    pub(crate) takes_trailers: bool,
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
    let (setup, listener) = (&flow.facts.setup, flow.facts.listener());
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
    let upstream = setup.upstream(cluster);

    headers::apply_edits(&mut head.headers, &route.request_headers);
    // What follows an upgrade's head is not its body.
    let body = if upgrade.is_some() {
        Body::Filtered(None)
    } else {
        body
    };
    let connect = upgrade.as_ref().is_some_and(Upgrade::is_connect);
    let upgrade = upgrade.filter(|_| {
        route.upgrades
            && upstream.cluster.protocol != crate::config::Protocol::Http2
            && Upgrade::is_asked(&head)
    });
    if upgrade.is_none() && (connect || head.method == Method::CONNECT) {
        return Err(Stop::answer(Answer::no_tunnel(), body.unread()));
    }
    match &upgrade {
        Some(upgrade) => upgrade.prepare(&mut head, &mut worker.rng.borrow_mut()),
        None => {
            head.headers.remove(header::UPGRADE);
            head.headers.remove(header::CONNECTION);
        }
    }

    if let (Some(tracer), Some(trace)) = (&worker.tracer, &flow.facts.trace) {
        tracer.inject(trace, &mut head.headers);
    }
    let asked = asked::take(&mut head.headers);
    let timeout = match asked.as_ref().and_then(|asked| asked.timeout) {
        Some(timeout) => timeout,
        None => route.timeout,
    };
    let mut retries = None;
    if upgrade.is_none() {
        retries = Retries::new(route.retry.as_ref(), asked.as_deref());
    }
    let by_hash = upstream.cluster.balance.policy.hashes();
    let pick = Pick {
        wanted: flow.facts.wanted_endpoint.get(),
        hash: by_hash
            .then(|| placement::of(&route.hash_policy, &head.headers, &flow.facts.connection))
            .flatten(),
    };
    let mut timer = Timer::new(timeout, route.idle_timeout).bounded(flow);
    let mut sending = Sending {
        flow,
        upstream,
        route,
        host: host_rewrite.as_deref(),
        pick,
        head: Some(head),
        payload: Payload::Unsent(body),
        retries,
    };
    let (response, lease) = sending.answered(&mut timer).await?;
    if flow.is_logged() {
        flow.facts.responded.set(Some(Instant::now()));
        flow.facts.upstream_protocol.set(Some(response.version()));
        flow.note(|notes| notes.response_came(response.headers(), response.version()));
    }
    Ok(Forwarded {
        response,
        lease,
        timer,
        upgrade,
        takes_trailers,
    })
}

/// Waits for the response, while a filter may answer instead and the timers run.
pub(super) async fn wait<T>(
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
        timer
            .poll(cx, flow)
            .map(|expired| Err(Stop::answer(Answer::expired(expired), None)))
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
pub(super) fn failed(flow: &Flow, error: &hyper::Error) -> Stop {
    if is_closed(flow) {
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

/// Whether a filter has ended the request.
pub(super) fn is_closed(flow: &Flow) -> bool {
    let filters = flow.filters.as_ref();
    filters.is_some_and(|filters| filters.chain.borrow().request_is_closed())
}

/// Routes that need no upstream.
fn act(action: &Action, head: &Parts, flow: &Flow) -> Answer {
    use crate::access_log::Flags;
    match action {
        Action::Respond { status, body } => {
            let mut answer = Answer::new(*status, Flags::none(), "direct_response", "");
            answer.body = body.clone();
            answer.theirs = true;
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
