//! What guests and the host say, as it may be shown on a terminal: a guest's text can be
//! anything, of any length, any number of times.

use std::collections::HashMap;

use crate::host::printable;

/// Longest line, in bytes before escaping.
const LONGEST: usize = 2_000;
/// Most lines of one case.
const MOST: usize = 1_000;

/// Bytes on one line: control characters are escaped, what is too long is cut.
pub(in super::super) fn line(bytes: &[u8]) -> String {
    let mut end = bytes.len().min(LONGEST);
    // Not within a character.
    let inside = |byte: &u8| byte & 0xc0 == 0x80;
    while end > LONGEST - 4 && bytes.get(end).is_some_and(inside) {
        end -= 1;
    }
    let text = printable(bytes.get(..end).unwrap_or(bytes));
    match end < bytes.len() {
        true => format!("{text}… ({} bytes)", bytes.len()),
        false => text.into_owned(),
    }
}

/// Lines for people: each once, where it was said first, with how often it was said.
pub(in super::super) fn collapsed(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut order: Vec<(String, usize)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for text in lines {
        if let Some((_, times)) = places.get(&text).and_then(|at| order.get_mut(*at)) {
            *times += 1;
        } else {
            places.insert(text.clone(), order.len());
            order.push((text, 1));
        }
    }
    shown(order)
}

/// Likewise, but in their order: only what is said again at once is left out.
pub(super) fn in_order(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut order: Vec<(String, usize)> = Vec::new();
    for text in lines {
        match order.last_mut() {
            Some((last, times)) if *last == text => *times += 1,
            _ => order.push((text, 1)),
        }
    }
    shown(order)
}

fn shown(mut order: Vec<(String, usize)>) -> Vec<String> {
    let more = order.len().saturating_sub(MOST);
    order.truncate(MOST);
    let shown = |(text, times): (String, usize)| match times {
        1 => line(text.as_bytes()),
        _ => format!("{} ({times} times)", line(text.as_bytes())),
    };
    let mut out: Vec<String> = order.into_iter().map(shown).collect();
    if more > 0 {
        out.push(format!("… and {more} lines more"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, MOST, collapsed, in_order, line};

    #[test]
    fn nothing_that_a_guest_says_moves_a_cursor_or_turns_a_line_around() {
        assert_eq!(line(b"a\x1b[2Jb\nc\xff"), "a\\x1b[2Jb\\nc\\xff");
        assert_eq!(
            line("\u{202e}txt \u{2066}é".as_bytes()),
            "\\xe2\\x80\\xaetxt \\xe2\\x81\\xa6é"
        );
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        let text = "é".repeat(LONGEST);
        let shown = line(text.as_bytes());
        assert!(
            shown.ends_with(&format!("é… ({} bytes)", 2 * LONGEST)),
            "{shown}"
        );
        let shown = line(format!("a{text}").as_bytes());
        assert!(
            shown.ends_with(&format!("é… ({} bytes)", 2 * LONGEST + 1)),
            "{shown}"
        );
        let text = "a".repeat(LONGEST);
        assert_eq!(line(text.as_bytes()), text);
        // No text at all: everything looks like the inside of a character.
        assert!(line(&[0x80; 3 * LONGEST]).ends_with("(6000 bytes)"));
    }

    #[test]
    fn what_is_said_again_is_counted() {
        let lines = ["a", "b", "a", "a"].map(str::to_owned);
        assert_eq!(collapsed(lines.clone()), ["a (3 times)", "b"]);
        assert_eq!(in_order(lines), ["a", "b", "a (2 times)"]);
        let shown = collapsed((0..MOST + 7).map(|number| number.to_string()));
        assert_eq!(shown.len(), MOST + 1);
        assert_eq!(shown[MOST], "… and 7 lines more");
    }
}
