//! The response's half of the data path: from the upstream's head, through the filters, to
//! the client's connection.

use std::future::poll_fn;
use std::task::Poll;

use cofferdam_abi::{Headers, Part, Way};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use hyper::ext::ReasonPhrase;

use super::answer::{self, Answer};
use super::forward::Forwarded;
use super::sending::ATTEMPT_COUNT;
use super::{Cut, ResponseBody, head, upgrade};
use crate::access_log::Flags;
use crate::config::ServerHeader;
use crate::flow::{End, Flow};
use crate::headers;
use crate::notes::Notes;
use crate::pump::{Pump, Source, Stopped};
use crate::reports::{self, Matter};
use crate::timer::Timer;
use crate::trailers;
use crate::upstream::Lease;
use crate::upstream::body::Filtered;

/// What our `server` header says.
const SERVER: HeaderValue = HeaderValue::from_static("cofferdam");

/// Hands the upstream's response to the client.
pub(crate) async fn respond(end: End, forwarded: Forwarded) -> Result<Response<ResponseBody>, Cut> {
    let Forwarded {
        mut response,
        lease,
        timer,
        upgrade,
        takes_trailers,
    } = forwarded;
    let flow = end.0.clone();
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(upgrade)) = (response.status(), upgrade) {
        // From here on only silence ends it, and its time.
        let timer = Timer::new(None, flow.stream_idle_timeout()).bounded(&flow);
        let upstream = lease.into_tunnel();
        return upgrade::switch(end, upgrade, &mut response, timer, upstream).await;
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // Nobody asked for it.
        let answer = Answer::new(
            StatusCode::BAD_GATEWAY,
            Flags::UPSTREAM_PROTOCOL_ERROR,
            "upstream_protocol_error",
            "upstream switched protocols unasked\n",
        );
        return answer::send(end, answer, None, None).await;
    }
    let (mut head, body) = response.into_parts();
    headers::strip_hop_by_hop(&mut head.headers, false);
    let http1 = flow.facts.protocol != Some(http::Version::HTTP_2);
    let Some(filters) = &flow.filters else {
        let sendable = http1.then(|| {
            if takes_trailers {
                trailers::announced(&head.headers)
            } else {
                Vec::new()
            }
        });
        let reason = head.extensions.remove::<ReasonPhrase>();
        let response = finish(end, head.status, head.headers, |end| {
            ResponseBody::plain(body, lease, timer, sendable, end)
        });
        return Ok(with_reason(response, reason));
    };
    let ended = body.is_end_stream();
    let shown = headers::response_map(head.status, &head.headers);
    filters.exchange.borrow_mut().response_headers = Some(shown);
    // Filters may ask for it from their response callbacks on.
    flow.facts.status.set(Some(head.status.as_u16()));
    flow.facts
        .explain(&bytes::Bytes::from_static(b"via_upstream"));
    let http2 = lease.is_http2();
    let source = (!ended).then_some(Source::Body(body));
    let pump = Pump::new(flow.clone(), Way::Response, source, http2);
    flow.with_chain(Way::Response, |chain| {
        chain.push(Way::Response, Part::Headers { end: ended })
    });
    filtered(end, pump, Some(head), Some(lease), timer, takes_trailers).await
}

/// Hands out an answer that the chain has made or been given.
pub(crate) async fn local(end: End, timer: Option<Timer>) -> Result<Response<ResponseBody>, Cut> {
    let pump = Pump::new(end.0.clone(), Way::Response, None, false);
    let timer = timer.unwrap_or_else(|| Timer::new(None, end.0.stream_idle_timeout()));
    filtered(end, pump, None, None, timer, false).await
}

/// Waits until the filters let a head go, and sends it.
async fn filtered(
    end: End,
    mut pump: Pump,
    original: Option<Parts>,
    lease: Option<Lease>,
    mut timer: Timer,
    takes_trailers: bool,
) -> Result<Response<ResponseBody>, Cut> {
    let flow = end.0.clone();
    let ended = loop {
        match next(&flow, &mut pump, &mut timer).await? {
            Part::Headers { end } => break end,
            Part::Data { .. } | Part::Trailers => {}
        }
    };
    let from = Upstream {
        original,
        lease,
        takes_trailers,
    };
    released(end, pump, ended, timer, from).await
}

/// Where a response comes from that filters have seen; all empty for one made here.
#[derive(Default)]
pub(crate) struct Upstream {
    original: Option<Parts>,
    lease: Option<Lease>,
    takes_trailers: bool,
}

/// Sends a head that the filters have let go; `ended` when nothing follows it.
pub(crate) async fn released(
    end: End,
    mut pump: Pump,
    ended: bool,
    mut timer: Timer,
    from: Upstream,
) -> Result<Response<ResponseBody>, Cut> {
    let flow = end.0.clone();
    let Some(filters) = &flow.filters else {
        return Err(Cut);
    };
    let Upstream {
        mut original,
        lease,
        takes_trailers,
    } = from;
    let local = filters.chain.borrow().response_is_local();
    if local {
        original = None;
        pump.take_source();
    }
    let reason = original
        .as_mut()
        .and_then(|head| Some((head.status, head.extensions.remove::<ReasonPhrase>()?)));
    let (changed, made) = {
        let exchange = filters.exchange.borrow();
        let map = exchange.response_headers.as_ref();
        let changed = original.is_none() || map.is_some_and(Headers::is_changed);
        let entries = map.map_or(&[][..], Headers::entries);
        let made = changed.then(|| headers::response_from_pairs(entries, filters.invalid));
        (changed, made)
    };
    let (status, mut map) = match (original, made) {
        (Some(original), None) => (original.status, original.headers),
        (_, made) => {
            match made.unwrap_or(Err(headers::BadHeaders::Missing(":status"))) {
                // Nobody switches protocols here.
                Ok(made) if made.status.is_informational() => {
                    return Ok(bad_head(end, &headers::BadHeaders::Malformed(":status")));
                }
                Ok(made) => {
                    head::report_dropped(&made.dropped);
                    (made.status, made.headers)
                }
                Err(bad) => return Ok(bad_head(end, &bad)),
            }
        }
    };
    // A filter that changes the status has not said why in words.
    let reason = reason.and_then(|(of, reason)| (of == status).then_some(reason));
    if changed {
        headers::strip_hop_by_hop(&mut map, false);
    }
    // What filters still let go of a body is not waited for.
    let ended = ended || is_bodiless(status);
    let mut first = None;
    if !ended && map.contains_key(header::CONTENT_LENGTH) && head::sees_body(&flow, Way::Response) {
        let part = next(&flow, &mut pump, &mut timer).await?;
        head::repair_length(&flow, Way::Response, &mut map, &part);
        first = Some(part);
    }
    let http1 = flow.facts.protocol != Some(http::Version::HTTP_2);
    if flow.facts.protocol == Some(http::Version::HTTP_11)
        && !ended
        && takes_trailers
        && let Some(route) = flow.route()
    {
        trailers::announce(&mut map, &flow.facts.setup.trailer_names(route));
    }
    let sendable = http1.then(|| {
        if takes_trailers {
            trailers::announced(&map)
        } else {
            Vec::new()
        }
    });
    if ended {
        let describes = flow.facts.head || status == StatusCode::NOT_MODIFIED;
        if !describes && head::promised(&map).is_some_and(|length| length != 0) {
            map.remove(header::CONTENT_LENGTH);
        }
        let response = finish(end, status, map, |end| {
            // Read to its end, or never there.
            if let Some(lease) = lease
                && pump.has_read_all()
            {
                end.0.note(Notes::upstream_done);
                lease.give_back();
            }
            ResponseBody::full(bytes::Bytes::new(), end)
        });
        return Ok(with_reason(response, reason));
    }
    let promised = head::promised(&map);
    let body = Filtered::new(pump, Way::Response, first, promised, sendable);
    let response = finish(end, status, map, |end| {
        ResponseBody::filtered(body, lease, timer, end)
    });
    Ok(with_reason(response, reason))
}

/// Whether a status says that no body follows, whatever filters or an upstream have made.
fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Keeps the words an upstream put beside its status, where they are its own.
fn with_reason(
    mut response: Response<ResponseBody>,
    reason: Option<ReasonPhrase>,
) -> Response<ResponseBody> {
    if let Some(reason) = reason {
        response.extensions_mut().insert(reason);
    }
    response
}

/// The next part, or whatever must be said instead of it while something can be said.
pub(crate) async fn next(
    flow: &std::rc::Rc<Flow>,
    pump: &mut Pump,
    timer: &mut Timer,
) -> Result<Part, Cut> {
    poll_fn(|cx| {
        loop {
            let answer = match pump.poll_part(cx) {
                Poll::Ready(Ok(part)) => return Poll::Ready(Ok(part)),
                Poll::Ready(Err(Stopped::Source(error))) => Answer::upstream_failed(&error),
                Poll::Ready(Err(_)) => {
                    // Nobody was told one, whatever the upstream or filters had.
                    flow.facts.status.set(None);
                    flow.facts.flag(Flags::LOCAL_RESET);
                    return Poll::Ready(Err(Cut));
                }
                Poll::Pending => Answer::expired(std::task::ready!(timer.poll(cx, flow))),
            };
            // Through the chain, which knows what has left already. Filters may hold this
            // back too, so a clock goes on running: next time it goes around them.
            flow.touch();
            *timer = Timer::new(None, flow.stream_idle_timeout());
            pump.take_source();
            flow.facts.flag(answer.flags);
            let reply = answer.reply(flow.facts.grpc);
            flow.with_chain(Way::Response, |chain| {
                if chain.response_is_local() {
                    chain.reply_now(&reply);
                } else {
                    chain.reply(&reply);
                }
            });
        }
    })
    .await
}

/// A head of the filters' making that is none; around them, since they have seen theirs.
pub(crate) fn bad_head(end: End, bad: &headers::BadHeaders) -> Response<ResponseBody> {
    let answer = Answer::bad_filtered_response(format!("invalid_response_headers{{{bad}}}"));
    reports::often(Matter::Response, |left_out| {
        tracing::error!(
            left_out,
            "a filter made a response that cannot be sent: {bad}"
        );
    });
    end.0.facts.flag(answer.flags);
    end.0.facts.overrule(&answer.details);
    answer::unfiltered(end, answer)
}

/// What every response gets on its way out; `body` takes the end of the exchange with it.
pub(crate) fn finish(
    end: End,
    status: StatusCode,
    headers: HeaderMap,
    body: impl FnOnce(End) -> ResponseBody,
) -> Response<ResponseBody> {
    let flow = end.0.clone();
    head(&flow, status, headers, body(end))
}

/// The head every response gets, in front of `body`.
pub(crate) fn head(
    flow: &Flow,
    status: StatusCode,
    mut headers: HeaderMap,
    mut body: ResponseBody,
) -> Response<ResponseBody> {
    if flow.facts.head && flow.facts.protocol == Some(http::Version::HTTP_2) {
        let length = body.size_hint().exact().filter(|length| *length != 0);
        if let Some(length) = length {
            headers
                .entry(header::CONTENT_LENGTH)
                .or_insert(length.into());
        }
        body.withhold();
    }
    // The codec of HTTP/2 would send it, and that of HTTP/1 a length of it.
    if is_bodiless(status) {
        body.withhold();
    }
    if let Some(route) = flow.route() {
        headers::apply_edits(&mut headers, &route.response_headers);
        if route.attempt_count.response {
            let attempts = flow.facts.attempts.get();
            headers.insert(ATTEMPT_COUNT, HeaderValue::from(attempts));
        }
    }
    // A 304 may tell the one that a 200 would have (RFC 9110, section 8.6).
    if status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    }
    match flow.facts.listener().config.server_header {
        ServerHeader::Overwrite => {
            headers.insert(header::SERVER, SERVER);
        }
        ServerHeader::IfAbsent => {
            headers.entry(header::SERVER).or_insert(SERVER);
        }
        ServerHeader::Pass => {}
    }
    if !headers.contains_key(header::DATE) {
        headers.insert(
            header::DATE,
            flow.worker.date.borrow_mut().value(flow.facts.wall),
        );
    }
    flow.facts.status.set(Some(status.as_u16()));
    flow.facts
        .explain(&bytes::Bytes::from_static(b"via_upstream"));
    flow.log_with(|logged| logged.response = headers.clone());
    flow.note(|notes| notes.response_leaves(&headers, flow.facts.protocol));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
