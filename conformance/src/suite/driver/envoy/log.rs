//! Guests' records in Envoy's log.
//!
//! Envoy starts a module three times (`abi/ABI.md`, section 1.6): a canary and a VM on its main thread,
//! then a VM on its worker. Only the worker's gets traffic, so only the worker thread's
//! records count, which the thread id before each of them tells; those of a singleton service
//! come from the main thread's last VM.

use crate::suite::case::{Case, Filter, Role};
use crate::suite::outcome::Record;

/// Thread, level, and the message with JSON's escapes, so that each is one line.
pub(super) const FORMAT: &str = "%t %l %j";

/// What begins every VM, on its thread.
const BEGINS: &[u8] = b"Thread-Local Wasm created";

/// One line of the log.
struct Line<'a> {
    thread: u32,
    level: &'a str,
    message: Vec<u8>,
}

/// The records of the VMs that get traffic, in order. Envoy's main thread has the id of its
/// process.
pub(super) fn records(case: &Case, main: u32, log: &[u8]) -> Vec<Record> {
    let lines: Vec<Line<'_>> = log
        .split(|&byte| byte == b'\n')
        .filter_map(Line::read)
        .collect();
    let filters: Vec<&Filter> = case.filters().iter().collect();
    let (services, others): (Vec<_>, Vec<_>) = filters
        .into_iter()
        .partition(|filter| filter.role == Role::Service);
    let last = lines
        .iter()
        .rposition(|line| line.thread == main && line.message.starts_with(BEGINS))
        .unwrap_or(0);
    let mut records = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let speakers = match line.thread == main {
            true if index >= last => &services,
            true => continue,
            false => &others,
        };
        records.extend(line.record(speakers));
    }
    records
}

/// Why Envoy did not start, in its own words.
pub(super) fn refusal(log: &[u8]) -> String {
    let lines = log.split(|&byte| byte == b'\n').filter_map(Line::read);
    let grave: Vec<String> = lines
        .filter(|line| matches!(line.level, "error" | "critical"))
        .map(|line| String::from_utf8_lossy(&line.message).into_owned())
        .collect();
    if grave.is_empty() {
        // Not of that form: what it said before its log began.
        return String::from_utf8_lossy(log).trim().to_owned();
    }
    grave.join("; ")
}

// === impl Line ===

impl<'a> Line<'a> {
    fn read(line: &'a [u8]) -> Option<Self> {
        let mut words = line.splitn(3, |&byte| byte == b' ');
        let thread = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
        let level = std::str::from_utf8(words.next()?).ok()?;
        let message = unescaped(words.next()?);
        Some(Self {
            thread,
            level,
            message,
        })
    }

    /// The record of a guest, when it is one: `wasm log` and, for streams, the plugin's name,
    /// then root and VM id, a colon, the text.
    fn record(&self, speakers: &[&Filter]) -> Option<Record> {
        let rest = self.message.strip_prefix(b"wasm log")?;
        let (filter, text) = speakers.iter().find_map(|filter| {
            let root = filter.root_id.as_deref().unwrap_or_default();
            let ids = format!("{}{}", word(root), word(&filter.vm_id));
            // The VM itself, before it has a root, has no name.
            [
                format!("{}{ids}: ", word(&filter.name)),
                format!("{ids}: "),
                ": ".to_owned(),
            ]
            .iter()
            .find_map(|prefix| rest.strip_prefix(prefix.as_bytes()))
            .map(|text| (&filter.name, text))
        })?;
        let level = if self.level == "warning" {
            "warn"
        } else {
            self.level
        };
        Some(Record {
            filter: filter.clone(),
            level: level.to_owned(),
            text: text.to_vec().into(),
        })
    }
}

/// A word of a record's prefix; empty ones are left out.
fn word(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(" {text}")
    }
}

/// Bytes without JSON's escapes. What is not UTF-8 stands in the log as it is.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'b') => out.push(8),
            Some(b'f') => out.push(12),
            Some(b'u') => {
                let digits: String = bytes.by_ref().take(4).map(char::from).collect();
                let code = u32::from_str_radix(&digits, 16).ok();
                let letter = code.and_then(char::from_u32).unwrap_or('\u{fffd}');
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Some(other) => out.push(other),
            None => out.push(b'\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] = b"7 debug Thread-Local Wasm created 2 now active
7 info wasm log: canary
7 debug Thread-Local Wasm created 2 now active
7 info wasm log: main
9 debug Thread-Local Wasm created 3 now active
9 warning wasm log root vm: a\\n\\u0001\\\\\"\xff
9 trace [host->vm] proxy_on_context_create(2, 1)
9 critical wasm log a root vm: b: c
";

    #[test]
    fn only_the_workers_records_count() {
        let mut filter = Filter::guest("");
        filter.root_id = Some("root".to_owned());
        filter.vm_id = "vm".to_owned();
        let case = Case::generated("X-1".to_owned(), String::new(), "", vec![filter]);
        let records = records(&case, 7, LOG);
        let shown: Vec<_> = records.iter().map(|r| (&*r.level, &*r.text)).collect();
        assert_eq!(
            shown,
            [("warn", &b"a\n\x01\\\"\xff"[..]), ("critical", b"b: c")]
        );
    }

    #[test]
    fn a_refusal_is_what_was_grave() {
        let log = b"7 warning careful\n7 critical error initializing: no\n";
        assert_eq!(refusal(log), "error initializing: no");
        assert_eq!(refusal(b"no such flag\n"), "no such flag");
    }
}
