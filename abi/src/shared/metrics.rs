//! Metrics (section 2.10): counters, gauges and histograms by name, one for all threads.
//!
//! A guest's number leads straight to the metric; writing is one relaxed atomic and takes
//! no lock. The table of names is locked where a metric is defined or listed only.

mod histogram;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;

use super::lock;
pub use histogram::{BUCKETS, Histogram};

/// All metrics of a process.
#[derive(Debug, Default)]
pub struct Metrics {
    guests: RwLock<Guests>,
    host: Mutex<BTreeMap<HostName, Arc<Counter>>>,
}

#[derive(Debug, Default)]
struct Guests {
    /// Two kinds may have the same name and are two metrics then, as in Envoy.
    by_name: HashMap<(MetricKind, Bytes), Arc<Metric>>,
    /// How many each plugin was the first to define.
    owners: HashMap<String, usize>,
}

/// A metric that guests have defined.
#[derive(Debug)]
pub struct Metric {
    name: Bytes,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Counter(AtomicU64),
    Gauge(AtomicU64),
    Histogram(Box<Histogram>),
}

/// What a metric is; the numbers are the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetricKind {
    /// 0: goes up.
    Counter = 0,
    /// 1: goes up and down.
    Gauge = 1,
    /// 2: counts values by size.
    Histogram = 2,
}

/// A counter of the host's own.
#[derive(Debug)]
pub struct Counter {
    name: &'static str,
    help: &'static str,
    labels: Vec<(&'static str, String)>,
    value: AtomicU64,
}

type HostName = (&'static str, Vec<(&'static str, String)>);

/// The metrics one VM has defined, by the numbers it knows them by.
#[derive(Debug, Default)]
pub(crate) struct Defined([Vec<Arc<Metric>>; 3]);

/// There is no room for another metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

// === impl Metrics ===

impl Metrics {
    /// Every metric of guests, in no order.
    #[must_use]
    pub fn guests(&self) -> Vec<Arc<Metric>> {
        let guests = self.guests.read().unwrap_or_else(PoisonError::into_inner);
        guests.by_name.values().cloned().collect()
    }

    /// Every counter of the host, those of one name together.
    #[must_use]
    pub fn host(&self) -> Vec<Arc<Counter>> {
        lock(&self.host).values().cloned().collect()
    }

    /// The host's counter of that name and labels, made where it is not there. For the
    /// caller to keep: this takes a lock. Names and labels must come from a configuration
    /// or from the code, never from a guest or a request, for they are kept for ever.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Arc<Counter> {
        let labels: Vec<_> = labels
            .iter()
            .map(|(label, value)| (*label, (*value).to_owned()))
            .collect();
        let mut host = lock(&self.host);
        let counter = host.entry((name, labels)).or_insert_with_key(|key| {
            Arc::new(Counter {
                name,
                help,
                labels: key.1.clone(),
                value: AtomicU64::new(0),
            })
        });
        counter.clone()
    }

    /// The metric of that kind and name, made where it is not there; `owner` is the plugin
    /// that would define it, which may be first for `most` of them.
    fn metric(
        &self,
        kind: MetricKind,
        name: &[u8],
        owner: &str,
        most: usize,
    ) -> Result<Arc<Metric>, TooMany> {
        let key = (kind, Bytes::copy_from_slice(name));
        let guests = self.guests.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = guests.by_name.get(&key) {
            return Ok(metric.clone());
        }
        drop(guests);
        let mut guests = self.guests.write().unwrap_or_else(PoisonError::into_inner);
        let Guests { by_name, owners } = &mut *guests;
        if let Some(metric) = by_name.get(&key) {
            return Ok(metric.clone());
        }
        // Names outlive the VM that defined them, so VMs that come and go count together.
        let owned = owners.entry(owner.to_owned()).or_default();
        if *owned >= most {
            return Err(TooMany);
        }
        *owned += 1;
        let metric = Arc::new(Metric::new(kind, key.1.clone()));
        by_name.insert(key, metric.clone());
        Ok(metric)
    }
}

// === impl Defined ===

impl Defined {
    /// A number for the metric of that kind and name. Defining a name again gives another
    /// number for the same metric, as in Envoy; past `most` numbers the first one again.
    pub(crate) fn define(
        &mut self,
        metrics: &Metrics,
        (kind, name): (MetricKind, &[u8]),
        owner: &str,
        most: usize,
    ) -> Result<u32, TooMany> {
        let metric = metrics.metric(kind, name, owner, most)?;
        let full = self.0.iter().map(Vec::len).sum::<usize>() >= most;
        let numbers = &mut self.0[kind as usize];
        let index = if full {
            let known = numbers.iter().position(|known| Arc::ptr_eq(known, &metric));
            known.ok_or(TooMany)?
        } else {
            numbers.push(metric);
            numbers.len() - 1
        };
        let index = u32::try_from(index + 1).map_err(|_| TooMany)?;
        Ok(index.checked_mul(4).ok_or(TooMany)? | kind as u32)
    }

    /// The metric of that number, if the number is of some kind of metric.
    pub(crate) fn get(&self, number: u32) -> Option<&Metric> {
        let index = (number >> 2).checked_sub(1)?;
        let numbers = self.0.get((number & 3) as usize)?;
        numbers.get(index as usize).map(|metric| &**metric)
    }
}

// === impl Metric ===

impl Metric {
    fn new(kind: MetricKind, name: Bytes) -> Self {
        let value = match kind {
            MetricKind::Counter => Value::Counter(AtomicU64::new(0)),
            MetricKind::Gauge => Value::Gauge(AtomicU64::new(0)),
            MetricKind::Histogram => Value::Histogram(Box::default()),
        };
        Self { name, value }
    }

    /// The name as the guest gave it, which need not be text.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> MetricKind {
        match self.value {
            Value::Counter(_) => MetricKind::Counter,
            Value::Gauge(_) => MetricKind::Gauge,
            Value::Histogram(_) => MetricKind::Histogram,
        }
    }

    /// The value of a counter or gauge. A gauge that went below zero is a large number, as
    /// guests of Envoy see it.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        match &self.value {
            Value::Counter(value) | Value::Gauge(value) => Some(value.load(Ordering::Relaxed)),
            Value::Histogram(_) => None,
        }
    }

    /// What a histogram has seen.
    #[must_use]
    pub fn histogram(&self) -> Option<&Histogram> {
        match &self.value {
            Value::Histogram(histogram) => Some(histogram),
            Value::Counter(_) | Value::Gauge(_) => None,
        }
    }

    /// Adds to a counter or gauge, and says whether it is one that can be changed so.
    pub(crate) fn increment(&self, by: i64) -> bool {
        match &self.value {
            Value::Counter(value) if by > 0 => {
                value.fetch_add(by.cast_unsigned(), Ordering::Relaxed);
            }
            Value::Gauge(value) => {
                value.fetch_add(by.cast_unsigned(), Ordering::Relaxed);
            }
            Value::Counter(_) | Value::Histogram(_) => return false,
        }
        true
    }

    /// Adds to a counter, sets a gauge, counts a value.
    pub(crate) fn record(&self, new: u64) {
        match &self.value {
            Value::Counter(value) => {
                value.fetch_add(new, Ordering::Relaxed);
            }
            Value::Gauge(value) => value.store(new, Ordering::Relaxed),
            Value::Histogram(histogram) => histogram.record(new),
        }
    }
}

// === impl MetricKind ===

impl MetricKind {
    /// The kind of that number, if there is one.
    #[must_use]
    pub const fn from_wire(value: u32) -> Option<Self> {
        Some(match value {
            0 => Self::Counter,
            1 => Self::Gauge,
            2 => Self::Histogram,
            _ => return None,
        })
    }
}

// === impl Counter ===

impl Counter {
    /// Its name, without `_total`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What it counts, in a sentence.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        self.help
    }

    /// What tells it from others of its name.
    #[must_use]
    pub fn labels(&self) -> &[(&'static str, String)] {
        &self.labels
    }

    /// How far it has come.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    /// Counts.
    pub fn add(&self, count: u64) {
        self.value.fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
