//! What came out of an exchange.

use bytes::Bytes;
use cofferdam_abi::Headers;

use crate::headers::HeaderValue;

/// A message as the upstream, or a cluster, got it.
///
/// ```
/// # use cofferdam_sdk::prelude::*;
/// # use cofferdam_sdk::{Reply, testing::Tester};
/// # #[filter] async fn pass(request: Request) -> Result<Response> { request.forward().await }
/// let mut tester = Tester::of::<pass>("");
/// tester.upstream(|seen| {
///     assert_eq!((seen.method(), seen.path(), seen.body()), ("POST", "/a", &b"x"[..]));
///     assert_eq!(seen.header("via"), Some("1.1 a")); // the first
///     assert_eq!(seen.all("via"), ["1.1 a", "1.1 b"]);
///     assert_eq!(seen.trailer("x-sum"), Some("1"));
///     Reply::new(200)
/// });
/// # tester.without_hostile_headers();
/// let ask = tester.request("POST", "/a").header("via", "1.1 a").header("via", "1.1 b");
/// ask.chunks(["x"]).trailer("x-sum", "1").send();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    pub(super) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What the client got, and what happened on the way.
///
/// ```
/// # use cofferdam_sdk::prelude::*;
/// # use cofferdam_sdk::testing::Tester;
/// # #[filter] async fn pass(request: Request) -> Result<Response> { request.forward().await }
/// # use cofferdam_sdk::Reply;
/// let mut tester = Tester::of::<pass>("");
/// tester.upstream(|_| Reply::new(201).header("via", "a").header("via", "b").body("made"));
/// let answer = tester.get("/").send();
/// assert_eq!((answer.status(), answer.text(), answer.body()), (201, "made", &b"made"[..]));
/// assert_eq!((answer.header("via"), answer.trailer("x-sum")), (Some("a"), None));
/// assert_eq!(answer.all("via"), ["a", "b"]);
/// assert_eq!(answer.response().body(), b"made"); // as what reaches the upstream is seen
/// assert_eq!(answer.upstream().unwrap().path(), "/");
/// assert!(!answer.is_cut() && !answer.is_stuck()); // whole, and without end of waiting
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    pub(super) response: Seen,
    pub(super) upstream: Option<Seen>,
    pub(super) cut: bool,
    pub(super) stuck: bool,
}

pub(super) fn pairs(headers: &Headers) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = headers.entries().iter();
    entries
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}

pub(super) fn headers(pairs: &[(Vec<u8>, Vec<u8>)]) -> Headers {
    let copy = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    Headers::from_entries(
        pairs
            .iter()
            .map(|(name, value)| (copy(name), copy(value)))
            .collect(),
    )
}

pub(super) fn find<'a>(pairs: &'a [(Vec<u8>, Vec<u8>)], name: &str) -> Option<&'a [u8]> {
    let mut same = pairs
        .iter()
        .filter(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
    same.next().map(|(_, value)| &value[..])
}

// === impl Seen ===

impl Seen {
    /// Its method.
    ///
    /// The [type](Self) has an example of this and the others.
    #[must_use]
    pub fn method(&self) -> &str {
        self.text(":method")
    }

    /// Its path, with the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text(":path")
    }

    /// The first value of a header; `None` if there is none, or it is no text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(find(&self.headers, name)?).ok()
    }

    /// Every value of a header.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<HeaderValue> {
        let same = |(found, _): &&(Vec<u8>, Vec<u8>)| found.eq_ignore_ascii_case(name.as_bytes());
        let all = self.headers.iter().filter(same);
        all.map(|(_, value)| HeaderValue::from(value.clone()))
            .collect()
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The first value of a trailer; `None` if there is none, or it is no text.
    #[must_use]
    pub fn trailer(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(find(&self.trailers, name)?).ok()
    }

    fn text(&self, name: &str) -> &str {
        self.header(name).unwrap_or_default()
    }
}

// === impl Answer ===

impl Answer {
    /// Its status; 0 where there is none.
    ///
    /// The [type](Self) has an example of this and the others.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.text(":status").parse().unwrap_or(0)
    }

    /// The first value of a header; `None` if there is none, or it is no text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.header(name)
    }

    /// Every value of a header.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<HeaderValue> {
        self.response.all(name)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.response.body
    }

    /// The body; empty where it is no text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.response.body).unwrap_or_default()
    }

    /// The first value of a trailer; `None` if there is none, or it is no text.
    #[must_use]
    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.response.trailer(name)
    }

    /// It as a whole: what reached the client.
    #[must_use]
    pub const fn response(&self) -> &Seen {
        &self.response
    }

    /// What reached the upstream; `None` when nothing did.
    #[must_use]
    pub const fn upstream(&self) -> Option<&Seen> {
        self.upstream.as_ref()
    }

    /// Whether the stream was cut, and not answered to its end.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.cut
    }

    /// Whether it came to a stand: the filter waits for what will never come.
    #[must_use]
    pub const fn is_stuck(&self) -> bool {
        self.stuck
    }
}
