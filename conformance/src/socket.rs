//! Both ends of a proxy's connections, frame by frame as a script says: a client and an
//! upstream, over HTTP/1.1 and HTTP/2.
//!
//! A finished HTTP library hides what the cases are about (where a message stands when
//! nothing more comes, what was cut and how), so HTTP/1.1 is read and written here, and
//! HTTP/2 is `h2`, one level below hyper. Everything that comes in is written down as it
//! comes; whoever looks says how long he waits.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

pub mod client;
mod h1;
mod h2;
pub mod upstream;

/// Header fields in their order, names in lower case; pseudo-headers first, also of
/// HTTP/1.1.
pub type Pairs = Vec<(Bytes, Bytes)>;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    Http2,
}

/// One thing to send.
#[derive(Debug, Clone)]
pub enum Frame {
    /// The head, with its pseudo-headers.
    Head {
        /// Its fields.
        fields: Pairs,
        /// Whether the message ends with it.
        end: bool,
    },
    /// A piece of the body.
    Data {
        /// Its bytes.
        data: Bytes,
        /// Whether the message ends with it.
        end: bool,
    },
    /// The trailers, which end the message.
    Trailers(Pairs),
    /// Bytes as they are, instead of a message (HTTP/1.1).
    Raw(Bytes),
    /// Breaks it off: the connection's end in HTTP/1.1, the stream's in HTTP/2.
    Reset,
    /// The connection's orderly end in the middle of things.
    Close,
}

/// How an incoming message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As its framing promised.
    Complete,
    /// Before that: closed, reset, or not HTTP.
    Cut,
}

/// What has come in so far.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Statuses of interim answers.
    pub interim: Vec<u16>,
    /// The head.
    pub head: Option<Pairs>,
    /// The body.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: Option<Pairs>,
    /// How it ended; `None` while it goes on.
    pub ending: Option<Ending>,
}

/// One exchange as seen from one end: what came in, and a way to send.
#[derive(Debug, Clone)]
pub struct Side {
    incoming: watch::Receiver<Received>,
    outgoing: mpsc::UnboundedSender<Frame>,
}

/// Where what comes in is written down.
#[derive(Debug)]
struct Record(watch::Sender<Received>);

/// What is to be sent.
type Orders = mpsc::UnboundedReceiver<Frame>;

// === impl Received ===

impl Received {
    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        let fields = self.head.as_deref()?;
        let found = fields.iter().find(|(field, _)| field == name.as_bytes())?;
        Some(&found.1)
    }

    /// The status of an answer.
    pub fn status(&self) -> Option<u16> {
        std::str::from_utf8(self.field(":status")?)
            .ok()?
            .parse()
            .ok()
    }

    /// Whether something has come, or will not.
    pub fn begun(&self) -> bool {
        self.head.is_some() || self.ending.is_some()
    }
}

// === impl Side ===

impl Side {
    /// A side, and what the socket's end of it is made of.
    fn new() -> (Self, Record, Orders) {
        let (record, incoming) = watch::channel(Received::default());
        let (outgoing, orders) = mpsc::unbounded_channel();
        let side = Self { incoming, outgoing };
        (side, Record(record), orders)
    }

    /// Sends something after what was sent before; what comes after an end is ignored.
    pub fn send(&self, frame: Frame) {
        // The other half may be gone with its connection, which `received` tells.
        let _ = self.outgoing.send(frame);
    }

    /// What has come so far.
    pub fn received(&self) -> Received {
        self.incoming.borrow().clone()
    }

    /// A number that changes with everything that comes.
    pub fn progress(&self) -> usize {
        let seen = self.incoming.borrow();
        seen.body.len()
            + seen.interim.len()
            + usize::from(seen.head.is_some())
            + usize::from(seen.trailers.is_some())
            + usize::from(seen.ending.is_some())
    }

    /// Waits until something is so; tells whether it is.
    pub async fn wait(&self, limit: Duration, so: impl FnMut(&Received) -> bool) -> bool {
        let mut incoming = self.incoming.clone();
        let waited = tokio::time::timeout(limit, incoming.wait_for(so)).await;
        matches!(waited, Ok(Ok(_)))
    }
}

// === impl Record ===

impl Record {
    fn note(&self, change: impl FnOnce(&mut Received)) {
        self.0.send_modify(change);
    }

    /// The message ended; what ended already keeps its ending.
    fn end(&self, ending: Ending) {
        self.note(|seen| {
            seen.ending.get_or_insert(ending);
        });
    }
}

impl Drop for Record {
    /// Nobody reads any more: what has not come will not.
    fn drop(&mut self) {
        self.end(Ending::Cut);
    }
}

/// Text pairs as fields.
pub fn pairs<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: impl IntoIterator<Item = (N, V)>) -> Pairs {
    let bytes = |text: &[u8]| Bytes::copy_from_slice(text);
    fields
        .into_iter()
        .map(|(name, value)| (bytes(name.as_ref()), bytes(value.as_ref())))
        .collect()
}

#[cfg(test)]
mod tests;
