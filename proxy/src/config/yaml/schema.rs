//! How the keys of a table are described: once, for the walk and for the reference.

use std::time::Duration;

/// A kind of table in the file: `listeners[]`, `filters[].limits` and so on.
#[derive(Debug)]
pub struct Table {
    /// Where it stands in the file; `$` is the top.
    pub name: &'static str,
    /// What it is, in a sentence or two.
    pub doc: &'static str,
    /// Every key it may have, in the order of the reference.
    pub fields: &'static [Field],
}

/// One key of a [`Table`].
#[derive(Debug)]
pub struct Field {
    /// The key.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What it means not to write it.
    pub absent: Absent,
    /// What it does.
    pub doc: &'static str,
}

/// What a field's value is.
#[derive(Debug)]
pub enum Kind {
    /// Text, with a word for the reference (`text`, `file name`, `path`).
    Text(&'static str),
    /// `true` or `false`.
    Boolean,
    /// A whole number, both ends allowed.
    Integer {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A duration, both ends allowed.
    Duration {
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
        /// Whether `none` and `0` are allowed and mean that there is no bound.
        unbounded: bool,
    },
    /// A size in bytes, both ends allowed.
    Size {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A size for every second (`64KiB/s`), both ends allowed; `none` is no bound.
    Rate {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A whole number, both ends allowed; `none` is no bound.
    Quota {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A table.
    Table(&'static Table),
    /// A list of tables.
    Tables(&'static Table),
    /// Anything else: its shape in words, and the tables that may be in it.
    Other(&'static str, &'static [&'static Table]),
}

/// What it means not to write a field.
#[derive(Debug)]
pub enum Absent {
    /// A mistake.
    Required,
    /// The same as writing this.
    Default(&'static str),
    /// This, in words.
    Means(&'static str),
}

// === impl Table ===

impl Table {
    /// The field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The tables that may stand inside this one.
    pub fn inner(&self) -> impl Iterator<Item = &'static Self> + use<> {
        self.fields
            .iter()
            .flat_map(|field| match &field.kind {
                Kind::Table(table) | Kind::Tables(table) => std::slice::from_ref(table),
                Kind::Other(_, tables) => tables,
                _ => &[],
            })
            .copied()
    }
}
