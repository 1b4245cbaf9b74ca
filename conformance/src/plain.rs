//! The plain-proxy comparison: CPU per request of Cofferdam, Envoy and nginx, in one run.
//!
//! Shared machines drift by more than the difference between two builds, so slices are
//! interleaved (every proxy once per round, in a rotating order) and ratios are taken
//! within a round, never between figures of different moments.

use std::path::PathBuf;

use crate::load::{self, Load, Protocol};
use crate::peer::{self, Proxy, Running};
use crate::scratch::Scratch;
use crate::stats::Summary;
use crate::{Result, proc};

mod table;

/// How much to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Rounds; a verdict wants seven or more.
    pub slices: usize,
    /// Length of one slice.
    pub seconds: u32,
    /// This project's program; without it only the peers are measured.
    pub cofferdam: Option<PathBuf>,
    /// What is measured.
    pub cases: Vec<Protocol>,
}

/// Everything that was measured.
#[derive(Debug)]
pub struct Report {
    /// How much was run.
    pub plan: Plan,
    /// One entry for each case of the plan.
    pub cases: Vec<Case>,
}

/// One case, all proxies.
#[derive(Debug)]
pub struct Case {
    /// Which way requests came in.
    pub protocol: Protocol,
    /// One row for each proxy.
    pub rows: Vec<Row>,
}

/// One proxy in one case.
#[derive(Debug)]
pub struct Row {
    /// The proxy.
    pub proxy: &'static str,
    /// One sample for each round, in order.
    pub samples: Vec<Sample>,
    /// Resident memory after the last slice.
    pub rss_kib: u64,
}

/// One slice.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// CPU time of the proxy for each request, in µs.
    pub cpu_us: f64,
    /// What the client saw.
    pub load: Load,
}

/// Seconds of load before anything is counted: pools fill, caches warm, Envoy settles.
const WARM_UP: u32 = 1;

/// Runs the whole comparison.
///
/// # Errors
/// A peer cannot be had, dies, or fails a request.
pub fn run(plan: &Plan) -> Result<Report> {
    let scratch = Scratch::new("bench-plain")?;
    let upstream = peer::upstream(&scratch)?;
    let mut running = start(plan.cofferdam.clone(), &upstream, &scratch)?;
    let mut cases: Vec<Case> = plan
        .cases
        .iter()
        .map(|&protocol| Case {
            protocol,
            rows: running.iter().map(Row::of).collect(),
        })
        .collect();
    for case in &cases {
        for proxy in &running {
            load::run(case.protocol, proxy, WARM_UP)?;
        }
    }
    for round in 0..plan.slices {
        for case in &mut cases {
            for turn in 0..running.len() {
                // Nobody is always first after the others' pause.
                let index = (round + turn) % running.len();
                let (Some(proxy), Some(row)) = (running.get_mut(index), case.rows.get_mut(index))
                else {
                    continue;
                };
                row.samples.push(slice(case.protocol, proxy, plan.seconds)?);
                row.rss_kib = proc::rss_kib(proxy.pid())?;
            }
        }
        eprintln!("round {} of {}", round + 1, plan.slices);
    }
    Ok(Report {
        plan: plan.clone(),
        cases,
    })
}

/// Starts every proxy in front of `upstream` and makes sure it proxies.
///
/// # Errors
/// A peer cannot be had, or does not proxy.
pub fn start(
    cofferdam: Option<PathBuf>,
    upstream: &Running,
    scratch: &Scratch,
) -> Result<Vec<Running>> {
    let proxies = cofferdam
        .map(Proxy::Cofferdam)
        .into_iter()
        .chain([Proxy::Envoy, Proxy::Nginx]);
    let mut running = Vec::new();
    for proxy in proxies {
        let server = proxy.start(upstream.http1, scratch)?;
        server.probe()?;
        running.push(server);
    }
    Ok(running)
}

fn slice(protocol: Protocol, proxy: &mut Running, seconds: u32) -> Result<Sample> {
    let before = proc::cpu(proxy.pid())?;
    let load = load::run(protocol, proxy, seconds)?;
    let spent = proc::cpu(proxy.pid())?.since(&before);
    proxy.check()?;
    Ok(Sample {
        cpu_us: spent as f64 / 1e3 / load.requests as f64,
        load,
    })
}

impl Report {
    /// The figure the gate looks at: Cofferdam's median ratio to Envoy over HTTP/1.1.
    pub fn ratio(&self) -> Option<f64> {
        let case = self
            .cases
            .iter()
            .find(|case| case.protocol == Protocol::Http1)?;
        Some(case.ratio("cofferdam", "envoy")?.median)
    }
}

impl Case {
    /// CPU of one proxy over that of another, round by round.
    pub fn ratio(&self, proxy: &str, to: &str) -> Option<Summary> {
        let row = |name| self.rows.iter().find(|row| row.proxy == name);
        let pairs = row(proxy)?.samples.iter().zip(&row(to)?.samples);
        Summary::of(pairs.map(|(ours, theirs)| ours.cpu_us / theirs.cpu_us))
    }

    /// The case in a few words.
    pub fn title(&self) -> &'static str {
        match self.protocol {
            Protocol::Http1 => "HTTP/1.1 keep-alive, 32 connections",
            Protocol::Http2 => "h2c in, HTTP/1.1 out, 4 connections × 8 streams",
        }
    }

    /// The most Cofferdam may cost, as a part of Envoy.
    pub fn target(&self) -> f64 {
        match self.protocol {
            Protocol::Http1 => 0.40,
            Protocol::Http2 => 0.45,
        }
    }
}

impl Row {
    fn of(proxy: &Running) -> Self {
        Self {
            proxy: proxy.name,
            samples: Vec::new(),
            rss_kib: 0,
        }
    }

    /// Reduces one figure of the samples.
    pub fn summary(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<Summary> {
        Summary::of(self.samples.iter().filter_map(figure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(proxy: &'static str, cpu: &[f64]) -> Row {
        let load = Load {
            requests: 10,
            rate: 5.0,
            latency: Some((300.0, 700.0)),
        };
        let samples = cpu.iter().map(|&cpu_us| Sample { cpu_us, load }).collect();
        Row {
            proxy,
            samples,
            rss_kib: 6144,
        }
    }

    fn report() -> Report {
        let plan = Plan {
            slices: 3,
            seconds: 2,
            cofferdam: None,
            cases: vec![Protocol::Http1],
        };
        let rows = vec![
            row("cofferdam", &[10.0, 20.0, 12.0]),
            row("envoy", &[40.0, 80.0, 40.0]),
        ];
        let cases = vec![Case {
            protocol: Protocol::Http1,
            rows,
        }];
        Report { plan, cases }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let ratio = report().cases[0].ratio("cofferdam", "envoy").unwrap();
        // A machine twice as slow in round two changes nothing.
        assert_eq!((ratio.min, ratio.median, ratio.max), (0.25, 0.25, 0.3));
        assert_eq!(report().ratio(), Some(0.25));
    }

    #[test]
    fn a_missing_peer_leaves_its_columns_empty() {
        let text = report().table();
        assert!(
            text.contains("| cofferdam | 12.0 (10.0–20.0) | 0.25 (0.25–0.30) | – |"),
            "{text}"
        );
        assert_eq!(report().json()["cases"][0]["rows"][1]["proxy"], "envoy");
    }
}
