//! Operators that Envoy has and for which there is nothing here: formats that name them carry
//! over, and what they write says so.

use super::{Operator, Row, row};

pub(super) const ROWS: &[Row] = &[
    row("BYTES_RETRANSMITTED", Operator::Zero, "Always 0: HTTP/3's."),
    row(
        "CUSTOM_FLAGS",
        Operator::Empty,
        "Always empty: filters set none.",
    ),
    row(
        "DOWNSTREAM_CX_RTT",
        Operator::Never,
        "Always `-`: the system's round-trip time is not asked for.",
    ),
    row(
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID",
        Operator::Never,
        "Always `-`: there are no internal listeners.",
    ),
    row(
        "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID",
        Operator::Never,
        "Always `-`: there are no internal listeners.",
    ),
    row(
        "DOWNSTREAM_TLS_SESSION_ID",
        Operator::Never,
        "Always `-`: sessions of TLS 1.3 have none, and those of 1.2 are not told.",
    ),
    row(
        "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
        Operator::Never,
        "Always `-`: a client whose handshake fails has no line, and a counter says so.",
    ),
    row(
        "FILTER_CHAIN_NAME",
        Operator::Never,
        "Always `-`: a listener has one chain, without a name.",
    ),
    row(
        "LOCAL_REPLY_BODY",
        Operator::Empty,
        "Always empty, as in an access log of Envoy.",
    ),
    row(
        "PACKETS_RETRANSMITTED",
        Operator::Zero,
        "Always 0: HTTP/3's.",
    ),
    row(
        "ROUNDTRIP_DURATION",
        Operator::Never,
        "Always `-`: HTTP/3's.",
    ),
    row(
        "TLS_JA3_FINGERPRINT",
        Operator::Never,
        "Always `-`: no fingerprint is taken of a handshake.",
    ),
    row(
        "TLS_JA4_FINGERPRINT",
        Operator::Never,
        "Always `-`: no fingerprint is taken of a handshake.",
    ),
    row(
        "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID",
        Operator::Never,
        "Always `-`: there are no internal listeners.",
    ),
    row(
        "UPSTREAM_TLS_SESSION_ID",
        Operator::Never,
        "Always `-`: sessions of TLS 1.3 have none, and those of 1.2 are not told.",
    ),
    row(
        "VIRTUAL_CLUSTER_NAME",
        Operator::Never,
        "Always `-`: there are no virtual clusters.",
    ),
];
