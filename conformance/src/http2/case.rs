//! The cases, and how one is written down.

use super::frame::{PREFACE, frame, settings};
use super::{connection, downgrade, frames, hpack, http};

/// One thing a client may send.
#[derive(Debug, Clone)]
pub struct Case {
    /// The section, as h2spec numbers them (by RFC 7540), and a number within; or a name.
    pub id: &'static str,
    /// What is sent, in words.
    pub sent: &'static str,
    /// What is done, one after the other.
    pub steps: Vec<Step>,
    /// What may come of it, any of these.
    pub allowed: Vec<Allowed>,
    /// How many whole requests an upstream may see at most, where that is a question.
    pub lawful: Option<usize>,
}

/// One step of a client.
#[derive(Debug, Clone)]
pub enum Step {
    /// These bytes.
    Send(Vec<u8>),
    /// Waits until their settings are there, and acknowledges them.
    Settled,
    /// Waits until something of an answer's body is there.
    Begun,
    /// Waits until a stream has been answered whole.
    Answered(u32),
}

/// What may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// The connection's end, with this code in GOAWAY, or without a word.
    Connection(Code),
    /// The end of a stream with this code; or of the connection.
    Stream(Code),
    /// An answer with a status of this class (its first digit).
    Status(u8),
    /// DATA frames of these lengths come first.
    Data(&'static [usize]),
    /// It goes on: a ping at the end is answered.
    Alive,
    /// Their settings come, ours are acknowledged.
    Acknowledged,
    /// The connection's end, whatever is said before.
    End,
}

/// Error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 1
    Protocol = 1,
    /// 3
    FlowControl = 3,
    /// 5
    StreamClosed = 5,
    /// 6
    FrameSize = 6,
    /// 7
    Refused = 7,
    /// 9
    Compression = 9,
}

/// Every case, in the order of the table.
pub fn all() -> Vec<Case> {
    let mut cases = connection::cases();
    cases.extend(frames::cases());
    cases.extend(http::cases());
    cases.extend(hpack::cases());
    cases.extend(downgrade::cases());
    cases
}

/// After a good beginning, these frames.
pub(super) fn case(
    id: &'static str,
    sent: &'static str,
    allowed: &[Allowed],
    frames: &[Vec<u8>],
) -> Case {
    Case {
        id,
        sent,
        steps: vec![
            Step::Send([PREFACE, &settings(&[])].concat()),
            Step::Settled,
            Step::Send(frames.concat()),
        ],
        allowed: allowed.to_vec(),
        lawful: None,
    }
}

// === impl Case ===

impl Case {
    /// Of which so many requests may reach an upstream.
    pub(super) fn may_pass(mut self, lawful: usize) -> Self {
        self.lawful = Some(lawful);
        self
    }

    /// Once that stream has been answered, these frames.
    pub(super) fn then(mut self, stream: u32, frames: &[Vec<u8>]) -> Self {
        self.steps.push(Step::Answered(stream));
        self.steps.push(Step::Send(frames.concat()));
        self
    }

    /// Once something of an answer's body is there, these frames.
    pub(super) fn then_after_data(mut self, frames: &[Vec<u8>]) -> Self {
        self.steps.push(Step::Begun);
        self.steps.push(Step::Send(frames.concat()));
        self
    }

    /// With other settings at the beginning.
    pub(super) fn with_settings(mut self, pairs: &[(u16, u32)]) -> Self {
        if let Some(first) = self.steps.first_mut() {
            *first = Step::Send([PREFACE, &settings(pairs)].concat());
        }
        self
    }

    /// Nothing but these bytes.
    pub(super) fn bare(mut self, bytes: &[u8]) -> Self {
        self.steps = vec![Step::Send(bytes.to_vec())];
        self
    }
}

/// A ping of its own kind, by which it is known that everything before it has been read.
pub(super) fn marker() -> Vec<u8> {
    frame(super::frame::PING, 0, 0, MARK)
}

pub(super) const MARK: &[u8; 8] = b"the-mark";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_fit_a_table() {
        let cases = all();
        let ids: BTreeSet<_> = cases.iter().map(|case| case.id).collect();
        assert_eq!(ids.len(), cases.len());
        for case in cases {
            assert!(!case.sent.contains(['|', '\n']), "{}", case.id);
            assert!(!case.allowed.is_empty(), "{}", case.id);
        }
    }
}
