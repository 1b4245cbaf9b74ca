//! Operators without arguments.
//!
//! [`rows`] is the one list of them: the parser, its suggestions, the reference and the tests
//! go by it. Adding one is a variant here, a row in one of the files below, and an arm in
//! `render`, which the compiler asks for. Names are Envoy's but where a row says that it is ours.

mod absent;
mod certificates;
mod connection;
mod exchange;

use super::moments::Moment;
use super::operator::Message;

/// What is written in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Address(Whose, Form),
    Attempted(Attempted),
    Attempts,
    /// Of a request's times.
    Between(Moment, Moment),
    BytesReceived,
    BytesSent,
    Certificate(Side, Holder, Field),
    /// Of every certificate that the client has shown.
    Chain(Field),
    /// Of the one behind its own.
    ChainIssuer(Field),
    CloseReason(Side),
    CloseType(Side),
    ConnectionId,
    Duration,
    EmitLocal,
    EmitTime,
    Empty,
    /// Of names and values, or of lines where they are sent as such.
    FieldBytes(Side, Course),
    Filter,
    GrpcStatus,
    GrpcStatusNumber,
    GrpcStatusSnake,
    Handshake,
    /// Of lines.
    HeadBytes(Side, Course),
    HeaderBytes(Message),
    HostName,
    LogType,
    Never,
    PoolReady,
    Protocol,
    Query,
    RequestId,
    ResponseCode,
    ResponseCodeDetails,
    ResponseFlags,
    ResponseFlagsLong,
    RouteName,
    ServerName(Side),
    SpanId,
    StartLocal,
    StartTime,
    StreamId,
    TerminationDetails,
    TlsCipher(Side),
    TlsGroup(Side),
    TlsVersion(Side),
    TraceId,
    TransportFailure,
    UniqueId,
    UpstreamCluster,
    UpstreamConnection,
    UpstreamName(Form),
    UpstreamProtocol,
    WireBytes(Side, Course),
    Zero,
}

/// What of the endpoints that were tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempted {
    Addresses,
    Ips,
    Names,
    BareNames,
    Connections,
}

/// Which way, as seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    Received,
    Sent,
}

/// Whose address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Downstream,
    /// Who connected to this proxy.
    Direct,
    Listener,
    /// Where it is, whatever a proxy before this one says.
    DirectListener,
    Upstream,
    UpstreamLocal,
}

/// How much of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    Ip,
    Port,
}

/// Which of the two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Downstream,
    Upstream,
}

/// Whose certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Own,
    Peer,
}

/// What of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Subject,
    Issuer,
    Serial,
    Dns,
    Uri,
    Ip,
    Email,
    Other,
    Digest,
    Sha1,
    Pem,
    From,
    Until,
}

/// An operator and its name.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) operator: Operator,
    pub(super) doc: &'static str,
}

const fn row(name: &'static str, operator: Operator, doc: &'static str) -> Row {
    Row {
        name,
        operator,
        doc,
    }
}

/// All of them, file by file.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    [
        absent::ROWS,
        certificates::ROWS,
        connection::ROWS,
        exchange::ROWS,
    ]
    .into_iter()
    .flatten()
}

/// The one of that name.
pub(super) fn find(name: &str) -> Option<Operator> {
    let row = rows().find(|row| row.name == name);
    row.map(|row| row.operator)
}

// === impl Operator ===

impl Operator {
    /// Whether it tells of what is noted of a request only where somebody asks.
    pub(super) const fn is_noted(self) -> bool {
        matches!(
            self,
            Self::Attempted(_)
                | Self::CloseType(_)
                | Self::FieldBytes(..)
                | Self::HeadBytes(..)
                | Self::UpstreamConnection
                | Self::UpstreamName(_)
                | Self::WireBytes(..)
        )
    }
}
