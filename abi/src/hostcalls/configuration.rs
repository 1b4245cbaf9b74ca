//! Configuration as 0.1.0 asks for it (section 2.2).

use crate::guest::{self, GuestCaller, Outcome};

pub(crate) fn get_configuration<C: GuestCaller>(caller: &mut C, text: u32, len: u32) -> Outcome {
    let state = caller.state();
    let plugin = match state.root() {
        Some((_, root)) if root.configuring => Some(root.plugin.configuration.clone()),
        _ => None,
    };
    let value = plugin.unwrap_or_else(|| state.settings.configuration.clone());
    guest::give(caller, text, len, &value)
}
