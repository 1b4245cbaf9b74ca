//! The exports of a module in the shapes callbacks have. A module of each engine's, as
//! [`super::link`] is.

use super::backend::{Error, Func, Store, TypedFunc};
use super::{Data, enter};
use crate::module::Entry;

/// An exported callback by its shape.
pub(super) enum Export {
    P1(TypedFunc<u32, ()>),
    P2(TypedFunc<(u32, u32), ()>),
    P3(TypedFunc<(u32, u32, u32), ()>),
    P4(TypedFunc<(u32, u32, u32, u32), ()>),
    P5(TypedFunc<(u32, u32, u32, u32, u32), ()>),
    R1(TypedFunc<u32, u32>),
    R2(TypedFunc<(u32, u32), u32>),
    R3(TypedFunc<(u32, u32, u32), u32>),
}

impl Export {
    pub(super) fn new(
        func: Func,
        store: &Store<Data>,
        params: usize,
        returns: bool,
    ) -> Option<Self> {
        match (params, returns) {
            (1, false) => func.typed(store).ok().map(Self::P1),
            (2, false) => func.typed(store).ok().map(Self::P2),
            (3, false) => func.typed(store).ok().map(Self::P3),
            (4, false) => func.typed(store).ok().map(Self::P4),
            (5, false) => func.typed(store).ok().map(Self::P5),
            (1, true) => func.typed(store).ok().map(Self::R1),
            (2, true) => func.typed(store).ok().map(Self::R2),
            (3, true) => func.typed(store).ok().map(Self::R3),
            _ => None,
        }
    }

    pub(super) fn call(
        &self,
        store: &mut Store<Data>,
        &[a, b, c, d, e]: &[u32; 5],
    ) -> Result<u32, Error> {
        match self {
            Self::P1(func) => enter(func, store, a).map(|()| 0),
            Self::P2(func) => enter(func, store, (a, b)).map(|()| 0),
            Self::P3(func) => enter(func, store, (a, b, c)).map(|()| 0),
            Self::P4(func) => enter(func, store, (a, b, c, d)).map(|()| 0),
            Self::P5(func) => enter(func, store, (a, b, c, d, e)).map(|()| 0),
            Self::R1(func) => enter(func, store, a),
            Self::R2(func) => enter(func, store, (a, b)),
            Self::R3(func) => enter(func, store, (a, b, c)),
        }
    }
}

/// The functions that start a module (section 1.4), in order: names, and whether they take
/// the two arguments of `main`. What they answer is of no account.
pub(super) fn entry_functions(entry: Entry) -> impl Iterator<Item = (&'static str, bool)> {
    let names = match entry {
        Entry::Initialize(main) => [Some("_initialize"), main],
        Entry::Start => [Some("_start"), None],
        Entry::None => [None, None],
    };
    names
        .into_iter()
        .flatten()
        .map(|name| (name, name == "main"))
}
