//! Everything an operator may ask for: the one list that requests, the index and the
//! reference go by.

use http::header::{ALLOW, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, StatusCode};

use super::query::Query;
use super::{Answer, State, change, guard, shown, text};

/// One of them.
pub(crate) struct Endpoint {
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    /// What may stand behind `?`.
    parameters: &'static str,
    pub(crate) doc: &'static str,
    answer: fn(&State, &Query<'_>) -> Answer,
}

/// How much it gives away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Numbers that may be told anybody: GET.
    Open,
    /// How the proxy is set up: GET.
    Private,
    /// It changes something: POST.
    Change,
}

pub(crate) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        path: "/",
        access: Access::Open,
        parameters: "",
        doc: "This list.",
        answer: |_, _| text(StatusCode::OK, index()),
    },
    Endpoint {
        path: "/ready",
        access: Access::Open,
        parameters: "",
        doc: "200 while the proxy serves and every filter of `ready_needs` can work; 503 while it drains, or with the filters that cannot.",
        answer: |state, _| shown::ready(state),
    },
    Endpoint {
        path: "/live",
        access: Access::Open,
        parameters: "",
        doc: "200 as long as the process can answer at all, also while it drains.",
        answer: |_, _| text(StatusCode::OK, "live\n"),
    },
    Endpoint {
        path: "/metrics",
        access: Access::Open,
        parameters: "",
        doc: "Every metric, as OpenMetrics text.",
        answer: |state, _| shown::openmetrics_page(state),
    },
    Endpoint {
        path: "/stats",
        access: Access::Open,
        parameters: "filter=REGEX&format=text or json",
        doc: "The same as `NAME: VALUE`, by Envoy's names where it has such a metric; of a histogram the bound that this part of all values stays within. Only names in which the regular expression is found.",
        answer: super::stats::shown,
    },
    Endpoint {
        path: "/config",
        access: Access::Private,
        parameters: "format=json or yaml",
        doc: "The configuration as it is written, as JSON; what looks like a secret is `***`.",
        answer: shown::config,
    },
    Endpoint {
        path: "/clusters",
        access: Access::Private,
        parameters: "",
        doc: "Clusters, their endpoints and the health of those, as JSON.",
        answer: |state, _| super::json(&super::clusters::shown(state)),
    },
    Endpoint {
        path: "/listeners",
        access: Access::Private,
        parameters: "",
        doc: "Listeners with the addresses they really have, as JSON.",
        answer: |state, _| super::json(&super::listeners::shown(state)),
    },
    Endpoint {
        path: "/filters",
        access: Access::Private,
        parameters: "",
        doc: "Filters: their modules, what runs them, where they are used, as JSON.",
        answer: |state, _| super::json(&super::filters::shown(state)),
    },
    Endpoint {
        path: "/certs",
        access: Access::Private,
        parameters: "",
        doc: "Certificates that listeners and clusters show, and those of authorities they trust: whose, from which file, for whom, by whom, until when, as JSON. No keys.",
        answer: |state, _| super::json(&super::certs::shown(state)),
    },
    Endpoint {
        path: "/reloads",
        access: Access::Private,
        parameters: "",
        doc: "Which generation of the configuration runs and since when, how many reloads were good and how many were refused, when the last one ended and everything that was wrong with it, as JSON.",
        answer: |state, _| super::json(&super::reloads::shown(state)),
    },
    Endpoint {
        path: "/log",
        access: Access::Change,
        parameters: "level=LEVELS",
        doc: "Sets what is logged from now on: a level (`off`, `error`, `warn`, `info`, `debug`, `trace`), or levels by target, as in `info,filter=debug`.",
        answer: change::log,
    },
    Endpoint {
        path: "/reload",
        access: Access::Change,
        parameters: "",
        doc: "As SIGHUP: the configuration is read again. The log and `/reloads` say what became of it.",
        answer: |_, _| change::reload(),
    },
    Endpoint {
        path: "/upgrade",
        access: Access::Change,
        parameters: "",
        doc: "As SIGUSR2: the binary is started anew from its path, and takes over (`upgrade`).",
        answer: |state, _| change::upgrade(state),
    },
    Endpoint {
        path: "/drain",
        access: Access::Change,
        parameters: "",
        doc: "As SIGTERM: no new connections, requests under way finish, then the process ends.",
        answer: |_, _| change::drain(),
    },
    Endpoint {
        path: "/quit",
        access: Access::Change,
        parameters: "",
        doc: "Ends the process at once, with whatever is under way.",
        answer: |_, _| change::quit(),
    },
];

/// Answers a request.
pub(super) fn answer<B>(state: &State, request: &Request<B>) -> Answer {
    let mut answer = dispatch(state, request);
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

fn dispatch<B>(state: &State, request: &Request<B>) -> Answer {
    let path = request.uri().path();
    let Some(endpoint) = ENDPOINTS.iter().find(|endpoint| endpoint.path == path) else {
        let what = format!("there is no such page; there are\n\n{}", index());
        return text(StatusCode::NOT_FOUND, what);
    };
    let (allowed, words) = endpoint.access.methods();
    if !allowed.contains(request.method()) {
        let what = format!("{path} takes {words}\n");
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, what);
        answer
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(words));
        return answer;
    }
    if let Err(refused) = guard::permit(&state.config, endpoint.access, request) {
        return refused.answer();
    }
    let query = Query::of(request.uri());
    (endpoint.answer)(state, &query)
}

fn index() -> String {
    let line = |endpoint: &Endpoint| {
        let Endpoint { access, doc, .. } = endpoint;
        let method = access.method();
        format!("{method:4} {}\n     {doc}\n", endpoint.called())
    };
    ENDPOINTS.iter().map(line).collect()
}

// === impl Endpoint ===

impl Endpoint {
    /// Its path, and what may stand behind that.
    pub(crate) fn called(&self) -> String {
        let query = if self.parameters.is_empty() { "" } else { "?" };
        format!("{}{query}{}", self.path, self.parameters)
    }
}

// === impl Access ===

impl Access {
    /// The one to use.
    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Open | Self::Private => "GET",
            Self::Change => "POST",
        }
    }

    /// All that are allowed, and as `Allow` lists them.
    const fn methods(self) -> (&'static [Method], &'static str) {
        match self {
            Self::Open | Self::Private => (&[Method::GET, Method::HEAD], "GET, HEAD"),
            Self::Change => (&[Method::POST], "POST"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_there_once() {
        for (at, endpoint) in ENDPOINTS.iter().enumerate() {
            let before = &ENDPOINTS[..at];
            assert!(before.iter().all(|other| other.path != endpoint.path));
            assert!(endpoint.doc.ends_with('.'), "{}", endpoint.path);
        }
    }
}
