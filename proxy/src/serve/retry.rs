//! Whether a request is sent again: conditions, how often, how soon, and whether the cluster
//! has room for it.

use std::borrow::Cow;
use std::error::Error as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Response, StatusCode};

use super::asked::Asked;
use crate::access_log::Flags;
use crate::config::{RetryOn, RetryPolicy};
use crate::upstream::load::{Count, Full, Place};
use crate::upstream::{ConnectError, Upstream};

const RATE_LIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What is left of a request's retries.
#[derive(Debug)]
pub(super) struct Retries<'a> {
    pub(super) policy: Cow<'a, RetryPolicy>,
    made: u32,
    /// The room that the retry under way takes.
    place: Option<Place>,
}

/// Why an attempt has brought no response.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lost<'a> {
    NotConnected(&'a ConnectError),
    /// Cut; `unsent` if nothing of the request had left.
    Broken {
        error: &'a hyper::Error,
        unsent: bool,
    },
    /// No response headers within the time of one attempt.
    TooSlow,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What has come is its answer, with these flags.
    Stands(Flags),
    /// It is sent again after this time.
    Again(Duration),
}

// === impl Retries ===

impl<'a> Retries<'a> {
    /// Those of a route, and what the request itself asks for. `None` for no retries at all.
    pub(super) fn new(route: Option<&'a RetryPolicy>, asked: Option<&Asked>) -> Option<Self> {
        let policy = match (route, asked.filter(|asked| asked.retries())) {
            (None, None) => return None,
            (Some(route), None) => Cow::Borrowed(route),
            (route, Some(asked)) => Cow::Owned(asked.policy(route)),
        };
        (!policy.on.is_empty()).then_some(Self {
            policy,
            made: 0,
            place: None,
        })
    }

    /// A response has come.
    pub(super) fn after_response<T>(
        &mut self,
        upstream: &Upstream,
        response: &Response<T>,
        repeatable: bool,
    ) -> Verdict {
        let wanted = self.wants_other(response.status(), response.headers());
        if !wanted && self.place.is_some() {
            upstream.load.count(Count::RetrySuccess);
        }
        self.decide(upstream, wanted && repeatable)
    }

    /// None has.
    pub(super) fn after_loss(
        &mut self,
        upstream: &Upstream,
        lost: Lost<'_>,
        repeatable: bool,
    ) -> Verdict {
        let wanted = self.wants_again(lost);
        self.decide(upstream, wanted && repeatable)
    }

    fn decide(&mut self, upstream: &Upstream, wanted: bool) -> Verdict {
        // The room of the retry that is over, before more is asked for.
        self.place = None;
        if !wanted {
            return Verdict::Stands(Flags::none());
        }
        if self.made >= self.policy.num_retries {
            upstream.load.count(Count::RetryLimitExceeded);
            return Verdict::Stands(Flags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
        }
        match upstream.load.retry() {
            Err(Full) => Verdict::Stands(Flags::UPSTREAM_OVERFLOW),
            Ok(place) => {
                self.place = place;
                self.made += 1;
                upstream.load.count(Count::Retry);
                Verdict::Again(self.back_off())
            }
        }
    }

    fn wants_other(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let RetryPolicy { on, .. } = *self.policy;
        // The upstream has said that it is asked too often.
        if headers.contains_key(RATE_LIMITED) {
            return on.any(RetryOn::ENVOY_RATELIMITED);
        }
        let listed = |name: &HeaderName| headers.contains_key(name);
        status.is_server_error() && on.any(RetryOn::SERVER_ERROR)
            || matches!(status.as_u16(), 502..=504) && on.any(RetryOn::GATEWAY_ERROR)
            || status == StatusCode::CONFLICT && on.any(RetryOn::RETRIABLE_4XX)
            || on.any(RetryOn::RETRIABLE_STATUS_CODES)
                && self.policy.retriable_status_codes.contains(&status)
            || on.any(RetryOn::RETRIABLE_HEADERS)
                && self.policy.retriable_headers.iter().any(listed)
            || grpc_status(headers).is_some_and(|code| on.any(RetryOn::grpc(code)))
    }

    fn wants_again(&self, lost: Lost<'_>) -> bool {
        let on = self.policy.on;
        match lost {
            // Another attempt would make it worse, or have no endpoint either.
            Lost::NotConnected(
                ConnectError::Overflow(_) | ConnectError::Exhausted(..) | ConnectError::NoEndpoint,
            ) => false,
            _ if on.any(RetryOn::SERVER_ERROR | RetryOn::GATEWAY_ERROR | RetryOn::RESET) => true,
            Lost::NotConnected(_) => {
                on.any(RetryOn::CONNECT_FAILURE | RetryOn::RESET_BEFORE_REQUEST)
            }
            Lost::Broken { error, unsent } => {
                unsent && on.any(RetryOn::RESET_BEFORE_REQUEST)
                    || on.any(RetryOn::REFUSED_STREAM) && is_refused(error)
            }
            Lost::TooSlow => false,
        }
    }

    /// Anything below (2^N - 1) times the base before retry number N.
    fn back_off(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.made).unwrap_or(u32::MAX);
        let most = (self.policy.base_interval)
            .saturating_mul(doubled.saturating_sub(1))
            .min(self.policy.max_interval);
        most.mul_f64(fastrand::f64())
    }
}

/// The status of gRPC that a response says in its headers.
fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

/// Whether the upstream has refused the stream: it has not looked at the request then.
fn is_refused(error: &hyper::Error) -> bool {
    let reason = error
        .source()
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .and_then(h2::Error::reason);
    reason == Some(h2::Reason::REFUSED_STREAM)
}
