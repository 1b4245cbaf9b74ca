//! Metrics as OpenMetrics text, which Prometheus reads.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use super::metrics::{Gathered, Sample, Value, seconds};
use crate::families::Kind;

/// The media type of what [`render`] answers.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A label's value or a help text, escaped.
struct Escaped<'a>(&'a str);

type Labels = [(Cow<'static, str>, String)];

/// All of `gathered`.
pub(super) fn render(gathered: &[Gathered]) -> String {
    let mut out = String::new();
    for family in gathered.iter().filter(|one| !one.samples.is_empty()) {
        let (name, kind) = (&family.name, family.kind.as_str());
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(out, "# TYPE {name} {kind}");
        if let Some(help) = family.help {
            let _ = writeln!(out, "# HELP {name} {}", Escaped(help));
        }
        for sample in &family.samples {
            write(&mut out, family, sample);
        }
    }
    out.push_str("# EOF\n");
    out
}

fn write(out: &mut String, family: &Gathered, sample: &Sample) {
    let (name, labels) = (&family.name, &sample.labels[..]);
    let suffix = if family.kind == Kind::Counter {
        "_total"
    } else {
        ""
    };
    match &sample.value {
        Value::Number(value) => line(out, name, suffix, labels, None, value),
        Value::Signed(value) => line(out, name, suffix, labels, None, value),
        Value::Seconds(nanos) => line(out, name, suffix, labels, None, &seconds(*nanos)),
        Value::Histogram(histogram) => {
            let mut sum = 0;
            let bounds = histogram.bounds.iter().map(|bound| &bound[..]);
            for (bound, more) in bounds.chain(["+Inf"]).zip(&histogram.counts) {
                sum += more;
                line(out, name, "_bucket", labels, Some(bound), &sum);
            }
            line(out, name, "_sum", labels, None, &histogram.sum);
            line(out, name, "_count", labels, None, &sum);
        }
    }
}

fn line(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &Labels,
    bound: Option<&str>,
    value: &dyn fmt::Display,
) {
    out.push_str(name);
    out.push_str(suffix);
    let labels = labels.iter().map(|(label, value)| (&**label, &**value));
    let mut before = '{';
    for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
        let _ = write!(out, "{before}{label}=\"{}\"", Escaped(value));
        before = ',';
    }
    if before == ',' {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
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
