//! What must be seen.

use bytes::Bytes;
use cofferdam_abi::LogLevel;

use super::super::fields;
use super::super::suite::{
    Connection, Expect, Place, Seen, Wanted, WantedCall, WantedLog, WantedMessage, What,
};
use super::place;
use crate::config::yaml::{Node, Object};

/// `expect` of an exchange; what concerns the whole case goes into `late`.
pub(super) fn read(keys: &Object<'_>, file: &str, late: &mut Expect) -> Seen {
    late.log = records(keys, file);
    late.metrics = metrics(keys, file);
    let entries = keys.get("properties").and_then(|node| node.entries());
    Seen {
        reached: flag(keys, "reached", file),
        request: keys.table("request").map(|keys| message(&keys, file)),
        response: keys.table("response").map(|keys| message(&keys, file)),
        callouts: keys.get("callouts").map(|node| {
            let list = node.list().unwrap_or_default();
            let calls = list.iter().filter_map(|node| call(node, file)).collect();
            (place(&node, file), calls)
        }),
        properties: entries
            .iter()
            .flatten()
            .map(|entry| {
                // The parts of a path are parted by a NUL on the wire.
                let path = entry.key.replace('.', "\0");
                (Bytes::from(path), wanted(&entry.value, file))
            })
            .collect(),
        log: Vec::new(),
        metrics: Vec::new(),
    }
}

/// `expect` of a connection.
pub(super) fn connection(node: &Node<'_>, file: &str, of: &mut Connection, late: &mut Expect) {
    let Some(keys) = node.object(&fields::CONNECTED) else {
        return;
    };
    of.client_gets = keys.get("client").map(|node| wanted(&node, file));
    of.upstream_gets = keys.get("upstream").map(|node| wanted(&node, file));
    of.closed = flag(&keys, "closed", file);
    late.log = records(&keys, file);
    late.metrics = metrics(&keys, file);
}

fn message(keys: &Object<'_>, file: &str) -> WantedMessage {
    let status = keys.get("status").and_then(|node| {
        let status = keys.integer("status")?;
        Some((place(&node, file), u16::try_from(status).ok()?))
    });
    WantedMessage {
        place: place(keys.node(), file),
        status,
        headers: named(keys, file),
        body: keys.get("body").map(|node| wanted(&node, file)),
        trailers: by_name(keys, "trailers", file),
        complete: flag(keys, "complete", file),
    }
}

fn call(node: &Node<'_>, file: &str) -> Option<WantedCall> {
    let keys = node.object(&fields::CALL)?;
    Some(WantedCall {
        cluster: keys.get("cluster").map(|node| wanted(&node, file)),
        message: WantedMessage {
            place: place(node, file),
            headers: named(&keys, file),
            body: keys.get("body").map(|node| wanted(&node, file)),
            ..WantedMessage::default()
        },
    })
}

/// Headers, with the pseudo-headers that have keys of their own.
fn named(keys: &Object<'_>, file: &str) -> Vec<(String, Wanted)> {
    let mut out = by_name(keys, "headers", file);
    for (key, name) in [
        ("method", ":method"),
        ("path", ":path"),
        ("host", ":authority"),
    ] {
        if let Some(node) = keys.get(key) {
            out.push((name.to_owned(), wanted(&node, file)));
        }
    }
    out
}

fn by_name(keys: &Object<'_>, key: &str, file: &str) -> Vec<(String, Wanted)> {
    let entries = keys.get(key).and_then(|node| node.entries());
    let pair = |entry: &crate::config::yaml::Entry<'_>| {
        (entry.key.to_ascii_lowercase(), wanted(&entry.value, file))
    };
    entries.iter().flatten().map(pair).collect()
}

/// What a value must be: text, a list, nothing, or a table.
pub(super) fn wanted(node: &Node<'_>, file: &str) -> Wanted {
    let bytes = |node: &Node<'_>| Some(Bytes::copy_from_slice(node.scalar()?.as_bytes()));
    let what = if node.is_null() {
        What::Absent
    } else if node.is_list() {
        let list = node.list().unwrap_or_default();
        What::Exactly(list.iter().filter_map(bytes).collect())
    } else if node.is_table() {
        node.object(&fields::MATCH)
            .and_then(|keys| matched(&keys))
            .unwrap_or(What::Present)
    } else {
        What::Exactly(bytes(node).into_iter().collect())
    };
    Wanted {
        place: place(node, file),
        what,
    }
}

fn matched(keys: &Object<'_>) -> Option<What> {
    let given = ["contains", "matches", "json", "present"];
    if given.iter().filter(|key| keys.get(key).is_some()).count() != 1 {
        let help = "write one of contains, matches, json and present";
        keys.node()
            .wrong("this says not one thing of the value", help);
        return None;
    }
    if let Some(part) = keys.text("contains") {
        return Some(What::Contains(Bytes::copy_from_slice(part.as_bytes())));
    }
    if let Some(node) = keys.get("matches") {
        return pattern(&node);
    }
    if let Some(node) = keys.get("json") {
        return node.json().map(What::Json);
    }
    Some(match keys.get("present")?.boolean()? {
        true => What::Present,
        false => What::Absent,
    })
}

/// A regular expression for a whole value; a full stop fits line breaks, too.
fn pattern(node: &Node<'_>) -> Option<What> {
    let text = node.filled()?;
    match whole(text) {
        Ok(pattern) => Some(What::Matches(pattern)),
        Err(error) => {
            node.wrong(error, "write a regular expression of Rust's crate regex");
            None
        }
    }
}

/// A pattern that fits a whole value or not at all.
///
/// # Errors
/// What is wrong with it.
pub(in super::super) fn whole(text: &str) -> Result<regex::bytes::Regex, String> {
    regex::bytes::Regex::new(&format!("^(?s:{text})$")).map_err(|error| error.to_string())
}

fn records(keys: &Object<'_>, file: &str) -> Vec<WantedLog> {
    let list = keys.list("log");
    list.iter().filter_map(|node| record(node, file)).collect()
}

fn record(node: &Node<'_>, file: &str) -> Option<WantedLog> {
    if !node.is_table() {
        return Some(WantedLog {
            place: place(node, file),
            level: None,
            text: wanted(node, file),
            absent: false,
        });
    }
    let keys = node.object(&fields::LOG)?;
    let own = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let given = ["is", "contains", "matches"];
    let what = match given.iter().filter(|key| keys.get(key).is_some()).count() {
        0 => What::Present,
        1 => match keys.get("matches") {
            Some(node) => pattern(&node)?,
            None => match (keys.text("is"), keys.text("contains")) {
                (Some(text), _) => What::Exactly(vec![own(text)]),
                (None, part) => What::Contains(own(part?)),
            },
        },
        _ => {
            node.wrong(
                "this says several things of one record",
                "write one of is, contains and matches",
            );
            return None;
        }
    };
    let at: Place = place(node, file);
    Some(WantedLog {
        level: level(keys.choice("level")),
        text: Wanted {
            place: at.clone(),
            what,
        },
        place: at,
        absent: keys.boolean("absent"),
    })
}

fn level(name: &str) -> Option<LogLevel> {
    Some(match name {
        "trace" => LogLevel::Trace,
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warn" => LogLevel::Warn,
        "error" => LogLevel::Error,
        "critical" => LogLevel::Critical,
        _ => return None,
    })
}

fn metrics(keys: &Object<'_>, file: &str) -> Vec<(String, Place, u64)> {
    let entries = keys.get("metrics").and_then(|node| node.entries());
    let number = |entry: &crate::config::yaml::Entry<'_>| {
        let text = entry.value.scalar()?;
        let Ok(number) = text.parse() else {
            entry
                .value
                .unexpected("a whole number", "write the metric's value");
            return None;
        };
        Some((entry.key.to_owned(), place(&entry.value, file), number))
    };
    entries.iter().flatten().filter_map(number).collect()
}

fn flag(keys: &Object<'_>, name: &str, file: &str) -> Option<(Place, bool)> {
    let node = keys.get(name)?;
    Some((place(&node, file), node.boolean()?))
}
