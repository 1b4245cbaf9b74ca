//! The data path: one request from its head to its response's head. What is left then
//! (the response's body, the log line, the end) goes with the body that is handed back.
//!
//! [`serve_request`] is the whole of it, in three phases that differ in what can still be
//! said when something goes wrong: *no context yet* (a plain status), *headers* (an
//! answer that passes back through the filters), *committed* (only a cut).

mod answer;
mod asked;
mod body;
mod forward;
mod head;
mod placement;
mod request;
mod response;
mod retry;
mod sending;
mod upgrade;

use std::rc::Rc;

use http::{Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::connection::Connection;
use crate::facts::Facts;
use crate::flow::{End, Flow, Logged};
use crate::headers;
use crate::notes::Notes;
use crate::plugins::Refused;
use crate::worker::Worker;

pub(crate) use answer::{Answer, cut, linger};
pub(crate) use body::ResponseBody;

/// The stream is to be cut without another word.
#[derive(Debug)]
pub(crate) struct Cut;

/// Serves one request.
pub(crate) async fn serve_request(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Cut> {
    // No context yet. What the client sent is put in order first, so that routes, filters
    // and the upstream all see the same request.
    let (head, body) = request.into_parts();
    // It goes through many hands, all but the last of which want a pointer.
    let mut head = Box::new(head);
    let facts = Facts::new(connection.clone(), &head, worker.tracer.as_ref());
    let facts = Rc::new(facts);
    let noted = facts.setup.takes_notes();
    let notes = noted.then(|| Box::new(Notes::of(&head)));
    let sane = headers::normalise_host(&mut head);
    let crowded = headers::are_too_many(&head.headers);
    // What has a body is none.
    let upgrade = (body.is_end_stream().then(|| upgrade::take(&mut head))).flatten();
    request::sanitise(&worker, &connection, &mut head, upgrade.is_some());
    if !facts.listener().config.trust_envoy_headers {
        asked::strip(&mut head.headers);
    }

    if let Some(trace) = &facts.trace {
        trace.see(&head);
    }

    // The route comes before the filters because it chooses them; if they then change what
    // it matched on, it is chosen again.
    let listener = facts.listener();
    let logs = facts.setup.sink.is_some() || !listener.config.access_log_filters.is_empty();
    let logged = logs.then(|| Logged::of(&head, notes));
    let route = if sane.is_ok() {
        listener.find(&head)
    } else {
        None
    };
    facts.route.set(route);
    let chain = route.map_or(&listener.config.filters, |route| {
        &listener.config.routes[route].filters
    });
    let begun = worker
        .plugins
        .begin(&worker, chain, &facts, || request::exchange(&head, &facts));
    let (filters, refused) = match begun {
        Ok(filters) => (filters, None),
        Err(refused) => (None, Some(refused)),
    };
    let flow = Flow::new(worker.clone(), facts, filters, logged);
    let end = End(flow.clone());
    if let Err(bad) = sane {
        return answer::send(end, Answer::bad_request(&bad), Some(body), None).await;
    }
    if crowded {
        return answer::send(end, Answer::too_many_fields(), Some(body), None).await;
    }
    if head.method == Method::CONNECT && upgrade.is_none() {
        return answer::send(end, Answer::no_tunnel(), Some(body), None).await;
    }
    if let Some(Refused { filter }) = refused {
        return answer::send(end, Answer::filter_unavailable(&filter), Some(body), None).await;
    }

    // Headers: filters may hold, change or answer them; then the route acts.
    let admitted = match request::admit(&flow, head, body, upgrade).await {
        Ok(admitted) => admitted,
        Err(stopped) => return stopped.finish(end).await,
    };
    let forwarded = match forward::forward(&flow, admitted).await {
        Ok(forwarded) => forwarded,
        Err(stopped) => return stopped.finish(end).await,
    };

    // Committed once this returns.
    response::respond(end, forwarded).await
}
