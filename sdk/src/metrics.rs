//! Counters, gauges and histograms, with labels.
//!
//! ```no_run
//! use cofferdam_sdk::metrics::{Counter, Gauge, Histogram};
//!
//! static DENIED: Counter = Counter::new("denied");
//! static WAITING: Gauge = Gauge::new("waiting");
//! static SIZE: Histogram = Histogram::new("body_bytes");
//!
//! DENIED.with(&[("reason", "expired"), ("route", "api")]).add(1)?;
//! WAITING.add(-1)?;
//! SIZE.record(1_400)?;
//! # Ok::<(), cofferdam_sdk::Status>(())
//! ```
//! A metric is defined when it is first used, and its number kept. The ABI has no labels:
//! they become part of the name (`denied.reason=expired.route=api`), from which Envoy's
//! `stats_tags` can take them. Metrics of a name are one in the whole process. Do not make a
//! label of what clients choose freely: each value is a metric for ever.

use std::borrow::Cow;

use crate::types::{MetricType, Status};
use crate::{ambient, raw};

/// The number of the metric of that kind and name, which is defined if need be.
fn number(kind: MetricType, name: &str) -> Result<u32, Status> {
    ambient::metric(kind as u32, name, || raw::define_metric(kind, name))
}

/// The name with its labels. What would end a label is replaced.
fn labelled(name: &str, labels: &[(&str, &str)]) -> String {
    let mut full = String::from(name);
    let part = |c: char| match c {
        '.' | '=' | ' ' => '_',
        c if c.is_control() => '_',
        c => c,
    };
    for (label, value) in labels {
        full.push('.');
        full.extend(label.chars().map(part));
        full.push('=');
        full.extend(value.chars().map(part));
    }
    full
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $kind:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct $kind {
                name: Cow<'static, str>,
            }

            impl $kind {
                /// The metric of that name.
                ///
                /// ```
                #[doc = concat!("use cofferdam_sdk::metrics::", stringify!($kind), ";")]
                ///
                #[doc = concat!("static ONE: ", stringify!($kind), " = ", stringify!($kind),
                    "::new(\"one\");")]
                /// ```
                #[must_use]
                pub const fn new(name: &'static str) -> Self {
                    Self { name: Cow::Borrowed(name) }
                }

                /// The one of these labels and values.
                ///
                /// ```
                #[doc = concat!("use cofferdam_sdk::metrics::", stringify!($kind), ";")]
                ///
                #[doc = concat!("let one = ", stringify!($kind), "::new(\"one\");")]
                /// assert_eq!(one.with(&[("route", "a.b")]).name(), "one.route=a_b");
                /// ```
                #[must_use]
                pub fn with(&self, labels: &[(&str, &str)]) -> Self {
                    Self { name: Cow::Owned(labelled(&self.name, labels)) }
                }

                /// Its name, labels included.
                ///
                /// ```
                #[doc = concat!("let one = cofferdam_sdk::metrics::", stringify!($kind),
                    "::new(\"one\");")]
                /// assert_eq!(one.name(), "one");
                /// ```
                #[must_use]
                pub fn name(&self) -> &str {
                    &self.name
                }

                fn number(&self) -> Result<u32, Status> {
                    number(MetricType::$kind, &self.name)
                }
            }
        )*
    };
}

metrics! {
    /// A number that only grows.
    ///
    /// ```no_run
    /// use cofferdam_sdk::metrics::Counter;
    ///
    /// static REQUESTS: Counter = Counter::new("requests");
    /// REQUESTS.add(1)?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    Counter;
    /// A number that goes up and down.
    ///
    /// ```no_run
    /// use cofferdam_sdk::metrics::Gauge;
    ///
    /// static WAITING: Gauge = Gauge::new("waiting");
    /// WAITING.add(1)?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    Gauge;
    /// How samples are spread.
    ///
    /// ```no_run
    /// use cofferdam_sdk::metrics::Histogram;
    ///
    /// static MICROSECONDS: Histogram = Histogram::new("lookup_us");
    /// MICROSECONDS.record(120)?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    Histogram;
}

// === impl Counter ===

impl Counter {
    /// Adds to it; 0 is nothing.
    ///
    /// # Errors
    /// Where the host has no room for another metric.
    ///
    /// ```no_run
    /// cofferdam_sdk::metrics::Counter::new("bytes").add(512)?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    pub fn add(&self, count: u64) -> Result<(), Status> {
        if count == 0 {
            return Ok(());
        }
        raw::increment_metric(self.number()?, i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// What it has come to, of all workers.
    ///
    /// # Errors
    /// As [`Counter::add`].
    ///
    /// ```no_run
    /// let bytes = cofferdam_sdk::metrics::Counter::new("bytes").value()?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    pub fn value(&self) -> Result<u64, Status> {
        raw::metric(self.number()?)
    }
}

// === impl Gauge ===

impl Gauge {
    /// Adds to it, or takes away.
    ///
    /// # Errors
    /// Where the host has no room for another metric.
    ///
    /// ```no_run
    /// cofferdam_sdk::metrics::Gauge::new("waiting").add(-1)?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    pub fn add(&self, change: i64) -> Result<(), Status> {
        raw::increment_metric(self.number()?, change)
    }

    /// Sets it.
    ///
    /// # Errors
    /// As [`Gauge::add`].
    ///
    /// ```no_run
    /// cofferdam_sdk::metrics::Gauge::new("keys").set(17)?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    pub fn set(&self, value: u64) -> Result<(), Status> {
        raw::record_metric(self.number()?, value)
    }

    /// What it is.
    ///
    /// # Errors
    /// As [`Gauge::add`].
    ///
    /// ```no_run
    /// let keys = cofferdam_sdk::metrics::Gauge::new("keys").value()?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    pub fn value(&self) -> Result<u64, Status> {
        raw::metric(self.number()?)
    }
}

// === impl Histogram ===

impl Histogram {
    /// Adds a sample.
    ///
    /// # Errors
    /// Where the host has no room for another metric.
    ///
    /// ```no_run
    /// cofferdam_sdk::metrics::Histogram::new("lookup_us").record(120)?;
    /// # Ok::<(), cofferdam_sdk::Status>(())
    /// ```
    pub fn record(&self, sample: u64) -> Result<(), Status> {
        raw::record_metric(self.number()?, sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_be_taken_for_two() {
        let denied = Counter::new("denied").with(&[("a", "x.b=y"), ("b", "\n")]);
        assert_eq!(denied.name(), "denied.a=x_b_y.b=_");
    }
}
