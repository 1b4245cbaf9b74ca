//! What a case is, whichever form of file it came from.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::{Headers, LogLevel};

/// The cases of one file.
#[derive(Debug)]
pub(super) struct Suite {
    /// As it was named.
    pub(super) file: String,
    /// The module; empty: whichever is found beside the file.
    pub(super) filter: PathBuf,
    /// What cases have that say nothing else.
    pub(super) shared: Filter,
    pub(super) clusters: Vec<Cluster>,
    pub(super) cases: Vec<Named>,
}

/// A case and where it is.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) body: Body,
}

/// What happens in a case.
#[derive(Debug)]
pub(super) enum Body {
    /// Whole exchanges, as a proxy sees them.
    Exchanges(Box<Case>),
    /// One callback after the other.
    Phases(Box<super::phases::Case>),
}

/// Exchanges with one filter.
#[derive(Debug)]
pub(super) struct Case {
    /// `FILE:LINE` of the case.
    pub(super) place: Place,
    pub(super) filter: Filter,
    pub(super) clusters: Vec<Cluster>,
    pub(super) steps: Vec<Step>,
    /// What must have been so when all is over.
    pub(super) expect: Expect,
    /// Since the epoch; `None`: the same moment each time.
    pub(super) now: Option<Duration>,
    /// The filter must refuse its configuration, with this text somewhere in what is said.
    pub(super) refused: Option<Wanted>,
}

/// How the filter is set up.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Filter {
    pub(in super::super) configuration: Bytes,
    pub(in super::super) vm_configuration: Bytes,
    pub(in super::super) name: String,
    pub(in super::super) root_id: String,
    pub(in super::super) vm_id: String,
    pub(in super::super) environment: Vec<(String, String)>,
    pub(in super::super) hold_headers: bool,
    pub(in super::super) log_level: Option<LogLevel>,
}

/// One thing that happens.
#[derive(Debug)]
pub(super) enum Step {
    /// A request is made.
    Request(Box<Exchange>),
    /// A TCP connection is made.
    Connection(Box<Connection>),
    /// So much time passes.
    Wait(Place, Duration),
}

/// A TCP connection, and what must be seen of it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) place: Place,
    pub(super) client: Vec<Bytes>,
    pub(super) upstream: Vec<Bytes>,
    /// What the client got.
    pub(super) client_gets: Option<Wanted>,
    /// What the upstream got.
    pub(super) upstream_gets: Option<Wanted>,
    pub(super) closed: Option<(Place, bool)>,
    pub(super) expect: Expect,
}

/// A request, what answers it, and what must be seen of it.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) place: Place,
    pub(super) headers: Headers,
    pub(super) body: Content,
    pub(super) trailers: Headers,
    pub(super) upstream: Answer,
    pub(super) properties: Vec<(Vec<Bytes>, Bytes)>,
    pub(super) expect: Seen,
}

/// A body: in pieces that arrive apart from each other, or whole. Its length is announced
/// when it is whole.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub(super) pieces: Vec<Bytes>,
    pub(super) announced: bool,
}

/// What an upstream answers, or a cluster.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) body: Content,
    pub(super) trailers: Headers,
    pub(super) delay: Duration,
    pub(super) fails: Option<Fails>,
}

/// How an answer does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fails {
    /// No connection comes about.
    Connect,
    /// Nothing is ever answered.
    Timeout,
    /// The connection breaks instead.
    Reset,
}

/// Who answers callouts to a name.
#[derive(Debug, Clone)]
pub(in super::super) struct Cluster {
    pub(in super::super) name: String,
    /// The first that fits answers.
    pub(super) rules: Vec<Rule>,
}

/// An answer to calls of a kind.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) answer: Answer,
}

/// What must be seen of an exchange. What is not there is not looked at.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Whether the request got to an upstream.
    pub(super) reached: Option<(Place, bool)>,
    pub(super) request: Option<WantedMessage>,
    pub(super) response: Option<WantedMessage>,
    /// What the callouts in it must have been, in order, and no others.
    pub(super) callouts: Option<(Place, Vec<WantedCall>)>,
    /// What filters left behind, by path.
    pub(super) properties: Vec<(Bytes, Wanted)>,
    /// In a case of several steps: since this one began.
    pub(super) log: Vec<WantedLog>,
    pub(super) metrics: Vec<(String, Place, u64)>,
}

/// What must have been so at the end of a case.
#[derive(Debug, Default)]
pub(super) struct Expect {
    pub(super) log: Vec<WantedLog>,
    pub(super) metrics: Vec<(String, Place, u64)>,
}

/// What a message must be.
#[derive(Debug, Default)]
pub(super) struct WantedMessage {
    pub(super) place: Place,
    pub(super) status: Option<(Place, u16)>,
    /// By name, in lower case, pseudo-headers included.
    pub(super) headers: Vec<(String, Wanted)>,
    pub(super) body: Option<Wanted>,
    pub(super) trailers: Vec<(String, Wanted)>,
    pub(super) complete: Option<(Place, bool)>,
}

/// What a callout must be.
#[derive(Debug)]
pub(super) struct WantedCall {
    pub(super) cluster: Option<Wanted>,
    pub(super) message: WantedMessage,
}

/// A record that must be there, or must not.
#[derive(Debug)]
pub(super) struct WantedLog {
    pub(super) place: Place,
    pub(super) level: Option<LogLevel>,
    pub(super) text: Wanted,
    pub(super) absent: bool,
}

/// What a value must be, and where that is written.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) place: Place,
    pub(super) what: What,
}

/// What a value must be.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// These values, in this order, and no others.
    Exactly(Vec<Bytes>),
    /// A value with this in it.
    Contains(Bytes),
    /// A value that this fits, as a whole.
    Matches(regex::bytes::Regex),
    /// The same JSON, however it is written.
    Json(serde_json::Value),
    /// Anything.
    Present,
    /// No value at all.
    Absent,
}

/// `FILE:LINE: PATH`, for what is said of a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) path: String,
}

// === impl Place ===

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.path)
    }
}

// === impl Content ===

impl Content {
    /// One piece, with its length announced.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self {
            pieces: vec![bytes],
            announced: true,
        }
    }

    /// Whether headers are all there is. A list of empty chunks is a body all the same.
    pub(super) fn is_none(&self) -> bool {
        match self.announced {
            true => self.pieces.iter().all(Bytes::is_empty),
            false => self.pieces.is_empty(),
        }
    }

    pub(super) fn bytes(&self) -> Bytes {
        match &self.pieces[..] {
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }
}

// === impl Cluster ===

impl Cluster {
    /// The first rule that fits.
    pub(super) fn rule(&self, method: &str, path: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| {
            rule.path.as_deref().is_none_or(|wanted| wanted == path)
                && rule.method.as_deref().is_none_or(|wanted| wanted == method)
        })
    }

    /// What it answers where nothing is played: status, headers without the status, body.
    pub(in super::super) fn answer(
        &self,
        method: &str,
        path: &str,
    ) -> (u16, Vec<(Bytes, Bytes)>, Bytes) {
        let Some(rule) = self.rule(method, path) else {
            return (404, Vec::new(), Bytes::new());
        };
        let answer = &rule.answer;
        let own = [&b":status"[..], b"content-length"];
        let headers = answer.headers.entries().iter();
        let headers = headers.filter(|(name, _)| !own.contains(&&**name)).cloned();
        let status = if answer.fails.is_some() {
            503
        } else {
            answer.status
        };
        (status, headers.collect(), answer.body.bytes())
    }
}

// === impl Answer ===

impl Default for Answer {
    fn default() -> Self {
        Self {
            status: 200,
            headers: Headers::default(),
            body: Content::default(),
            trailers: Headers::default(),
            delay: Duration::ZERO,
            fails: None,
        }
    }
}
