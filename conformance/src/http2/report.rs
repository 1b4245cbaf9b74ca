//! The cases side by side: what each proxy answered and what it let through.

use std::net::SocketAddr;
use std::time::Duration;

use super::case::Case;
use super::{Outcome, run};
use crate::Result;
use crate::raw::report::passed;
use crate::raw::upstream::Upstream;

/// What Cofferdam does otherwise than a section asks, and why that is so.
pub const DIFFERENCES: &[(&str, &str)] = &[
    ("4.3/1", BLOCK),
    ("5.1/5", STATE),
    ("5.1/6", STATE),
    ("5.1/9", STATE),
    ("5.1/12", STATE),
    ("6.1/2", STATE),
    ("6.5.2/2", WINDOW),
    ("6.9.2/3", WINDOW),
    (
        "8.1.2.1/3",
        "the codec leaves such a field out; trailers without it go on, and nothing of it can be \
         taken for a field",
    ),
    ("hpack 2.3.3/1", BLOCK),
    ("hpack 2.3.3/2", BLOCK),
    ("hpack 4.2/1", BLOCK),
    ("hpack 5.1/1", BLOCK),
    ("hpack 5.2/1", BLOCK),
    ("hpack 5.2/2", BLOCK),
    ("hpack 5.2/3", BLOCK),
    ("hpack 6.1/1", BLOCK),
    ("hpack 6.3/1", BLOCK),
];

const BLOCK: &str =
    "the connection ends, as it must; the codec (h2) says PROTOCOL_ERROR, not COMPRESSION_ERROR";
const STATE: &str = "the codec (h2) ends the connection and not the stream, which RFC 9113, \
                     section 5.4.2, allows, and says PROTOCOL_ERROR, not STREAM_CLOSED";
const WINDOW: &str =
    "the connection ends, as it must; the codec (h2) says PROTOCOL_ERROR, not FLOW_CONTROL_ERROR";

/// How long what must come is waited for.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// One proxy's outcomes, in the order of the cases.
#[derive(Debug)]
pub struct Column {
    /// The proxy's name with its version.
    pub name: String,
    /// One outcome for each case.
    pub outcomes: Vec<Outcome>,
}

impl Column {
    /// Does every case with a proxy.
    ///
    /// # Errors
    /// The proxy takes no connection.
    pub fn of(
        name: String,
        cases: &[Case],
        proxy: SocketAddr,
        upstream: &Upstream,
        patience: Duration,
    ) -> Result<Self> {
        let outcomes = cases
            .iter()
            .map(|case| run(case, proxy, upstream, patience));
        Ok(Self {
            name,
            outcomes: outcomes.collect::<Result<_>>()?,
        })
    }

    /// How many cases are otherwise than may be, and how many let something through.
    pub fn counts(&self) -> (usize, usize) {
        let bad = self.outcomes.iter().filter(|outcome| !outcome.good);
        let holes = self.outcomes.iter().filter(|outcome| outcome.smuggled);
        (bad.count(), holes.count())
    }
}

/// The Markdown table of all columns.
pub fn table(cases: &[Case], columns: &[Column]) -> String {
    let mut text = "| case | sent | may come | may pass |".to_owned();
    for column in columns {
        text.push_str(&format!(" {} answers | passes on |", column.name));
    }
    text.push_str("\n|---|---|---|---|");
    text.push_str(&"---|---|".repeat(columns.len()));
    text.push('\n');
    for (index, case) in cases.iter().enumerate() {
        let allowed: Vec<String> = case.allowed.iter().map(|it| it.text()).collect();
        let lawful = case
            .lawful
            .map_or_else(String::new, |most| most.to_string());
        text.push_str(&format!(
            "| {} | {} | {} | {lawful} |",
            case.id,
            case.sent,
            allowed.join("; ")
        ));
        for outcome in columns
            .iter()
            .filter_map(|column| column.outcomes.get(index))
        {
            let mark = if outcome.good { "" } else { " **!**" };
            let passed = passed(&outcome.record, outcome.smuggled);
            text.push_str(&format!(" {}{mark} | {passed} |", outcome.answer));
        }
        text.push('\n');
    }
    text
}

/// The generated document around the table.
pub fn document(cases: &[Case], columns: &[Column]) -> String {
    let mut marked = String::new();
    for column in columns {
        let (bad, holes) = column.counts();
        marked.push_str(&format!(
            "- {}: {bad} of {} answers, {holes} passed on\n",
            column.name,
            cases.len()
        ));
    }
    let mut differences = String::new();
    for (id, why) in DIFFERENCES {
        differences.push_str(&format!("- {id}: {why}\n"));
    }
    format!(
        "\
# HTTP/2 by the section

Generated; do not edit. From the workspace, with a release build:
`cargo run -p cofferdam-conformance --bin raw-http -- --http2 --envoy --cofferdam target/release/cofferdam --write conformance/HTTP2.md`

Each case is sent frame by frame on a connection of its own, to each proxy with its default
settings, in front of an HTTP/1 upstream that records every byte. Sections are those of h2spec,
which numbers by RFC 7540; `down/` is what could be smuggled when a request goes on in HTTP/1.
*may come* is what the RFCs allow, any of it: an error of a stream may as well end the connection,
with the same code, and a malformed request may be answered with 4xx (RFC 9113, section
8.1.1). *may pass* is how many whole requests an upstream may see at most. A **!** marks what
is otherwise.

Marked:

{marked}
What Cofferdam does otherwise, and why:

{differences}
{}",
        table(cases, columns)
    )
}
