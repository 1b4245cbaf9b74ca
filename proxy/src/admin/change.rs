//! What changes something.
//!
//! Draining and reloading are what the signals do, by the signals: there is one way for each,
//! whoever asks for it.

use std::sync::atomic::Ordering;

use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};
use rustix::process::{Signal, getpid, kill_process};

use super::query::Query;
use super::{Answer, State, text};
use crate::{host, telemetry};

/// Sets what is logged.
pub(super) fn log(_: &State, query: &Query<'_>) -> Answer {
    let Some(levels) = query.get("level") else {
        return text(StatusCode::BAD_REQUEST, "say what: /log?level=debug\n");
    };
    match telemetry::set_levels(&levels) {
        Ok(()) => {
            host::look_at_levels();
            tracing::info!("log levels are now {levels}");
            text(StatusCode::OK, format!("{levels}\n"))
        }
        Err(why) => text(StatusCode::BAD_REQUEST, format!("{why}\n")),
    }
}

pub(super) fn reload() -> Answer {
    signal(Signal::HUP, "reloading; the log says what became of it\n")
}

pub(super) fn drain() -> Answer {
    signal(Signal::TERM, "draining\n")
}

/// Once this has left, the process ends.
pub(super) fn quit(state: &State) -> Answer {
    state.quitting.store(true, Ordering::Relaxed);
    let mut answer = text(StatusCode::OK, "ending\n");
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    answer
}

#[expect(clippy::exit, reason = "that is what was asked for")]
pub(super) fn end_process() {
    tracing::warn!("told to quit: ending at once");
    std::process::exit(0);
}

fn signal(signal: Signal, done: &'static str) -> Answer {
    match kill_process(getpid(), signal) {
        Ok(()) => text(StatusCode::ACCEPTED, done),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}
