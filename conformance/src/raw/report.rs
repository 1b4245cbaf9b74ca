//! The cases side by side: what each proxy answered and what it let through.

use super::case::Case;
use super::upstream::Record;
use super::{Outcome, run, upstream::Upstream};
use crate::Result;
use std::net::SocketAddr;

/// One proxy's outcomes, in the order of the cases.
#[derive(Debug)]
pub struct Column {
    /// The proxy's name with its version.
    pub name: String,
    /// One outcome for each case.
    pub outcomes: Vec<Outcome>,
}

impl Column {
    /// Sends every case to a proxy.
    ///
    /// # Errors
    /// The proxy takes no connection.
    pub fn of(
        name: String,
        cases: &[Case],
        proxy: SocketAddr,
        upstream: &Upstream,
    ) -> Result<Self> {
        let outcomes = cases
            .iter()
            .map(|case| run(case, proxy, upstream))
            .collect::<Result<_>>()?;
        Ok(Self { name, outcomes })
    }

    /// How many cases are holes.
    pub fn holes(&self) -> usize {
        self.outcomes
            .iter()
            .filter(|outcome| outcome.smuggled)
            .count()
    }
}

/// The Markdown table of all columns.
pub fn table(cases: &[Case], columns: &[Column]) -> String {
    let mut text = "| case | sent | may pass |".to_owned();
    for column in columns {
        text.push_str(&format!(" {} answers | passes on |", column.name));
    }
    text.push_str("\n|---|---|---|");
    text.push_str(&"---|---|".repeat(columns.len()));
    text.push('\n');
    for (index, case) in cases.iter().enumerate() {
        text.push_str(&format!(
            "| {} | {} | {} |",
            case.name, case.sent, case.lawful
        ));
        for outcome in columns
            .iter()
            .filter_map(|column| column.outcomes.get(index))
        {
            text.push_str(&format!(
                " {} | {} |",
                outcome.answer,
                passed(&outcome.record, outcome.smuggled)
            ));
        }
        text.push('\n');
    }
    text
}

/// The generated document around the table.
pub fn document(cases: &[Case], columns: &[Column]) -> String {
    let mut holes = String::new();
    for column in columns {
        holes.push_str(&format!(
            "- {}: {} of {}\n",
            column.name,
            column.holes(),
            cases.len()
        ));
    }
    format!(
        "\
# HTTP/1 requests that are not quite right

Generated; do not edit. From the workspace, with a release build:
`cargo run -p cofferdam-conformance --bin raw-http -- --envoy --cofferdam target/release/cofferdam --write conformance/HTTP1.md`

Each case is sent as raw bytes on a connection of its own, to each proxy with its default
settings, in front of an upstream that records every byte. *may pass* is how many whole
requests an upstream may see at most: 0 where RFC 9112 demands a refusal, and never one that
was hidden in the body of another. *answers* are the statuses the client saw and what became
of its connection. *passes on* is how many requests reached the upstream whole, or begun and
then cut off, with their content-length (cl) and transfer-encoding (te); a **!** marks more
than may pass, or a head that two servers can read differently.

Marked cases:

{holes}
{}",
        table(cases, columns)
    )
}

/// How many requests came through, with their framing; and what is wrong with that, if
/// something was smuggled.
pub fn passed(record: &Record, smuggled: bool) -> String {
    let whole = record.requests.iter().filter(|seen| seen.complete).count();
    let cut = record.requests.len() - whole;
    let mut text = match (whole, cut) {
        (0, 0) => return "0".to_owned(),
        (whole, 0) => whole.to_string(),
        (0, cut) => format!("{cut} cut off"),
        (whole, cut) => format!("{whole}, {cut} cut off"),
    };
    let framings: Vec<String> = record
        .requests
        .iter()
        .map(super::upstream::Seen::framing)
        .filter(|framing| !framing.is_empty())
        .map(|framing| framing.replace('|', "\\|"))
        .collect();
    if !framings.is_empty() {
        text.push_str(&format!(" ({})", framings.join("; ")));
    }
    if smuggled {
        let flaw = record.requests.iter().find_map(super::upstream::Seen::flaw);
        text.push_str(&format!(" **!** {}", flaw.unwrap_or("more than may pass")));
    }
    text
}

/// The bytes that reached the upstream, printable, a line for each connection.
pub fn bytes(record: &Record) -> String {
    record
        .bytes
        .iter()
        .map(|(connection, bytes)| {
            let shown = bytes.get(..bytes.len().min(1000)).unwrap_or_default();
            format!(
                "  upstream connection {connection}: {}\n",
                shown.escape_ascii()
            )
        })
        .collect()
}
