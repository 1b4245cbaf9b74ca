//! Guests' metrics.
//!
//! They have the names guests gave them (section 2.10 of `abi/ABI.md`: Envoy's prefix
//! `wasmcustom.` stands on `/stats` only), every character that is not allowed made `_`. A
//! guest of Envoy puts labels into the name and has its operator say where, by regular
//! expressions: [`Tags`]. What would make two families one is told apart: see
//! [`Families::add`]. Our own begin with [`OWN`], and no guest's do.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use cofferdam_abi::Shared;
use cofferdam_abi::shared::{BUCKETS, Metric, MetricKind};

use super::{Gathered, Histogram, Sample, Value};
use crate::config::Tag;
use crate::families::Kind;

/// What our own names begin with.
const OWN: &str = "cofferdam_";

/// Where labels are in names.
pub(super) type Tags = [Tag];

/// Guests' metrics by family.
#[derive(Default)]
struct Families {
    of: BTreeMap<String, Members>,
    /// Names of theirs and of their samples, which no other family may use.
    taken: BTreeSet<String>,
}

struct Members {
    kind: MetricKind,
    of: Vec<Named>,
}

/// A metric whose labels have been taken out of its name.
struct Named {
    metric: Arc<Metric>,
    labels: Vec<(Cow<'static, str>, String)>,
}

/// All of them, in the same order at each look.
pub(super) fn gather(shared: &Shared, tags: &Tags) -> Vec<Gathered> {
    let mut metrics = shared.metrics().guests();
    metrics.sort_by(|a, b| (a.name(), a.kind()).cmp(&(b.name(), b.kind())));
    let mut families = Families::default();
    for metric in metrics {
        families.add(metric, tags);
    }
    let families = families.of.into_iter();
    families
        .map(|(name, members)| members.gathered(name))
        .collect()
}

// === impl Families ===

impl Families {
    /// A name that another kind has, or a sample of another family, is followed by its kind;
    /// metrics of one kind whose names and labels have become the same are told apart by a
    /// label `name`, which no operator's tag has.
    fn add(&mut self, metric: Arc<Metric>, tags: &Tags) {
        let kind = metric.kind();
        let raw = String::from_utf8_lossy(metric.name());
        let (plain, mut labels) = untagged(&raw, tags);
        let mut name = match &plain {
            Some(plain) => family_name(plain.as_bytes(), kind),
            None => family_name(metric.name(), kind),
        };
        while !self.is_free(&name, kind) {
            name.push_str(match kind {
                MetricKind::Counter => "_counter",
                MetricKind::Gauge => "_gauge",
                MetricKind::Histogram => "_histogram",
            });
        }
        self.taken.extend(names(&name, kind));
        let members = self.of.entry(name).or_insert_with(|| Members {
            kind,
            of: Vec::new(),
        });
        if members.of.iter().any(|other| other.labels == labels) {
            labels.push((Cow::Borrowed("name"), escaped(metric.name())));
        }
        members.of.push(Named { metric, labels });
    }

    /// Whether a family of this kind may have this name, or has it.
    fn is_free(&self, name: &str, kind: MetricKind) -> bool {
        match self.of.get(name) {
            Some(known) => known.kind == kind,
            None => !names(name, kind).any(|name| self.taken.contains(&name)),
        }
    }
}

/// What the specification keeps for a family: its name, and that with what the names of its
/// samples may end in.
fn names(family: &str, kind: MetricKind) -> impl Iterator<Item = String> {
    let ends: &[&str] = match kind {
        MetricKind::Counter => &["", "_total", "_created"],
        MetricKind::Gauge => &[""],
        MetricKind::Histogram => &["", "_bucket", "_sum", "_count", "_created"],
    };
    ends.iter().map(move |end| format!("{family}{end}"))
}

/// A name as text that no other name has, whatever its bytes.
fn escaped(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// As Envoy's `stats_tags` do it: of each tag the first match; its first group goes out of
/// the name, its second, or else its first, is the value. No tag sees what another has taken.
fn untagged(raw: &str, tags: &Tags) -> (Option<String>, Vec<(Cow<'static, str>, String)>) {
    let mut labels: Vec<(Cow<'static, str>, String)> = Vec::new();
    let mut taken: Vec<(usize, usize)> = Vec::new();
    for tag in tags {
        let Some(found) = tag.regex.captures(raw) else {
            continue;
        };
        let Some(out) = found.get(1) else { continue };
        let value = found.get(2).unwrap_or(out);
        if labels.iter().any(|(known, _)| *known == tag.name) {
            continue;
        }
        labels.push((Cow::Owned(tag.name.clone()), value.as_str().to_owned()));
        taken.push((out.start(), out.end()));
    }
    if labels.is_empty() {
        return (None, labels);
    }
    taken.sort_unstable();
    let (mut plain, mut at) = (String::with_capacity(raw.len()), 0);
    for (start, end) in taken {
        plain.push_str(raw.get(at..start).unwrap_or(""));
        at = at.max(end);
    }
    plain.push_str(raw.get(at..).unwrap_or(""));
    (Some(plain), labels)
}

// === impl Members ===

impl Members {
    fn gathered(self, name: String) -> Gathered {
        let kind = match self.kind {
            MetricKind::Counter => Kind::Counter,
            MetricKind::Gauge => Kind::Gauge,
            MetricKind::Histogram => Kind::Histogram,
        };
        let samples = self.of.into_iter().map(|named| Sample {
            raw: Some(String::from_utf8_lossy(named.metric.name()).into_owned()),
            value: value(&named.metric),
            labels: named.labels,
        });
        Gathered {
            name: Cow::Owned(name),
            kind,
            help: None,
            stat: "",
            samples: samples.collect(),
        }
    }
}

fn value(metric: &Metric) -> Value {
    if let Some(histogram) = metric.histogram() {
        return Value::Histogram(Histogram {
            bounds: BUCKETS.iter().map(|bound| format!("{bound}.0")).collect(),
            counts: histogram.counts().to_vec(),
            sum: histogram.sum().to_string(),
        });
    }
    let value = metric.value().unwrap_or(0);
    if metric.kind() == MetricKind::Counter {
        Value::Number(value)
    } else {
        // A gauge below zero, rather than one beyond the half of all numbers.
        Value::Signed(value.cast_signed())
    }
}

/// A name that is allowed. A counter's sample ends in `_total`, which is no part of the
/// family's name: `a_total` and `a` are the same counter.
fn family_name(raw: &[u8], kind: MetricKind) -> String {
    let allowed = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(*byte),
        _ => '_',
    };
    let mut name: String = raw.iter().map(allowed).collect();
    if kind == MetricKind::Counter
        && let Some(family) = name.strip_suffix("_total")
    {
        name.truncate(family.len());
    }
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert(0, '_');
    }
    if name.starts_with(OWN) {
        name.insert_str(0, "wasmcustom_");
    }
    name
}
