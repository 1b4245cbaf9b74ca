//! What roots call out to, and what comes back.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::callout::{Callout, GrpcEvent, HttpCall, HttpOutcome, Target, Token};

use super::{Event, SharedVm, World, place};
use crate::suite::driver::abi::exchange::message;
use crate::suite::driver::abi::{grpc, peer};
use crate::suite::outcome::Message;

// === impl World ===

impl World {
    /// A callout begins.
    pub(super) fn call(&mut self, vm: &SharedVm, token: Token, call: Callout) {
        match call {
            Callout::Http(call) => {
                let (delay, outcome) = self.http(&call);
                self.after(delay, Event::Http(Rc::downgrade(vm), token, outcome));
            }
            Callout::Grpc(call) => {
                let (mut script, open) = match &call.target {
                    Target::Cluster(name) if **name == *b"grpc" => grpc::begin(&call),
                    _ => (unreachable(), None),
                };
                if let Some(open) = open {
                    self.streams.insert((place(vm), token), open);
                }
                if let Some(timeout) = call.timeout {
                    script.retain(|(after, _)| *after <= timeout);
                    if !matches!(script.last(), Some((_, GrpcEvent::Closed { .. }))) {
                        script.push((timeout, closed(4, "deadline exceeded")));
                    }
                }
                self.play(vm, token, script);
            }
            // There is no Redis server in here.
            Callout::Redis(_) => {
                self.after(Duration::ZERO, Event::Redis(Rc::downgrade(vm), token));
            }
        }
    }

    pub(super) fn send(&mut self, vm: &SharedVm, token: Token, message: Option<Bytes>, end: bool) {
        if let Some(open) = self.streams.get_mut(&(place(vm), token)) {
            let script = open.receive(message, end);
            self.play(vm, token, script);
        }
    }

    fn play(&mut self, vm: &SharedVm, token: Token, script: grpc::Script) {
        for (after, event) in script {
            self.after(after, Event::Grpc(Rc::downgrade(vm), token, event));
        }
    }

    /// What comes of an HTTP callout, and when.
    fn http(&mut self, call: &HttpCall) -> (Duration, HttpOutcome) {
        let soon = Duration::from_millis(2);
        let mut request = message(Some(&call.headers));
        request.body = call.body.clone();
        request.trailers = message(call.trailers.as_ref()).headers;
        request.complete = true;
        let cluster = match &call.target {
            Target::Cluster(name) => &**name,
            Target::Url { .. } => b"refused",
        };
        let answered = match cluster {
            b"peer" => {
                self.peer.push(request.clone());
                peer::answer(&request)
            }
            b"upstream" => peer::answer(&Message::default()),
            _ => {
                let why = "delayed connect error: Connection refused".to_owned();
                return (soon, HttpOutcome::ConnectFailed(why));
            }
        };
        if let Some(timeout) = call.timeout.filter(|timeout| answered.delay > *timeout) {
            return (timeout, HttpOutcome::Timeout);
        }
        let outcome = match answered.response {
            None => HttpOutcome::Disconnected,
            Some(response) if !response.complete => HttpOutcome::Reset,
            Some(response) => HttpOutcome::Response {
                headers: headers(&response.headers),
                body: response.body,
                trailers: Some(headers(&response.trailers)).filter(|trailers| !trailers.is_empty()),
            },
        };
        (answered.delay, outcome)
    }
}

fn unreachable() -> grpc::Script {
    vec![(Duration::from_millis(2), closed(14, "connection refused"))]
}

fn closed(status: u32, message: &'static str) -> GrpcEvent {
    GrpcEvent::Closed {
        status,
        message: Bytes::from_static(message.as_bytes()),
    }
}

fn headers(list: &[(String, String)]) -> cofferdam_abi::Headers {
    let bytes = |text: &String| Bytes::copy_from_slice(text.as_bytes());
    let entries = list.iter().map(|(name, value)| (bytes(name), bytes(value)));
    cofferdam_abi::Headers::from_entries(entries.collect())
}
