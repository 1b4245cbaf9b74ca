//! `/reloads`.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::State;

pub(super) fn shown(state: &State) -> Value {
    let status = state.subject.shared.reloads.status();
    let time = |time: Option<SystemTime>| {
        time.map(|time| httpdate::fmt_http_date(time.max(SystemTime::UNIX_EPOCH)))
    };
    json!({
        "generation": status.generation,
        "since": time(status.since),
        "good": status.good,
        "refused": status.refused,
        "last": time(status.last),
        "problems": status.problems,
        "warnings": status.warnings,
    })
}
