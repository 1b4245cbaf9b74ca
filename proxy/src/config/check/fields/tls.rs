//! The keys of TLS, on both sides.

use super::field;
use crate::config::yaml::Absent::{Default, Means, Required};
use crate::config::yaml::{Field, Kind, Table};

/// `listeners[].tls`.
pub static LISTENER_TLS: Table = Table {
    name: "listeners[].tls",
    doc: "What a listener shows its clients, and asks of them. Files are read again when they have changed, and on SIGHUP: connections go on, new ones are shown what is new. Files that are no good leave in use what was good; the log says which and why.",
    fields: &[
        field(
            "certificate",
            Kind::Text("file name"),
            Means("the first of `certificates`"),
            "The certificate chain, PEM, leaf first: shown to clients that ask for no other.",
        ),
        field(
            "key",
            Kind::Text("file name"),
            Means("that of the first of `certificates`"),
            "The private key of the leaf, PEM.",
        ),
        field(
            "certificates",
            Kind::Tables(&LISTENER_CERTIFICATE),
            Means("there is `certificate`"),
            "Certificates that are shown to clients that ask for their names (SNI). A name goes before a wildcard; no two may claim the same.",
        ),
        field(
            "unknown_server_name",
            Kind::Choice(&["default", "refuse"]),
            Default("default"),
            "Whether a client that asks for a name of no certificate, or for none, is shown the default or sent away.",
        ),
        field(
            "client_ca",
            Kind::Text("file name"),
            Means("clients are not asked for a certificate"),
            "The authorities that clients' certificates are verified against, PEM.",
        ),
        field(
            "client_certificate",
            Kind::Choice(&["required", "optional"]),
            Default("required"),
            "Whether a client without a certificate is sent away. One that is no good is refused either way.",
        ),
        field(
            "client_crl",
            Kind::Text("file name"),
            Means("nothing is revoked"),
            "Lists of revoked certificates, PEM: one, and in force, for every authority in a client's chain.",
        ),
        field(
            "allowed_sans",
            ALLOWED,
            Means("everybody the authorities vouch for"),
            "Who clients may be: one of the alternative names of their certificate must meet one of these. A name by itself is compared whole: `spiffe://cluster.local/ns/prod/sa/web`.",
        ),
        MIN_VERSION,
        field(
            "alpn",
            Kind::Other("list of names of protocols", &[]),
            Means("`h2` and `http/1.1`, or none with `tcp`"),
            "What is offered by ALPN, best first. With `routes`, `h2` and `http/1.1` or one of them; an empty list takes no part in ALPN.",
        ),
        field(
            "resumption",
            Kind::Choice(&["tickets", "store", "off"]),
            Default("tickets"),
            "How a client that comes back saves itself a full handshake: by a ticket, sealed with keys that only this process knows and changes every six hours; by a session that is kept here (the last 20480); or not at all.",
        ),
    ],
};

/// `listeners[].tls.certificates[]`.
pub static LISTENER_CERTIFICATE: Table = Table {
    name: "listeners[].tls.certificates[]",
    doc: "One of several certificates.",
    fields: &[
        field(
            "certificate",
            Kind::Text("file name"),
            Required,
            "The certificate chain, PEM, leaf first.",
        ),
        field(
            "key",
            Kind::Text("file name"),
            Required,
            "The private key of the leaf, PEM.",
        ),
        field(
            "names",
            Kind::Other("list of names, `*.` before one for a wildcard", &[]),
            Means("the DNS names in it"),
            "The names it is shown for. The log warns of one that is not in the certificate.",
        ),
    ],
};

/// `clusters[].tls`.
pub static CLUSTER_TLS: Table = Table {
    name: "clusters[].tls",
    doc: "How an upstream is verified, and what it is shown. Files are read again as those of listeners are.",
    fields: &[
        field(
            "server_name",
            Kind::Text("host name or address"),
            Means("there are `allowed_sans`"),
            "Sent as SNI; and the name its certificate must carry, unless there are `allowed_sans`.",
        ),
        field(
            "ca",
            Kind::Text("file name"),
            Means("the system's roots"),
            "The certificates it is verified against, PEM.",
        ),
        field(
            "certificate",
            Kind::Text("file name"),
            Means("none is shown"),
            "The certificate chain that it is shown if it asks, PEM, leaf first.",
        ),
        field(
            "key",
            Kind::Text("file name"),
            Means("none is shown"),
            "The private key of that leaf, PEM.",
        ),
        field(
            "allowed_sans",
            ALLOWED,
            Means("it must carry `server_name`"),
            "Who it may be: one of the alternative names of its certificate must meet one of these, instead of `server_name`. For upstreams whose identity is a URI (SPIFFE).",
        ),
        MIN_VERSION,
        field(
            "resumption",
            Kind::Boolean,
            Default("true"),
            "Whether later connections go on with what an earlier one agreed on.",
        ),
    ],
};

/// An entry of `allowed_sans` that is a table.
pub static ALLOWED_SAN: Table = Table {
    name: "allowed_sans[]",
    doc: "A condition on the alternative names of a certificate: exactly one of `exact`, `prefix`, `suffix` and `regex`. A bare name is short for a table with `exact`; what it is is seen from its form. A certificate that has a SPIFFE identity and another URI beside it meets none on URIs.",
    fields: &[
        field(
            "type",
            Kind::Choice(&["uri", "dns", "email", "ip"]),
            Default("uri"),
            "Which kind of name.",
        ),
        field(
            "exact",
            Kind::Text("text"),
            Means("another condition"),
            "The whole name. A wildcard in the certificate stands for the DNS names it covers.",
        ),
        field(
            "prefix",
            Kind::Text("text"),
            Means("another condition"),
            "How it begins: end it with `/` where a part of a path ends, as in `spiffe://cluster.local/ns/prod/`.",
        ),
        field(
            "suffix",
            Kind::Text("text"),
            Means("another condition"),
            "How it ends.",
        ),
        field(
            "regex",
            Kind::Text("regular expression"),
            Means("another condition"),
            "What it matches as a whole.",
        ),
    ],
};

const ALLOWED: Kind = Kind::Other("list of names, or tables", &[&ALLOWED_SAN]);

const MIN_VERSION: Field = field(
    "min_version",
    Kind::Other("`1.2` or `1.3`", &[]),
    Default("1.2"),
    "The oldest version of TLS that is spoken. There is none below 1.2.",
);
