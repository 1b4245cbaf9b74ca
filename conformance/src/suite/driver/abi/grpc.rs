//! The cluster `grpc`, in process: the service `conformance.Peer`, as
//! `conformance/README.md` has it. It says what happens, and after which time.

use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::Headers;
use cofferdam_abi::callout::{GrpcCall, GrpcEvent};
use cofferdam_abi::harness::{Events, GrpcStream};

const SOON: Duration = Duration::from_millis(2);

/// A stream that is open.
#[derive(Debug)]
struct Open {
    method: Bytes,
    ended: bool,
}

/// A call begins, or a stream: then there is something to send to.
pub(super) fn begin(call: &GrpcCall) -> (Events, Option<Box<dyn GrpcStream>>) {
    if *call.service != *b"conformance.Peer" {
        return (closed(SOON, 12, "no such service"), None);
    }
    let empty = || GrpcEvent::InitialMetadata(Headers::default());
    let script = match (&*call.method, &call.message) {
        (b"Echo", Some(message)) => answered(SOON, message),
        (b"Metadata", Some(_)) => {
            let echoed = call.metadata.get(b"x-echo").cloned().unwrap_or_default();
            answered(SOON, &echoed)
        }
        (b"Slow", Some(message)) => answered(Duration::from_secs(5), message),
        (b"Fail", Some(_)) => {
            let mut script = vec![(SOON, empty())];
            script.extend(closed(SOON, 7, "denied"));
            script
        }
        (b"Chat" | b"ChatFail", None) => {
            let open = Open {
                method: call.method.clone(),
                ended: false,
            };
            return (vec![(SOON, metadata("x-first"))], Some(Box::new(open)));
        }
        _ => closed(SOON, 12, "no such method"),
    };
    (script, None)
}

/// Nobody is there.
pub(super) fn unreachable() -> Events {
    closed(SOON, 14, "connection refused")
}

// === impl GrpcStream for Open ===

impl GrpcStream for Open {
    fn receive(&mut self, message: Option<Bytes>, end: bool) -> Events {
        let mut script = Vec::new();
        if self.ended {
            return script;
        }
        if let Some(message) = message {
            script.push((SOON, GrpcEvent::Message(message)));
            if *self.method == *b"ChatFail" {
                self.ended = true;
                script.extend(closed(SOON, 9, "enough"));
                return script;
            }
        }
        if end {
            self.ended = true;
            script.push((SOON, trailing("x-last")));
            script.extend(closed(SOON, 0, ""));
        }
        script
    }
}

fn answered(after: Duration, message: &Bytes) -> Events {
    vec![
        (after, GrpcEvent::InitialMetadata(Headers::default())),
        (after, GrpcEvent::Message(message.clone())),
        (after, GrpcEvent::TrailingMetadata(Headers::default())),
        (
            after,
            GrpcEvent::Closed {
                status: 0,
                message: Bytes::new(),
            },
        ),
    ]
}

fn closed(after: Duration, status: u32, message: &'static str) -> Events {
    let message = Bytes::from_static(message.as_bytes());
    vec![(after, GrpcEvent::Closed { status, message })]
}

fn metadata(name: &'static str) -> GrpcEvent {
    GrpcEvent::InitialMetadata(one(name))
}

fn trailing(name: &'static str) -> GrpcEvent {
    GrpcEvent::TrailingMetadata(one(name))
}

fn one(name: &'static str) -> Headers {
    Headers::from_entries(vec![(
        Bytes::from_static(name.as_bytes()),
        Bytes::from_static(b"1"),
    )])
}
