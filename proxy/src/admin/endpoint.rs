//! Everything an operator may ask for: the one list that requests, the index and the
//! reference go by.

use std::pin::Pin;

use http::header::{ALLOW, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, StatusCode};

use super::query::Query;
use super::{Answer, State, change, guard, shown, text};
use How::{Later, Now};

/// One of them.
pub(crate) struct Endpoint {
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    /// What may stand behind `?`.
    parameters: &'static str,
    pub(crate) doc: &'static str,
    answer: How,
}

/// How it is answered.
enum How {
    Now(fn(&State, &Query<'_>) -> Answer),
    /// Once something has happened.
    Later(fn(&State, &Query<'_>) -> Pending),
}

/// An answer that is there, or one that is waited for.
enum Given {
    Now(Answer),
    Later(Pending),
}

/// An answer that is waited for.
pub(super) type Pending = Pin<Box<dyn Future<Output = Answer>>>;

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
        answer: Now(|_, _| text(StatusCode::OK, index())),
    },
    Endpoint {
        path: "/ready",
        access: Access::Open,
        parameters: "",
        doc: "200 while the proxy serves and every filter of `ready_needs` can work; 503 while it drains, or with the filters that cannot.",
        answer: Now(|state, _| shown::ready(state)),
    },
    Endpoint {
        path: "/live",
        access: Access::Open,
        parameters: "",
        doc: "200 as long as the process can answer at all, also while it drains.",
        answer: Now(|_, _| text(StatusCode::OK, "live\n")),
    },
    Endpoint {
        path: "/metrics",
        access: Access::Open,
        parameters: "",
        doc: "Every metric, as OpenMetrics text.",
        answer: Now(|state, _| shown::openmetrics_page(state)),
    },
    Endpoint {
        path: "/stats",
        access: Access::Open,
        parameters: "filter=REGEX&format=text or json",
        doc: "The same as `NAME: VALUE`, by Envoy's names where it has such a metric; of a histogram the bound that this part of all values stays within. Only names in which the regular expression is found.",
        answer: Now(super::stats::shown),
    },
    Endpoint {
        path: "/config",
        access: Access::Private,
        parameters: "format=json or yaml",
        doc: "The configuration as it is written, as JSON; what looks like a secret is `***`.",
        answer: Now(shown::config),
    },
    Endpoint {
        path: "/clusters",
        access: Access::Private,
        parameters: "",
        doc: "Clusters, their endpoints and the health of those, as JSON.",
        answer: Now(|state, _| super::json(&super::clusters::shown(state))),
    },
    Endpoint {
        path: "/listeners",
        access: Access::Private,
        parameters: "",
        doc: "Listeners with the addresses they really have, as JSON.",
        answer: Now(|state, _| super::json(&super::listeners::shown(state))),
    },
    Endpoint {
        path: "/filters",
        access: Access::Private,
        parameters: "",
        doc: "Filters: their modules, what runs them, where they are used, as JSON.",
        answer: Now(|state, _| super::json(&super::filters::shown(state))),
    },
    Endpoint {
        path: "/certs",
        access: Access::Private,
        parameters: "",
        doc: "Certificates that listeners and clusters show, and those of authorities they trust: whose, from which file, for whom, by whom, until when, as JSON. No keys.",
        answer: Now(|state, _| super::json(&super::certs::shown(state))),
    },
    Endpoint {
        path: "/reloads",
        access: Access::Private,
        parameters: "",
        doc: "Which generation of the configuration and its modules runs and since when, how many reloads were good and how many were refused, when the last one ended and everything that was wrong with it, as JSON.",
        answer: Now(|state, _| super::json(&super::reloads::shown(state))),
    },
    Endpoint {
        path: "/log",
        access: Access::Change,
        parameters: "level=LEVELS",
        doc: "Sets what is logged from now on: a level (`off`, `error`, `warn`, `info`, `debug`, `trace`), or levels by target, as in `info,filter=debug`.",
        answer: Now(change::log),
    },
    Endpoint {
        path: "/reload",
        access: Access::Change,
        parameters: "wait=yes or no",
        doc: "As SIGHUP: the configuration is read again. 200 with what has changed, as JSON, once it runs: under `listeners_…`, `clusters_…` and `filters_…` the names of those that are new, others or gone, under `modules` filters whose module is another, under `settings` other keys of the file. 422 with everything that is wrong with it, while the one before goes on. With `wait=no`, and after two minutes: 202, and the log and `/reloads` say what becomes of it.",
        answer: Later(change::reload),
    },
    Endpoint {
        path: "/upgrade",
        access: Access::Change,
        parameters: "",
        doc: "As SIGUSR2: the binary is started anew from its path, and takes over (`upgrade`).",
        answer: Now(|state, _| change::upgrade(state)),
    },
    Endpoint {
        path: "/drain",
        access: Access::Change,
        parameters: "",
        doc: "As SIGTERM: no new connections, requests under way finish, then the process ends.",
        answer: Now(|_, _| change::drain()),
    },
    Endpoint {
        path: "/quit",
        access: Access::Change,
        parameters: "",
        doc: "Ends the process at once, with whatever is under way.",
        answer: Now(|_, _| change::quit()),
    },
];

/// Answers a request.
pub(super) fn answer<B>(
    state: &State,
    request: &Request<B>,
) -> impl Future<Output = Answer> + use<B> {
    let answer = dispatch(state, request);
    async move {
        let mut answer = match answer {
            Given::Now(answer) => answer,
            Given::Later(pending) => pending.await,
        };
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer
    }
}

fn dispatch<B>(state: &State, request: &Request<B>) -> Given {
    let path = request.uri().path();
    let Some(endpoint) = ENDPOINTS.iter().find(|endpoint| endpoint.path == path) else {
        let what = format!("there is no such page; there are\n\n{}", index());
        return Given::Now(text(StatusCode::NOT_FOUND, what));
    };
    let (allowed, words) = endpoint.access.methods();
    if !allowed.contains(request.method()) {
        let what = format!("{path} takes {words}\n");
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, what);
        answer
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(words));
        return Given::Now(answer);
    }
    if let Err(refused) = guard::permit(&state.config, endpoint.access, request) {
        return Given::Now(refused.answer());
    }
    let query = Query::of(request.uri());
    match endpoint.answer {
        Now(answer) => Given::Now(answer(state, &query)),
        Later(answer) => Given::Later(answer(state, &query)),
    }
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
