//! Every metric there is, gathered for a page: first our own, in the order of
//! [`families::ALL`], then those of guests.
//!
//! Nothing here takes a lock that a request's path takes: workers write words, and this reads
//! them.

mod guests;
mod own;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

#[cfg(test)]
use cofferdam_abi::Shared;
use cofferdam_abi::usage::Counted;

use super::State;
use crate::families::{self, Family, Kind};
#[cfg(test)]
use guests::Tags;

/// Metrics of one name.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) name: Cow<'static, str>,
    pub(super) kind: Kind,
    /// None of guests': they say nothing of theirs.
    pub(super) help: Option<&'static str>,
    /// As in [`Family::stat`]; guests' metrics have names of their own.
    pub(super) stat: &'static str,
    pub(super) samples: Vec<Sample>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Sample {
    /// A guest's name for it, as it was given.
    pub(super) raw: Option<String>,
    pub(super) labels: Vec<(Cow<'static, str>, String)>,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Number(u64),
    /// A gauge may be below zero.
    Signed(i64),
    /// Nanoseconds, shown as seconds.
    Seconds(u64),
    Histogram(Histogram),
}

/// A histogram, made ready to be written: bounds and sum as text, counts of each bucket.
#[derive(Debug)]
pub(super) struct Histogram {
    pub(super) bounds: Vec<String>,
    /// One more than there are bounds.
    pub(super) counts: Vec<u64>,
    pub(super) sum: String,
}

/// All of them.
pub(super) fn gather(state: &State) -> Vec<Gathered> {
    let mut all = own::gather(&state.subject);
    all.extend(guests::gather(
        &state.subject.shared.guests,
        &state.config.tags,
    ));
    all
}

/// Those that hang on guests alone.
#[cfg(test)]
fn of_guests(shared: &Shared, tags: &Tags) -> Vec<Gathered> {
    let mut all = own::of_guests(shared);
    all.extend(guests::gather(shared, tags));
    all
}

// === impl Gathered ===

impl Gathered {
    fn of(family: &'static Family) -> Self {
        Self {
            name: Cow::Borrowed(family.name),
            kind: family.kind,
            help: Some(family.help),
            stat: family.stat,
            samples: Vec::new(),
        }
    }

    fn with(mut self, samples: impl IntoIterator<Item = Sample>) -> Self {
        self.samples.extend(samples);
        self
    }
}

// === impl Sample ===

impl Sample {
    fn of(family: &'static Family, values: &[&str], value: Value) -> Self {
        debug_assert_eq!(family.labels.len(), values.len(), "{}", family.name);
        let labels = family.labels.iter().zip(values);
        Self {
            raw: None,
            labels: labels
                .map(|(label, value)| (Cow::Borrowed(*label), (*value).to_owned()))
                .collect(),
            value,
        }
    }
}

// === impl Histogram ===

impl From<Counted> for Histogram {
    fn from(counted: Counted) -> Self {
        Self {
            bounds: counted.bounds.iter().map(|bound| seconds(*bound)).collect(),
            counts: counted.counts,
            sum: seconds(counted.sum),
        }
    }
}

impl Histogram {
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Nanoseconds as seconds, without zeros that say nothing.
pub(super) fn seconds(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    let shown = text.trim_end_matches('0');
    let zero = if shown.ends_with('.') { "0" } else { "" };
    format!("{shown}{zero}")
}
