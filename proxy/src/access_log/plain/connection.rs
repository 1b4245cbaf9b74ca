//! Operators of the connections on both sides, and what passed on them.

use super::{Attempted, Course, Form, Operator, Row, Side, Whose, row};

pub(super) const ROWS: &[Row] = &[
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
        "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
        Operator::FieldBytes(Side::Downstream, Course::Received),
        "Bytes of the header lines from the client; in HTTP/2 bytes of names and values.",
    ),
    row(
        "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
        Operator::FieldBytes(Side::Downstream, Course::Sent),
        "Bytes of the header lines to the client, what the codec adds by itself apart; in HTTP/2 bytes of names and values.",
    ),
    row(
        "DOWNSTREAM_DETECTED_CLOSE_TYPE",
        Operator::CloseType(Side::Downstream),
        "`RemoteReset` where the client is known to have reset the connection, else `Normal`.",
    ),
    row(
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
        Operator::Address(Whose::DirectListener, Form::Whole),
        "The address here that was connected to, whatever a proxy before this one says.",
    ),
    row(
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT",
        Operator::Address(Whose::DirectListener, Form::Ip),
        "The address here that was connected to, without its port, whatever a proxy before this one says.",
    ),
    row(
        "DOWNSTREAM_DIRECT_LOCAL_PORT",
        Operator::Address(Whose::DirectListener, Form::Port),
        "The port here that was connected to, whatever a proxy before this one says.",
    ),
    row(
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        Operator::Address(Whose::Direct, Form::Whole),
        "Who connected: the client, or a proxy that speaks for it (`proxy_protocol`).",
    ),
    row(
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
        Operator::Address(Whose::Direct, Form::Ip),
        "The address, without its port, of who connected: the client, or a proxy that speaks for it (`proxy_protocol`).",
    ),
    row(
        "DOWNSTREAM_DIRECT_REMOTE_PORT",
        Operator::Address(Whose::Direct, Form::Port),
        "The port of who connected: the client, or a proxy that speaks for it (`proxy_protocol`).",
    ),
    row(
        "DOWNSTREAM_HANDSHAKE_DURATION",
        Operator::Handshake,
        "Milliseconds that the TLS handshake of a connection that is not HTTP took.",
    ),
    row(
        "DOWNSTREAM_HEADER_BYTES_RECEIVED",
        Operator::HeadBytes(Side::Downstream, Course::Received),
        "Bytes of the header lines from the client; `-` in HTTP/2, which compresses them.",
    ),
    row(
        "DOWNSTREAM_HEADER_BYTES_SENT",
        Operator::HeadBytes(Side::Downstream, Course::Sent),
        "Bytes of the header lines to the client, what the codec adds by itself apart; `-` in HTTP/2, which compresses them.",
    ),
    row(
        "DOWNSTREAM_LOCAL_ADDRESS",
        Operator::Address(Whose::Listener, Form::Whole),
        "The address that the client connected to.",
    ),
    row(
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        Operator::Address(Whose::Listener, Form::Ip),
        "The address that the client connected to, without its port.",
    ),
    row(
        "DOWNSTREAM_LOCAL_CLOSE_REASON",
        Operator::CloseReason(Side::Downstream),
        "Why the client's connection was closed here: `tcp_session_idle_timeout`.",
    ),
    row(
        "DOWNSTREAM_LOCAL_PORT",
        Operator::Address(Whose::Listener, Form::Port),
        "The port that the client connected to.",
    ),
    row(
        "DOWNSTREAM_REMOTE_ADDRESS",
        Operator::Address(Whose::Downstream, Form::Whole),
        "The client's address.",
    ),
    row(
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        Operator::Address(Whose::Downstream, Form::Ip),
        "The client's address, without its port.",
    ),
    row(
        "DOWNSTREAM_REMOTE_PORT",
        Operator::Address(Whose::Downstream, Form::Port),
        "The client's port.",
    ),
    row(
        "DOWNSTREAM_TLS_CIPHER",
        Operator::TlsCipher(Side::Downstream),
        "The cipher suite of the client's connection, as OpenSSL names it.",
    ),
    row(
        "DOWNSTREAM_TLS_GROUP",
        Operator::TlsGroup(Side::Downstream),
        "The group of the key exchange with the client: `X25519`.",
    ),
    row(
        "DOWNSTREAM_TLS_VERSION",
        Operator::TlsVersion(Side::Downstream),
        "`TLSv1.2` or `TLSv1.3`.",
    ),
    row(
        "DOWNSTREAM_WIRE_BYTES_RECEIVED",
        Operator::WireBytes(Side::Downstream, Course::Received),
        "All bytes from the client, heads and framing among them, TLS apart; `-` in HTTP/2.",
    ),
    row(
        "DOWNSTREAM_WIRE_BYTES_SENT",
        Operator::WireBytes(Side::Downstream, Course::Sent),
        "All bytes to the client of a connection that is not HTTP, TLS apart; `-` in HTTP, whose codec still holds the last of them then.",
    ),
    row(
        "REQUESTED_SERVER_NAME",
        Operator::ServerName(Side::Downstream),
        "What the client asked for in its TLS handshake.",
    ),
    row(
        "UPSTREAM_CLUSTER",
        Operator::UpstreamCluster,
        "The cluster that the request went to.",
    ),
    row(
        "UPSTREAM_CLUSTER_RAW",
        Operator::UpstreamCluster,
        "The cluster: as `%UPSTREAM_CLUSTER%`, since clusters have one name here.",
    ),
    row(
        "UPSTREAM_CONNECTION_ID",
        Operator::UpstreamConnection,
        "The number of the connection to the upstream in this process; 0 when there was none.",
    ),
    row(
        "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
        Operator::Attempted(Attempted::Connections),
        "The numbers of the connections that the request was sent on, in turn.",
    ),
    row(
        "UPSTREAM_CONNECTION_POOL_READY_DURATION",
        Operator::PoolReady,
        "Milliseconds that the request waited for a connection to the upstream.",
    ),
    row(
        "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
        Operator::FieldBytes(Side::Upstream, Course::Received),
        "Bytes of the header lines from the upstream; in HTTP/2 bytes of names and values.",
    ),
    row(
        "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
        Operator::FieldBytes(Side::Upstream, Course::Sent),
        "Bytes of the header lines to the upstream, what the codec adds by itself apart; in HTTP/2 bytes of names and values.",
    ),
    row(
        "UPSTREAM_DETECTED_CLOSE_TYPE",
        Operator::CloseType(Side::Upstream),
        "`RemoteReset` where the upstream is known to have reset the connection, else `Normal`; `-` where there was none.",
    ),
    row(
        "UPSTREAM_HEADER_BYTES_RECEIVED",
        Operator::HeadBytes(Side::Upstream, Course::Received),
        "Bytes of the header lines from the upstream; `-` in HTTP/2, which compresses them.",
    ),
    row(
        "UPSTREAM_HEADER_BYTES_SENT",
        Operator::HeadBytes(Side::Upstream, Course::Sent),
        "Bytes of the header lines to the upstream, what the codec adds by itself apart; `-` in HTTP/2, which compresses them.",
    ),
    row(
        "UPSTREAM_HOST",
        Operator::Address(Whose::Upstream, Form::Whole),
        "The address of the endpoint that was tried last.",
    ),
    row(
        "UPSTREAM_HOSTS_ATTEMPTED",
        Operator::Attempted(Attempted::Addresses),
        "The addresses of the endpoints that were tried, in turn.",
    ),
    row(
        "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT",
        Operator::Attempted(Attempted::Ips),
        "The addresses of the endpoints that were tried, in turn, without their ports.",
    ),
    row(
        "UPSTREAM_HOST_NAME",
        Operator::UpstreamName(Form::Whole),
        "The name by which the endpoint that was tried last was found; its address where it has none.",
    ),
    row(
        "UPSTREAM_HOST_NAMES_ATTEMPTED",
        Operator::Attempted(Attempted::Names),
        "The names of the endpoints that were tried, in turn; addresses where they have none.",
    ),
    row(
        "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT",
        Operator::Attempted(Attempted::BareNames),
        "The names of the endpoints that were tried, in turn, without their ports; addresses where they have none.",
    ),
    row(
        "UPSTREAM_HOST_NAME_WITHOUT_PORT",
        Operator::UpstreamName(Form::Ip),
        "The name by which the endpoint that was tried last was found, without a port; its address where it has none.",
    ),
    row(
        "UPSTREAM_LOCAL_ADDRESS",
        Operator::Address(Whose::UpstreamLocal, Form::Whole),
        "The address of this end of the connection to the upstream.",
    ),
    row(
        "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        Operator::Address(Whose::UpstreamLocal, Form::Ip),
        "The address of this end of the connection to the upstream, without its port.",
    ),
    row(
        "UPSTREAM_LOCAL_CLOSE_REASON",
        Operator::CloseReason(Side::Upstream),
        "Why the connection to the upstream was closed here: `tcp_session_idle_timeout`.",
    ),
    row(
        "UPSTREAM_LOCAL_PORT",
        Operator::Address(Whose::UpstreamLocal, Form::Port),
        "The port of this end of the connection to the upstream.",
    ),
    row(
        "UPSTREAM_PROTOCOL",
        Operator::UpstreamProtocol,
        "What is spoken to the upstream: `HTTP/2`.",
    ),
    row(
        "UPSTREAM_REMOTE_ADDRESS",
        Operator::Address(Whose::Upstream, Form::Whole),
        "The address of the endpoint that was tried last, as `%UPSTREAM_HOST%`.",
    ),
    row(
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        Operator::Address(Whose::Upstream, Form::Ip),
        "The address of the endpoint that was tried last, without its port.",
    ),
    row(
        "UPSTREAM_REMOTE_PORT",
        Operator::Address(Whose::Upstream, Form::Port),
        "The port of the endpoint that was tried last.",
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
        "The cipher suite of the connection to the upstream, as OpenSSL names it.",
    ),
    row(
        "UPSTREAM_TLS_GROUP",
        Operator::TlsGroup(Side::Upstream),
        "The group of the key exchange with the upstream: `X25519`.",
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
    row(
        "UPSTREAM_WIRE_BYTES_RECEIVED",
        Operator::WireBytes(Side::Upstream, Course::Received),
        "All bytes from the upstream, heads and framing among them, TLS apart; `-` in HTTP/2.",
    ),
    row(
        "UPSTREAM_WIRE_BYTES_SENT",
        Operator::WireBytes(Side::Upstream, Course::Sent),
        "All bytes to the upstream, heads and framing among them, TLS apart; `-` in HTTP/2.",
    ),
];
