//! The keys of what must be seen.

use super::field;
use crate::config::yaml::Absent::{Default, Means};
use crate::config::yaml::{Kind, Table};

/// What must be seen of a TCP connection.
pub(in super::super) static CONNECTED: Table = Table {
    name: "expect, of a connection",
    doc: "What must be seen of a connection. What is not named is not looked at.",
    fields: &[
        field(
            "client",
            Kind::Other("a value", &[&MATCH]),
            Means("not looked at"),
            "All that the client got.",
        ),
        field(
            "upstream",
            Kind::Other("a value", &[&MATCH]),
            Means("not looked at"),
            "All that the upstream got.",
        ),
        field(
            "closed",
            Kind::Boolean,
            Means("not looked at"),
            "Whether the filter closed it before both ends had sent everything.",
        ),
        field(
            "log",
            Kind::Tables(&LOG),
            Means("not looked at"),
            "Records the filter wrote since the step began, or did not.",
        ),
        field(
            "metrics",
            Kind::Other("numbers by name", &[]),
            Means("not looked at"),
            "Values of its counters and gauges.",
        ),
    ],
};

/// What must be seen.
pub(in super::super) static EXPECT: Table = Table {
    name: "expect",
    doc: "What must be seen. What is not named is not looked at.",
    fields: &[
        field(
            "reached",
            Kind::Boolean,
            Means("not looked at"),
            "Whether the request got to the upstream; `false`: the filter answered it.",
        ),
        field(
            "request",
            Kind::Table(&MESSAGE),
            Means("not looked at"),
            "What the upstream got.",
        ),
        field(
            "response",
            Kind::Table(&MESSAGE),
            Means("not looked at"),
            "What the client got.",
        ),
        field(
            "callouts",
            Kind::Tables(&CALL),
            Means("not looked at"),
            "The filter's callouts since the step began, in order, and no others.",
        ),
        field(
            "log",
            Kind::Tables(&LOG),
            Means("not looked at"),
            "Records the filter wrote since the step began (in a case without steps, since it was started), or did not.",
        ),
        field(
            "metrics",
            Kind::Other("numbers by name", &[]),
            Means("not looked at"),
            "Values of its counters and gauges.",
        ),
        field(
            "properties",
            Kind::Other("values by path", &[]),
            Means("not looked at"),
            "What filters have set beside the request.",
        ),
    ],
};

/// What a message must be.
pub(in super::super) static MESSAGE: Table = Table {
    name: "expect.response",
    doc: "What a message must be. A value is text (exactly this), a list (these, in this order), nothing (`~`: there is none), or a table of `contains`, `matches`, `json` or `present`.",
    fields: &[
        field(
            "status",
            Kind::Integer { min: 100, max: 599 },
            Means("not looked at"),
            "The status.",
        ),
        field(
            "method",
            Kind::Other("a value", &[&MATCH]),
            Means("not looked at"),
            "`:method`.",
        ),
        field(
            "path",
            Kind::Other("a value", &[&MATCH]),
            Means("not looked at"),
            "`:path`.",
        ),
        field(
            "host",
            Kind::Other("a value", &[&MATCH]),
            Means("not looked at"),
            "`:authority`.",
        ),
        field(
            "headers",
            Kind::Other("values by name", &[&MATCH]),
            Means("not looked at"),
            "Headers.",
        ),
        field(
            "body",
            Kind::Other("a value", &[&MATCH]),
            Means("not looked at"),
            "The whole body.",
        ),
        field(
            "trailers",
            Kind::Other("values by name", &[&MATCH]),
            Means("not looked at"),
            "Trailers.",
        ),
        field(
            "complete",
            Kind::Boolean,
            Means("not looked at"),
            "Whether it came to its end.",
        ),
    ],
};

/// What a callout must be.
pub(in super::super) static CALL: Table = Table {
    name: "expect.callouts[]",
    doc: "What a callout must be.",
    fields: &[
        field(
            "cluster",
            Kind::Other("a value", &[&MATCH]),
            Means("not looked at"),
            "Whom it is for.",
        ),
        field(
            "method",
            Kind::Other("a value", &[&MATCH]),
            Means("not looked at"),
            "`:method`.",
        ),
        field(
            "path",
            Kind::Other("a value", &[&MATCH]),
            Means("not looked at"),
            "`:path`.",
        ),
        field(
            "host",
            Kind::Other("a value", &[&MATCH]),
            Means("not looked at"),
            "`:authority`.",
        ),
        field(
            "headers",
            Kind::Other("values by name", &[&MATCH]),
            Means("not looked at"),
            "Headers.",
        ),
        field(
            "body",
            Kind::Other("a value", &[&MATCH]),
            Means("not looked at"),
            "The body.",
        ),
    ],
};

/// What a record must be.
pub(in super::super) static LOG: Table = Table {
    name: "expect.log[]",
    doc: "A record that must be there. Written as mere text: the whole message.",
    fields: &[
        field(
            "level",
            Kind::Choice(&["any", "trace", "debug", "info", "warn", "error", "critical"]),
            Default("any"),
            "Its level.",
        ),
        field(
            "is",
            Kind::Text("text"),
            Means("not looked at"),
            "The whole message.",
        ),
        field(
            "contains",
            Kind::Text("text"),
            Means("not looked at"),
            "A part of it.",
        ),
        field(
            "matches",
            Kind::Text("regular expression"),
            Means("not looked at"),
            "What fits the whole of it.",
        ),
        field(
            "absent",
            Kind::Boolean,
            Default("false"),
            "There must be no such record.",
        ),
    ],
};

/// What a value must be, where it is more than text.
pub(in super::super) static MATCH: Table = Table {
    name: "a value",
    doc: "What a value must be.",
    fields: &[
        field(
            "contains",
            Kind::Text("text"),
            Means("not looked at"),
            "A part of it.",
        ),
        field(
            "matches",
            Kind::Text("regular expression"),
            Means("not looked at"),
            "What fits the whole of it.",
        ),
        field(
            "json",
            Kind::Other("any value", &[]),
            Means("not looked at"),
            "The same JSON, however it is written.",
        ),
        field(
            "present",
            Kind::Boolean,
            Means("not looked at"),
            "Whether there is one, whatever it is.",
        ),
    ],
};
