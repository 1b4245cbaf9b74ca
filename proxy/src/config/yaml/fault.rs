//! What makes the rest of a file unreadable.

use serde_yaml::ScanError;

use super::Position;
use super::parse::{MAX_DEPTH, MAX_VALUES};

/// One such mistake: reading ends with it.
pub(super) struct Fault {
    pub(super) at: Position,
    /// The parser reads ahead of what it hands out, so what it finds wrong has no path.
    pub(super) path: String,
    pub(super) what: String,
    pub(super) help: &'static str,
}

// === impl Fault ===

impl Fault {
    pub(super) fn new(at: Position, what: String, help: &'static str) -> Self {
        Self {
            at,
            path: "$".to_owned(),
            what,
            help,
        }
    }
}

pub(super) fn syntax(error: &ScanError) -> Fault {
    let mark = error.marker();
    let at = Position {
        line: mark.line().max(1),
        column: mark.col() + 1,
    };
    // The parser's own limit: 255 brackets.
    if error.info().contains("recursion limit") {
        return too_deep(at);
    }
    let help = "mend the syntax here or just before; indentation and unclosed quotes are the \
                usual reasons";
    Fault::new(
        at,
        format!("this is not valid YAML: {}", error.info()),
        help,
    )
}

pub(super) fn bad_key(at: Position) -> Fault {
    let what = "a key must be text, found a list or a table".to_owned();
    Fault::new(at, what, "write `key: value`")
}

pub(super) fn bad_tag(at: Position, what: String) -> Fault {
    Fault::new(at, what, "remove the tag")
}

pub(super) fn too_deep(at: Position) -> Fault {
    Fault::new(
        at,
        format!("more than {MAX_DEPTH} levels of nesting"),
        "write it flatter",
    )
}

pub(super) fn too_many(at: Position) -> Fault {
    let what = format!("more than {MAX_VALUES} values, counting aliases wherever they are used");
    Fault::new(at, what, "use fewer aliases, or split the configuration")
}
