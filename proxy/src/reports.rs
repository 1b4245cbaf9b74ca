//! What the operator is told of filters that do wrong, in lines that no filter can make so
//! many of that they hide the others: each worker tells of each filter's crashes, and of bodies
//! it may not keep, ten times at once and then once a second, and of each of its other limits
//! once in a while.
//! What clients can bring about, too, has a pace of its own.
//! Counters on the operator's page have them all.

mod often;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_abi::shared::{Counter, Metrics};
use cofferdam_abi::{Failure, FailureReason, Limit, Origin, Trap, Way};

use crate::families;
use crate::host::printable;
use often::Told;
pub(crate) use often::{Matter, often, short};

/// What lasts is told again after so long.
const AGAIN: Duration = Duration::from_secs(60);

thread_local! {
    /// This worker's.
    static REPORTS: RefCell<Reports> = RefCell::default();
}

/// What has been told, by filter.
#[derive(Debug, Default)]
struct Reports(HashMap<String, OfFilter>);

#[derive(Debug, Default)]
struct OfFilter {
    crashes: Told,
    /// Of bodies that it may not keep.
    bodies: Told,
    /// Of VMs before they were done.
    ends: Told,
    /// When it was last told that its VMs grow fast.
    grows: Option<Instant>,
    limits: Vec<Hits>,
}

/// One limit that was come up against in one callback.
#[derive(Debug)]
struct Hits {
    limit: Limit,
    callback: &'static str,
    counter: Arc<Counter>,
    told: Option<Instant>,
    untold: u64,
}

/// Tells that a filter did wrong.
pub(crate) fn failure(failure: &Failure, request: &str) {
    match &failure.reason {
        FailureReason::Trap(trap) => crash(&failure.plugin.name, trap, request),
        FailureReason::TooLarge(way) => body(failure, *way, request),
    }
}

/// Tells that a body is more than a filter may keep.
fn body(failure: &Failure, way: Way, request: &str) {
    let (filter, now) = (&*failure.plugin.name, Instant::now());
    let Some(left_out) = with(filter, |reports| reports.bodies.next(now)) else {
        return;
    };
    let way = match way {
        Way::Request => "request",
        Way::Response => "response",
    };
    let left_out = (left_out > 0).then_some(left_out);
    tracing::warn!(
        filter,
        callback = failure.callback,
        request,
        limit = Limit::Body.as_str(),
        most = failure.plugin.body_limit,
        left_out,
        "{way} body outgrew what the filter may keep in {} (limits.body)",
        failure.callback
    );
}

/// Tells that a filter crashed.
pub(crate) fn crash(filter: &str, trap: &Trap, request: &str) {
    let now = Instant::now();
    let Some(left_out) = with(filter, |reports| reports.crashes.next(now)) else {
        return;
    };
    let limit = trap.kind.limit().map(Limit::as_str);
    let backtrace = (!trap.frames.is_empty()).then(|| backtrace(&trap.frames));
    let left_out = (left_out > 0).then_some(left_out);
    tracing::error!(
        filter,
        callback = trap.callback,
        request,
        engine = trap.tier.as_str(),
        limit,
        left_out,
        backtrace,
        "filter crashed: {}: {}",
        trap.kind,
        printable(trap.message.as_bytes())
    );
}

/// Tells that a VM of a filter, or its root in one, ends before it is done, and why.
pub(crate) fn cut_short(filter: &str, streams: usize, why: &'static str) {
    let now = Instant::now();
    let Some(left_out) = with(filter, |reports| reports.ends.next(now)) else {
        return;
    };
    let left_out = (left_out > 0).then_some(left_out);
    if why == "drain_time" {
        tracing::warn!(
            filter,
            streams,
            left_out,
            "filter_drain_time is over: what still ran in a VM that takes no more streams ends now"
        );
    } else {
        tracing::warn!(
            filter,
            left_out,
            "VMs that have no stream left keep more than limits.memory: the oldest ends now"
        );
    }
}

/// Tells now and then that a filter's VMs grow faster than they are replaced.
pub(crate) fn grows_fast(filter: &str) {
    let now = Instant::now();
    let told = with(filter, |reports| {
        let is_recent = |told| now.duration_since(told) < AGAIN;
        let recent = reports.grows.is_some_and(is_recent);
        if !recent {
            reports.grows = Some(now);
        }
        recent
    });
    if !told {
        tracing::warn!(
            filter,
            "memory grows too fast, or too many VMs still drain: one that has grown too large is replaced later"
        );
    }
}

/// Functions of a guest, innermost first: its author's names, and so a guest's words.
fn backtrace(frames: &[String]) -> String {
    /// Most of them in one line, and most bytes of each.
    const FRAMES: usize = 16;
    const LENGTH: usize = 200;
    let shown = frames.iter().take(FRAMES).map(|frame| {
        let end = frame.floor_char_boundary(LENGTH);
        let cut = if end < frame.len() { "…" } else { "" };
        format!("{}{cut}", printable(&frame.as_bytes()[..end]))
    });
    let mut line = shown.collect::<Vec<_>>().join(" < ");
    if frames.len() > FRAMES {
        line.push_str(" < …");
    }
    line
}

/// Counts that a guest has come up against a limit, and tells of it now and then: at most
/// once a second that records are dropped, once a minute of the others. Past the rest its
/// call ends, or its stream, and that is told with the request it was for.
pub(crate) fn limit(metrics: &Metrics, origin: &Origin<'_>, limit: Limit, callback: &'static str) {
    let filter = origin.plugin;
    let hits = |reports: &mut OfFilter| {
        let hits = reports.hits(limit, callback, || {
            counter(metrics, filter, limit, callback)
        });
        hits.next(Instant::now())
    };
    let (Some(times), Some(what)) = (with(filter, hits), consequence(limit)) else {
        return;
    };
    tell_limit(filter, limit, callback, times, what);
}

/// Tells of what has only been counted: the worker ends.
pub(crate) fn tell_rest() {
    often::tell_rest();
    let reports = REPORTS.take();
    for (filter, reports) in &reports.0 {
        let filter = &**filter;
        if reports.crashes.left_out > 0 {
            let left_out = reports.crashes.left_out;
            tracing::error!(filter, left_out, "filter crashed more often than was told");
        }
        if reports.bodies.left_out > 0 {
            let left_out = reports.bodies.left_out;
            tracing::warn!(
                filter,
                left_out,
                "bodies outgrew limits.body more often than was told"
            );
        }
        if reports.ends.left_out > 0 {
            let left_out = reports.ends.left_out;
            tracing::warn!(filter, left_out, "VMs ended early more often than was told");
        }
        for hits in reports.limits.iter().filter(|hits| hits.untold > 0) {
            if let Some(what) = consequence(hits.limit) {
                tell_limit(filter, hits.limit, hits.callback, hits.untold, what);
            }
        }
    }
}

fn tell_limit(filter: &str, limit: Limit, callback: &str, times: u64, what: &str) {
    let limit = limit.as_str();
    tracing::warn!(
        filter,
        limit,
        callback,
        times,
        "filter came up against limits.{limit}: {what}"
    );
}

/// What comes of it, where the call goes on.
fn consequence(limit: Limit) -> Option<&'static str> {
    Some(match limit {
        Limit::Callouts => "callouts were refused",
        Limit::Log => "log records were dropped",
        Limit::Metrics => "metrics were refused",
        Limit::SharedEntries => "shared data was evicted or refused",
        _ => return None,
    })
}

fn counter(metrics: &Metrics, filter: &str, limit: Limit, callback: &str) -> Arc<Counter> {
    families::FILTER_LIMITS.count(metrics, &[filter, limit.as_str(), callback])
}

fn with<R>(filter: &str, apply: impl FnOnce(&mut OfFilter) -> R) -> R {
    REPORTS.with_borrow_mut(|reports| {
        if let Some(reports) = reports.0.get_mut(filter) {
            return apply(reports);
        }
        apply(reports.0.entry(filter.to_owned()).or_default())
    })
}

// === impl OfFilter ===

impl OfFilter {
    fn hits(
        &mut self,
        limit: Limit,
        callback: &'static str,
        counter: impl FnOnce() -> Arc<Counter>,
    ) -> &mut Hits {
        let same = |hits: &Hits| hits.limit == limit && hits.callback == callback;
        let at = self.limits.iter().position(same).unwrap_or_else(|| {
            self.limits.push(Hits {
                limit,
                callback,
                counter: counter(),
                told: None,
                untold: 0,
            });
            self.limits.len() - 1
        });
        &mut self.limits[at]
    }
}

// === impl Hits ===

impl Hits {
    /// Counts; how often it has happened since it was last told, if it may be told now.
    fn next(&mut self, now: Instant) -> Option<u64> {
        self.counter.add(1);
        self.untold += 1;
        let period = match self.limit {
            Limit::Log => Duration::from_secs(1),
            _ => AGAIN,
        };
        if self
            .told
            .is_some_and(|told| now.duration_since(told) < period)
        {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_counted_each_time_and_told_now_and_then() {
        let metrics = Metrics::default();
        let start = Instant::now();
        for (limit, times) in [(Limit::Log, [1, 3, 2]), (Limit::Metrics, [1, 5, 0])] {
            let mut reports = OfFilter::default();
            let mut at = |millis| {
                let hits = reports.hits(limit, "proxy_on_tick", || {
                    counter(&metrics, "f", limit, "proxy_on_tick")
                });
                hits.next(start + Duration::from_millis(millis))
            };
            let told: Vec<u64> = [0, 100, 200, 1_000, 1_500, 60_000]
                .into_iter()
                .filter_map(&mut at)
                .collect();
            let wanted: Vec<u64> = times.into_iter().filter(|times| *times > 0).collect();
            assert_eq!(told, wanted, "{limit:?}");
            let counted = counter(&metrics, "f", limit, "proxy_on_tick").value();
            assert_eq!(counted, 6, "{limit:?}");
        }
    }
}
