//! Looking at one value of the file: it knows its place, and says what is wrong with it.

use std::fmt::Write as _;

use super::{Item, Object, Position, Problems, Table, Value, did_you_mean};

/// A value of the file with its path. Methods that expect a type note a problem and answer
/// `None` when it is another.
#[derive(Debug, Clone)]
pub struct Node<'t> {
    item: &'t Item,
    position: Position,
    path: String,
    problems: &'t Problems,
}

/// One key of a table of free keys.
#[derive(Debug)]
pub struct Entry<'t> {
    /// The key.
    pub key: &'t str,
    /// The same place as `value`, with the position of the key: for what is wrong with it.
    pub at_key: Node<'t>,
    /// The value.
    pub value: Node<'t>,
}

// === impl Node ===

impl<'t> Node<'t> {
    /// The whole file.
    #[must_use]
    pub fn root(item: &'t Item, problems: &'t Problems) -> Self {
        Self {
            item,
            position: item.position,
            path: "$".to_owned(),
            problems,
        }
    }

    /// Where it begins.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// `FILE:LINE:COLUMN`.
    #[must_use]
    pub fn place(&self) -> String {
        format!(
            "{}:{}:{}",
            self.problems.file(),
            self.position.line,
            self.position.column
        )
    }

    /// Its YAML path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Notes that something is wrong here.
    pub fn wrong(&self, what: impl AsRef<str>, help: impl AsRef<str>) {
        self.problems
            .add(self.position, &self.path, what.as_ref(), help.as_ref());
    }

    /// Notes what another part said of this: `message` is what is wrong and, after the first
    /// `; `, what to do; `help` serves where it does not say.
    pub fn refused(&self, about: &str, message: &str, help: &str) {
        let (what, help) = message.split_once("; ").unwrap_or((message, help));
        self.wrong(format!("{about}{what}"), help);
    }

    /// Notes that this is of the wrong type.
    pub fn unexpected(&self, expected: &str, help: impl AsRef<str>) {
        let found = match self.item.value {
            Value::Text => format!("expected {expected}, found {}", quote(&self.item.text)),
            Value::Integer(_) | Value::Float(_) => {
                format!("expected {expected}, found {}", self.item.text)
            }
            _ => format!("expected {expected}, found {}", self.item.kind()),
        };
        self.wrong(found, help);
    }

    /// Whether nothing is written here.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.item.value, Value::Null)
    }

    /// Whether this is a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self.item.value, Value::List(_))
    }

    /// Whether this is a table.
    #[must_use]
    pub fn is_table(&self) -> bool {
        matches!(self.item.value, Value::Table(_))
    }

    /// The text, if it is text; nothing is noted if it is not.
    #[must_use]
    pub fn as_text(&self) -> Option<&'t str> {
        matches!(self.item.value, Value::Text).then_some(self.item.text.as_str())
    }

    /// Text.
    #[must_use]
    pub fn text(&self) -> Option<&'t str> {
        match self.item.value {
            Value::Text => Some(&self.item.text),
            Value::Boolean(_) | Value::Integer(_) | Value::Float(_) => {
                let help = format!("put it in quotes: \"{}\"", self.item.text);
                self.unexpected_kind("text", &help);
                None
            }
            Value::Null => {
                self.unexpected("text", "write a value, or remove the key");
                None
            }
            _ => {
                self.unexpected("text", "write one word or a text in quotes");
                None
            }
        }
    }

    /// Text with something in it.
    #[must_use]
    pub fn filled(&self) -> Option<&'t str> {
        let text = self.text()?;
        if text.is_empty() {
            self.wrong("this is empty", "write a value, or remove the key");
            return None;
        }
        Some(text)
    }

    /// A name: text that is safe in a log line.
    #[must_use]
    pub fn name(&self) -> Option<&'t str> {
        let name = self.filled()?;
        if name.len() > 128 || name.chars().any(char::is_control) {
            let help = "use at most 128 bytes and no control characters";
            self.wrong(format!("{} is not a name", quote(name)), help);
            return None;
        }
        Some(name)
    }

    /// Text, or a number or boolean as it was written: the values of environments and
    /// headers are text whatever they look like.
    #[must_use]
    pub fn scalar(&self) -> Option<&'t str> {
        match self.item.value {
            Value::Boolean(_) | Value::Integer(_) | Value::Float(_) => Some(&self.item.text),
            _ => self.text(),
        }
    }

    /// `true` or `false`.
    #[must_use]
    pub fn boolean(&self) -> Option<bool> {
        if let Value::Boolean(value) = self.item.value {
            return Some(value);
        }
        self.unexpected("true or false", "write `true` or `false`, without quotes");
        None
    }

    /// A list.
    #[must_use]
    pub fn list(&self) -> Option<Vec<Self>> {
        let Value::List(items) = &self.item.value else {
            self.unexpected_kind("a list", "write one entry per line, each after `- `");
            return None;
        };
        let node = |(index, item): (usize, &'t std::rc::Rc<Item>)| Self {
            item,
            position: item.position,
            path: index_path(&self.path, index),
            problems: self.problems,
        };
        Some(items.iter().enumerate().map(node).collect())
    }

    /// A table of free keys.
    #[must_use]
    pub fn entries(&self) -> Option<Vec<Entry<'t>>> {
        let Value::Table(pairs) = &self.item.value else {
            self.unexpected_kind("a table", "write `key: value` lines");
            return None;
        };
        let entry = |pair: &'t super::Pair| {
            let value = Self {
                item: &pair.value,
                position: pair.value.position,
                path: key_path(&self.path, &pair.key),
                problems: self.problems,
            };
            let at_key = Self {
                position: pair.position,
                ..value.clone()
            };
            Entry {
                key: &pair.key,
                at_key,
                value,
            }
        };
        Some(pairs.iter().map(entry).collect())
    }

    /// A table of known keys. Keys that are not known, and required ones that are not
    /// there, are noted here.
    #[must_use]
    pub fn object(&self, table: &'static Table) -> Option<Object<'t>> {
        Object::open(self, table)
    }

    /// Notes a key that means nothing here. Called on [`Entry::at_key`].
    pub fn unknown_key(&self, key: &str, known: &[&str]) {
        let help = did_you_mean(key, known.iter().copied()).map_or_else(
            || format!("the keys here are {}", known.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        self.wrong(format!("unknown key {}", quote(key)), help);
    }

    /// The value itself, for the readers of this module's neighbours.
    pub(super) fn item(&self) -> &'t Item {
        self.item
    }

    /// As [`Self::unexpected`], but naming the type only.
    fn unexpected_kind(&self, expected: &str, help: &str) {
        self.wrong(
            format!("expected {expected}, found {}", self.item.kind()),
            help,
        );
    }
}

/// Text from the file as it appears in a message: in quotes, escaped, not too long.
#[must_use]
pub fn quote(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

pub(super) fn index_path(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

pub(super) fn key_path(path: &str, key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut path = path.to_owned();
    if key.is_empty() || !key.chars().all(plain) || key.len() > 80 {
        // Writing to a string cannot fail.
        let _ = write!(path, "[{}]", quote(key));
    } else if path == "$" {
        key.clone_into(&mut path);
    } else {
        let _ = write!(path, ".{key}");
    }
    path
}
