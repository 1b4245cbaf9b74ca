//! What changes something.
//!
//! Draining and reloading are what the signals do, by the signals: there is one way for each,
//! whoever asks for it.

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
    match kill_process(getpid(), Signal::HUP) {
        Ok(()) => text(
            StatusCode::ACCEPTED,
            "reloading; /reloads says what became of it\n",
        ),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

pub(super) fn upgrade(state: &State) -> Answer {
    let config = state.subject.shared.modules.blueprint().config.clone();
    if config.upgrade.is_none() {
        let what = "the configuration says nowhere how: `upgrade: { socket: FILE }`\n";
        return text(StatusCode::CONFLICT, what);
    }
    match kill_process(getpid(), Signal::USR2) {
        Ok(()) => text(
            StatusCode::ACCEPTED,
            "starting the binary; the log says what becomes of it\n",
        ),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

pub(super) fn drain() -> Answer {
    last(text(StatusCode::ACCEPTED, "draining\n"), Then::Drain)
}

pub(super) fn quit() -> Answer {
    last(text(StatusCode::OK, "ending\n"), Then::Quit)
}

/// The last answer of its connection: the process may be gone soon.
fn last(mut answer: Answer, then: Then) -> Answer {
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    answer.extensions_mut().insert(then);
    answer
}

/// What happens once an answer has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Drain,
    Quit,
}

// === impl Then ===

impl Then {
    pub(super) fn happen(self) {
        match self {
            Self::Drain => {
                if let Err(error) = kill_process(getpid(), Signal::TERM) {
                    tracing::error!("told to drain, but there is no signal: {error}");
                }
            }
            Self::Quit => {
                tracing::warn!("told to quit: ending at once");
                std::process::exit(0);
            }
        }
    }
}
