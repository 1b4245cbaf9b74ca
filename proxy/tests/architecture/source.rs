//! Rules over the source itself.

use std::collections::BTreeSet;

use crate::tree::{files, read};

/// Longest a file may be without saying why.
const LONGEST: usize = 600;
/// Which words at the top of a longer file begin the reason.
const REASON: &str = "Longer than 600 lines:";

#[test]
fn no_source_file_is_long_without_a_reason() {
    let long: Vec<String> = files("", ".rs")
        .into_iter()
        .map(|path| (read(&path), path))
        .filter(|(text, _)| text.lines().count() > LONGEST)
        .filter(|(text, _)| !text.lines().take(40).any(|line| line.contains(REASON)))
        .map(|(text, path)| format!("{path}: {} lines", text.lines().count()))
        .collect();
    assert!(
        long.is_empty(),
        "split these, or say near the top `// {REASON} …`:\n{}",
        long.join("\n")
    );
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let silent: Vec<String> = files("", ".rs")
        .into_iter()
        .filter(|path| !(read(path).lines().take(8)).any(|line| line.starts_with("//!")))
        .collect();
    assert!(silent.is_empty(), "no `//!` at the top of {silent:?}");
}

#[test]
fn architecture_lists_every_file_with_unsafe_in_it() {
    let found: BTreeSet<String> = files("", ".rs")
        .into_iter()
        .filter(|path| has_word(&code(&read(path)), "unsafe"))
        .collect();
    let document = read("ARCHITECTURE.md");
    let list = document
        .split_once("<!-- unsafe:begin -->")
        .and_then(|(_, rest)| rest.split_once("<!-- unsafe:end -->"))
        .expect("ARCHITECTURE.md has a list between its unsafe markers")
        .0;
    let listed: BTreeSet<String> = list
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split_once('`'))
        .map(|(path, _)| path.to_owned())
        .collect();
    assert_eq!(
        found, listed,
        "left: files with `unsafe` in their code; right: the list in ARCHITECTURE.md"
    );
}

#[test]
fn engines_are_named_in_two_places_of_the_proxy() {
    let allowed = ["proxy/src/modules.rs", "proxy/src/inspect.rs"];
    for path in files("proxy/src", ".rs") {
        let code = code(&read(&path));
        for engine in ["wasmi", "wasmtime"] {
            let mut named = code
                .match_indices(engine)
                .map(|(at, _)| &code[..at])
                .peekable();
            if named.peek().is_none() {
                continue;
            }
            assert!(
                allowed.contains(&&path[..]),
                "{path} names {engine}: only {allowed:?} may"
            );
            assert!(
                named.all(|before| before.ends_with("cofferdam_abi::engine::")),
                "{path} names {engine} by another way than cofferdam_abi::engine::{engine}"
            );
        }
    }
}

#[test]
fn code_is_told_from_comments_and_texts() {
    let text = r##"
        // unsafe
        /* unsafe /* unsafe */ unsafe */
        let a = "unsafe \" unsafe"; let b = r#"unsafe " unsafe"#; let c = '"'; let d: &'a str = b"unsafe";
        unsafe_code();
    "##;
    assert!(!has_word(&code(text), "unsafe"), "{}", code(text));
    assert!(has_word(&code("#[unsafe(no_mangle)]"), "unsafe"));
    assert!(has_word(
        &code("let quote = '\\''; unsafe { x() }"),
        "unsafe"
    ));
}

/// Rust source without comments and without what is in quotes.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_text(rest).filter(|_| !ends_in_word(&out)) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.push(' ');
        rest = &rest[skipped..];
    }
    out
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        match rest {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Length of `r"…"`, `r#"…"#` and so on, with or without a `b` or `c` in front.
fn raw_text(text: &str) -> Option<usize> {
    let inner = text
        .strip_prefix(['b', 'c'])
        .unwrap_or(text)
        .strip_prefix('r')?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    let body = inner[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(text.len() - body.len() + length)
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether a `'` begins a character and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut characters = text.chars().skip(1);
    let (first, second) = (characters.next(), characters.next());
    first == Some('\\') || second == Some('\'')
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(|last: char| last.is_alphanumeric() || last == '_')
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let after = &text[at + word.len()..];
        !ends_in_word(&text[..at])
            && !after.starts_with(|next: char| next.is_alphanumeric() || next == '_')
    })
}
