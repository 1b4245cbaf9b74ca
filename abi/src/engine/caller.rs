//! What a hostcall sees of its guest, the same on either engine. A module of each engine's, as
//! [`super::link`] is.

use super::Data;
use super::backend::{Caller, Extern};
use crate::state::HostState;

/// The guest's memory, which is empty where it has none, and the host's state.
pub(super) fn split<'a>(caller: &'a mut Caller<'_, Data>) -> (&'a mut [u8], &'a mut HostState) {
    if caller.data().memory.is_none() {
        // Inside the module's start section nobody has looked yet.
        caller.data_mut().memory = caller.get_export("memory").and_then(Extern::into_memory);
    }
    match caller.data().memory {
        Some(memory) => {
            let (bytes, data) = memory.data_and_store_mut(&mut *caller);
            (bytes, &mut data.state)
        }
        None => (&mut [], &mut caller.data_mut().state),
    }
}
