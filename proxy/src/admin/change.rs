//! What changes something.
//!
//! Draining and upgrading are what the signals do, by the signals: there is one way for each,
//! whoever asks for it. A reload is what SIGHUP asks for, of the same thread; it alone says
//! what became of it.

use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::endpoint::Pending;
use super::query::Query;
use super::{Answer, State, json, text};
use crate::reload::Changed;
use crate::{host, telemetry};

/// How long a reload is waited for: one with modules that are compiled first takes long.
const RELOAD: Duration = Duration::from_secs(120);

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

/// Reads the configuration again, and says what became of that.
pub(super) fn reload(state: &State, query: &Query<'_>) -> Pending {
    let waits = match query.get("wait").as_deref() {
        None | Some("yes") => true,
        Some("no") => false,
        Some(_) => {
            let wrong = text(StatusCode::BAD_REQUEST, "say wait=yes or wait=no\n");
            return Box::pin(std::future::ready(wrong));
        }
    };
    let (reply, ended) = oneshot::channel();
    state.subject.shared.modules.reload(Some(reply));
    Box::pin(async move {
        let ended = match waits {
            true => tokio::time::timeout(RELOAD, ended).await.ok(),
            false => None,
        };
        match ended {
            None => text(
                StatusCode::ACCEPTED,
                "reloading; /reloads says what became of it\n",
            ),
            Some(Ok(Ok(changed))) => json(&shown(&changed)),
            Some(Ok(Err(problems))) => {
                let lines = problems.join("\n");
                let what = format!("{lines}\nnothing is changed\n");
                text(StatusCode::UNPROCESSABLE_ENTITY, what)
            }
            Some(Err(_)) => text(StatusCode::SERVICE_UNAVAILABLE, "the process ends\n"),
        }
    })
}

fn shown(changed: &Changed) -> Value {
    let Changed {
        generation,
        configuration,
        listeners_opened,
        listeners_closed,
        listeners,
        clusters,
        clusters_added,
        clusters_removed,
        filters_started,
        filters_ended,
        filters_added,
        filters_removed,
        modules,
        settings,
        warnings,
    } = changed;
    json!({
        "generation": generation,
        "changed": *configuration || !modules.is_empty(),
        "listeners_opened": listeners_opened,
        "listeners_closed": listeners_closed,
        "listeners_added": listeners.added,
        "listeners_changed": listeners.changed,
        "listeners_removed": listeners.removed,
        "clusters": clusters,
        "clusters_added": clusters_added,
        "clusters_removed": clusters_removed,
        "filters_started": filters_started,
        "filters_ended": filters_ended,
        "filters_added": filters_added,
        "filters_removed": filters_removed,
        "modules": modules,
        "settings": settings,
        "warnings": warnings,
    })
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
