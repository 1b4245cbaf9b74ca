//! `/stats`: the same metrics by Envoy's kind of names, one `name: value` a line, or as JSON.

use std::fmt::Write as _;

use http::StatusCode;
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value as Json, json};

use super::metrics::{self, Gathered, Histogram, Sample, Value, seconds};
use super::query::Query;
use super::{Answer, State, shown, text};

/// Bytes that a filter's program may take.
const FILTER: usize = 1 << 20;

/// Which parts of all values are told of a histogram.
const QUANTILES: [(&str, f64); 5] = [
    ("P50", 0.5),
    ("P90", 0.9),
    ("P95", 0.95),
    ("P99", 0.99),
    ("P99.9", 0.999),
];

pub(super) fn shown(state: &State, query: &Query<'_>) -> Answer {
    let filter = match query.get("filter").map(|filter| compile(&filter)) {
        None => None,
        Some(Ok(filter)) => Some(filter),
        Some(Err(why)) => return text(StatusCode::BAD_REQUEST, why),
    };
    let as_json = match query.get("format").as_deref() {
        None | Some("text") => false,
        Some("json") => true,
        Some(other) => return shown::unknown_format(other, "text or json"),
    };
    let gathered = metrics::gather(state);
    let samples = gathered.iter().flat_map(|family| {
        family
            .samples
            .iter()
            .map(move |one| (name(family, one), one))
    });
    let wanted = |name: &str| filter.as_ref().is_none_or(|filter| filter.is_match(name));
    let mut samples: Vec<_> = samples.filter(|(name, _)| wanted(name)).collect();
    samples.sort_by(|a, b| a.0.cmp(&b.0));
    if as_json {
        return super::json(&json!({ "stats": samples.iter().map(object).collect::<Vec<_>>() }));
    }
    let mut out = String::new();
    for (name, sample) in &samples {
        // Writing to a string cannot fail. A name may have anything in it that a guest liked.
        let name = crate::host::printable(name.as_bytes());
        let _ = writeln!(out, "{name}: {}", value(&sample.value));
    }
    text(StatusCode::OK, out)
}

fn compile(filter: &str) -> Result<Regex, String> {
    let compiled = RegexBuilder::new(filter).size_limit(FILTER).build();
    compiled.map_err(|error| format!("filter: {error}\n"))
}

/// The family's name with the labels' values in their places; a guest's metric as Envoy
/// calls it.
fn name(family: &Gathered, sample: &Sample) -> String {
    if let Some(raw) = &sample.raw {
        return format!("wasmcustom.{raw}");
    }
    let labels = sample.labels.iter();
    labels.fold(family.stat.to_owned(), |name, (label, value)| {
        name.replace(&format!("{{{label}}}"), value)
    })
}

fn value(value: &Value) -> String {
    match value {
        Value::Number(value) => value.to_string(),
        Value::Signed(value) => value.to_string(),
        Value::Seconds(nanos) => seconds(*nanos),
        Value::Histogram(histogram) => {
            let mut out = String::new();
            for (name, part) in QUANTILES {
                let _ = write!(out, "{name}(<={}) ", quantile(histogram, part));
            }
            let _ = write!(out, "count({}) sum({})", histogram.count(), histogram.sum);
            out
        }
    }
}

fn object((name, sample): &(String, &Sample)) -> Json {
    let value = match &sample.value {
        Value::Number(value) => json!(value),
        Value::Signed(value) => json!(value),
        Value::Seconds(nanos) => json!(*nanos as f64 / 1e9),
        Value::Histogram(histogram) => {
            let quantiles = QUANTILES.iter();
            let quantiles: Map<_, _> = quantiles
                .map(|(name, part)| ((*name).to_owned(), json!(quantile(histogram, *part))))
                .collect();
            json!({
                "count": histogram.count(),
                "sum": histogram.sum.parse::<f64>().unwrap_or(0.0),
                "at_most": quantiles,
            })
        }
    };
    json!({ "name": name, "value": value })
}

/// The bound of the bucket in which that part of all values is reached.
fn quantile(histogram: &Histogram, part: f64) -> &str {
    let count = histogram.count();
    if count == 0 {
        return "nan";
    }
    // A position in a list of values, of which the bucket is told.
    let wanted = (count as f64 * part).ceil().max(1.0) as u64;
    let mut sum = 0;
    for (bound, more) in histogram.bounds.iter().zip(&histogram.counts) {
        sum += more;
        if sum >= wanted {
            return bound;
        }
    }
    "inf"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_all_values_is_reached_in_a_bucket() {
        let histogram = Histogram {
            bounds: vec!["1".to_owned(), "2".to_owned()],
            counts: vec![50, 49, 1],
            sum: "0".to_owned(),
        };
        let at = |part| quantile(&histogram, part);
        assert_eq!(
            [at(0.5), at(0.51), at(0.99), at(0.999)],
            ["1", "2", "2", "inf"]
        );
        let none = Histogram {
            counts: vec![0, 0, 0],
            ..histogram
        };
        assert_eq!(quantile(&none, 0.5), "nan");
    }
}
