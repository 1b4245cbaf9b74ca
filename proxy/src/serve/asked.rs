//! What a request asks for in Envoy's headers: how long it may take, and when it is sent
//! again. A listener that does not trust its clients with that removes them; filters may set
//! them in any case.

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};

use crate::config::{RetryOn, RetryPolicy};

/// What a request asks for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Instead of the route's; the inner `None` is no bound.
    pub(super) timeout: Option<Option<Duration>>,
    per_try_timeout: Option<Duration>,
    max_retries: Option<u32>,
    on: RetryOn,
    status_codes: Vec<StatusCode>,
    headers: Vec<HeaderName>,
}

/// What all these headers begin with.
const PREFIX: &str = "x-envoy-";
/// Headers that Envoy takes from its own network only.
const INTERNAL: [&str; 21] = [
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-external-address",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-host",
    "x-envoy-original-path",
    "x-envoy-original-url",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
];

/// Removes them from a request of somebody who may not say so.
pub(super) fn strip(headers: &mut HeaderMap) {
    if any(headers) {
        for name in INTERNAL {
            headers.remove(name);
        }
    }
}

/// Takes out of a request what it asks for.
pub(super) fn take(headers: &mut HeaderMap) -> Option<Box<Asked>> {
    if !any(headers) {
        return None;
    }
    let mut asked = Box::<Asked>::default();
    let mut text = |name: &str| {
        let value = headers.remove(name)?;
        value.to_str().map(str::to_owned).ok()
    };
    let millis = |text: String| text.parse().map(Duration::from_millis).ok();
    let bounded = |time: Duration| (!time.is_zero()).then_some(time);
    let timeout = text("x-envoy-upstream-rq-timeout-ms").and_then(millis);
    asked.timeout = timeout.map(bounded);
    let per_try = text("x-envoy-upstream-rq-per-try-timeout-ms").and_then(millis);
    asked.per_try_timeout = per_try.and_then(bounded);
    asked.max_retries = text("x-envoy-max-retries").and_then(|text| text.parse().ok());
    for (name, parse) in [
        (
            "x-envoy-retry-on",
            RetryOn::parse as fn(&str) -> Option<RetryOn>,
        ),
        ("x-envoy-retry-grpc-on", RetryOn::parse_grpc),
    ] {
        // Words that mean nothing are passed over, as Envoy does it.
        let words = text(name).unwrap_or_default();
        let conditions = words.split(',').filter_map(|word| parse(word.trim()));
        asked.on = conditions.fold(asked.on, |on, condition| on | condition);
    }
    let codes = text("x-envoy-retriable-status-codes").unwrap_or_default();
    let codes = codes.split(',').filter_map(|code| code.trim().parse().ok());
    asked.status_codes = codes.collect();
    let names = text("x-envoy-retriable-header-names").unwrap_or_default();
    let names = names.split(',').filter_map(|name| name.trim().parse().ok());
    asked.headers = names.collect();
    Some(asked)
}

fn any(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(PREFIX))
}

// === impl Asked ===

impl Asked {
    /// Whether there is anything about retries.
    pub(super) fn retries(&self) -> bool {
        !self.on.is_empty()
            || self.max_retries.is_some()
            || self.per_try_timeout.is_some()
            || !self.status_codes.is_empty()
            || !self.headers.is_empty()
    }

    /// The route's policy as this changes it.
    pub(super) fn policy(&self, route: Option<&RetryPolicy>) -> RetryPolicy {
        let mut policy = route.cloned().unwrap_or_default();
        policy.on = policy.on | self.on;
        policy.num_retries = self.max_retries.unwrap_or(policy.num_retries);
        if self.per_try_timeout.is_some() {
            policy.per_try_timeout = self.per_try_timeout;
        }
        policy.retriable_status_codes.extend(&self.status_codes);
        policy
            .retriable_headers
            .extend(self.headers.iter().cloned());
        policy
    }
}
