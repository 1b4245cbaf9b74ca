//! What a host did with a case, in the same words whichever host it was.

use bytes::Bytes;

/// Everything that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Why it did not load, when it did not. Then nothing else happened.
    pub refused: Option<String>,
    /// Records of guests, in order, those of start-up included. Of hosts that start a module
    /// more than once (a trial, a VM per thread), those of the VM that gets the traffic.
    pub logs: Vec<Record>,
    /// What became of each `request` and `connection`, in order; members of `together` count.
    pub steps: Vec<Seen>,
    /// Requests that reached the cluster `peer`.
    pub peer: Vec<Message>,
    /// Samples on the host's metrics page, with labels as they stand there, and their values.
    pub metrics: Vec<(String, String)>,
}

/// A guest's log record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The name of the filter.
    pub filter: String,
    /// `trace`, `debug`, `info`, `warn`, `error` or `critical`.
    pub level: String,
    /// The message.
    pub text: Bytes,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// An exchange.
    Exchange(Exchange),
    /// A TCP connection: what each action saw, `None` where it sees nothing or where what it
    /// waited for did not come.
    Connection(Vec<Option<Bytes>>),
}

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchange {
    /// What the client got, as far as it got it.
    pub response: Option<Message>,
    /// What the cluster `upstream` got of it, as far as it got it.
    pub upstream: Option<Message>,
}

/// An HTTP message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Pseudo-headers first (`:status`, or `:method`, `:path`, `:authority`), all names in
    /// lower case.
    pub headers: Vec<(String, String)>,
    /// What came of it.
    pub body: Bytes,
    /// Names in lower case.
    pub trailers: Vec<(String, String)>,
    /// Whether it came to its end as its protocol says it.
    pub complete: bool,
}

// === impl Message ===

impl Message {
    /// All values of a name, in order.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name)
    }

    /// The status of a response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.values(":status").first()?.parse().ok()
    }
}

/// All values of a name in a list, in order.
#[must_use]
pub fn values<'a>(list: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    list.iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| &**value)
        .collect()
}
