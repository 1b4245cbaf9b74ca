//! The keys of our own files of cases.

use std::time::Duration;

use crate::config::yaml::Absent::{Default, Means, Required};
use crate::config::yaml::{Absent, Field, Kind, Table};

const LONG: Duration = Duration::from_secs(365 * 24 * 3600);

const fn field(name: &'static str, kind: Kind, absent: Absent, doc: &'static str) -> Field {
    Field {
        name,
        kind,
        absent,
        doc,
    }
}

const TIME: Kind = Kind::Duration {
    min: Duration::ZERO,
    max: LONG,
    unbounded: false,
};

/// The whole file.
pub(super) static FILE: Table = Table {
    name: "$",
    doc: "Cases for one filter.",
    fields: &[
        field(
            "filter",
            Kind::Text("file name"),
            Means("the one .wasm file beside this file, or in the folder above"),
            "The module, beside this file.",
        ),
        field(
            "configuration",
            Kind::Other("text, or a table that becomes JSON", &[]),
            Means("none"),
            "The filter's configuration in cases that have none of their own.",
        ),
        field(
            "vm_configuration",
            Kind::Other("text, or a table that becomes JSON", &[]),
            Means("none"),
            "The VM's configuration.",
        ),
        field(
            "name",
            Kind::Text("name"),
            Default("test"),
            "The plugin's name.",
        ),
        field(
            "root_id",
            Kind::Text("text"),
            Default(""),
            "The plugin's root id.",
        ),
        field("vm_id", Kind::Text("text"), Default(""), "The VM's id."),
        field(
            "environment",
            Kind::Other("variables by name", &[]),
            Means("none"),
            "WASI environment.",
        ),
        field(
            "hold_headers",
            Kind::Boolean,
            Default("false"),
            "What `allow_on_headers_stop_iteration` says in Envoy: a header callback that answers StopIteration holds the headers while the body comes.",
        ),
        field(
            "clusters",
            Kind::Other("lists of answers by cluster", &[&RULE]),
            Means("none"),
            "Who answers the filter's callouts, in every case.",
        ),
        field("cases", Kind::Tables(&CASE), Required, "The cases."),
    ],
};

/// A case.
pub(super) static CASE: Table = Table {
    name: "cases[]",
    doc: "One case, with a filter that was started just now. It is one exchange, or `steps`.",
    fields: &[
        field(
            "name",
            Kind::Text("text"),
            Required,
            "What must be so, in a few words.",
        ),
        field(
            "configuration",
            Kind::Other("text, or a table that becomes JSON", &[]),
            Means("the file's"),
            "The filter's configuration.",
        ),
        field(
            "refused",
            Kind::Other("what a log record must be", &[&MATCH]),
            Means("it is accepted"),
            "The filter must refuse its configuration, and this must be said of it.",
        ),
        field(
            "now",
            Kind::Integer {
                min: 0,
                max: 253_402_300_799,
            },
            Means("1700000000"),
            "What the clock shows when the case begins, in seconds since 1970.",
        ),
        field(
            "clusters",
            Kind::Other("lists of answers by cluster", &[&RULE]),
            Means("the file's"),
            "Who answers callouts, instead of the file's clusters of the same names.",
        ),
        field(
            "steps",
            Kind::Tables(&STEP),
            Means("the one exchange in the keys of the case itself"),
            "Several exchanges, and time that passes between them.",
        ),
        field(
            "request",
            Kind::Table(&REQUEST),
            Means("GET /"),
            "What the client sends.",
        ),
        field(
            "upstream",
            Kind::Table(&ANSWER),
            Means("200 with the body `ok`"),
            "What the upstream answers.",
        ),
        field(
            "properties",
            Kind::Other("values by path, such as `source.address`", &[]),
            Means("the usual ones"),
            "Properties the filter reads. Those that are made of headers come before them.",
        ),
        field(
            "expect",
            Kind::Table(&EXPECT),
            Means("nothing"),
            "What must be seen of the exchange, and at the end of the case.",
        ),
    ],
};

/// A step of a case.
pub(super) static STEP: Table = Table {
    name: "cases[].steps[]",
    doc: "An exchange, or `wait`.",
    fields: &[
        field(
            "wait",
            TIME,
            Means("an exchange"),
            "So much time passes, at once.",
        ),
        field(
            "request",
            Kind::Table(&REQUEST),
            Means("GET /"),
            "What the client sends.",
        ),
        field(
            "upstream",
            Kind::Table(&ANSWER),
            Means("200 with the body `ok`"),
            "What the upstream answers.",
        ),
        field(
            "properties",
            Kind::Other("values by path", &[]),
            Means("the usual ones"),
            "Properties the filter reads.",
        ),
        field(
            "expect",
            Kind::Table(&EXPECT),
            Means("nothing"),
            "What must be seen of it, and of the case so far.",
        ),
    ],
};

/// A request.
pub(super) static REQUEST: Table = Table {
    name: "request",
    doc: "What a client sends.",
    fields: &[
        field("method", Kind::Text("text"), Default("GET"), "The method."),
        field("path", Kind::Text("text"), Default("/"), "Path and query."),
        field("host", Kind::Text("text"), Default("test"), "`:authority`."),
        field("scheme", Kind::Text("text"), Default("http"), "`:scheme`."),
        field(
            "headers",
            Kind::Other(
                "values by name; a list is several headers of that name",
                &[],
            ),
            Means("none"),
            "Other headers.",
        ),
        field(
            "body",
            Kind::Other(
                "text, or a list of chunks that arrive apart from each other",
                &[],
            ),
            Means("none"),
            "The body. Of one that is text the length is announced.",
        ),
        field(
            "trailers",
            Kind::Other("values by name", &[]),
            Means("none"),
            "Trailers.",
        ),
    ],
};

/// An answer of the upstream.
pub(super) static ANSWER: Table = Table {
    name: "upstream",
    doc: "What an upstream answers.",
    fields: &[
        field(
            "status",
            Kind::Integer { min: 200, max: 599 },
            Default("200"),
            "The status.",
        ),
        field(
            "headers",
            Kind::Other("values by name", &[]),
            Means("none"),
            "Headers.",
        ),
        field(
            "body",
            Kind::Other("text, or a list of chunks", &[]),
            Means("`ok`"),
            "The body.",
        ),
        field(
            "trailers",
            Kind::Other("values by name", &[]),
            Means("none"),
            "Trailers.",
        ),
        field("delay", TIME, Default("0"), "How long it takes."),
        field(
            "fails",
            Kind::Choice(&["no", "connect", "timeout", "reset"]),
            Default("no"),
            "How no answer comes: no connection, nothing ever, or a connection that breaks.",
        ),
    ],
};

/// An answer to a callout.
pub(super) static RULE: Table = Table {
    name: "clusters.NAME[]",
    doc: "What a cluster answers. The first that fits does; nothing that fits is 404.",
    fields: &[
        field(
            "method",
            Kind::Text("text"),
            Means("any"),
            "Only for calls with that method.",
        ),
        field(
            "path",
            Kind::Text("text"),
            Means("any"),
            "Only for calls with that path, the query left out.",
        ),
        field(
            "status",
            Kind::Integer { min: 200, max: 599 },
            Default("200"),
            "The status.",
        ),
        field(
            "headers",
            Kind::Other("values by name", &[]),
            Means("none"),
            "Headers.",
        ),
        field("body", Kind::Other("text", &[]), Means("none"), "The body."),
        field(
            "trailers",
            Kind::Other("values by name", &[]),
            Means("none"),
            "Trailers.",
        ),
        field(
            "delay",
            TIME,
            Default("0"),
            "How long it takes. Longer than the call may take is a timeout.",
        ),
        field(
            "fails",
            Kind::Choice(&["no", "connect", "timeout", "reset"]),
            Default("no"),
            "How no answer comes.",
        ),
    ],
};

/// What must be seen.
pub(super) static EXPECT: Table = Table {
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
pub(super) static MESSAGE: Table = Table {
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
pub(super) static CALL: Table = Table {
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
pub(super) static LOG: Table = Table {
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
pub(super) static MATCH: Table = Table {
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
