//! The permission matrix: every hostcall in every callback.

use crate::suite::case::Case;

pub(super) fn cases() -> Vec<Case> {
    Vec::new()
}
