//! Cases that are products of lists, rather than files.

use super::case::Case;

/// All of them.
#[must_use]
pub fn all() -> Vec<Case> {
    Vec::new()
}
