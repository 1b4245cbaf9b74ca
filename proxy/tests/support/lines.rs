//! The lines another process writes, as they come.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::LONGEST;

/// Lines read so far, by a thread that goes on reading.
#[derive(Debug, Clone)]
pub(crate) struct Lines(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

// === impl Lines ===

impl Lines {
    pub(crate) fn of(source: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::default());
        let filled = lines.clone();
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            loop {
                let mut line = Vec::new();
                let read = source.read_until(b'\n', &mut line).unwrap_or(0);
                let mut state = filled.0.0.lock().unwrap();
                if read == 0 {
                    state.ended = true;
                } else {
                    let line = String::from_utf8_lossy(&line);
                    state.lines.push(line.trim_end_matches('\n').to_owned());
                }
                filled.0.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        lines
    }

    /// Everything so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// Everything so far, as one text.
    pub(crate) fn text(&self) -> String {
        self.all().join("\n")
    }

    /// The first line that `wanted` takes, now or later; `None` when none came.
    pub(crate) fn find(&self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let until = Instant::now() + LONGEST;
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        let mut seen = 0;
        loop {
            if let Some(line) = state.lines[seen..].iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            seen = state.lines.len();
            let left = until.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return None;
            }
            state = changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// The first line with `part` in it, now or later.
    pub(crate) fn wait_for(&self, part: &str) -> String {
        self.find(|line| line.contains(part))
            .unwrap_or_else(|| panic!("no line with {part:?} in:\n{}", self.text()))
    }

    /// How many lines so far have `part` in them.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.all().iter().filter(|line| line.contains(part)).count()
    }
}
