//! `/certs`.

use serde_json::{Value, json};

use super::State;
use crate::tls::certificate;

pub(super) fn shown(state: &State) -> Value {
    let listeners = state.subject.shared.config.listeners.iter();
    listeners
        .filter_map(|listener| {
            let tls = listener.tls.as_ref()?;
            let mut shown = json!({ "listener": listener.name });
            if let (Value::Object(shown), Some(Value::Object(told))) =
                (&mut shown, certificate::shown(&tls.certificate))
            {
                shown.extend(told);
            }
            Some(shown)
        })
        .collect()
}
