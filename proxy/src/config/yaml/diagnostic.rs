//! What is wrong with a file, where, and what to do about it.

use std::cell::RefCell;
use std::fmt;

/// One mistake in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as it was named by whoever asked to load it; empty where there is none.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Where in the tree: `listeners[0].routes[1].match.prefix`; `$` is the whole file.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: String,
}

/// A place in the file. Lines and columns count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// Everything found wrong so far. Shared by reference all through a walk, so that no step
/// has to stop, or return anything, because another one failed.
#[derive(Debug)]
pub struct Problems {
    file: String,
    found: RefCell<Vec<Diagnostic>>,
}

// === impl Diagnostic ===

impl Diagnostic {
    /// What is wrong at `place`, which is `FILE:LINE:COLUMN`.
    #[must_use]
    pub fn at(place: &str, path: String, what: String, help: String) -> Self {
        let mut place = place.rsplitn(3, ':');
        let mut number = || place.next().and_then(|number| number.parse().ok());
        let (column, line) = (number().unwrap_or(1), number().unwrap_or(1));
        Self {
            file: place.next().unwrap_or_default().to_owned(),
            line,
            column,
            path,
            what,
            help,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            path,
            what,
            help,
        } = self;
        // Of what is in no file nobody has seen a place.
        if !file.is_empty() {
            write!(f, "{file}:{line}:{column}: {path}: ")?;
        }
        write!(f, "{what}; {help}")
    }
}

impl std::error::Error for Diagnostic {}

// === impl Position ===

impl Position {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

// === impl Problems ===

impl Problems {
    /// Nothing wrong yet in `file`.
    #[must_use]
    pub fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            found: RefCell::default(),
        }
    }

    /// The file these are about.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Notes one mistake.
    pub fn add(&self, at: Position, path: &str, what: &str, help: &str) {
        self.found.borrow_mut().push(Diagnostic {
            file: self.file.clone(),
            line: at.line,
            column: at.column,
            path: path.to_owned(),
            what: one_line(what),
            help: one_line(help),
        });
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// All of them by position, each once: what is wrong inside an anchor is wrong at every
    /// alias of it, but there is only one place to mend.
    #[must_use]
    pub fn into_sorted(self) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        found.sort_by(|a, b| {
            (a.line, a.column, &a.what, &a.path).cmp(&(b.line, b.column, &b.what, &b.path))
        });
        found.dedup_by(|b, a| (a.line, a.column, &a.what) == (b.line, b.column, &b.what));
        found
    }
}

/// Messages of other libraries come with line breaks; a diagnostic is one line.
fn one_line(text: &str) -> String {
    text.split(char::is_control)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
