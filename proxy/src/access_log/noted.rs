//! What is noted of a request, or of a connection that is not HTTP, only where the log's
//! format asks for it: most formats do not, and their requests pay nothing.

use std::net::SocketAddr;

use http::HeaderMap;

/// What was noted. All empty where the format does not ask.
#[derive(Debug, Clone, Copy, Default)]
pub struct Noted<'a> {
    /// The endpoints that were tried, in turn.
    pub attempts: &'a [Attempt],
    /// What has passed between us and the client,
    pub downstream: Both,
    /// and between us and the upstream, on the last attempt.
    pub upstream: Both,
    /// The client is known to have reset its connection.
    pub client_reset: bool,
    /// Likewise the upstream.
    pub upstream_reset: bool,
}

/// An endpoint that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Where it is.
    pub address: SocketAddr,
    /// The name that it was found by, if it was.
    pub name: Option<Box<str>>,
    /// The number of the connection; `None` where none came about.
    pub connection: Option<u64>,
}

/// Both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Both {
    /// What came here.
    pub received: Size,
    /// What left here.
    pub sent: Size,
}

/// Of one message, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// All of it as the codec has it; `None` where that is not known.
    pub wire: Option<u64>,
    /// The lines of its fields; `None` where it has no lines.
    pub lines: Option<u64>,
    /// The same, or names and values where it has no lines.
    pub fields: u64,
}

// === impl Size ===

impl Size {
    /// Of a message with these fields, trailers apart. In HTTP/2 `pseudo` are the bytes of its
    /// pseudo-fields.
    #[must_use]
    pub fn of(headers: &HeaderMap, http2: bool, pseudo: usize) -> Self {
        let lines = lines(headers);
        if http2 {
            let fields = fields(headers) + pseudo as u64;
            return Self {
                wire: None,
                lines: None,
                fields,
            };
        }
        Self {
            wire: None,
            lines: Some(lines),
            fields: lines,
        }
    }

    /// With what follows the body.
    #[must_use]
    pub fn with_trailers(mut self, trailers: Option<&HeaderMap>) -> Self {
        let Some(trailers) = trailers else {
            return self;
        };
        self.fields += match &mut self.lines {
            Some(sum) => {
                *sum += lines(trailers);
                lines(trailers)
            }
            None => fields(trailers),
        };
        self
    }
}

/// Bytes of names and values.
pub(super) fn fields(headers: &HeaderMap) -> u64 {
    let bytes = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().len() + value.len()) as u64
    };
    headers.iter().map(bytes).sum()
}

/// The same as HTTP/1 writes them.
fn lines(headers: &HeaderMap) -> u64 {
    const AROUND: usize = ": \r\n".len();
    fields(headers) + (headers.len() * AROUND) as u64
}
