//! A case of whole exchanges, run in a world of its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::callout::{HttpCall, HttpOutcome, Target};
use cofferdam_abi::harness::{
    Connected, Engine, Message, Peers, Piece, Record, Reply, Request, Script, Seen, TestHost,
    Upstream, World,
};
use cofferdam_abi::{Failure, FailureReason, Headers, Module, Trap, Way};

use super::compare::{self, Wrong, show};
use super::suite::{
    Answer, Case, Cluster, Connection, Content, Exchange, Fails, Place, Rule, Step, WantedCall,
};
use super::{Verdict, module, said};

/// Between chunks of a body, which arrive apart from each other.
const PACE: Duration = Duration::from_millis(10);
/// What a client or a call waits for longest.
const PATIENCE: Duration = Duration::from_secs(3600);
/// An answer takes as long as nobody notices.
const SOON: Duration = Duration::from_millis(2);

/// Callouts that are remembered of one step.
const MOST_CALLS: usize = 10_000;

/// Callouts that were made: to whom, and with what.
type Calls = Rc<RefCell<Vec<(Bytes, Message)>>>;

/// Runs it on an engine.
pub(super) fn run(case: &Case, module: &Rc<Module>, engine: Engine) -> Verdict {
    let mut verdict = Verdict::default();
    let names: Vec<&str> = case.clusters.iter().map(|cluster| &*cluster.name).collect();
    let host = TestHost::new(&names, None);
    if let Some(now) = case.now {
        host.set_time(now);
    }
    let calls = Calls::default();
    let clusters = Clusters {
        clusters: case.clusters.clone(),
        calls: calls.clone(),
    };
    let mut world = World::new(host.clone(), Box::new(clusters));
    let loaded = module::spec(&case.filter, module, engine)
        .and_then(|spec| world.load(spec).map_err(|error| error.to_string()));
    let mut records = host.take_records();
    if let Err(why) = loaded {
        refused(case, &why, &records, &mut verdict.wrong);
        note(&records, &host, &mut verdict);
        return verdict;
    }
    if let Some(wanted) = &case.refused {
        let line = format!(
            "{}: expected that it is refused, and it was accepted",
            wanted.place
        );
        verdict.wrong.push(line);
    }
    crashed(&case.place, &host, None, &mut verdict.wrong);
    for step in &case.steps {
        match step {
            Step::Wait(place, time) => {
                world.wait(*time);
                crashed(place, &host, None, &mut verdict.wrong);
            }
            Step::Connection(connection) => {
                let seen = world.connection(&connection.client, &connection.upstream);
                let fresh = host.take_records();
                connected(connection, &seen, &host, &mut verdict.wrong);
                compare::log(&connection.expect.log, &fresh, &mut verdict.wrong);
                metrics(&connection.expect.metrics, &host, &mut verdict.wrong);
                records.extend(fresh);
            }
            Step::Request(exchange) => {
                calls.borrow_mut().clear();
                let seen = world.exchange(vec![request(exchange)]).pop().flatten();
                // What is only asked for by the last callbacks happens too.
                world.wait(Duration::from_millis(1));
                let fresh = host.take_records();
                let failure = seen.as_ref().and_then(|seen| seen.failure.clone());
                look(exchange, seen, &calls.borrow(), &mut verdict.wrong);
                crashed(&exchange.place, &host, failure.as_ref(), &mut verdict.wrong);
                compare::log(&exchange.expect.log, &fresh, &mut verdict.wrong);
                metrics(&exchange.expect.metrics, &host, &mut verdict.wrong);
                records.extend(fresh);
            }
        }
    }
    world.shut_down();
    crashed(&case.place, &host, None, &mut verdict.wrong);
    records.extend(host.take_records());
    compare::log(&case.expect.log, &records, &mut verdict.wrong);
    metrics(&case.expect.metrics, &host, &mut verdict.wrong);
    note(&records, &host, &mut verdict);
    verdict
}

/// It did not start: that may be what was wanted.
fn refused(case: &Case, why: &str, records: &[Record], wrong: &mut Wrong) {
    let Some(wanted) = &case.refused else {
        wrong.push(format!("{}: the filter does not start: {why}", case.place));
        return;
    };
    let texts = records.iter().map(|record| record.text.clone());
    let said: Vec<Bytes> = texts.chain([Bytes::from(why.to_owned())]).collect();
    // One of them is enough.
    let fits = |text: &Bytes| {
        let mut differences = Wrong::new();
        compare::value(wanted, std::slice::from_ref(text), &mut differences);
        differences.is_empty()
    };
    if !said.iter().any(fits) {
        compare::value(wanted, &said, wrong);
    }
}

/// What filter and host said, for people.
pub(super) fn note(records: &[Record], host: &TestHost, verdict: &mut Verdict) {
    let lines = records.iter().map(|record| {
        let level = format!("{:?}", record.level).to_ascii_lowercase();
        format!("{level}: {}", said::line(&record.text))
    });
    verdict.said.extend(said::in_order(lines));
    let remarks = host.take_remarks().into_iter();
    let remarks = remarks.map(|remark| format!("host: {remark}"));
    verdict.said.extend(said::collapsed(remarks));
}

fn look(exchange: &Exchange, seen: Option<Seen>, calls: &[(Bytes, Message)], wrong: &mut Wrong) {
    let wanted = &exchange.expect;
    let Some(seen) = seen else {
        let place = &exchange.place;
        wrong.push(format!(
            "{place}: the filter has crashed before, and does not run any more"
        ));
        return;
    };
    if let Some(failure) = &seen.failure {
        let why = reason(failure);
        wrong.push(format!("{}: the filter failed: {why}", exchange.place));
    }
    if let Some((place, reached)) = &wanted.reached
        && *reached != seen.reached
    {
        wrong.push(format!("{place}: expected {reached}, got {}", seen.reached));
    }
    if let Some(message) = &wanted.request {
        compare::message(
            message,
            seen.request.as_ref().filter(|_| seen.reached),
            wrong,
        );
    }
    let asked = wanted.response.as_ref();
    if let Some(message) = asked {
        compare::message(message, seen.response.as_ref(), wrong);
    }
    let whole = seen
        .response
        .as_ref()
        .is_some_and(|response| response.complete);
    if !whole && asked.is_none_or(|message| message.complete.is_none()) {
        let place = &exchange.place;
        wrong.push(format!("{place}: the client never got a whole answer; if it is meant to, say `expect: {{ response: {{ complete: false }} }}`"));
    }
    let state = seen.exchange.borrow();
    for (path, value) in &wanted.properties {
        let found = state.filter_state.value(path).cloned();
        compare::value(value, found.as_slice(), wrong);
    }
    if let Some((place, wanted)) = &wanted.callouts {
        callouts(place, wanted, calls, wrong);
    }
}

fn connected(wanted: &Connection, seen: &Connected, host: &TestHost, wrong: &mut Wrong) {
    let before = wrong.len();
    crashed(&wanted.place, host, None, wrong);
    if seen.failed && wrong.len() == before {
        wrong.push(format!("{}: the filter failed", wanted.place));
    }
    for (wanted, seen) in [
        (&wanted.client_gets, &seen.client),
        (&wanted.upstream_gets, &seen.upstream),
    ] {
        if let Some(wanted) = wanted {
            compare::value(wanted, std::slice::from_ref(seen), wrong);
        }
    }
    if let Some((place, closed)) = &wanted.closed
        && *closed != seen.closed
    {
        wrong.push(format!("{place}: expected {closed}, got {}", seen.closed));
    }
}

/// Crashes since this was last asked: in the exchange, in a timer, in a callout's answer, at an
/// end. That by which the stream failed is `told` already.
pub(super) fn crashed(place: &Place, host: &TestHost, told: Option<&Failure>, wrong: &mut Wrong) {
    let told = told.map(|failure| &failure.reason);
    let is_told = |trap: &Trap| matches!(told, Some(FailureReason::Trap(one)) if one == trap);
    for trap in host.take_traps() {
        if !is_told(&trap) {
            wrong.push(format!("{place}: the filter crashed: {trap}"));
        }
    }
}

/// How a filter failed, for people.
pub(super) fn reason(failure: &Failure) -> String {
    match &failure.reason {
        FailureReason::Trap(trap) => trap.to_string(),
        FailureReason::TooLarge(Way::Request) => {
            "it keeps more of the request than it may".to_owned()
        }
        FailureReason::TooLarge(Way::Response) => {
            "it keeps more of the response than it may".to_owned()
        }
    }
}

fn callouts(place: &Place, wanted: &[WantedCall], calls: &[(Bytes, Message)], wrong: &mut Wrong) {
    if wanted.len() != calls.len() {
        let made: Vec<String> = calls
            .iter()
            .map(|(cluster, call)| {
                format!("{} to {}", call.text(":path").unwrap_or("?"), show(cluster))
            })
            .collect();
        let (expected, got) = (wanted.len(), calls.len());
        wrong.push(format!(
            "{place}: expected {expected} callouts, got {got}: {}",
            made.join(", ")
        ));
    }
    for (wanted, (cluster, call)) in wanted.iter().zip(calls) {
        if let Some(name) = &wanted.cluster {
            compare::value(name, std::slice::from_ref(cluster), wrong);
        }
        compare::message(&wanted.message, Some(call), wrong);
    }
}

fn metrics(wanted: &[(String, Place, u64)], host: &TestHost, wrong: &mut Wrong) {
    let seen = host.metrics();
    for (name, place, value) in wanted {
        let found = seen.iter().find(|(other, _)| other == name.as_bytes());
        match found {
            Some((_, found)) if found == value => {}
            Some((_, found)) => wrong.push(format!("{place}: expected {value}, got {found}")),
            None => wrong.push(format!("{place}: the filter has no such metric")),
        }
    }
}

// === what comes from outside ===

fn request(exchange: &Exchange) -> Request {
    let ends = exchange.body.is_none() && exchange.trailers.is_empty();
    let mut client = vec![(Duration::ZERO, Piece::Head(Headers::default(), ends))];
    if !ends {
        body(
            &mut client,
            Duration::ZERO,
            &exchange.body,
            &exchange.trailers,
        );
    }
    Request {
        headers: exchange.headers.clone(),
        protocol: "HTTP/1.1",
        client,
        patience: PATIENCE,
        upstream: Box::new(Answering {
            answer: exchange.upstream.clone(),
            bodiless: exchange
                .headers
                .get(b":method")
                .is_some_and(|method| **method == *b"HEAD"),
        }),
        properties: exchange.properties.clone(),
    }
}

/// The pieces of a body and its end.
fn body(out: &mut Script, from: Duration, body: &Content, trailers: &Headers) {
    let mut at = from;
    for piece in &body.pieces {
        out.push((at, Piece::Data(piece.clone(), false)));
        at += if body.pieces.len() > 1 {
            PACE
        } else {
            Duration::ZERO
        };
    }
    out.push(match trailers.is_empty() {
        true => (at, Piece::Data(Bytes::new(), true)),
        false => (at, Piece::Trailers(trailers.clone())),
    });
}

/// The upstream of one exchange.
#[derive(Debug)]
struct Answering {
    answer: Answer,
    /// To HEAD.
    bodiless: bool,
}

impl Upstream for Answering {
    fn head(&mut self, _request: &Message) -> Reply {
        match self.answer.fails {
            Some(Fails::Connect) => Reply::Nobody(503, "upstream_connect_failed"),
            Some(Fails::Timeout) => Reply::Nobody(504, "upstream_response_timeout"),
            _ => Reply::Wait,
        }
    }

    fn answer(&mut self, _request: &Message) -> Script {
        let answer = &self.answer;
        let at = answer.delay;
        if answer.fails == Some(Fails::Reset) {
            return vec![(at, Piece::Cut)];
        }
        let bodiless = self.bodiless || matches!(answer.status, 204 | 304);
        let ends = (bodiless || answer.body.is_none()) && answer.trailers.is_empty();
        let mut out = vec![(at, Piece::Head(answer.headers.clone(), ends))];
        if !ends {
            body(&mut out, at, &answer.body, &answer.trailers);
        }
        out
    }
}

/// Whoever answers callouts.
#[derive(Debug)]
struct Clusters {
    clusters: Vec<Cluster>,
    calls: Calls,
}

pub(super) fn peers(clusters: Vec<Cluster>) -> Box<dyn Peers> {
    let calls = Calls::default();
    Box::new(Clusters { clusters, calls })
}

impl Peers for Clusters {
    fn http(&mut self, call: &HttpCall) -> (Duration, HttpOutcome) {
        let name = match &call.target {
            Target::Cluster(name) => name.clone(),
            Target::Url { host, port, .. } => format!("{host}:{port}").into(),
        };
        let message = Message {
            headers: call.headers.clone(),
            body: call.body.clone(),
            trailers: call.trailers.clone().unwrap_or_default(),
            complete: true,
        };
        let answer = self.rule(&name, &message).map(|rule| rule.answer.clone());
        let mut calls = self.calls.borrow_mut();
        // Nobody looks at so many.
        if calls.len() < MOST_CALLS {
            calls.push((name, message));
        }
        drop(calls);
        let Some(answer) = answer else {
            let status = (Bytes::from_static(b":status"), Bytes::from_static(b"404"));
            let headers = Headers::from_entries(vec![status]);
            let (body, trailers) = (Bytes::new(), None);
            let outcome = HttpOutcome::Response {
                headers,
                body,
                trailers,
            };
            return (SOON, outcome);
        };
        let delay = answer.delay.max(SOON);
        match answer.fails {
            Some(Fails::Connect) => (delay, HttpOutcome::ConnectFailed("refused".to_owned())),
            Some(Fails::Timeout) => (call.timeout.unwrap_or(PATIENCE), HttpOutcome::Timeout),
            Some(Fails::Reset) => (delay, HttpOutcome::Disconnected),
            None => {
                let outcome = HttpOutcome::Response {
                    headers: answer.headers,
                    body: answer.body.bytes(),
                    trailers: Some(answer.trailers).filter(|trailers| !trailers.is_empty()),
                };
                (delay, outcome)
            }
        }
    }
}

impl Clusters {
    fn rule(&self, name: &[u8], call: &Message) -> Option<&Rule> {
        let path = call.text(":path").unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let method = call.text(":method").unwrap_or_default();
        let mut clusters = self.clusters.iter();
        let cluster = clusters.find(|cluster| cluster.name.as_bytes() == name)?;
        cluster.rule(method, path)
    }
}
