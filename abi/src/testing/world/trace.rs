//! What came of everything that happened in a world, line by line. Two engines must write
//! the same; words of theirs are left out.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::chain::{Chain, Failure, FailureReason};
use crate::error::{LoadError, Trap};
use crate::state::RootEffect;
use crate::stream::Part;
use crate::tcp::{Chunk, TcpChain};
use crate::types::Way;

/// Everything that could be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// In the order it came.
    pub lines: Vec<String>,
    /// Traps that came, with the number of the line that tells of each. What engines say of
    /// one is theirs, and in no line.
    pub traps: Vec<(usize, Trap)>,
    /// How often the guests were called, at least.
    pub calls: usize,
}

// === impl Trace ===

impl Trace {
    pub(super) fn event(&mut self, event: u8, amount: u8) {
        self.lines.push(format!("event {event} {amount}"));
    }

    pub(super) fn started(&mut self, problem: Option<&LoadError>) {
        match problem {
            None => self.lines.push("started".to_owned()),
            Some(LoadError::Trapped(trap) | LoadError::NoStreams(trap)) => self.trap(trap),
            Some(LoadError::Module(_)) => self.lines.push("not a module for this".to_owned()),
            Some(other) => self.lines.push(format!("not started: {other}")),
        }
    }

    pub(super) fn called(&mut self, ended: &Result<(), Trap>) {
        self.calls += 1;
        match ended {
            Ok(()) => self.lines.push("returned".to_owned()),
            Err(trap) => self.trap(trap),
        }
    }

    /// Bytes of logs are enough to tell a difference; they may be long.
    pub(super) fn logs(&mut self, logs: Vec<String>) {
        self.lines
            .extend(logs.into_iter().map(|text| format!("log {text}")));
    }

    pub(super) fn part(&mut self, way: Way, part: &Part, chain: &Chain) {
        let exchange = chain.exchange().borrow();
        let headers = match (way, part) {
            (Way::Request, Part::Headers { .. }) => &exchange.request_headers,
            (Way::Request, Part::Trailers) => &exchange.request_trailers,
            (Way::Response, Part::Headers { .. }) => &exchange.response_headers,
            (Way::Response, Part::Trailers) => &exchange.response_trailers,
            _ => &None,
        };
        self.lines
            .push(format!("{way:?} {part:?} {}", shown(headers.as_ref())));
    }

    pub(super) fn chain(&mut self, chain: &Chain) {
        self.calls += 1;
        if let Some(failure) = chain.failure() {
            self.failures(std::slice::from_ref(failure));
        }
        self.lines.push(format!(
            "chain ended {} reset {} local {} route {}",
            chain.is_ended(),
            chain.is_reset(),
            chain.response_is_local(),
            chain.exchange().borrow().route_cleared,
        ));
    }

    pub(super) fn chunk(&mut self, way: Way, chunk: &Chunk) {
        self.lines.push(format!("{way:?} {chunk:?}"));
    }

    pub(super) fn connection(&mut self, connection: &TcpChain) {
        self.calls += 1;
        if let Some(failure) = connection.failure() {
            self.failures(std::slice::from_ref(failure));
        }
        let (open, closing) = (connection.is_open(), connection.closing());
        self.lines
            .push(format!("connection open {open} closing {closing:?}"));
    }

    pub(super) fn failures(&mut self, failures: &[Failure]) {
        for failure in failures {
            match &failure.reason {
                FailureReason::Trap(trap) => self.trap(trap),
                FailureReason::TooLarge(way) => self.lines.push(format!("too large {way:?}")),
            }
        }
    }

    pub(super) fn effect(&mut self, effect: &RootEffect) {
        self.lines.push(format!("{effect:?}"));
    }

    pub(super) fn memory(&mut self, memory: &[u8]) {
        let mut digest = DefaultHasher::new();
        memory.hash(&mut digest);
        let (size, digest) = (memory.len(), digest.finish());
        self.lines
            .push(format!("memory of {size} bytes, digest {digest:x}"));
    }

    fn trap(&mut self, trap: &Trap) {
        self.traps.push((self.lines.len(), trap.clone()));
        self.lines
            .push(format!("trap {} in {}", trap.kind.as_str(), trap.callback));
    }
}

fn shown(headers: Option<&crate::Headers>) -> String {
    headers.map_or_else(String::new, |headers| format!("{headers:?}"))
}
