//! What a guest writes to its two standard outputs, put together to records.
//!
//! Runtimes write a panic word by word (SDK notes C6). So text that does not end its line
//! waits for what ends it, or for the end of the guest's call, or until it is too long to
//! wait; a write that ends in a newline is one record, whatever newlines are inside.

use crate::types::LogLevel;

/// Longest text that waits for the end of its line.
const LONGEST: usize = 4096;

/// Text of both outputs that has not become a record yet.
#[derive(Debug, Default)]
pub(crate) struct Output {
    info: Vec<u8>,
    error: Vec<u8>,
}

// === impl Output ===

impl Output {
    pub(crate) const fn is_empty(&self) -> bool {
        self.info.is_empty() && self.error.is_empty()
    }

    /// Takes a text of that level; `record` is called with what has become one.
    pub(crate) fn write(&mut self, level: LogLevel, text: &[u8], record: impl FnOnce(&[u8])) {
        let line = match level {
            LogLevel::Error => &mut self.error,
            _ => &mut self.info,
        };
        let end = text.strip_suffix(b"\n");
        match end {
            // Most writes are whole lines: nothing is copied for them.
            Some(whole) if line.is_empty() => return record(whole),
            Some(end) => line.extend_from_slice(end),
            None => line.extend_from_slice(text),
        }
        if end.is_some() || line.len() >= LONGEST {
            record(&std::mem::take(line));
        }
    }

    /// What is left becomes records.
    pub(crate) fn flush(&mut self, mut record: impl FnMut(LogLevel, &[u8])) {
        for (level, line) in [
            (LogLevel::Info, &mut self.info),
            (LogLevel::Error, &mut self.error),
        ] {
            if !line.is_empty() {
                record(level, &std::mem::take(line));
            }
        }
    }
}
