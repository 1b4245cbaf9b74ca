//! HTTP calls: one request, one whole response (section 6.8 of `abi/ABI.md`).

use std::cell::Cell;
use std::error::Error;
use std::fmt::Display;

use cofferdam_abi::callout::{HttpCall, HttpOutcome};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;

use super::send::{INTERNAL, Outgoing, Unanswered};
use super::{CallBody, Caller};
use crate::collect;
use crate::headers::{self, Dropped, Invalid, strip_hop_by_hop};
use crate::reports::{self, Matter};
use crate::upstream::{ConnectError, Lease};

/// How long the caller waits, in milliseconds.
const EXPECTED: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

/// Makes a call and waits for its whole response, as long as the call's timeout says.
pub(super) async fn perform(caller: &Caller, call: &HttpCall) -> HttpOutcome {
    let answered = Cell::new(false);
    let work = async {
        let outcome = exchange(caller, call, &answered).await;
        outcome.unwrap_or_else(|failed| failed)
    };
    let Some(limit) = call.timeout else {
        return work.await;
    };
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) if answered.get() => HttpOutcome::Reset,
        Err(_) => HttpOutcome::Timeout,
    }
}

async fn exchange(
    caller: &Caller,
    call: &HttpCall,
    answered: &Cell<bool>,
) -> Result<HttpOutcome, HttpOutcome> {
    let worker = &caller.worker;
    let callouts = &worker.plugins.callouts;
    let failed = |why: &dyn Display| {
        tracing::debug!(target = %call.target, "a filter's call failed: {why}");
    };
    let upstream = callouts.remotes.find(worker, &call.target, false).await;
    let upstream = upstream.map_err(|why| {
        failed(&why);
        HttpOutcome::ConnectFailed(why)
    })?;
    let mut outgoing = outgoing(call).map_err(|why| {
        reports::often(Matter::Call, |left_out| {
            tracing::warn!(target = %call.target, left_out, "a filter's call cannot be sent: {why}");
        });
        HttpOutcome::Disconnected
    })?;
    caller.traced(|span| span.inject(&mut outgoing.headers));
    let trailers = trailers(call);
    let body = || CallBody::Whole {
        bytes: call.body.clone(),
        trailers: trailers.clone(),
    };
    let sent = outgoing.send(&upstream, body).await;
    let (response, lease) = sent.map_err(|error| {
        failed(&error);
        match error {
            Unanswered::NotConnected(ConnectError::NoEndpoint) => HttpOutcome::NoEndpoint,
            Unanswered::NotConnected(ConnectError::Overflow(_)) => HttpOutcome::Overflow,
            Unanswered::NotConnected(error) => HttpOutcome::ConnectFailed(error.to_string()),
            Unanswered::Broken(_) => HttpOutcome::Disconnected,
        }
    })?;
    answered.set(true);
    read(response, lease, callouts.settings().body)
        .await
        .map_err(|why| {
            failed(&why);
            HttpOutcome::Reset
        })
}

/// The request as the guest made it, without what it may not say: framing, and what belongs
/// to a connection.
fn outgoing(call: &HttpCall) -> Result<Outgoing, String> {
    let made = headers::request_from_pairs(call.headers.entries(), Invalid::Drop);
    let made = made.map_err(|bad| bad.to_string())?;
    report(&made.dropped);
    if made.method == Method::CONNECT {
        return Err("a tunnel is no call".to_owned());
    }
    let authority = made.authority.ok_or("`:authority` is missing")?.to_string();
    let mut headers = made.headers;
    clean(&mut headers);
    // Methods whose meaning is in their body say that there is none.
    let has_meaning = [Method::POST, Method::PUT, Method::PATCH].contains(&made.method);
    if has_meaning || !call.body.is_empty() {
        let length = HeaderValue::from(call.body.len());
        headers.insert(header::CONTENT_LENGTH, length);
    }
    headers.insert(INTERNAL, HeaderValue::from_static("true"));
    if let Some(timeout) = call.timeout {
        let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        headers.insert(EXPECTED, HeaderValue::from(milliseconds));
    }
    Ok(Outgoing {
        method: made.method,
        authority,
        path: made.path,
        headers,
    })
}

/// Takes away what is the codec's to say.
pub(super) fn clean(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers, false);
    for name in [
        header::CONTENT_LENGTH,
        header::EXPECT,
        header::HOST,
        header::TRAILER,
    ] {
        headers.remove(name);
    }
}

/// Says which fields of a guest's making cannot be sent.
pub(super) fn report(dropped: &[Dropped]) {
    for field in dropped {
        reports::often(Matter::CallHeader, |left_out| {
            let (name, why) = (reports::short(&field.name), field.why);
            tracing::warn!(header = %name, why, left_out, "header of a filter's call left out");
        });
    }
}

fn trailers(call: &HttpCall) -> Option<HeaderMap> {
    let pairs = call.trailers.as_ref()?.entries();
    let (trailers, dropped) = headers::trailers_from_pairs(pairs, Invalid::Drop).ok()?;
    report(&dropped);
    (!trailers.is_empty()).then_some(trailers)
}

/// Reads a response to its end; its connection can then be used again.
async fn read(
    response: Response<Incoming>,
    lease: Lease,
    limit: usize,
) -> Result<HttpOutcome, Box<dyn Error + Send + Sync>> {
    let (mut head, body) = response.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("it changes to a protocol that nobody asked for".into());
    }
    let whole = collect::whole(body, limit).await?;
    lease.give_back();
    strip_hop_by_hop(&mut head.headers, false);
    Ok(HttpOutcome::Response {
        headers: headers::response_map(head.status, &head.headers),
        body: whole.bytes,
        trailers: whole.trailers.as_ref().map(headers::trailers_map),
    })
}
