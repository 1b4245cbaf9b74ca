//! Looking at a table whose keys are known: types, ranges and defaults come from its
//! description, so that the walk names each key and nothing else.
//!
//! Readers of fields with a default answer that default when the field is absent *or
//! wrong*: the mistake has been noted, the walk goes on to find the next one, and its
//! result is thrown away.

use std::time::Duration;

use super::units::{duration_text, parse_duration, parse_rate, parse_size, size_text};
use super::{Absent, Entry, Field, Kind, Node, Table, Value, did_you_mean, quote};

/// A table of known keys.
#[derive(Debug)]
pub struct Object<'t> {
    node: Node<'t>,
    table: &'static Table,
    entries: Vec<Entry<'t>>,
    /// What the unknown keys were probably meant to be.
    slips: Vec<&'static str>,
}

// === impl Object ===

impl<'t> Object<'t> {
    pub(super) fn open(node: &Node<'t>, table: &'static Table) -> Option<Self> {
        let entries = node.entries()?;
        let known = || table.fields.iter().map(|field| field.name);
        let mut slips = Vec::new();
        for entry in entries
            .iter()
            .filter(|entry| table.field(entry.key).is_none())
        {
            entry
                .at_key
                .unknown_key(entry.key, &known().collect::<Vec<_>>());
            slips.extend(did_you_mean(entry.key, known()));
        }
        for field in table.fields {
            let required = matches!(field.absent, Absent::Required);
            let written = || entries.iter().any(|entry| entry.key == field.name);
            // A slip of the finger is one mistake, not also a missing key.
            if required && !slips.contains(&field.name) && !written() {
                let help = format!("add `{}: …` ({})", field.name, hint(field.doc));
                node.wrong(format!("`{}` is missing", field.name), help);
            }
        }
        Some(Self {
            node: node.clone(),
            table,
            entries,
            slips,
        })
    }

    /// The table itself.
    #[must_use]
    pub fn node(&self) -> &Node<'t> {
        &self.node
    }

    /// The value of a key, if it is written.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Node<'t>> {
        debug_assert!(
            self.table.field(name).is_some(),
            "{}.{name} undescribed",
            self.table.name
        );
        #[cfg(test)]
        asked::note(self.table.name, name);
        self.entries
            .iter()
            .find(|entry| entry.key == name)
            .map(|entry| entry.value.clone())
    }

    /// Whether an unknown key here was probably meant to be one of `names`.
    #[must_use]
    pub fn slipped(&self, names: &[&str]) -> bool {
        self.slips.iter().any(|slip| names.contains(slip))
    }

    /// A list; empty when absent.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<Node<'t>> {
        self.get(name)
            .and_then(|node| node.list())
            .unwrap_or_default()
    }

    /// Text, as it is.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'t str> {
        self.get(name)?.text()
    }

    /// A table inside this one.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<Self> {
        let node = self.get(name)?;
        match self.field(name).map(|field| &field.kind) {
            Some(Kind::Table(table)) => node.object(table),
            _ => None,
        }
    }

    /// `true` or `false`.
    #[must_use]
    pub fn boolean(&self, name: &str) -> bool {
        let written = self.get(name).and_then(|node| node.boolean());
        written.unwrap_or_else(|| self.default(name) == "true")
    }

    /// One of the words of a choice.
    #[must_use]
    pub fn choice(&self, name: &str) -> &'static str {
        let Some(Field {
            kind: Kind::Choice(words),
            ..
        }) = self.field(name)
        else {
            return "";
        };
        let written = self.get(name).and_then(|node| choose(&node, words));
        written.unwrap_or_else(|| self.default(name))
    }

    /// A whole number.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<u64> {
        let Some(&Field {
            kind: Kind::Integer { min, max },
            ..
        }) = self.field(name)
        else {
            return None;
        };
        match self.get(name) {
            Some(node) => integer(&node, min, max),
            None => self.default(name).parse().ok(),
        }
    }

    /// A whole number that is certainly small, with a default.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        let number = self
            .integer(name)
            .or_else(|| self.default(name).parse().ok());
        usize::try_from(number.unwrap_or(0)).unwrap_or(usize::MAX)
    }

    /// A size in bytes.
    #[must_use]
    pub fn size(&self, name: &str) -> usize {
        let Some(&Field {
            kind: Kind::Size { min, max },
            ..
        }) = self.field(name)
        else {
            return 0;
        };
        let written = self.get(name).and_then(|node| size(&node, min, max));
        let bytes = written
            .or_else(|| parse_size(self.default(name)))
            .unwrap_or(0);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// A duration.
    #[must_use]
    pub fn duration(&self, name: &str) -> Duration {
        self.duration_or_none(name).unwrap_or_default()
    }

    /// A duration, or `None` for no bound.
    #[must_use]
    pub fn duration_or_none(&self, name: &str) -> Option<Duration> {
        let Some(&Field {
            kind:
                Kind::Duration {
                    min,
                    max,
                    unbounded,
                },
            ..
        }) = self.field(name)
        else {
            return None;
        };
        let default = || Bound::parse(self.default(name), unbounded).unwrap_or(Bound::None);
        let written = self
            .get(name)
            .and_then(|node| duration(&node, min, max, unbounded));
        match written.unwrap_or_else(default) {
            Bound::None => None,
            Bound::Some(duration) => Some(duration),
        }
    }

    /// A size for every second, or `None` for no bound.
    #[must_use]
    pub fn rate(&self, name: &str) -> Option<u64> {
        let Some(&Field {
            kind: Kind::Rate { min, max },
            ..
        }) = self.field(name)
        else {
            return None;
        };
        let written = self.get(name).and_then(|node| rate(&node, min, max));
        written.unwrap_or_else(|| parse_rate(self.default(name)))
    }

    /// A whole number, or `None` for no bound.
    #[must_use]
    pub fn quota(&self, name: &str) -> Option<u64> {
        let Some(&Field {
            kind: Kind::Quota { min, max },
            ..
        }) = self.field(name)
        else {
            return None;
        };
        match self.get(name) {
            Some(node) => quota(&node, min, max),
            None => self.default(name).parse().ok(),
        }
    }

    fn field(&self, name: &str) -> Option<&'static Field> {
        self.table.field(name)
    }

    fn default(&self, name: &str) -> &'static str {
        match self.field(name).map(|field| &field.absent) {
            Some(Absent::Default(text)) => text,
            _ => "",
        }
    }
}

/// A duration that may be none.
enum Bound {
    None,
    Some(Duration),
}

impl Bound {
    fn parse(text: &str, unbounded: bool) -> Option<Self> {
        if unbounded && (text == "none" || text == "0") {
            return Some(Self::None);
        }
        parse_duration(text).map(Self::Some)
    }
}

fn choose(node: &Node<'_>, words: &'static [&'static str]) -> Option<&'static str> {
    let written = node.text()?;
    let word = words.iter().copied().find(|word| *word == written);
    if word.is_none() {
        let help = format!("write one of {}", words.join(", "));
        node.wrong(format!("{} is not known here", quote(written)), help);
    }
    word
}

fn integer(node: &Node<'_>, min: u64, max: u64) -> Option<u64> {
    number(
        node,
        min,
        max,
        &format!("write a number from {min} to {max}"),
    )
}

fn quota(node: &Node<'_>, min: u64, max: u64) -> Option<u64> {
    if is_none(node) {
        return None;
    }
    let help = format!("write a number from {min} to {max}, or none");
    number(node, min, max, &help)
}

fn number(node: &Node<'_>, min: u64, max: u64, help: &str) -> Option<u64> {
    let Value::Integer(number) = node.item().value else {
        node.unexpected("a whole number", help);
        return None;
    };
    let inside = u64::try_from(number)
        .ok()
        .filter(|number| (min..=max).contains(number));
    if inside.is_none() {
        let what = format!("{} is out of range", node.item().text);
        node.wrong(what, help);
    }
    inside
}

fn size(node: &Node<'_>, min: u64, max: u64) -> Option<u64> {
    let item = node.item();
    let bytes = match item.value {
        Value::Integer(number) => u64::try_from(number).ok(),
        Value::Text => parse_size(&item.text),
        _ => None,
    };
    let range = format!("{} to {}", size_text(min), size_text(max));
    let Some(bytes) = bytes else {
        let help = format!("write bytes, or a number with a unit such as 64MiB, from {range}");
        node.unexpected("a size", help);
        return None;
    };
    if !(min..=max).contains(&bytes) {
        let help = format!("write a size from {range}");
        node.wrong(format!("{} is out of range", item.text), help);
        return None;
    }
    Some(bytes)
}

/// `Some(None)` for `none`.
fn rate(node: &Node<'_>, min: u64, max: u64) -> Option<Option<u64>> {
    if is_none(node) {
        return Some(None);
    }
    let range = format!("{}/s to {}/s, or none", size_text(min), size_text(max));
    let text = &node.item().text;
    let Some(bytes) = parse_rate(text) else {
        let help = format!("write a size for every second such as 64KiB/s, from {range}");
        node.unexpected("a size a second", help);
        return None;
    };
    if !(min..=max).contains(&bytes) {
        let help = format!("write a size from {range}");
        node.wrong(format!("{text} is out of range"), help);
        return None;
    }
    Some(Some(bytes))
}

fn is_none(node: &Node<'_>) -> bool {
    let item = node.item();
    matches!(item.value, Value::Text) && item.text == "none"
}

fn duration(node: &Node<'_>, min: Duration, max: Duration, unbounded: bool) -> Option<Bound> {
    let item = node.item();
    let bound = match item.value {
        Value::Text => Bound::parse(&item.text, unbounded),
        Value::Integer(0) => Bound::parse("0", unbounded),
        Value::Integer(_) | Value::Float(_) => {
            let what = format!("the duration {} has no unit", item.text);
            node.wrong(
                what,
                "write a whole number with ms, s, m, h or d, such as 30s",
            );
            return None;
        }
        _ => None,
    };
    let mut range = format!("{} to {}", duration_text(min), duration_text(max));
    if unbounded {
        range.push_str(", or none");
    }
    match bound {
        None => {
            let help = format!("write a whole number with a unit such as 30s, from {range}");
            node.unexpected("a duration", help);
            None
        }
        Some(Bound::Some(duration)) if !(min..=max).contains(&duration) => {
            let help = format!("write a duration from {range}");
            node.wrong(format!("{} is out of range", item.text), help);
            None
        }
        bound => bound,
    }
}

/// The first sentence of a description, to stand inside another.
fn hint(doc: &str) -> String {
    let first = doc
        .split_once(". ")
        .map_or(doc, |(first, _)| first)
        .trim_end_matches('.');
    let mut letters = first.chars();
    match (letters.next(), letters.next()) {
        (Some(a), Some(b)) if !b.is_uppercase() => [a.to_ascii_lowercase(), b]
            .into_iter()
            .chain(letters)
            .collect(),
        _ => first.to_owned(),
    }
}

/// Which keys a walk asked for: a test compares them with the descriptions.
#[cfg(test)]
pub(crate) mod asked {
    use std::cell::RefCell;
    use std::collections::HashSet;

    thread_local! {
        static ASKED: RefCell<HashSet<String>> = RefCell::default();
    }

    pub(super) fn note(table: &str, field: &str) {
        ASKED.with_borrow_mut(|asked| asked.insert(format!("{table}.{field}")));
    }

    pub(crate) fn take() -> HashSet<String> {
        ASKED.take()
    }
}
