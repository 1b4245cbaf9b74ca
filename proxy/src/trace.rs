//! Tracing: a span for each sampled request, for the stay of its head in each of its filters,
//! and for each call that a filter makes on its behalf, sent by OTLP.
//!
//! A worker only writes down what it knows anyway and hands it over when it is complete
//! ([`export`] encodes and sends on a thread of its own; what it has no room for is dropped
//! and counted). A request that is not sampled costs its ids, which go on to the upstream.

pub(crate) mod export;
mod filters;
mod otlp;
mod propagation;
mod request;
mod span;

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use cofferdam_abi::Chain;
use http::HeaderMap;
use http::request::Parts;

use crate::config::Tracing;
use crate::reload::Blueprint;
use export::{Collector, Outbox};
use propagation::Incoming;
use span::{Kind, Span, Value};

pub(crate) use filters::Stays;

/// What one worker needs to trace.
#[derive(Debug)]
pub(crate) struct Tracer {
    config: Arc<Tracing>,
    outbox: Outbox,
    rng: RefCell<fastrand::Rng>,
    /// On whose behalf guest code runs now.
    current: RefCell<Option<Rc<Trace>>>,
}

/// The place of one request in its trace.
#[derive(Debug)]
pub(crate) struct Trace {
    ids: Ids,
    /// The span above it, which somebody else sends.
    parent: Option<u64>,
    sampled: bool,
    wall: SystemTime,
    begun: Instant,
    /// What is gone when the request ends; of sampled ones.
    asked: OnceCell<request::Asked>,
    stays: Stays,
}

/// A span, as those below it name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) trace: u128,
    pub(crate) span: u64,
}

/// While guest code runs on behalf of a request.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    tracer: &'a Tracer,
    /// Whose it was: a filter's callback may end another's stream.
    before: Option<Rc<Trace>>,
}

/// A call of a filter, for as long as it lasts; told of when it goes.
#[derive(Debug)]
pub(crate) struct CallSpan {
    trace: Rc<Trace>,
    outbox: Outbox,
    ids: Ids,
    name: String,
    filter: String,
    begun: SystemTime,
    /// What became of it, once that is known.
    result: Option<(&'static str, Value)>,
    failed: bool,
    answered: bool,
    propagation: Arc<Tracing>,
}

// === impl Tracer ===

impl Tracer {
    pub(crate) fn new(config: Arc<Tracing>, outbox: Outbox) -> Self {
        Self {
            config,
            outbox,
            rng: RefCell::new(fastrand::Rng::new()),
            current: RefCell::new(None),
        }
    }

    /// Follows the collector's cluster to what a reload has made of it.
    pub(crate) fn follow(&self, blueprint: &Blueprint) {
        let clusters = blueprint.config.clusters.iter().zip(&blueprint.clusters);
        let mut changed = (clusters.zip(&blueprint.kept.clusters))
            .filter_map(|(cluster, kept)| kept.is_none().then_some(cluster));
        let named = changed.find(|(cluster, _)| cluster.name == self.config.cluster);
        if let Some((cluster, served)) = named {
            self.outbox.send_to(Collector {
                cluster: cluster.clone(),
                backends: served.backends.clone(),
            });
        }
    }

    /// The request's place in the trace that its headers name, or in a new one.
    pub(crate) fn begin(&self, head: &Parts, wall: SystemTime, begun: Instant) -> Rc<Trace> {
        let mut rng = self.rng.borrow_mut();
        let mut rolled = || rng.u32(..1_000_000) < self.config.sampling;
        let (trace, parent, sampled) = match propagation::extract(&head.headers, &self.config) {
            Some(Incoming {
                ids: Some(ids),
                sampled,
            }) => (
                ids.trace,
                Some(ids.span),
                sampled.unwrap_or_else(&mut rolled),
            ),
            Some(Incoming {
                ids: None,
                sampled: Some(sampled),
            }) => (0, None, sampled),
            _ => (0, None, rolled()),
        };
        let trace = match trace {
            0 => rng.u128(1..),
            known => known,
        };
        let ids = Ids {
            trace,
            span: rng.u64(1..),
        };
        Rc::new(Trace {
            ids,
            parent,
            sampled,
            wall,
            begun,
            asked: OnceCell::new(),
            stays: Stays::default(),
        })
    }

    /// Tells the upstream where it is.
    pub(crate) fn inject(&self, trace: &Trace, headers: &mut HeaderMap) {
        propagation::inject(headers, &self.config, trace.ids, trace.sampled);
    }

    /// Guest code is about to run for this request: what it asks for, until the answer goes, is
    /// done on its behalf.
    pub(crate) fn enter(&self, trace: &Rc<Trace>) -> Entered<'_> {
        let trace = trace.sampled.then(|| trace.clone());
        Entered {
            tracer: self,
            before: self.current.replace(trace),
        }
    }

    /// A call that a guest asks for now, if it is traced; `name` is its own and its filter's.
    pub(crate) fn call(&self, name: impl FnOnce() -> (String, String)) -> Option<CallSpan> {
        let trace = self.current.borrow().clone()?;
        let ids = Ids {
            trace: trace.ids.trace,
            span: self.rng.borrow_mut().u64(1..),
        };
        let (name, filter) = name();
        Some(CallSpan {
            trace,
            outbox: self.outbox.clone(),
            ids,
            name: span::short(&name).to_owned(),
            filter,
            begun: SystemTime::now(),
            result: None,
            failed: false,
            answered: false,
            propagation: self.config.clone(),
        })
    }

    fn send(&self, spans: Vec<Span>) {
        self.outbox.put(spans);
    }
}

// === impl Trace ===

impl Trace {
    /// The trace, and the request's own span.
    pub(crate) const fn ids(&self) -> (u128, u64) {
        (self.ids.trace, self.ids.span)
    }

    /// Remembers the request, once it is in order.
    pub(crate) fn see(&self, head: &Parts) {
        if self.sampled {
            self.asked.get_or_init(|| request::Asked::of(head));
        }
    }

    /// Writes down when heads come to the filters of `chain`, and when they leave.
    pub(crate) fn observe(&self, chain: &mut Chain) {
        if self.sampled {
            chain.observe(Box::new(self.stays.clone()));
        }
    }

    fn at(&self, instant: Instant) -> SystemTime {
        self.wall + instant.saturating_duration_since(self.begun)
    }

    fn below(&self, name: String, kind: Kind, span: u64) -> Span {
        Span {
            trace: self.ids.trace,
            id: span,
            parent: Some(self.ids.span),
            name,
            kind,
            begun: self.wall,
            ended: self.wall,
            attributes: Vec::new(),
            error: false,
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.tracer.current.replace(self.before.take());
    }
}

// === impl CallSpan ===

impl CallSpan {
    /// Tells whoever is called where it is.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        propagation::inject(headers, &self.propagation, self.ids, true);
    }

    /// On whose behalf the call is: what is asked for in its answer is, too.
    pub(crate) fn trace(&self) -> &Rc<Trace> {
        &self.trace
    }

    /// What became of it.
    pub(crate) fn ended(&mut self, what: &'static str, value: i64, failed: bool) {
        self.result = Some((what, Value::Integer(value)));
        self.failed = failed;
        self.answered = true;
    }

    /// Why there is no answer.
    pub(crate) fn failed(&mut self, why: &str) {
        self.result = Some(("error.type", Value::Text(why.to_owned())));
        self.failed = true;
        self.answered = true;
    }

    /// It is over, and there is no more to say of it.
    pub(crate) const fn answered(&mut self) {
        self.answered = true;
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        let mut span = self.trace.below(name, Kind::Client, self.ids.span);
        (span.begun, span.ended) = (self.begun, SystemTime::now());
        span.error = self.failed;
        let filter = std::mem::take(&mut self.filter);
        span.attributes
            .push(("cofferdam.filter", Value::Text(filter)));
        let result = match self.answered {
            true => self.result.take(),
            false => Some(("error.type", Value::from("cancelled"))),
        };
        span.attributes.extend(result);
        self.outbox.put(vec![span]);
    }
}
