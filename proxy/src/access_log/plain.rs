//! Operators without arguments.
//!
//! [`PLAIN`] is the one list of them: the parser, its suggestions, the reference and the tests
//! go by it. Adding one is a variant and a row here, and an arm in `render`, which the
//! compiler asks for. Names are Envoy's but where a row says that it is ours.

use super::moments::Moment;
use super::operator::Message;

/// What is written in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Address(Whose, Form),
    Attempts,
    /// Of a request's times.
    Between(Moment, Moment),
    BytesReceived,
    BytesSent,
    Certificate(Side, Holder, Field),
    ConnectionId,
    Duration,
    EmitTime,
    Filter,
    GrpcStatus,
    GrpcStatusNumber,
    GrpcStatusSnake,
    HeaderBytes(Message),
    HostName,
    LogType,
    PoolReady,
    Protocol,
    RequestId,
    ResponseCode,
    ResponseCodeDetails,
    ResponseFlags,
    ResponseFlagsLong,
    RouteName,
    ServerName(Side),
    SpanId,
    StartTime,
    StreamId,
    TerminationDetails,
    TlsCipher(Side),
    TlsGroup(Side),
    TlsSessionId,
    TlsVersion(Side),
    TraceId,
    TransportFailure,
    UniqueId,
    UpstreamCluster,
    UpstreamProtocol,
}

/// Whose address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Downstream,
    /// Who connected to this proxy.
    Direct,
    Listener,
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

pub(super) const PLAIN: &[Row] = &[
    row(
        "ACCESS_LOG_TYPE",
        Operator::LogType,
        "`DownstreamEnd`, or `TcpConnectionEnd` of a connection that is not HTTP.",
    ),
    row(
        "BYTES_RECEIVED",
        Operator::BytesReceived,
        "Body bytes from the client.",
    ),
    row(
        "BYTES_SENT",
        Operator::BytesSent,
        "Body bytes to the client.",
    ),
    row(
        "CONNECTION_ID",
        Operator::ConnectionId,
        "The number of the client's connection in this process.",
    ),
    row(
        "CONNECTION_TERMINATION_DETAILS",
        Operator::TerminationDetails,
        "Why a connection that is not HTTP ended.",
    ),
    row(
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        Operator::Address(Whose::Direct, Form::Whole),
        "Who connected: the client, or a proxy that speaks for it (`proxy_protocol`).",
    ),
    row(
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
        Operator::Address(Whose::Direct, Form::Ip),
        "Likewise, without its port.",
    ),
    row(
        "DOWNSTREAM_DIRECT_REMOTE_PORT",
        Operator::Address(Whose::Direct, Form::Port),
        "Its port.",
    ),
    row(
        "DOWNSTREAM_LOCAL_ADDRESS",
        Operator::Address(Whose::Listener, Form::Whole),
        "Where the client connected to.",
    ),
    row(
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        Operator::Address(Whose::Listener, Form::Ip),
        "Likewise, without its port.",
    ),
    row(
        "DOWNSTREAM_LOCAL_DNS_SAN",
        Operator::Certificate(Side::Downstream, Holder::Own, Field::Dns),
        "The DNS names of the certificate that the client was shown.",
    ),
    row(
        "DOWNSTREAM_LOCAL_EMAIL_SAN",
        Operator::Certificate(Side::Downstream, Holder::Own, Field::Email),
        "Its mail addresses.",
    ),
    row(
        "DOWNSTREAM_LOCAL_IP_SAN",
        Operator::Certificate(Side::Downstream, Holder::Own, Field::Ip),
        "Its IP addresses.",
    ),
    row(
        "DOWNSTREAM_LOCAL_PORT",
        Operator::Address(Whose::Listener, Form::Port),
        "The port the client connected to.",
    ),
    row(
        "DOWNSTREAM_LOCAL_SUBJECT",
        Operator::Certificate(Side::Downstream, Holder::Own, Field::Subject),
        "The subject of that certificate.",
    ),
    row(
        "DOWNSTREAM_LOCAL_URI_SAN",
        Operator::Certificate(Side::Downstream, Holder::Own, Field::Uri),
        "Its URIs.",
    ),
    row(
        "DOWNSTREAM_PEER_CERT",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Pem),
        "The client's certificate, PEM escaped as for a URL.",
    ),
    row(
        "DOWNSTREAM_PEER_CERT_V_END",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Until),
        "Until when it is good, as ISO 8601 in UTC, or in braces as a format of strftime.",
    ),
    row(
        "DOWNSTREAM_PEER_CERT_V_START",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::From),
        "From when on, likewise.",
    ),
    row(
        "DOWNSTREAM_PEER_DNS_SAN",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Dns),
        "Its DNS names.",
    ),
    row(
        "DOWNSTREAM_PEER_EMAIL_SAN",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Email),
        "Its mail addresses.",
    ),
    row(
        "DOWNSTREAM_PEER_FINGERPRINT_1",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Sha1),
        "Its SHA-1.",
    ),
    row(
        "DOWNSTREAM_PEER_FINGERPRINT_256",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Digest),
        "Its SHA-256.",
    ),
    row(
        "DOWNSTREAM_PEER_IP_SAN",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Ip),
        "Its IP addresses.",
    ),
    row(
        "DOWNSTREAM_PEER_ISSUER",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Issuer),
        "Its issuer.",
    ),
    row(
        "DOWNSTREAM_PEER_SERIAL",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Serial),
        "Its serial number, in hexadecimal.",
    ),
    row(
        "DOWNSTREAM_PEER_SUBJECT",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Subject),
        "Its subject.",
    ),
    row(
        "DOWNSTREAM_PEER_URI_SAN",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Uri),
        "Its URIs.",
    ),
    row(
        "DOWNSTREAM_REMOTE_ADDRESS",
        Operator::Address(Whose::Downstream, Form::Whole),
        "The client.",
    ),
    row(
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        Operator::Address(Whose::Downstream, Form::Ip),
        "Likewise, without its port.",
    ),
    row(
        "DOWNSTREAM_REMOTE_PORT",
        Operator::Address(Whose::Downstream, Form::Port),
        "Its port.",
    ),
    row(
        "DOWNSTREAM_TLS_CIPHER",
        Operator::TlsCipher(Side::Downstream),
        "The cipher suite, as OpenSSL names it.",
    ),
    row(
        "DOWNSTREAM_TLS_GROUP",
        Operator::TlsGroup(Side::Downstream),
        "The group of the key exchange: `X25519`.",
    ),
    row(
        "DOWNSTREAM_TLS_SESSION_ID",
        Operator::TlsSessionId,
        "Always `-`: sessions of TLS 1.3 have none, and those of 1.2 are not told.",
    ),
    row(
        "DOWNSTREAM_TLS_VERSION",
        Operator::TlsVersion(Side::Downstream),
        "`TLSv1.2` or `TLSv1.3`.",
    ),
    row(
        "DURATION",
        Operator::Duration,
        "Milliseconds from the request's head to the end of the response.",
    ),
    row(
        "EMIT_TIME",
        Operator::EmitTime,
        "When the line is written, as `START_TIME`.",
    ),
    row(
        "FILTER",
        Operator::Filter,
        "Ours: the filter that decided the answer, and in which callback.",
    ),
    row(
        "GRPC_STATUS",
        Operator::GrpcStatus,
        "The response's `grpc-status` as a word, such as `NotFound`.",
    ),
    row(
        "GRPC_STATUS_NUMBER",
        Operator::GrpcStatusNumber,
        "Likewise as a number.",
    ),
    row("HOSTNAME", Operator::HostName, "The name of this machine."),
    row(
        "PROTOCOL",
        Operator::Protocol,
        "What the client speaks: `HTTP/1.1`.",
    ),
    row(
        "REQUESTED_SERVER_NAME",
        Operator::ServerName(Side::Downstream),
        "What the client asked for in its TLS handshake.",
    ),
    row(
        "REQUEST_DURATION",
        Operator::Between(Moment::RequestBegun, Moment::RequestComplete),
        "Milliseconds from the request's head to its last byte.",
    ),
    row(
        "REQUEST_HEADERS_BYTES",
        Operator::HeaderBytes(Message::Request),
        "Bytes of the request's header names and values, `:method` and its like among them.",
    ),
    row(
        "REQUEST_ID",
        Operator::RequestId,
        "Ours: `%REQ(X-REQUEST-ID)%`.",
    ),
    row(
        "REQUEST_TX_DURATION",
        Operator::Between(Moment::RequestBegun, Moment::RequestComplete),
        "Likewise until it had been handed to the upstream.",
    ),
    row(
        "RESPONSE_CODE",
        Operator::ResponseCode,
        "The status; 0 when none was sent.",
    ),
    row(
        "RESPONSE_CODE_DETAILS",
        Operator::ResponseCodeDetails,
        "In a word or two, why the response is what it is.",
    ),
    row(
        "RESPONSE_DURATION",
        Operator::Between(Moment::RequestBegun, Moment::ResponseBegun),
        "Milliseconds from the request's head to that of the upstream's response.",
    ),
    row(
        "RESPONSE_FLAGS",
        Operator::ResponseFlags,
        "What went wrong, in letters: `UT,WF`.",
    ),
    row(
        "RESPONSE_FLAGS_LONG",
        Operator::ResponseFlagsLong,
        "Likewise in words: `UpstreamRequestTimeout`.",
    ),
    row(
        "RESPONSE_HEADERS_BYTES",
        Operator::HeaderBytes(Message::Response),
        "Bytes of the response's header names and values.",
    ),
    row(
        "RESPONSE_TRAILERS_BYTES",
        Operator::HeaderBytes(Message::Trailers),
        "Bytes of its trailers.",
    ),
    row(
        "RESPONSE_TX_DURATION",
        Operator::Between(Moment::ResponseBegun, Moment::Over),
        "Milliseconds from the head of the upstream's response to the last byte to the client.",
    ),
    row(
        "ROUTE_NAME",
        Operator::RouteName,
        "The route's position in the configuration: `web.routes[2]`.",
    ),
    row(
        "SPAN_ID",
        Operator::SpanId,
        "Our span of the request, where requests are traced; else the one that the client's `traceparent` or B3 headers name.",
    ),
    row(
        "START_TIME",
        Operator::StartTime,
        "When the request's head was complete, as ISO 8601 in UTC with milliseconds.",
    ),
    row(
        "STREAM_ID",
        Operator::StreamId,
        "The request's `x-request-id`; of a connection that is not HTTP its number.",
    ),
    row(
        "TRACE_ID",
        Operator::TraceId,
        "The trace that it is in; where requests are not traced, the one that the client's `traceparent` or B3 headers name.",
    ),
    row(
        "UNIQUE_ID",
        Operator::UniqueId,
        "A random UUID, another for each line.",
    ),
    row(
        "UPSTREAM_CLUSTER",
        Operator::UpstreamCluster,
        "The cluster.",
    ),
    row(
        "UPSTREAM_CLUSTER_RAW",
        Operator::UpstreamCluster,
        "Likewise.",
    ),
    row(
        "UPSTREAM_CONNECTION_POOL_READY_DURATION",
        Operator::PoolReady,
        "Milliseconds that the request waited for a connection to the upstream.",
    ),
    row(
        "UPSTREAM_HOST",
        Operator::Address(Whose::Upstream, Form::Whole),
        "The endpoint that was tried last.",
    ),
    row(
        "UPSTREAM_HOST_NAME",
        Operator::Address(Whose::Upstream, Form::Whole),
        "As `UPSTREAM_HOST`: endpoints have no other names here.",
    ),
    row(
        "UPSTREAM_HOST_NAME_WITHOUT_PORT",
        Operator::Address(Whose::Upstream, Form::Ip),
        "Likewise, without its port.",
    ),
    row(
        "UPSTREAM_LOCAL_ADDRESS",
        Operator::Address(Whose::UpstreamLocal, Form::Whole),
        "This end of the connection to it.",
    ),
    row(
        "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        Operator::Address(Whose::UpstreamLocal, Form::Ip),
        "Likewise, without its port.",
    ),
    row(
        "UPSTREAM_LOCAL_DNS_SAN",
        Operator::Certificate(Side::Upstream, Holder::Own, Field::Dns),
        "The DNS names of the certificate that the upstream is shown if it asks.",
    ),
    row(
        "UPSTREAM_LOCAL_IP_SAN",
        Operator::Certificate(Side::Upstream, Holder::Own, Field::Ip),
        "Its IP addresses.",
    ),
    row(
        "UPSTREAM_LOCAL_PORT",
        Operator::Address(Whose::UpstreamLocal, Form::Port),
        "Its port.",
    ),
    row(
        "UPSTREAM_LOCAL_URI_SAN",
        Operator::Certificate(Side::Upstream, Holder::Own, Field::Uri),
        "Its URIs.",
    ),
    row(
        "UPSTREAM_PEER_CERT",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::Pem),
        "The upstream's certificate, PEM escaped as for a URL.",
    ),
    row(
        "UPSTREAM_PEER_CERT_V_END",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::Until),
        "Until when it is good, as ISO 8601 in UTC, or in braces as a format of strftime.",
    ),
    row(
        "UPSTREAM_PEER_CERT_V_START",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::From),
        "From when on, likewise.",
    ),
    row(
        "UPSTREAM_PEER_DNS_SAN",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::Dns),
        "Its DNS names.",
    ),
    row(
        "UPSTREAM_PEER_IP_SAN",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::Ip),
        "Its IP addresses.",
    ),
    row(
        "UPSTREAM_PEER_ISSUER",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::Issuer),
        "Its issuer.",
    ),
    row(
        "UPSTREAM_PEER_SUBJECT",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::Subject),
        "Its subject.",
    ),
    row(
        "UPSTREAM_PEER_URI_SAN",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::Uri),
        "Its URIs.",
    ),
    row(
        "UPSTREAM_PROTOCOL",
        Operator::UpstreamProtocol,
        "What is spoken to the upstream: `HTTP/2`.",
    ),
    row(
        "UPSTREAM_REMOTE_ADDRESS",
        Operator::Address(Whose::Upstream, Form::Whole),
        "As `UPSTREAM_HOST`.",
    ),
    row(
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        Operator::Address(Whose::Upstream, Form::Ip),
        "Likewise, without its port.",
    ),
    row(
        "UPSTREAM_REMOTE_PORT",
        Operator::Address(Whose::Upstream, Form::Port),
        "Its port.",
    ),
    row(
        "UPSTREAM_REQUEST_ATTEMPT_COUNT",
        Operator::Attempts,
        "How often the request was sent to an upstream.",
    ),
    row(
        "UPSTREAM_SERVER_NAME",
        Operator::ServerName(Side::Upstream),
        "The name that the upstream was asked for in the TLS handshake.",
    ),
    row(
        "UPSTREAM_TLS_CIPHER",
        Operator::TlsCipher(Side::Upstream),
        "The cipher suite, as OpenSSL names it.",
    ),
    row(
        "UPSTREAM_TLS_GROUP",
        Operator::TlsGroup(Side::Upstream),
        "The group of the key exchange: `X25519`.",
    ),
    row(
        "UPSTREAM_TLS_SESSION_ID",
        Operator::TlsSessionId,
        "Always `-`, as of the client.",
    ),
    row(
        "UPSTREAM_TLS_VERSION",
        Operator::TlsVersion(Side::Upstream),
        "`TLSv1.2` or `TLSv1.3`.",
    ),
    row(
        "UPSTREAM_TRANSPORT_FAILURE_REASON",
        Operator::TransportFailure,
        "Why there was no connection to the upstream.",
    ),
];
