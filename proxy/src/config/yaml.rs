//! A YAML file as a tree in which every value knows its line.
//!
//! Deserialising straight into types would stop at the first mistake and lose the position
//! of the rest. Here the file is read once into [`Item`]s, with its limits enforced while
//! it is read: nesting depth, the number of values with aliases counted at each use, and
//! duplicate keys. The tree is then looked at through [`Node`]s, which carry their YAML
//! path and put what is wrong with them into [`Problems`]. Which keys a table has, of
//! which type, with which default and range, is described once in a [`Table`]; the walk
//! and the reference both read that.

mod diagnostic;
mod fault;
mod json;
mod mask;
mod node;
mod object;
mod parse;
mod scalar;
mod schema;
mod suggest;
#[cfg(test)]
mod tests;
mod units;

pub use diagnostic::{Diagnostic, Position, Problems};
pub use node::{Entry, Node, quote};
pub use object::Object;
#[cfg(test)]
pub(crate) use object::asked;
pub use parse::{MAX_FILE_BYTES, parse};
pub use schema::{Absent, Field, Kind, Table};
pub use suggest::did_you_mean;
pub use units::{duration_text, parse_duration, parse_rate, parse_size, size_text};

use std::rc::Rc;

/// One value of the file.
#[derive(Debug)]
pub struct Item {
    /// Where it begins.
    pub position: Position,
    /// A scalar as it was written, without its quotes; empty for lists and tables.
    pub text: String,
    /// What it is.
    pub value: Value,
    /// Levels of nesting below and including this one.
    depth: usize,
    /// Values in it, aliases counted wherever they are used.
    weight: usize,
}

/// What an [`Item`] is. Text is kept in [`Item::text`].
#[derive(Debug)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number; past the range of `i128` the nearest one in it.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Text,
    /// A list. Shared, because an alias is a second use of the same item.
    List(Vec<Rc<Item>>),
    /// A table, in file order, each key once.
    Table(Vec<Pair>),
}

/// One key of a table with its value.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The key, as text whatever it looks like.
    pub key: Rc<str>,
    /// Where the key begins.
    pub position: Position,
    /// Its value.
    pub value: Rc<Item>,
}

// === impl Item ===

impl Item {
    fn new(position: Position, text: String, value: Value) -> Self {
        let (depth, weight) = match &value {
            Value::List(items) => measure(items.iter()),
            Value::Table(pairs) => measure(pairs.iter().map(|pair| &pair.value)),
            _ => (0, 0),
        };
        Self {
            position,
            text,
            value,
            depth: depth.saturating_add(1),
            weight: weight.saturating_add(1),
        }
    }

    /// What this is, in the words of a message.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Boolean(_) => "a boolean",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Text => "text",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

fn measure<'a>(items: impl Iterator<Item = &'a Rc<Item>>) -> (usize, usize) {
    items.fold((0, 0), |(depth, weight), item| {
        (depth.max(item.depth), weight.saturating_add(item.weight))
    })
}
