//! The comparison as a Markdown table and as JSON.

use serde_json::{Value, json};

use super::{Case, Report, Row};
use crate::peer::envoy;

const HEAD: &str = "\
| proxy | CPU µs/request (min–max) | ratio to Envoy | ratio to nginx | p50 / p99 µs | requests/s | RSS MiB |
|---|---|---|---|---|---|---|
";

impl Report {
    /// The whole report as Markdown.
    pub fn table(&self) -> String {
        let mut text = format!(
            "Plain proxy, one worker each, Envoy {}, medians of {} interleaved slices of {} s.\n",
            envoy::VERSION,
            self.plan.slices,
            self.plan.seconds
        );
        for case in &self.cases {
            text.push_str(&format!("\n{}\n\n{HEAD}", case.title()));
            for row in &case.rows {
                text.push_str(&line(case, row));
            }
        }
        text
    }

    /// The whole report as JSON, every sample included.
    pub fn json(&self) -> Value {
        let cases: Vec<Value> = self.cases.iter().map(case_json).collect();
        json!({
            "envoy": envoy::VERSION,
            "slices": self.plan.slices,
            "seconds": self.plan.seconds,
            "cases": cases,
        })
    }
}

fn line(case: &Case, row: &Row) -> String {
    let none = || "–".to_owned();
    let median = |figure: Option<f64>, decimals: usize| {
        figure.map_or_else(none, |value| format!("{value:.decimals$}"))
    };
    let of = |figure: fn(&super::Sample) -> Option<f64>| row.summary(figure);
    let cpu = of(|sample| Some(sample.cpu_us)).map_or_else(none, |cpu| cpu.show(1));
    let p50 = of(|sample| Some(sample.load.latency?.0)).map(|p50| p50.median);
    let p99 = of(|sample| Some(sample.load.latency?.1)).map(|p99| p99.median);
    let rate = of(|sample| Some(sample.load.rate)).map(|rate| rate.median);
    let ratio = |to| {
        let ratio = case.ratio(row.proxy, to).filter(|_| row.proxy != to);
        ratio.map_or_else(none, |ratio| ratio.show(2))
    };
    format!(
        "| {} | {cpu} | {} | {} | {} / {} | {} | {:.1} |\n",
        row.proxy,
        ratio("envoy"),
        ratio("nginx"),
        median(p50, 0),
        median(p99, 0),
        median(rate, 0),
        row.rss_kib as f64 / 1024.0
    )
}

fn case_json(case: &Case) -> Value {
    let rows: Vec<Value> = case.rows.iter().map(|row| row_json(case, row)).collect();
    json!({ "case": case.title(), "target": case.target(), "rows": rows })
}

fn row_json(case: &Case, row: &Row) -> Value {
    let samples: Vec<Value> = row
        .samples
        .iter()
        .map(|sample| {
            json!({
                "cpu_us": sample.cpu_us,
                "requests": sample.load.requests,
                "rate": sample.load.rate,
                "p50_us": sample.load.latency.map(|latency| latency.0),
                "p99_us": sample.load.latency.map(|latency| latency.1),
            })
        })
        .collect();
    json!({
        "proxy": row.proxy,
        "cpu_us": row.summary(|sample| Some(sample.cpu_us)).map(|cpu| cpu.json()),
        "ratio_to_envoy": case.ratio(row.proxy, "envoy").map(|ratio| ratio.json()),
        "ratio_to_nginx": case.ratio(row.proxy, "nginx").map(|ratio| ratio.json()),
        "rss_kib": row.rss_kib,
        "samples": samples,
    })
}
