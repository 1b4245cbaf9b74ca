//! What is shown without being looked for: readiness, metrics, the configuration.

use http::StatusCode;

use super::query::Query;
use super::{Answer, State, json, metrics, openmetrics, response, text, yaml};

pub(super) fn ready(state: &State) -> Answer {
    if *state.subject.shutdown.borrow() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    match &state.subject.shared.readiness.missing()[..] {
        [] => text(StatusCode::OK, "ready\n"),
        missing => {
            let what = format!("not ready: without {}\n", missing.join(", "));
            text(StatusCode::SERVICE_UNAVAILABLE, what)
        }
    }
}

pub(super) fn openmetrics_page(state: &State) -> Answer {
    response(
        StatusCode::OK,
        openmetrics::CONTENT_TYPE,
        openmetrics::render(&metrics::gather(state)),
    )
}

pub(super) fn config(state: &State, query: &Query<'_>) -> Answer {
    let blueprint = state.subject.shared.modules.blueprint();
    let shown = &*blueprint.config.shown;
    match query.get("format").as_deref() {
        None | Some("json") => json(shown),
        Some("yaml") => response(StatusCode::OK, "application/yaml", yaml::text(shown)),
        Some(other) => unknown_format(other, "json or yaml"),
    }
}

pub(super) fn unknown_format(given: &str, known: &str) -> Answer {
    let what = format!("there is no format {given:?}; ask for {known}\n");
    text(StatusCode::BAD_REQUEST, what)
}
