//! The keys of our own files of cases.

mod expect;

use std::time::Duration;

pub(super) use self::expect::{CALL, CONNECTED, EXPECT, LOG, MATCH};

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
            "connection",
            Kind::Table(&CONNECTION),
            Means("an exchange of HTTP"),
            "A TCP connection instead of an exchange.",
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
            Kind::Other("a table", &[&EXPECT, &CONNECTED]),
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
            "connection",
            Kind::Table(&CONNECTION),
            Means("an exchange of HTTP"),
            "A TCP connection instead of an exchange.",
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
            Kind::Other("a table", &[&EXPECT, &CONNECTED]),
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

/// A TCP connection.
pub(super) static CONNECTION: Table = Table {
    name: "connection",
    doc: "What both ends of a TCP connection send, in pieces that arrive apart from each other: first the client, then the upstream.",
    fields: &[
        field(
            "client",
            Kind::Other("a list of texts", &[]),
            Means("nothing"),
            "What the client sends.",
        ),
        field(
            "upstream",
            Kind::Other("a list of texts", &[]),
            Means("nothing"),
            "What the upstream sends.",
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
