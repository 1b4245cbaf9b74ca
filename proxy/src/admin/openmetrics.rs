//! Every metric as OpenMetrics text, which Prometheus reads.
//!
//! Guests' metrics have the names guests gave them (section 2.10 of the ABI notes: Envoy's
//! prefix `wasmcustom.` is not shown there either), every character that is not allowed
//! made `_`. What would make two families one is told apart: see [`Families::add`]. Our own
//! begin with [`OWN`], and no guest's do.

mod usage;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use cofferdam_abi::Shared;
use cofferdam_abi::shared::{BUCKETS, Metric, MetricKind, Space};

/// The media type of what [`render`] answers.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What our own names begin with.
const OWN: &str = "cofferdam_";

/// Guests' metrics by family.
#[derive(Default)]
struct Families(BTreeMap<String, Family>);

struct Family {
    kind: MetricKind,
    members: Vec<Arc<Metric>>,
}

/// A label's value or a help text, escaped.
struct Escaped<'a>(&'a str);

/// Everything there is.
pub(super) fn render(shared: &Shared) -> String {
    let mut out = String::new();
    own(&mut out, shared);
    let mut metrics = shared.metrics().guests();
    // The same order at each look, and the same names.
    metrics.sort_by(|a, b| (a.name(), a.kind()).cmp(&(b.name(), b.kind())));
    let mut families = Families::default();
    for metric in metrics {
        families.add(metric);
    }
    for (name, family) in &families.0 {
        family.write(&mut out, name);
    }
    out.push_str("# EOF\n");
    out
}

/// The host's own: its counters, what filters have used, then what spaces hold.
fn own(out: &mut String, shared: &Shared) {
    let mut last = "";
    for counter in shared.metrics().host() {
        let name = counter.name();
        if name != last {
            head(out, name, "counter", counter.help());
            last = name;
        }
        let labels = counter.labels();
        let _ = write!(out, "{name}_total");
        write_labels(out, labels.iter().map(|(label, value)| (*label, &**value)));
        let _ = writeln!(out, " {}", counter.value());
    }
    usage::write(out, shared);
    let mut spaces = shared.spaces();
    spaces.sort_by(|a, b| a.vm_id().cmp(b.vm_id()));
    gauge(
        out,
        &spaces,
        "shared_data_entries",
        "Entries of shared data.",
        |space| space.data_size().0,
    );
    gauge(
        out,
        &spaces,
        "shared_data_bytes",
        "Bytes of shared data, keys and values.",
        |space| space.data_size().1,
    );
    gauge(
        out,
        &spaces,
        "shared_queue_items",
        "Items in shared queues.",
        |space| space.queued().0,
    );
    gauge(
        out,
        &spaces,
        "shared_queue_bytes",
        "Bytes in shared queues.",
        |space| space.queued().1,
    );
}

fn gauge(
    out: &mut String,
    spaces: &[Arc<Space>],
    name: &str,
    help: &str,
    value: impl Fn(&Space) -> usize,
) {
    if spaces.is_empty() {
        return;
    }
    let name = format!("{OWN}{name}");
    head(out, &name, "gauge", help);
    for space in spaces {
        out.push_str(&name);
        write_labels(out, [("vm_id", space.vm_id())]);
        let _ = writeln!(out, " {}", value(space));
    }
}

// Writing to a string cannot fail, above and below.
fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# TYPE {name} {kind}\n# HELP {name} {}", Escaped(help));
}

fn write_labels<'a>(out: &mut String, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let mut before = '{';
    for (label, value) in labels {
        let _ = write!(out, "{before}{label}=\"{}\"", Escaped(value));
        before = ',';
    }
    if before == ',' {
        out.push('}');
    }
}

// === impl Families ===

impl Families {
    /// A name that two kinds have is followed by its kind for the second; metrics of one
    /// kind whose names have become the same are told apart by a label `name`.
    fn add(&mut self, metric: Arc<Metric>) {
        let kind = metric.kind();
        let mut name = family_name(metric.name(), kind);
        while self.0.get(&name).is_some_and(|family| family.kind != kind) {
            name.push_str(match kind {
                MetricKind::Counter => "_counter",
                MetricKind::Gauge => "_gauge",
                MetricKind::Histogram => "_histogram",
            });
        }
        let family = self.0.entry(name).or_insert_with(|| Family {
            kind,
            members: Vec::new(),
        });
        family.members.push(metric);
    }
}

// === impl Family ===

impl Family {
    fn write(&self, out: &mut String, name: &str) {
        let kind = match self.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let _ = writeln!(out, "# TYPE {name} {kind}");
        for (number, metric) in self.members.iter().enumerate() {
            let raw = String::from_utf8_lossy(metric.name());
            let label = (number > 0).then_some(("name", &*raw));
            sample(out, name, metric, label);
        }
    }
}

fn sample(out: &mut String, name: &str, metric: &Metric, label: Option<(&str, &str)>) {
    if let Some(histogram) = metric.histogram() {
        let mut count = 0;
        let bounds = BUCKETS.iter().map(|bound| format!("{bound}.0"));
        let bounds = bounds.chain([String::from("+Inf")]);
        for (bound, more) in bounds.zip(histogram.counts()) {
            count += more;
            let _ = write!(out, "{name}_bucket");
            write_labels(out, label.into_iter().chain([("le", &*bound)]));
            let _ = writeln!(out, " {count}");
        }
        for (suffix, value) in [("sum", histogram.sum()), ("count", count)] {
            let _ = write!(out, "{name}_{suffix}");
            write_labels(out, label);
            let _ = writeln!(out, " {value}");
        }
        return;
    }
    let value = metric.value().unwrap_or(0);
    out.push_str(name);
    if metric.kind() == MetricKind::Counter {
        out.push_str("_total");
        write_labels(out, label);
        let _ = writeln!(out, " {value}");
    } else {
        write_labels(out, label);
        // A gauge below zero, rather than one beyond the half of all numbers.
        let _ = writeln!(out, " {}", value.cast_signed());
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

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
