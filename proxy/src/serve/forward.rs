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
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::answer::Answer;
use super::head::aim;
use super::request::{Admitted, Body, Stop};
use super::upgrade::Upgrade;
use crate::config::Action;
use crate::flow::{Broken, Flow};
use crate::headers;
use crate::route;
use crate::timer::{Expired, Timer};
use crate::upstream::Lease;

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

    let wanted = flow.facts.wanted_endpoint.get();
    // Only filters ask for these times.
    let asked = flow.filters.is_some().then(Instant::now);
    let mut lease = match upstream.connect(wanted, false).await {
        Ok(lease) => lease,
        Err(error) => {
            tracing::debug!(cluster = %upstream.cluster.name, "{error}");
            flow.facts.not_connected(&error);
            return Err(Stop::answer(Answer::not_connected(&error), body.unread()));
        }
    };
    if let Some(asked) = asked {
        let now = Instant::now();
        flow.facts.pool_ready.set(Some(now - asked));
        flow.facts.first_sent.set(Some(now));
    }
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
        flow.facts.set_wire(&lease.wire);
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
                    match upstream.connect(wanted, true).await {
                        Ok(fresh) => {
                            lease = fresh;
                            request = unsent;
                            continue;
                        }
                        Err(error) => {
                            flow.facts.not_connected(&error);
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
