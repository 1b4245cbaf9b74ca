//! The span of a request, and those of the filters it came through.

use http::request::Parts;

use super::span::{Kind, Span, Value};
use super::{Trace, Tracer};
use crate::access_log::Flags;
use crate::facts::{self, Facts};
use crate::headers;

/// What is known of a request only while its head is there.
#[derive(Debug)]
pub(super) struct Asked {
    method: http::Method,
    path: String,
    query: Option<String>,
    authority: String,
    user_agent: Option<String>,
    request_id: Option<String>,
}

/// The kind of error of a request that is cut because the time to drain is over.
const CUT_OFF: &str = "downstream_local_disconnect";

// === impl Asked ===

impl Asked {
    pub(super) fn of(head: &Parts) -> Self {
        let text = |name: &str| {
            let value = head.headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        Self {
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(str::to_owned),
            authority: headers::authority(&head.uri, &head.headers).to_owned(),
            user_agent: text("user-agent"),
            request_id: text("x-request-id"),
        }
    }
}

// === impl Tracer ===

impl Tracer {
    /// The request is over: its span goes out, if it is sampled. `decided_by` is the filter
    /// that answered or failed it, if one did, and the callback.
    pub(crate) fn finish(&self, trace: &Trace, facts: &Facts, decided_by: Option<(&str, &str)>) {
        let Some(asked) = trace.asked.get() else {
            return;
        };
        let ended = trace.wall + facts.duration.get().unwrap_or_default();
        let route = facts
            .route
            .get()
            .and_then(|route| facts.setup.route_name(facts.listener, route));
        let mut span = Span {
            id: trace.ids.span,
            parent: trace.parent,
            ended,
            error: facts.status.get().is_none_or(|status| status >= 500) || facts.is_cut_off(),
            ..trace.below(name(asked, route), Kind::Server, 0)
        };
        span.attributes = attributes(asked, facts, route, decided_by);
        let mut spans = vec![span];
        for stay in trace.stays.take() {
            let way = match stay.way {
                cofferdam_abi::Way::Request => "request",
                cofferdam_abi::Way::Response => "response",
            };
            let id = self.rng.borrow_mut().u64(1..);
            let name = format!("filter {} {way}", stay.plugin.name);
            let mut span = trace.below(name, Kind::Internal, id);
            span.begun = trace.at(stay.came);
            span.ended = stay.left.map_or(ended, |left| trace.at(left));
            span.attributes = vec![
                ("cofferdam.filter", Value::from(&stay.plugin.name[..])),
                ("cofferdam.way", Value::from(way)),
            ];
            // Where it went no further: this one answered, or broke.
            span.error = decided_by.is_some_and(|(filter, _)| filter == stay.plugin.name)
                && stay.left.is_none();
            spans.push(span);
        }
        self.send(spans);
    }
}

/// Few names for many requests: what is asked of which route.
fn name(asked: &Asked, route: Option<&str>) -> String {
    match route {
        Some(route) => format!("{} {route}", asked.method),
        None => asked.method.to_string(),
    }
}

fn attributes(
    asked: &Asked,
    facts: &Facts,
    route: Option<&str>,
    decided_by: Option<(&str, &str)>,
) -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("http.request.method", Value::from(asked.method.as_str())),
        ("url.scheme", Value::from(facts.connection.scheme())),
        ("url.path", Value::from(&asked.path[..])),
        ("server.address", Value::from(&asked.authority[..])),
        ("http.request.body.size", Value::from(facts.received.get())),
        ("http.response.body.size", Value::from(facts.sent.get())),
    ];
    let mut text = |name, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            all.push((name, Value::from(value)));
        }
    };
    text("url.query", asked.query.as_deref());
    text("user_agent.original", asked.user_agent.as_deref());
    text("cofferdam.request_id", asked.request_id.as_deref());
    text("cofferdam.route", route);
    let protocol = facts.protocol.map(facts::protocol);
    let version = protocol.and_then(|protocol| protocol.strip_prefix("HTTP/"));
    text("network.protocol.version", version);
    text(
        "client.address",
        facts
            .connection
            .forwarded_for
            .as_ref()
            .and_then(|peer| peer.to_str().ok()),
    );
    let cluster = facts.cluster.get();
    text(
        "cofferdam.cluster",
        cluster.and_then(|cluster| facts.setup.cluster_name(cluster)),
    );
    let upstream = facts.upstream.get().map(|address| address.to_string());
    text("network.peer.address", upstream.as_deref());
    let flags = facts.flags.get();
    let flags = (flags != Flags::none()).then(|| flags.to_string());
    text("cofferdam.response_flags", flags.as_deref());
    let details = facts.details.borrow();
    text("cofferdam.details", std::str::from_utf8(&details).ok());
    text("cofferdam.decided_by", decided_by.map(|(filter, _)| filter));
    text(
        "cofferdam.callback",
        decided_by.map(|(_, callback)| callback),
    );
    match facts.status.get() {
        Some(status) => {
            let name = "http.response.status_code";
            all.push((name, Value::Integer(status.into())));
            if status >= 500 {
                all.push(("error.type", Value::Text(status.to_string())));
            } else if facts.is_cut_off() {
                all.push(("error.type", Value::from(CUT_OFF)));
            }
        }
        None if facts.is_cut_off() => all.push(("error.type", Value::from(CUT_OFF))),
        None => {
            let reset = facts.flags.get().contains(Flags::LOCAL_RESET);
            let why = if reset {
                "reset"
            } else {
                "downstream_disconnect"
            };
            all.push(("error.type", Value::from(why)));
        }
    }
    all
}
