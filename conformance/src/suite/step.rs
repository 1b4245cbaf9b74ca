//! What happens in a case, step by step, and what each step must show.

use serde::Deserialize;

use super::values::{Body, Chunk, Header, Wait};

/// One step. Exactly one of its kinds is given.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// A request is made; the fields below it belong to it.
    pub request: Option<Request>,
    /// What the cluster `upstream` answers to it.
    pub upstream: Option<Answer>,
    /// What must be seen of it. Absent: the status is 200.
    pub expect: Option<ExpectExchange>,
    /// Several requests at once; each is a step with `request`, or a `reload` that happens
    /// when those before it have been begun.
    pub together: Vec<Self>,
    /// A connection is made through a TCP listener, and this happens on it.
    pub connection: Vec<TcpAction>,
    /// Nothing happens for this long.
    pub wait: Option<Wait>,
    /// A filter's module is replaced by another one; new streams go to that from then on.
    pub reload: Option<Reload>,
    /// The host is asked to end; roots are told. Nothing comes after it but `wait`.
    pub shutdown: bool,
}

/// Another module for a filter, whose settings stay.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// The filter's name; the first one's by default.
    #[serde(default = "first")]
    pub filter: String,
    /// The new guest, in the terse language.
    pub guest: String,
}

fn first() -> String {
    "a".to_owned()
}

/// A client's request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// GET.
    pub method: String,
    /// `/`. By default all goes to the cluster `upstream`; below `/peer/` to `peer`, below
    /// `/refused/` to `refused`.
    pub path: String,
    /// `test`.
    pub host: String,
    /// Besides what the protocol needs.
    pub headers: Vec<Header>,
    /// None by default.
    pub body: Option<Body>,
    /// Sent after the body, which must be a list then (or HTTP/2).
    pub trailers: Vec<Header>,
    /// Which HTTP.
    pub http: Http,
    /// These bytes instead of all that, on a connection of their own.
    pub raw: Option<Chunk>,
    /// The client goes away when it has waited this long for the end of the answer.
    pub abort: Option<Wait>,
}

/// Which HTTP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Http {
    /// HTTP/1.0.
    #[serde(rename = "1.0")]
    V10,
    /// HTTP/1.1, the default.
    #[default]
    #[serde(rename = "1.1")]
    V11,
    /// HTTP/2 without TLS.
    #[serde(rename = "2")]
    V2,
}

/// What the cluster `upstream` answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// 200.
    pub status: u16,
    /// Besides what the protocol needs.
    pub headers: Vec<Header>,
    /// `ok` by default.
    pub body: Body,
    /// Sent after the body, which must be a list then.
    pub trailers: Vec<Header>,
    /// Between the end of the request and the answer.
    pub delay: Option<Wait>,
    /// Answers once the request's head is there, without waiting for its end.
    pub early: bool,
    /// The connection is cut there.
    pub reset: Option<Reset>,
}

/// Where an upstream cuts its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// Instead of an answer.
    BeforeHeaders,
    /// After the body's pieces, before its end.
    BeforeEnd,
}

/// What must be seen of an exchange. Absent fields are not looked at.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectExchange {
    /// The answer's status: a number, or a list of those allowed. Absent with `complete:
    /// false`: none needed.
    pub status: Option<Status>,
    /// Each name here has these values in the answer, in this order, and no others.
    pub headers: Vec<Header>,
    /// Names the answer must not have.
    pub absent: Vec<String>,
    /// The answer's body, exactly.
    pub body: Option<Body>,
    /// Likewise for the answer's trailers.
    pub trailers: Vec<Header>,
    /// Whether the answer came, to its end; true unless said otherwise. `false`: it was cut,
    /// or the client gave up.
    pub complete: Option<bool>,
    /// What the cluster `upstream` saw of it.
    pub saw: Option<Saw>,
    /// Whether the cluster `upstream` saw it at all.
    pub reached: Option<bool>,
}

/// A status or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Status {
    /// This one.
    One(u16),
    /// One of these.
    OneOf(Vec<u16>),
}

/// What an upstream must have seen of a request. Absent fields are not looked at.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Saw {
    /// `:method`.
    pub method: Option<String>,
    /// `:path`.
    pub path: Option<String>,
    /// `:authority`, or `host`.
    pub host: Option<String>,
    /// Each name here has these values, in this order, and no others.
    pub headers: Vec<Header>,
    /// Names it must not have.
    pub absent: Vec<String>,
    /// The whole body.
    pub body: Option<Body>,
    /// Likewise for trailers.
    pub trailers: Vec<Header>,
    /// Whether the request came to its end.
    pub complete: Option<bool>,
}

/// One thing that happens on a TCP connection. `…_sees` waits until that side has got as
/// many bytes and compares them.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TcpAction {
    /// The client sends.
    ClientSends(Chunk),
    /// The upstream sends.
    UpstreamSends(Chunk),
    /// The client has got exactly this since the last time.
    ClientSees(Chunk),
    /// The upstream has got exactly this since the last time.
    UpstreamSees(Chunk),
    /// That side says that it has no more to send.
    HalfClose(Side),
    /// That side closes.
    Close(Side),
    /// That side sees the end of what the other sends.
    SeesEnd(Side),
    /// Nothing.
    Wait(Wait),
}

/// An end of a connection through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Downstream.
    Client,
    /// Upstream.
    Upstream,
}

// === impl Step ===

impl Step {
    /// What is wrong with it although its fields are right.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let kinds = [
            self.request.is_some(),
            !self.together.is_empty(),
            !self.connection.is_empty(),
            self.wait.is_some(),
            self.reload.is_some(),
            self.shutdown,
        ];
        if kinds.into_iter().filter(|given| *given).count() != 1 {
            return Some("give one of request, together, connection, wait, reload and shutdown");
        }
        if self.request.is_none() && (self.upstream.is_some() || self.expect.is_some()) {
            return Some("upstream and expect belong to a request");
        }
        if let Some(request) = &self.request
            && !request.trailers.is_empty()
            && request.http == Http::V11
            && !matches!(request.body, Some(Body::Chunks(_)))
        {
            return Some("over HTTP/1.1 trailers need a body in chunks (a list)");
        }
        let fits = |step: &Self| step.request.is_some() || step.reload.is_some();
        if !self.together.iter().all(fits) {
            return Some("together is made of steps with a request or a reload");
        }
        self.together.iter().find_map(Self::problem)
    }

    /// What happens in it, in order: itself, and what happens together.
    pub fn members(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.together)
    }

    /// The exchanges in it, in order.
    pub fn exchanges(&self) -> impl Iterator<Item = &Self> {
        self.members().filter(|step| step.request.is_some())
    }

    /// The modules that come to run in it, in order.
    pub fn reloads(&self) -> impl Iterator<Item = &Reload> {
        self.members().filter_map(|step| step.reload.as_ref())
    }
}

// === impl Request ===

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: "test".to_owned(),
            headers: Vec::new(),
            body: None,
            trailers: Vec::new(),
            http: Http::default(),
            raw: None,
            abort: None,
        }
    }
}

// === impl Answer ===

impl Default for Answer {
    fn default() -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: Body::Whole(Chunk("ok".into())),
            trailers: Vec::new(),
            delay: None,
            early: false,
            reset: None,
        }
    }
}
