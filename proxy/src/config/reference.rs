//! The manual of the configuration file, printed from the descriptions the walk reads: a
//! key cannot be in one and not in the other.

use std::fmt::Write as _;

use cofferdam_abi::Compat;

use super::check::fields;
use super::yaml::{Absent, Field, Kind, Table, duration_text, size_text};
use crate::admin::endpoint::{self, Access, Endpoint};
use crate::families::{self, Family};

/// The whole reference, as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    for table in tables() {
        section(&mut out, table);
    }
    endpoints(&mut out);
    metrics(&mut out);
    operators(&mut out);
    switches(&mut out);
    out
}

/// Every table, each once, a table before those inside it.
pub(crate) fn tables() -> Vec<&'static Table> {
    let mut found: Vec<&'static Table> = Vec::new();
    let mut next = vec![&fields::ROOT];
    while let Some(table) = next.pop() {
        if found.iter().any(|known| std::ptr::eq(*known, table)) {
            continue;
        }
        found.push(table);
        let mut inner: Vec<_> = table.inner().collect();
        inner.reverse();
        next.extend(inner);
    }
    found
}

fn section(out: &mut String, table: &Table) {
    // Writing to a string cannot fail, here and below.
    let _ = write!(out, "\n## `{}`\n\n{}\n\n", table.name, table.doc);
    out.push_str("| key | value | if absent | what it does |\n|---|---|---|---|\n");
    for field in table.fields {
        let Field { name, doc, .. } = field;
        let _ = writeln!(
            out,
            "| `{name}` | {} | {} | {} |",
            cell(&value(&field.kind)),
            cell(&absent(&field.absent)),
            cell(doc)
        );
    }
}

fn value(kind: &Kind) -> String {
    match kind {
        Kind::Text(word) => (*word).to_owned(),
        Kind::Boolean => "`true` or `false`".to_owned(),
        Kind::Integer { min, max } => format!("{min} to {max}"),
        Kind::Duration {
            min,
            max,
            unbounded,
        } => {
            let none = if *unbounded { ", or `none`" } else { "" };
            format!(
                "duration, {} to {}{none}",
                duration_text(*min),
                duration_text(*max)
            )
        }
        Kind::Size { min, max } => format!("size, {} to {}", size_text(*min), size_text(*max)),
        Kind::Rate { min, max } => format!(
            "size a second, {}/s to {}/s, or `none`",
            size_text(*min),
            size_text(*max)
        ),
        Kind::Quota { min, max } => format!("{min} to {max}, or `none`"),
        Kind::Choice(words) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", "),
        Kind::Table(table) => format!("table `{}`", table.name),
        Kind::Tables(table) => format!("list of tables `{}`", table.name),
        Kind::Other(shape, tables) => tables.iter().fold((*shape).to_owned(), |shape, table| {
            format!("{shape} `{}`", table.name)
        }),
    }
}

fn absent(absent: &Absent) -> String {
    match absent {
        Absent::Required => "**required**".to_owned(),
        Absent::Default("") => "empty".to_owned(),
        Absent::Default(value) => format!("`{value}`"),
        Absent::Means(words) => (*words).to_owned(),
    }
}

/// A `|` would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn endpoints(out: &mut String) {
    out.push_str(ENDPOINTS);
    for endpoint in endpoint::ENDPOINTS {
        let Endpoint { access, doc, .. } = endpoint;
        let token = match access {
            Access::Open => "no",
            Access::Private => "off loopback",
            Access::Change => "where there is one",
        };
        let _ = writeln!(
            out,
            "| `{} {}` | {token} | {} |",
            access.method(),
            endpoint.called(),
            cell(doc)
        );
    }
}

fn metrics(out: &mut String) {
    let _ = write!(out, "{METRICS}");
    for family in families::ALL {
        let Family {
            name,
            kind,
            labels,
            help,
            stat,
        } = family;
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            out,
            "| `{name}` | {} | {} | `{}` | {} |",
            kind.as_str(),
            labels.join(", "),
            cell(stat),
            cell(help)
        );
    }
}

fn operators(out: &mut String) {
    out.push_str(OPERATORS);
    for (name, doc) in crate::access_log::operators() {
        let _ = writeln!(out, "| `%{name}%` | {} |", cell(doc));
    }
}

fn switches(out: &mut String) {
    out.push_str(SWITCHES);
    for name in Compat::switches() {
        let Some([on, off]) = Compat::words(name) else {
            continue;
        };
        let _ = write!(out, "| `{name}` | `{on}`, `{off}` |");
        for preset in Compat::PRESETS {
            let _ = write!(out, " `{}` |", position(preset, name, [on, off]));
        }
        out.push('\n');
    }
}

/// Where a preset has a switch: the position that changes nothing.
fn position(preset: &str, switch: &str, words: [&'static str; 2]) -> &'static str {
    let original = Compat::preset(preset).unwrap_or_default();
    let unchanged = |word: &str| {
        let mut compat = original;
        compat.set(switch, word).is_ok() && compat == original
    };
    words.into_iter().find(|word| unchanged(word)).unwrap_or("")
}

const INTRODUCTION: &str = "\
# Configuration reference

One YAML file, read when the proxy starts. Everything that is wrong with it is reported at
once, one mistake per line, as `FILE:LINE:COLUMN: YAML.PATH: what is wrong; what to do`;
`cofferdam check --config FILE` does only that.

* **Durations** are a whole number and a unit: `100ms`, `30s`, `5m`, `1h`, `1d`. Where
  `none` is allowed, it and `0` mean that there is no bound.
* **Sizes** are bytes, or a number and a unit: `64MiB`, `1KiB`, `10MB`.
* **File names** are relative to the folder of the configuration file.
* A key with nothing after it is a mistake, not an absent key; only under `configuration`
  and `vm_configuration` does it mean empty.
* Anchors, aliases and `<<` merges work; unknown keys, keys written twice, YAML tags of
  one's own and a second document do not.
";

const ENDPOINTS: &str = "
## Endpoints of `admin`

GET pages take HEAD, too. Another method is answered 405, another path 404, a parameter that
makes no sense 400, a request without the token it needs 401. On a loopback address without a
token, requests for another host than an IP address or `localhost` are refused (403) where the
token would be asked for, and so are POSTs with an `origin`: no page in a browser can use them.
A request's head may have 16 KiB and 64 fields; 64 connections are served at a time, each for 5
minutes.

| request | token | what it does |
|---|---|---|
";

const METRICS: &str = "
## Metrics

On `/metrics` samples of counters end in `_total`, those of histograms in `_bucket`, `_sum` and
`_count`. Labels are of the configuration and of the code, never of a request; a route is named
as `%ROUTE_NAME%` has it, `none` is for requests that match none. At most 256 listeners and 2,000 routes are told
apart over the life of the process, those beyond are one series, `overflow`; names of guests'
metrics are bounded by `limits.metrics`. A series that has not counted anything may be absent.

Guests' metrics stand behind the proxy's own, by the names guests gave them, every other character than
letters and digits made `_`, with labels as `admin.tags` finds them; a name that would begin with
`cofferdam_` gets `wasmcustom_` before it. One that another metric's samples have, or another kind of metric, is
followed by its kind (`_gauge`). Where the names and labels of several have become the same, all but one have a label
`name`, the name as it was given: in it a byte that is no text is `\\xNN`, and a backslash is two. On `/stats` they are
`wasmcustom.NAME`.

| metric | kind | labels | on `/stats` | what it is |
|---|---|---|---|---|
";

const OPERATORS: &str = r#"
## Operators of the access log

Names are Envoy's. What is not there is written as `-`, in JSON as `null`.

| operator | what it writes |
|---|---|
| `%%` | A percent sign. |
| `%REQ(NAME)%` | The request header NAME, or `:method`, `:path`, `:authority`, `:scheme`. `%REQ(NAME?OTHER):LENGTH%`: OTHER where there is no NAME, and at most LENGTH bytes of it; likewise below. |
| `%RESP(NAME)%` | A response header, or `:status`. |
| `%TRAILER(NAME)%` | A response trailer. |
| `%QUERY_PARAM(NAME):LENGTH%` | A parameter of the request's query, decoded. |
| `%ENVIRONMENT(NAME):LENGTH%` | A variable of this process's environment, as it was at the start. |
| `%START_TIME(FORMAT)%` | When the request's head was complete, in UTC, by a format of strftime: `%Y-%m-%d %H:%M:%S.%3f`, `%s`. |
| `%EMIT_TIME(FORMAT)%` | When the line is written, in UTC, by a format of strftime. |
| `%START_TIME_LOCAL(FORMAT)%`, `%EMIT_TIME_LOCAL(FORMAT)%` | These moments in local time (`TZ`, or the machine's), by a format of strftime. |
| `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(BITS)%` | The network that the address is in: `10.1.0.0/16`. Likewise of every operator that ends in `ADDRESS_WITHOUT_PORT`. |
| `%REQUESTED_SERVER_NAME(TURN:WHICH)%` | What the client asked for: by TLS (`SNI_ONLY`, or nothing), by that or else by its request (`SNI_FIRST`), by its request or else by TLS (`HOST_FIRST`); its request's `x-envoy-original-host` (`ORIG`), authority (`HOST`), or the first of these that is there (`ORIG_OR_HOST`, or nothing). |
| `%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%` | With its spaces; without that they are `_`. |
| `%QUERY_PARAMS(ORIG)%` | As `%QUERY_PARAMS%`; likewise `DECODED`, which Envoy does not decode either. |
| `%DYNAMIC_METADATA(NAMESPACE:KEY):LENGTH%`, `%CLUSTER_METADATA(…)%`, `%UPSTREAM_METADATA(…)%`, `%METADATA(TYPE:…)%`, `%UPSTREAM_FILTER_STATE(…)%` | Always `-`: nothing here has metadata, and no filter that speaks proxy-wasm can set any. |
| `%REQUEST_HEADER(NAME)%`, `%RESPONSE_HEADER(NAME)%`, `%RESPONSE_TRAILER(NAME)%` | As `%REQ(NAME)%`, `%RESP(NAME)%`, `%TRAILER(NAME)%`. |
| `%COMMON_DURATION(FROM:TO:UNIT)%` | How long it took from one point to another, in `ms` (or nothing), `us` or `ns`. The points: `DS_RX_BEG` (the request's head was complete), `DS_RX_END` and `US_TX_END` (the whole request had been handed on), `US_CX_BEG`, `US_CX_END` and `US_HS_END` (the connection to the upstream began to be made, was there, had settled TLS; before the request where it found one), `US_TX_BEG`, `US_RX_BEG` and `DS_TX_BEG` (the head of the upstream's response had come), `US_RX_BODY_BEG` (something of its body), `US_RX_END` (all of it), `DS_TX_END`. `-` where the first came after the second. |
| `%PATH(QUERY:WHICH):LENGTH%` | The path, with (`WQ`) or without (`NQ`) its query: that of `x-envoy-original-path` (`ORIG`), the request's (`PATH`), or the first of these that is there (`ORIG_OR_PATH`, or nothing). |
| `%GRPC_STATUS(FORM)%` | As `CAMEL_STRING`, `SNAKE_STRING` or `NUMBER`. |
| `%FILTER_STATE(NAME):LENGTH%` | What a filter has stored by `proxy_set_property`, as `NAME` or `wasm.NAME`, or by `set_envoy_filter_state`. What Envoy has behind a second `:` is left out. |
| `%CEL(EXPRESSION):LENGTH%`, `%TYPED_CEL(EXPRESSION):LENGTH%` | A CEL expression over the properties that filters read: `%CEL(request.headers['x-id'])%`, `%CEL(response.code >= 500)%`; in JSON the second keeps the type of numbers and truth values. `-` where it fails, or comes to a list or a map. |
| `%COALESCE({"operators": [...]}):LENGTH%` | The first of these operators that is there: names, or `{"command": "REQ", "param": "x-id", "max_length": 8}`. |
"#;

const SWITCHES: &str = "
## `compat`

The name of a preset, or a table of switches over one, named by its key `preset`:
`compat: { preset: envoy, splice_body: splice }`. Without `preset` the switches of a filter
change the top-level `compat`, and those at the top the default, `superset`.

| switch | positions | `superset` | `envoy` | `spec` |
|---|---|---|---|---|
";
