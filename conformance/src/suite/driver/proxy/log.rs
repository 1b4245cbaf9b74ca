//! Guests' records in our program's log, which is one JSON object a line. Its trial of each
//! module is not in it, and with one worker every other record is of the VM that gets traffic.

use serde_json::Value;

use crate::suite::outcome::Record;

/// What the program itself has said.
pub(super) fn messages(log: &[u8]) -> impl Iterator<Item = Message> {
    let lines = log.split(|&byte| byte == b'\n');
    lines.filter_map(message)
}

/// One of its own messages.
pub(super) struct Message {
    pub(super) target: String,
    pub(super) filter: Option<String>,
    pub(super) text: String,
}

fn message(line: &[u8]) -> Option<Message> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let text = |key: &str| Some(line.get(key)?.as_str()?.to_owned());
    let target = text("target").filter(|target| target != "filter")?;
    Some(Message {
        target,
        filter: text("filter"),
        text: text("message")?,
    })
}

/// The records, in order.
pub(super) fn records(log: &[u8]) -> Vec<Record> {
    let lines = log.split(|&byte| byte == b'\n');
    lines.filter_map(record).collect()
}

fn record(line: &[u8]) -> Option<Record> {
    let line: Value = serde_json::from_slice(line).ok()?;
    // Our own messages have other targets, and no context.
    if line.get("target")?.as_str()? != "filter" || line.get("context").is_none() {
        return None;
    }
    let level = if line.get("critical").is_some() {
        "critical".to_owned()
    } else {
        line.get("level")?.as_str()?.to_ascii_lowercase()
    };
    Some(Record {
        filter: line.get("filter")?.as_str()?.to_owned(),
        level,
        text: line.get("message")?.as_str()?.to_owned().into(),
    })
}
