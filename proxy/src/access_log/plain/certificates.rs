//! Operators of certificates.

use super::{Field, Holder, Operator, Row, Side, row};

pub(super) const ROWS: &[Row] = &[
    row(
        "DOWNSTREAM_LOCAL_DNS_SAN",
        Operator::Certificate(Side::Downstream, Holder::Own, Field::Dns),
        "The DNS names of the certificate that the client was shown.",
    ),
    row(
        "DOWNSTREAM_LOCAL_EMAIL_SAN",
        Operator::Certificate(Side::Downstream, Holder::Own, Field::Email),
        "The mail addresses of the certificate that the client was shown.",
    ),
    row(
        "DOWNSTREAM_LOCAL_IP_SAN",
        Operator::Certificate(Side::Downstream, Holder::Own, Field::Ip),
        "The IP addresses of the certificate that the client was shown.",
    ),
    row(
        "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
        Operator::Certificate(Side::Downstream, Holder::Own, Field::Other),
        "The names of other kinds of the certificate that the client was shown.",
    ),
    row(
        "DOWNSTREAM_LOCAL_SUBJECT",
        Operator::Certificate(Side::Downstream, Holder::Own, Field::Subject),
        "The subject of the certificate that the client was shown.",
    ),
    row(
        "DOWNSTREAM_LOCAL_URI_SAN",
        Operator::Certificate(Side::Downstream, Holder::Own, Field::Uri),
        "The URIs of the certificate that the client was shown.",
    ),
    row(
        "DOWNSTREAM_PEER_CERT",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Pem),
        "The client's certificate, PEM escaped as for a URL.",
    ),
    row(
        "DOWNSTREAM_PEER_CERT_V_END",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Until),
        "Until when the client's certificate is good, as ISO 8601 in UTC, or in braces as a format of strftime.",
    ),
    row(
        "DOWNSTREAM_PEER_CERT_V_START",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::From),
        "From when on the client's certificate is good, as ISO 8601 in UTC, or in braces as a format of strftime.",
    ),
    row(
        "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
        Operator::Chain(Field::Sha1),
        "The SHA-1 of every certificate that the client has shown, its own first.",
    ),
    row(
        "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
        Operator::Chain(Field::Digest),
        "The SHA-256 of every certificate that the client has shown, its own first.",
    ),
    row(
        "DOWNSTREAM_PEER_CHAIN_SERIALS",
        Operator::Chain(Field::Serial),
        "The serial number of every certificate that the client has shown, its own first.",
    ),
    row(
        "DOWNSTREAM_PEER_DNS_SAN",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Dns),
        "The DNS names of the client's certificate.",
    ),
    row(
        "DOWNSTREAM_PEER_EMAIL_SAN",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Email),
        "The mail addresses of the client's certificate.",
    ),
    row(
        "DOWNSTREAM_PEER_FINGERPRINT_1",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Sha1),
        "The SHA-1 of the client's certificate.",
    ),
    row(
        "DOWNSTREAM_PEER_FINGERPRINT_256",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Digest),
        "The SHA-256 of the client's certificate.",
    ),
    row(
        "DOWNSTREAM_PEER_IP_SAN",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Ip),
        "The IP addresses of the client's certificate.",
    ),
    row(
        "DOWNSTREAM_PEER_ISSUER",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Issuer),
        "The issuer of the client's certificate.",
    ),
    row(
        "DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256",
        Operator::ChainIssuer(Field::Digest),
        "The SHA-256 of the issuer's certificate, if the client has shown it.",
    ),
    row(
        "DOWNSTREAM_PEER_ISSUER_SERIAL",
        Operator::ChainIssuer(Field::Serial),
        "The serial number of the issuer's certificate, if the client has shown it.",
    ),
    row(
        "DOWNSTREAM_PEER_OTHERNAME_SAN",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Other),
        "The names of other kinds of the client's certificate.",
    ),
    row(
        "DOWNSTREAM_PEER_SERIAL",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Serial),
        "The serial number of the client's certificate, in hexadecimal.",
    ),
    row(
        "DOWNSTREAM_PEER_SUBJECT",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Subject),
        "The subject of the client's certificate.",
    ),
    row(
        "DOWNSTREAM_PEER_URI_SAN",
        Operator::Certificate(Side::Downstream, Holder::Peer, Field::Uri),
        "The URIs of the client's certificate.",
    ),
    row(
        "UPSTREAM_LOCAL_DNS_SAN",
        Operator::Certificate(Side::Upstream, Holder::Own, Field::Dns),
        "The DNS names of the certificate that the upstream is shown if it asks.",
    ),
    row(
        "UPSTREAM_LOCAL_IP_SAN",
        Operator::Certificate(Side::Upstream, Holder::Own, Field::Ip),
        "The IP addresses of the certificate that the upstream is shown if it asks.",
    ),
    row(
        "UPSTREAM_LOCAL_URI_SAN",
        Operator::Certificate(Side::Upstream, Holder::Own, Field::Uri),
        "The URIs of the certificate that the upstream is shown if it asks.",
    ),
    row(
        "UPSTREAM_PEER_CERT",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::Pem),
        "The upstream's certificate, PEM escaped as for a URL.",
    ),
    row(
        "UPSTREAM_PEER_CERT_V_END",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::Until),
        "Until when the upstream's certificate is good, as ISO 8601 in UTC, or in braces as a format of strftime.",
    ),
    row(
        "UPSTREAM_PEER_CERT_V_START",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::From),
        "From when on the upstream's certificate is good, as ISO 8601 in UTC, or in braces as a format of strftime.",
    ),
    row(
        "UPSTREAM_PEER_DNS_SAN",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::Dns),
        "The DNS names of the upstream's certificate.",
    ),
    row(
        "UPSTREAM_PEER_IP_SAN",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::Ip),
        "The IP addresses of the upstream's certificate.",
    ),
    row(
        "UPSTREAM_PEER_ISSUER",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::Issuer),
        "The issuer of the upstream's certificate.",
    ),
    row(
        "UPSTREAM_PEER_SUBJECT",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::Subject),
        "The subject of the upstream's certificate.",
    ),
    row(
        "UPSTREAM_PEER_URI_SAN",
        Operator::Certificate(Side::Upstream, Holder::Peer, Field::Uri),
        "The URIs of the upstream's certificate.",
    ),
];
