//! The keys of filters' own calls.

use super::{DAY, HOUR, MILLI, duration, field};
use crate::config::yaml::Absent::{Default, Means};
use crate::config::yaml::{Kind, Table};

/// `callouts`.
pub static CALLOUTS: Table = Table {
    name: "callouts",
    doc: "How filters call other services. Clusters have their own TLS, timeouts and connections; the first three keys are for servers that a filter names by URL.",
    fields: &[
        field(
            "ca",
            Kind::Text("file name"),
            Means("the certificate authorities of this system"),
            "PEM certificates that such a server's certificate must lead to; it is always verified.",
        ),
        field(
            "connect_timeout",
            duration(MILLI, HOUR),
            Default("5s"),
            "How long connecting may take, TLS included.",
        ),
        field(
            "idle_timeout",
            duration(MILLI, DAY),
            Default("55s"),
            "How long an unused connection is kept.",
        ),
        field(
            "body",
            Kind::Size {
                min: 0,
                max: 1 << 30,
            },
            Default("1MiB"),
            "Largest body of an HTTP response; past it the call is reset.",
        ),
        field(
            "message",
            Kind::Size {
                min: 0,
                max: 1 << 30,
            },
            Default("4MiB"),
            "Largest gRPC message of a response, past which the status is 8; and half of what may wait to be sent on one stream.",
        ),
    ],
};
