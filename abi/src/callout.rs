//! Callouts: what a guest sends to others than the peers of its streams, and what comes
//! back (sections 2.11, 6.8, 6.9, 13).
//!
//! # The seam
//!
//! A hostcall checks what it is given, answers a [`Token`] and leaves a
//! [`RootEffect`](crate::RootEffect); the embedder does the input and output:
//!
//! | effect | the embedder | and then, when the VM is idle |
//! |---|---|---|
//! | `Call` with [`Callout::Http`] | sends one request | [`Vm::http_call_response`](crate::Vm::http_call_response), once |
//! | `Call` with [`Callout::Grpc`] | opens a gRPC call or stream | [`Vm::grpc_event`](crate::Vm::grpc_event), until [`GrpcEvent::Closed`] |
//! | `Call` with [`Callout::Redis`] | sends one command | [`Vm::redis_response`](crate::Vm::redis_response), once |
//! | `Send` | sends a message on a stream; with `end`, then half-closes it | nothing |
//! | `HalfClose` | ends the sending side of a stream | nothing |
//! | `Cancel` | drops all that belongs to the token | nothing |
//! | `RedisClient` | keeps it for the calls of that root to that cluster | nothing |
//!
//! What always holds:
//!
//! * A token is one VM's own and is never 0; its lowest two bits are its kind. It is not
//!   used again while it lives.
//! * Callouts belong to a *root*: they outlive the stream that made them, and the answer
//!   comes to the root. When the root goes, each of them gets a `Cancel` and the guest
//!   hears nothing more.
//! * An answer never comes inside the call that asked: effects are taken once it has
//!   returned, and an embedder delivers only to a VM that is not running.
//! * An answer to a token that is not there (any more) is dropped. So an embedder need not
//!   know what guests have cancelled, only stop working for it.
//! * After every delivery there may be new effects.
//! * The host holds no more than [`Limits::callouts`](crate::Limits::callouts) per root at
//!   a time, nor more bytes in requests that are not answered than a guest may have memory.
//!   What waits to be sent on a gRPC stream is the embedder's to bound: it ends the stream
//!   with status 8.
//!
//! What is whose:
//!
//! * **HTTP.** Headers come with `:method`, `:path`, `:authority` in front (never `host`),
//!   without `:scheme` unless the guest gave one, and with the right `content-length` when
//!   there is a body. Names are in lower case; nothing else about them is checked: fields
//!   of the connection, and what cannot be sent, are the embedder's to leave out or to
//!   answer with [`HttpOutcome::Disconnected`]. The time limit covers all up to the last
//!   byte. Past it, [`HttpOutcome::Timeout`] before the response's headers have come,
//!   [`HttpOutcome::Reset`] after. What guests see of a failure is decided here.
//! * **gRPC.** Messages are bare here; the five bytes in front of each are the embedder's
//!   business, as are `:path` (`/service/method`), `te`, `content-type`, `grpc-timeout` and
//!   unpacking. A response is told as [`GrpcEvent::InitialMetadata`] (all its headers),
//!   messages, [`GrpcEvent::TrailingMetadata`] (all its trailers), [`GrpcEvent::Closed`]. One of headers alone
//!   has an empty initial metadata, and its headers are the trailing ones. A call and a
//!   stream are told alike; what a call's guest does not see is left out here. Past the
//!   deadline: `Closed` with 4. Unreachable: `Closed` with 14.
//! * **Redis.** The query comes as the guest wrote it: one command in RESP, unless it is
//!   hostile. It shares a connection with others, so the embedder sees to it that it *is*
//!   one. The reply goes to the guest byte for byte.

mod failure;
mod live;
mod service;
mod target;

use std::time::Duration;

use bytes::Bytes;

use crate::headers::Headers;

pub(crate) use failure::{BROKEN_CONNECTION, Told};
pub(crate) use live::Callouts;
pub(crate) use service::GrpcService;
pub use target::Target;

/// What a guest knows a callout by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(u32);

/// What a token stands for: its lowest two bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// 4, 8, 12, …
    Http = 0,
    /// 5, 9, 13, …
    GrpcCall = 1,
    /// 6, 10, 14, …
    GrpcStream = 2,
    /// 7, 11, 15, …
    Redis = 3,
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Callout {
    /// `proxy_http_call`.
    Http(HttpCall),
    /// `proxy_grpc_call` and `proxy_grpc_stream`.
    Grpc(GrpcCall),
    /// `proxy_redis_call`.
    Redis(RedisCall),
}

/// One HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCall {
    /// Where to.
    pub target: Target,
    /// With `:method`, `:path` and `:authority`.
    pub headers: Headers,
    /// May be empty.
    pub body: Bytes,
    /// To be sent behind the body; never empty.
    pub trailers: Option<Headers>,
    /// Until the response is complete; never zero.
    pub timeout: Option<Duration>,
}

/// One gRPC call, or the opening of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcCall {
    /// Where to.
    pub target: Target,
    /// `:authority`, where it is not the target's name.
    pub authority: Option<Bytes>,
    /// The service's full name, as `package.Service`.
    pub service: Bytes,
    /// The method's name.
    pub method: Bytes,
    /// Initial metadata, without pseudo-headers.
    pub metadata: Headers,
    /// The one message of a call; `None` opens a stream.
    pub message: Option<Bytes>,
    /// Until the last trailer; never zero.
    pub timeout: Option<Duration>,
}

/// How a root speaks to a cluster of Redis servers (`proxy_redis_init`). A later one for
/// the same cluster replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisClient {
    /// The cluster's name.
    pub cluster: Bytes,
    /// May be empty.
    pub user: Bytes,
    /// Empty: no authentication.
    pub password: Bytes,
    /// The database to select.
    pub database: u32,
    /// For each command; never zero.
    pub timeout: Option<Duration>,
    /// How long commands may be kept back to be sent together.
    pub flush_timeout: Option<Duration>,
    /// How many bytes of commands may be kept back.
    pub flush_bytes: Option<u32>,
}

/// One Redis command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisCall {
    /// The cluster's name; the root has a [`RedisClient`] for it.
    pub cluster: Bytes,
    /// RESP, as the guest wrote it.
    pub query: Bytes,
}

/// What came of an HTTP callout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpOutcome {
    /// A complete response.
    Response {
        /// With `:status` in front; otherwise as it came.
        headers: Headers,
        /// May be empty.
        body: Bytes,
        /// As they came.
        trailers: Option<Headers>,
    },
    /// The time was up before response headers.
    Timeout,
    /// The target has no endpoint that could be asked.
    NoEndpoint,
    /// No connection came about, for this reason.
    ConnectFailed(String),
    /// As much is under way to the target as may be: it was not asked.
    Overflow,
    /// The connection ended, or the request could not be sent, before response headers.
    Disconnected,
    /// The response broke off behind its headers, or is longer than may be kept.
    Reset,
}

/// What happened to a gRPC call or stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrpcEvent {
    /// The response's headers have come.
    InitialMetadata(Headers),
    /// A message has come.
    Message(Bytes),
    /// The response's trailers have come.
    TrailingMetadata(Headers),
    /// It is over. Always comes, and comes last.
    Closed {
        /// gRPC's status code; 0 is success.
        status: u32,
        /// gRPC's status message, decoded.
        message: Bytes,
    },
}

// === impl Token ===

impl Token {
    /// The token of that kind and number; `None` for one there is not.
    pub(crate) const fn new(kind: TokenKind, number: u32) -> Option<Self> {
        if number == 0 || number > u32::MAX >> 2 {
            None
        } else {
            Some(Self(number << 2 | kind as u32))
        }
    }

    /// What a guest passed as a token, which may be anything.
    pub(crate) const fn from_wire(value: u32) -> Self {
        Self(value)
    }

    /// The number the guest knows it by.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// What it stands for.
    #[must_use]
    pub const fn kind(self) -> TokenKind {
        match self.0 & 3 {
            0 => TokenKind::Http,
            1 => TokenKind::GrpcCall,
            2 => TokenKind::GrpcStream,
            _ => TokenKind::Redis,
        }
    }
}

// === impl Callout ===

impl Callout {
    /// Bytes it keeps in the host, roughly.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Http(call) => {
                let trailers = call.trailers.as_ref().map_or(0, Headers::byte_size);
                call.body.len() + call.headers.byte_size() + trailers
            }
            Self::Grpc(call) => {
                let message = call.message.as_ref().map_or(0, Bytes::len);
                let name = call.service.len() + call.method.len();
                name + message + call.metadata.byte_size()
            }
            Self::Redis(call) => call.query.len(),
        }
    }
}
