//! What a filter did to a message: the same message before it and behind it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

/// A message, as one of the ends saw it.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    /// `GET /path`, or the status.
    pub(super) line: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

/// What is different, one line each: `+` is new, `-` is gone, `~` has another value. Headers
/// named in `others` are somebody else's work.
pub(super) fn lines(before: &Message, after: &Message, others: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    if before.line != after.line {
        out.push(format!("~ {} → {}", before.line, after.line));
    }
    let (old, new) = (by_name(before), by_name(after));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names.into_iter().filter(|name| !others.contains(name)) {
        match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) => {
                out.push(format!("~ {name}: {} → {}", old.join(", "), new.join(", ")));
            }
            (None, Some(new)) => out.push(format!("+ {name}: {}", new.join(", "))),
            (Some(old), None) => out.push(format!("- {name}: {}", old.join(", "))),
            (None, None) => {}
        }
    }
    if before.body != after.body {
        let (old, new) = (before.body.len(), after.body.len());
        out.push(format!("~ body: {old} → {new} bytes"));
    }
    out
}

/// Names whose values differ: what somebody adds or changes when no filter is there.
pub(super) fn changed(before: &Message, after: &Message) -> Vec<String> {
    let (old, new) = (by_name(before), by_name(after));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differs = names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name));
    differs.cloned().collect()
}

fn by_name(message: &Message) -> BTreeMap<String, Vec<&str>> {
    let mut out: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, value) in &message.headers {
        out.entry(name.clone()).or_default().push(value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &str, headers: &[(&str, &str)], body: &'static str) -> Message {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Message {
            line: line.to_owned(),
            headers: headers.iter().map(own).collect(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn what_was_added_removed_and_changed_is_shown_and_nothing_else() {
        let before = message(
            "GET /a",
            &[("a", "1"), ("b", "2"), ("c", "3"), ("x-id", "7")],
            "abc",
        );
        let after = message(
            "GET /b",
            &[("a", "1"), ("b", "9"), ("d", "4"), ("d", "5")],
            "abcd",
        );
        assert_eq!(
            lines(&before, &after, &["x-id".to_owned()]),
            [
                "~ GET /a → GET /b",
                "~ b: 2 → 9",
                "- c: 3",
                "+ d: 4, 5",
                "~ body: 3 → 4 bytes"
            ]
        );
        assert!(lines(&before, &before, &[]).is_empty());
        assert_eq!(changed(&before, &after), ["b", "c", "d", "x-id"]);
    }
}
