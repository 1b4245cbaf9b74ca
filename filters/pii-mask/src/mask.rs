//! Masks a body that comes in pieces, cut anywhere.
//!
//! Nothing that is looked for goes across the end of a line, or is longer than [`LONGEST`]. So
//! a line that is whole can go on, and of one that is not, all but its last `LONGEST` bytes:
//! what begins before those is seen to its end. Whatever the pieces, the outcome is the same.

use std::rc::Rc;

use crate::patterns::{Found, LONGEST};
use crate::rule::{Replace, Rule};

/// The work on one body.
pub(crate) struct Masker {
    rule: Rc<Rule>,
    /// What is held back, behind at most one byte that has gone on already: whether a word
    /// begins depends on it.
    held: Vec<u8>,
    /// How many of those have gone on.
    gone: usize,
    /// How often each kind was found since it was last asked.
    found: Vec<u64>,
}

// === impl Masker ===

impl Masker {
    pub(crate) fn new(rule: Rc<Rule>) -> Self {
        Self {
            found: vec![0; rule.patterns.len()],
            rule,
            held: Vec::new(),
            gone: 0,
        }
    }

    /// What goes on, now that these bytes have come.
    pub(crate) fn push(&mut self, bytes: &[u8], last: bool) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(bytes);
        let mut out = Vec::with_capacity(text.len());
        let mut rest = &text[..];
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(at + 1);
            self.line(line, true, &mut out);
            rest = after;
            self.gone = 0;
        }
        let done = self.line(rest, last, &mut out);
        let keep = done.saturating_sub(1);
        self.gone = done - keep;
        self.held = rest.get(keep..).unwrap_or_default().to_vec();
        out
    }

    /// How often each kind was found since this was last asked.
    pub(crate) fn found(&mut self) -> impl Iterator<Item = (&str, u64)> {
        let patterns = &self.rule.patterns;
        let counts = self.found.iter_mut().enumerate();
        counts.filter_map(|(kind, count)| {
            let many = std::mem::take(count);
            (many > 0).then(|| (patterns.name(kind), many))
        })
    }

    /// Writes what of a line can go on; how far that is.
    fn line(&mut self, line: &[u8], whole: bool, out: &mut Vec<u8>) -> usize {
        // What begins before this is all there.
        let known = match whole {
            true => line.len(),
            false => (line.len() + 1).saturating_sub(LONGEST),
        };
        let rule = self.rule.clone();
        let (mut done, mut at) = (self.gone, self.gone);
        while at < known
            && let Some(start) = rule.patterns.candidate(line, at)
            && start < known
        {
            let Some(found) = rule.patterns.confirm(line, start) else {
                at = start + 1;
                continue;
            };
            out.extend_from_slice(line.get(done..start).unwrap_or_default());
            self.mask(line, found, out);
            done = found.end;
            at = done;
        }
        if done < known {
            out.extend_from_slice(line.get(done..known).unwrap_or_default());
            done = known;
        }
        done
    }

    fn mask(&mut self, line: &[u8], found: Found, out: &mut Vec<u8>) {
        if let Some(count) = self.found.get_mut(found.kind) {
            *count += 1;
        }
        let text = line.get(found.start..found.end).unwrap_or_default();
        match self.rule.settings.replace {
            Replace::Label => {
                out.push(b'[');
                out.extend_from_slice(self.rule.patterns.name(found.kind).as_bytes());
                out.push(b']');
            }
            Replace::Star => {
                let counts = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
                let all = text.iter().filter(|byte| counts(byte)).count();
                let mut stars = all.saturating_sub(usize::from(self.rule.settings.keep_last));
                for byte in text {
                    let hides = counts(byte) && stars > 0;
                    stars -= usize::from(hides);
                    out.push(if hides { b'*' } else { *byte });
                }
            }
        }
    }
}
