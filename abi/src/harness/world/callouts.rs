//! What roots call out to, and what comes back.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::{Event, SharedVm, World, place};
use crate::callout::{Callout, GrpcCall, GrpcEvent, HttpCall, HttpOutcome, RedisCall, Token};

/// What happens to a gRPC call or stream, each after so much time.
pub type Events = Vec<(Duration, GrpcEvent)>;

/// Who answers callouts. Each answer comes after so much time; a call's own time limit is
/// kept by the [`World`].
pub trait Peers {
    /// An HTTP call.
    fn http(&mut self, call: &HttpCall) -> (Duration, HttpOutcome);

    /// A gRPC call begins, or a stream: then there is something to send to. By default
    /// nobody is there.
    fn grpc(&mut self, _call: &GrpcCall) -> (Events, Option<Box<dyn GrpcStream>>) {
        let refused = closed(14, "connection refused");
        (vec![(Duration::from_millis(2), refused)], None)
    }

    /// A Redis command; `None`: it failed. By default nobody is there.
    fn redis(&mut self, _call: &RedisCall) -> (Duration, Option<Bytes>) {
        (Duration::ZERO, None)
    }
}

/// The far end of a gRPC stream.
pub trait GrpcStream: fmt::Debug {
    /// A message came, or the end of what comes, or both.
    fn receive(&mut self, message: Option<Bytes>, end: bool) -> Events;
}

// === impl World ===

impl World {
    /// A callout begins.
    pub(super) fn call(&mut self, vm: &SharedVm, token: Token, call: Callout) {
        match call {
            Callout::Http(call) => {
                let (mut delay, mut outcome) = self.peers.http(&call);
                if let Some(timeout) = call.timeout.filter(|timeout| delay > *timeout) {
                    (delay, outcome) = (timeout, HttpOutcome::Timeout);
                }
                self.after(delay, Event::Http(Rc::downgrade(vm), token, outcome));
            }
            Callout::Grpc(call) => {
                let (mut events, stream) = self.peers.grpc(&call);
                if let Some(stream) = stream {
                    self.streams.insert((place(vm), token), stream);
                }
                if let Some(timeout) = call.timeout {
                    events.retain(|(after, _)| *after <= timeout);
                    if !matches!(events.last(), Some((_, GrpcEvent::Closed { .. }))) {
                        events.push((timeout, closed(4, "deadline exceeded")));
                    }
                }
                self.play(vm, token, events);
            }
            Callout::Redis(call) => {
                let (delay, reply) = self.peers.redis(&call);
                self.after(delay, Event::Redis(Rc::downgrade(vm), token, reply));
            }
        }
    }

    pub(super) fn send(&mut self, vm: &SharedVm, token: Token, message: Option<Bytes>, end: bool) {
        if let Some(stream) = self.streams.get_mut(&(place(vm), token)) {
            let events = stream.receive(message, end);
            self.play(vm, token, events);
        }
    }

    fn play(&mut self, vm: &SharedVm, token: Token, events: Events) {
        for (after, event) in events {
            self.after(after, Event::Grpc(Rc::downgrade(vm), token, event));
        }
    }
}

fn closed(status: u32, message: &'static str) -> GrpcEvent {
    GrpcEvent::Closed {
        status,
        message: Bytes::from_static(message.as_bytes()),
    }
}
