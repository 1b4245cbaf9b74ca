//! Whatever a file holds, it is accepted or refused: it never brings the process down.

use super::{FULL, Folder};

/// A small generator, so that every run tries the same.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap_or(0)
    }
}

const PIECES: [&str; 30] = [
    "[",
    "]",
    "{",
    "}",
    ":",
    ": ",
    "- ",
    "\n",
    "\"",
    "'",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!int ",
    "!x ",
    "~",
    "null",
    "0",
    "-1",
    "99999999999999999999999999999999999999999999",
    "1e999",
    ".nan",
    "%",
    "|",
    ">",
    "\t",
    "\0",
    "é",
    "---\n",
    "? ",
];

#[test]
fn mutated_files_are_accepted_or_refused() {
    let folder = Folder::new();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let full: Vec<char> = FULL.chars().collect();
    for _ in 0..600 {
        let mut text = full.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(text.len());
            match random.below(4) {
                0 => {
                    let end = (at + random.below(20)).min(text.len());
                    text.drain(at..end);
                }
                1 => {
                    let piece = PIECES[random.below(PIECES.len())];
                    text.splice(at..at, piece.chars());
                }
                2 => {
                    let from = random.below(full.len());
                    let to = (from + random.below(60)).min(full.len());
                    text.splice(at..at, full[from..to].iter().copied());
                }
                _ => text.truncate(at.max(1)),
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(lines) = folder.check(&text) {
            assert!(!lines.is_empty(), "refused without a reason:\n{text}");
            for line in lines.lines() {
                assert!(
                    line.starts_with("test.yaml:") && line.contains("; "),
                    "{line}"
                );
            }
        }
    }
}

#[test]
fn noise_is_refused() {
    let folder = Folder::new();
    let mut random = Random(7);
    for length in 0..600 {
        let noise: String = (0..length % 60)
            .map(|_| PIECES[random.below(PIECES.len())])
            .collect();
        assert!(folder.check(&noise).is_err(), "{noise:?}");
    }
}
