//! The host that answers OK to everything and does nothing: it loads any module, has nothing
//! to say of any call, and passes messages through as they are.
//!
//! It runs no guest at all: with hostcalls that do nothing, a guest has no way to be noticed.
//! A case that passes here proves nothing about a host.

use super::Driver;
use crate::Result;
use crate::suite::case::{Case, Profile};
use crate::suite::outcome::{Exchange, Message, Outcome, Seen};
use crate::suite::step::{Answer, Step, TcpAction};
use crate::suite::values::Header;

/// The host.
#[derive(Debug, Default)]
pub struct Null;

impl Driver for Null {
    fn column(&self) -> &'static str {
        "null"
    }

    fn is_ours(&self) -> bool {
        false
    }

    fn run(&mut self, case: &Case, _profile: Profile) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        for step in &case.steps {
            if !step.connection.is_empty() {
                let seen = step.connection.iter().map(tcp).collect();
                outcome.steps.push(Seen::Connection(seen));
            }
            for exchange in step.exchanges() {
                outcome.steps.push(Seen::Exchange(pass(exchange)));
            }
        }
        Ok(outcome)
    }
}

fn tcp(action: &TcpAction) -> Option<bytes::Bytes> {
    match action {
        TcpAction::ClientSees(expected) | TcpAction::UpstreamSees(expected) => {
            Some(expected.0.clone())
        }
        TcpAction::SeesEnd(_) => Some(bytes::Bytes::new()),
        _ => None,
    }
}

fn pass(step: &Step) -> Exchange {
    let request = step.request.clone().unwrap_or_default();
    let answer = step.upstream.clone().unwrap_or_default();
    let mut upstream = Message {
        headers: vec![
            (":method".to_owned(), request.method.clone()),
            (":path".to_owned(), request.path.clone()),
            (":authority".to_owned(), request.host.clone()),
        ],
        trailers: pairs(&request.trailers),
        complete: true,
        ..Message::default()
    };
    upstream.headers.extend(pairs(&request.headers));
    if let Some(body) = &request.body {
        upstream.body = body.bytes();
    }
    Exchange {
        response: response(&answer, &request.method),
        upstream: Some(upstream),
    }
}

fn response(answer: &Answer, method: &str) -> Option<Message> {
    if answer.reset == Some(crate::suite::step::Reset::BeforeHeaders) {
        return None;
    }
    let mut message = Message {
        headers: vec![(":status".to_owned(), answer.status.to_string())],
        trailers: pairs(&answer.trailers),
        complete: answer.reset.is_none(),
        ..Message::default()
    };
    message.headers.extend(pairs(&answer.headers));
    if method != "HEAD" {
        message.body = answer.body.bytes();
    }
    Some(message)
}

fn pairs(headers: &[Header]) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), header.value.clone()))
        .collect()
}
