//! Guests in a few lines: WAT with the tedious parts left out.
//!
//! A source is lines of `on NAME` and `raw`, each followed by its text. `on NAME` begins
//! the export `proxy_on_NAME`, whose parameters are `$a` to `$e`; it answers what lets
//! things go on unless it returns something else. `raw` begins module fields, `imports`
//! those that must come first. In all of them:
//!
//! | written | means |
//! |---|---|
//! | `#7` | `(i32.const 7)` |
//! | `{"text"}` | address and length of that text |
//! | `{pairs "a" "1" "b" "2"}` | address and length of that map, serialised (section 5.1) |
//! | `@out` | two addresses for a value the host hands over |
//! | `!name` | `call $name`; hostcalls (without `proxy_`) are imported when used |
//!
//! There are `$say` (logs a number), `$text` (logs a text), `$show` (logs the value at
//! `@out`), two globals `$g` and `$h`, and an allocator that grows memory when it must.

mod names;

use std::fmt::Write as _;

pub use names::{CALLBACKS, ENV, WASI};

/// What is left out of a guest, or differs, from one that loads.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The export that names its version; empty for none.
    pub marker: &'static str,
    /// What its allocator is exported as; empty for not at all.
    pub allocator: &'static str,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            marker: "proxy_abi_version_0_2_1",
            allocator: "proxy_on_memory_allocate",
        }
    }
}

const LIBRARY: &str = r#"
    (global $heap (mut i32) (i32.const 65536))
    (global $g (mut i32) (i32.const 0))
    (global $h (mut i32) (i32.const 0))
    (func $allocate (param $size i32) (result i32) (local $at i32)
        (local.set $at (global.get $heap))
        (global.set $heap (i32.add (local.get $at) (local.get $size)))
        (block $enough (loop $more
            (br_if $enough (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
            (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
            (return (i32.const 0))))
        (local.get $at))
    (func $text (param $at i32) (param $length i32)
        (drop (call $log (i32.const 2) (local.get $at) (local.get $length))))
    (func $say (param $value i32) (local $at i32)
        (local.set $at (i32.const 64))
        (loop $digit
            (local.set $at (i32.sub (local.get $at) (i32.const 1)))
            (i32.store8 (local.get $at)
                (i32.add (i32.const 48) (i32.rem_u (local.get $value) (i32.const 10))))
            (local.set $value (i32.div_u (local.get $value) (i32.const 10)))
            (br_if $digit (local.get $value)))
        (call $text (local.get $at) (i32.sub (i32.const 64) (local.get $at))))
    (func $show (call $text (i32.load (i32.const 16)) (i32.load (i32.const 20))))
"#;

/// The module of a source, as WAT.
///
/// # Panics
/// When [`try_module`] has something to say: for tests, whose sources are right.
#[must_use]
pub fn module(source: &str, shape: Shape) -> String {
    try_module(source, shape).unwrap_or_else(|problem| panic!("{problem}\n{source}"))
}

/// The module of a source, as WAT.
///
/// # Errors
/// What is not in this language. What is wrong as WAT is for its parser to say.
pub fn try_module(source: &str, shape: Shape) -> Result<String, String> {
    let mut texts = Texts::default();
    let (mut imported, mut fields) = (String::new(), String::new());
    let blocks = blocks(source);
    let before = blocks.first().map_or(source, |(at, _)| &source[..*at]);
    if !before.trim().is_empty() {
        return Err(format!("text before the first block: {}", before.trim()));
    }
    for (_, block) in blocks {
        let (head, body) = block.split_once('\n').unwrap_or((block, ""));
        let body = texts.expand(body)?;
        match head.trim().split_once(' ') {
            Some(("on", name)) => fields.push_str(&callback(name.trim(), &body, shape.marker)?),
            None if head.trim() == "imports" => imported.push_str(&body),
            _ => fields.push_str(&body),
        }
    }
    let code = format!("{LIBRARY}{fields}");
    let mut module = String::from("(module\n");
    imports(&mut module, &code);
    module.push_str(&imported);
    if !code.contains("(memory ") {
        module.push_str("(memory (export \"memory\") 2)\n");
    }
    if !shape.marker.is_empty() {
        let _ = writeln!(module, "(func (export \"{}\"))", shape.marker);
    }
    if !shape.allocator.is_empty() {
        let _ = writeln!(module, "(export \"{}\" (func $allocate))", shape.allocator);
    }
    module.push_str(&code);
    module.push_str(&texts.data);
    module.push(')');
    Ok(module)
}

/// A declaration of every import that `code` calls.
fn imports(module: &mut String, code: &str) {
    let used = |name: &str| {
        code.match_indices(&format!("call ${name}"))
            .any(|(at, found)| {
                let after = code[at + found.len()..].chars().next();
                !after.is_some_and(|next| next.is_alphanumeric() || next == '_')
            })
    };
    for (name, params) in ENV.iter().filter(|(name, _)| used(name)) {
        let ty = ty(params, true);
        let _ = writeln!(
            module,
            "(import \"env\" \"proxy_{name}\" (func ${name} {ty}))"
        );
    }
    for (name, params) in WASI.iter().filter(|(name, _)| used(name)) {
        let ty = ty(params, *name != "proc_exit");
        let _ = writeln!(
            module,
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} {ty}))"
        );
    }
}

/// A function type in WAT.
#[must_use]
pub fn ty(params: &str, result: bool) -> String {
    let mut text = String::from("(param");
    for param in params.chars() {
        text.push_str(if param == 'l' { " i64" } else { " i32" });
    }
    text.push_str(if result { ") (result i32)" } else { ")" });
    text
}

fn callback(name: &str, body: &str, marker: &str) -> Result<String, String> {
    let row = CALLBACKS.iter().find(|row| row.0 == name);
    let (_, mut params, answer) = *row.ok_or_else(|| format!("no callback {name}"))?;
    if marker.ends_with("0_1_0") && name.ends_with("_headers") {
        params = 2;
    }
    let mut text = format!("(func (export \"proxy_on_{name}\")");
    for param in ["$a", "$b", "$c", "$d", "$e"].iter().take(params) {
        let _ = write!(text, " (param {param} i32)");
    }
    if let Some(answer) = answer {
        let _ = write!(text, " (result i32)\n{body}\n(i32.const {answer}))");
    } else {
        let _ = write!(text, "\n{body})");
    }
    text.push('\n');
    Ok(text)
}

/// The source, cut in front of every line that begins a block; with where that is.
fn blocks(source: &str) -> Vec<(usize, &str)> {
    let mut starts = Vec::new();
    let mut at = 0;
    for line in source.split_inclusive('\n') {
        let head = line.trim();
        if head.starts_with("on ") || head == "raw" || head == "imports" {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().copied().skip(1).chain([source.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| (*start, source[*start..end].trim_start()))
        .collect()
}

/// Texts of a guest, placed behind each other from address 4096 on.
#[derive(Default)]
struct Texts {
    data: String,
    used: usize,
}

impl Texts {
    fn expand(&mut self, mut source: &str) -> Result<String, String> {
        let mut out = String::new();
        while let Some((start, pairs)) = next_text(source) {
            short_forms(&source[..start], &mut out);
            let rest = &source[start + 1..];
            let end = rest.find("\"}").ok_or("a text has no end")? + 1;
            let text = &rest[..end];
            let text = if pairs {
                serialised(text)?
            } else {
                text[1..text.len() - 1].to_owned()
            };
            let (at, length) = (4096 + self.used, length(&text));
            let _ = write!(out, "(i32.const {at}) (i32.const {length})");
            let _ = writeln!(self.data, "(data (i32.const {at}) \"{text}\")");
            self.used += length;
            source = &rest[end + 1..];
        }
        short_forms(source, &mut out);
        Ok(out)
    }
}

/// Where the next text or map begins, and whether it is a map.
fn next_text(source: &str) -> Option<(usize, bool)> {
    let text = source.find("{\"").map(|at| (at, false));
    let pairs = source.find("{pairs ").map(|at| (at, true));
    text.into_iter().chain(pairs).min()
}

/// `pairs "a" "1"` as a serialised map, in WAT's escapes.
fn serialised(list: &str) -> Result<String, String> {
    let parts: Vec<&str> = list.split('"').collect();
    let texts: Vec<&str> = parts.iter().skip(1).step_by(2).copied().collect();
    let between = parts.iter().skip(2).step_by(2);
    if !texts.len().is_multiple_of(2) || !between.into_iter().all(|part| part.trim().is_empty()) {
        return Err(format!("{list} is not a list of pairs"));
    }
    let number = |out: &mut String, value: usize| {
        for shift in [0, 8, 16, 24] {
            let _ = write!(out, "\\{:02x}", value >> shift & 0xff);
        }
    };
    let mut out = String::new();
    number(&mut out, texts.len() / 2);
    texts.iter().for_each(|text| number(&mut out, length(text)));
    for text in texts {
        let _ = write!(out, "{text}\\00");
    }
    Ok(out)
}

fn short_forms(source: &str, out: &mut String) {
    let source = source
        .replace("@out", "(i32.const 16) (i32.const 20)")
        .replace("(!", "(call $");
    let mut number = false;
    for letter in source.chars() {
        if number && !(letter.is_alphanumeric() || letter == '-' || letter == '_') {
            out.push(')');
            number = false;
        }
        if letter == '#' {
            out.push_str("(i32.const ");
            number = true;
        } else {
            out.push(letter);
        }
    }
    if number {
        out.push(')');
    }
}

/// Bytes a WAT text stands for, whose only escapes are of two hexadecimal digits.
fn length(text: &str) -> usize {
    text.len() - 2 * text.matches('\\').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_the_example_of_the_notes() {
        let text = serialised(r#"pairs "a" "1" "b" "22""#).expect("pairs");
        let one = r"\01\00\00\00";
        let wanted = format!(r"\02\00\00\00{one}{one}{one}\02\00\00\00a\001\00b\0022\00");
        assert_eq!(text, wanted);
        assert_eq!(length(&text), 29);
    }

    #[test]
    fn what_is_not_in_the_language_is_told() {
        for (source, said) in [
            ("on nothing", "no callback nothing"),
            ("stray\non tick", "before the first block: stray"),
            ("on tick\n {\"open}", "no end"),
            ("on tick\n {pairs \"a\"}", "not a list of pairs"),
        ] {
            let problem = try_module(source, Shape::default()).expect_err(source);
            assert!(problem.contains(said), "{problem}");
        }
    }
}
