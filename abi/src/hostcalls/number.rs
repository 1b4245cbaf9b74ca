//! A number for every hostcall, and sets of them: what [`crate::Capabilities`] are made of.
//!
//! Numbers are places in the lists of `hostcalls`, known when the host is compiled; so
//! whether a VM's guest may call something is one bit to look at.

use super::later::LATER;
use super::{ENV, Signature, WASI, When};
use crate::types::Status;

/// A hostcall, as whoever enters it has to know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hostcall {
    /// Its name, without the module's.
    pub(crate) name: &'static str,
    pub(super) number: usize,
    pub(super) when: When,
    /// The answer where it may not be called yet.
    pub(super) unavailable: u32,
    /// The answer without the capability.
    pub(super) forbidden: u32,
}

/// A set of hostcalls, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hostcalls([u64; WORDS]);

const WORDS: usize = 4;
const _: () = assert!(
    ENV.len() + WASI.len() + LATER.len() <= WORDS * 64,
    "make room for another word of hostcalls"
);

// === impl Hostcall ===

impl Hostcall {
    /// A function of module `env`.
    pub(crate) const fn env(name: &'static str, when: When) -> Self {
        let number = match position(ENV, name) {
            Some(place) => place,
            None => match position(LATER, name) {
                Some(place) => ENV.len() + WASI.len() + place,
                // Not in the lists, so not in anybody's capabilities either.
                None => usize::MAX,
            },
        };
        Self {
            name,
            number,
            when,
            unavailable: Status::Unimplemented as u32,
            forbidden: Status::InternalFailure as u32,
        }
    }

    /// A function of WASI.
    pub(crate) const fn wasi(name: &'static str, when: When) -> Self {
        const NOSYS: u32 = 52;
        const NOTCAPABLE: u32 = 76;
        let number = match position(WASI, name) {
            Some(place) => ENV.len() + place,
            None => usize::MAX,
        };
        Self {
            name,
            number,
            when,
            unavailable: NOSYS,
            forbidden: NOTCAPABLE,
        }
    }
}

/// Names of all hostcalls, each at the place of its number.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    [ENV, WASI, LATER]
        .into_iter()
        .flat_map(|list| list.iter().map(|row| row.name))
}

/// Whether capabilities can take it away: not what compilers put into any module.
pub(crate) fn is_restrictable(name: &str) -> bool {
    let env = ENV.iter().any(|row| row.name == name);
    !env || name.starts_with("proxy_")
}

const fn position(list: &[Signature], name: &str) -> Option<usize> {
    let mut place = 0;
    while place < list.len() {
        if equal(list[place].name.as_bytes(), name.as_bytes()) {
            return Some(place);
        }
        place += 1;
    }
    None
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

// === impl Hostcalls ===

impl Hostcalls {
    pub(crate) const ALL: Self = Self([u64::MAX; WORDS]);

    pub(crate) const fn contains(&self, number: usize) -> bool {
        let word = number / 64;
        word < WORDS && self.0[word] & (1 << (number % 64)) != 0
    }
}

impl FromIterator<usize> for Hostcalls {
    fn from_iter<I: IntoIterator<Item = usize>>(numbers: I) -> Self {
        let mut words = [0; WORDS];
        for number in numbers {
            if let Some(word) = words.get_mut(number / 64) {
                *word |= 1 << (number % 64);
            }
        }
        Self(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hostcall_has_its_own_number() {
        for (number, name) in names().enumerate() {
            let env = Hostcall::env(name, When::Running).number;
            let wasi = Hostcall::wasi(name, When::Running).number;
            assert_eq!(env.min(wasi), number, "{name}");
            assert_eq!(env.max(wasi), usize::MAX, "{name} is in two lists");
        }
    }
}
