//! One slice of load: `wrk` for HTTP/1.1, `h2load` for HTTP/2, and what they report.
//!
//! A slice with any error in it is no sample: a proxy that fails requests is cheap.

use std::process::Command;
use std::time::Duration;

use crate::peer::{Running, nginx};
use crate::scratch::Scratch;
use crate::{Error, Result, process, tool};

/// What requests are sent, and over what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// GET over HTTP/1.1 keep-alive, 32 connections, one request in flight on each.
    Http1,
    /// GET over HTTP/2 by prior knowledge, 4 connections with 8 streams each.
    Http2,
    /// POST with a body as large as the upstream's answer, HTTP/1.1, 16 connections.
    Bodies,
}

/// Headers of every request beside `host`: what clients send, and one that a filter removes.
pub const HEADERS: [(&str, &str); 4] = [
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ),
    ("accept", "application/json"),
    ("accept-language", "en-GB,en;q=0.8"),
    ("x-internal", "1"),
];

/// What one slice did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Requests answered.
    pub requests: u64,
    /// Requests per second.
    pub rate: f64,
    /// Median and 99th percentile of the latency in µs, where the client tells.
    pub latency: Option<(f64, f64)>,
}

/// Runs one slice against a proxy; `more` is what requests carry beside [`HEADERS`].
///
/// # Errors
/// The client cannot be had, or the slice had a single failed request.
pub fn run(
    shape: Shape,
    more: &[(&str, &str)],
    target: &Running,
    seconds: u32,
    scratch: &Scratch,
) -> Result<Load> {
    let parse = match shape {
        Shape::Http1 | Shape::Bodies => parse_wrk,
        Shape::Http2 => parse_h2load,
    };
    let limit = Duration::from_secs(u64::from(seconds) + 20);
    let done = process::run(command(shape, more, target, seconds, scratch)?, limit)?;
    let parsed = parse(&done.stdout);
    let (true, Some(outcome)) = (done.success, parsed) else {
        let said = format!("{}{}", done.stdout, done.stderr);
        return Err(Error::failed(format!("load on {}", target.name), said));
    };
    if outcome.errors > 0 || outcome.load.requests == 0 {
        return Err(Error::Failed(format!(
            "load on {}: {} of {} requests failed:\n{}",
            target.name, outcome.errors, outcome.load.requests, done.stdout
        )));
    }
    Ok(outcome.load)
}

fn command(
    shape: Shape,
    more: &[(&str, &str)],
    target: &Running,
    seconds: u32,
    scratch: &Scratch,
) -> Result<Command> {
    let mut command = match shape {
        Shape::Http1 | Shape::Bodies => {
            let connections = if shape == Shape::Http1 {
                "-c32"
            } else {
                "-c16"
            };
            let mut command = Command::new(tool::find("wrk", "wrk")?);
            command.args(["-t1", connections, "--latency", &format!("-d{seconds}s")]);
            if shape == Shape::Bodies {
                let size = nginx::LARGE_BODY;
                let script = format!("wrk.method = 'POST'\nwrk.body = string.rep('a', {size})\n");
                command.arg("-s").arg(scratch.write("bodies.lua", &script)?);
            }
            command
        }
        Shape::Http2 => {
            let mut command = Command::new(tool::find("h2load", "nghttp2-client")?);
            command.args(["-t1", "-c4", "-m8", "-D", &seconds.to_string()]);
            command
        }
    };
    for (name, value) in HEADERS.iter().chain(more) {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    command.arg(match shape {
        Shape::Http1 => format!("http://{}/", target.http1),
        Shape::Bodies => format!("http://{}/body", target.http1),
        Shape::Http2 => format!("http://{}/", target.http2),
    });
    Ok(command)
}

#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) load: Load,
    pub(crate) errors: u64,
}

pub(crate) fn parse_wrk(text: &str) -> Option<Outcome> {
    let mut requests = None;
    let (mut rate, mut p50, mut p99) = (None, None, None);
    let mut errors = 0;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words.as_slice() {
            ["50%", time] => p50 = microseconds(time),
            ["99%", time] => p99 = microseconds(time),
            [count, "requests", "in", ..] => requests = count.parse().ok(),
            ["Requests/sec:", value] => rate = value.parse().ok(),
            ["Socket", "errors:", ..] | ["Non-2xx", ..] => errors += numbers(line),
            _ => {}
        }
    }
    let load = Load {
        requests: requests?,
        rate: rate?,
        latency: Some((p50?, p99?)),
    };
    Some(Outcome { load, errors })
}

pub(crate) fn parse_h2load(text: &str) -> Option<Outcome> {
    let mut rate = None;
    let (mut total, mut answered) = (None, None);
    for line in text.lines() {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("finished in ") {
            rate = number_before(rest, "req/s");
        } else if let Some(rest) = line.strip_prefix("requests: ") {
            total = number_before(rest, "done");
        } else if let Some(rest) = line.strip_prefix("status codes: ") {
            answered = number_before(rest, "2xx");
        }
    }
    let (total, answered): (f64, f64) = (total?, answered?);
    // Whole numbers from a program's text: nothing is lost here.
    let (total, answered) = (total as u64, answered as u64);
    let load = Load {
        requests: answered,
        rate: rate?,
        latency: None,
    };
    Some(Outcome {
        load,
        errors: total.saturating_sub(answered),
    })
}

fn number_before(text: &str, unit: &str) -> Option<f64> {
    let words: Vec<&str> = text
        .split([' ', ','])
        .filter(|word| !word.is_empty())
        .collect();
    let pair = words.windows(2).find(|pair| pair.last() == Some(&unit))?;
    pair.first()?.parse().ok()
}

fn numbers(line: &str) -> u64 {
    line.split(|c: char| !c.is_ascii_alphanumeric())
        .filter_map(|word| word.parse::<u64>().ok())
        .sum()
}

fn microseconds(time: &str) -> Option<f64> {
    let unit = time.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = time.split_at(unit);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRK: &str = "\
Running 2s test @ http://127.0.0.1:9/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.02ms  240.10us   4.32ms   83.14%
    Req/Sec    31.15k     1.02k   33.21k    70.00%
  Latency Distribution
     50%  980.00us
     75%    1.10ms
     90%    1.30ms
     99%    1.85ms
  62300 requests in 2.00s, 9.00MB read
Requests/sec:  31150.10
Transfer/sec:      4.50MB
";

    #[test]
    fn wrk_is_read() {
        let outcome = parse_wrk(WRK).unwrap();
        assert_eq!(outcome.errors, 0);
        assert_eq!(outcome.load.requests, 62_300);
        assert_eq!(outcome.load.latency, Some((980.0, 1850.0)));
        assert_eq!(parse_wrk("unable to connect"), None);
    }

    #[test]
    fn errors_of_wrk_are_counted() {
        let text = format!(
            "{WRK}  Socket errors: connect 0, read 3, write 0, timeout 1\n  Non-2xx or 3xx responses: 12\n"
        );
        assert_eq!(parse_wrk(&text).unwrap().errors, 16);
    }

    #[test]
    fn h2load_is_read() {
        let text = "\
finished in 2.00s, 51234.50 req/s, 1.50MB/s
requests: 102469 total, 102501 started, 102469 done, 102460 succeeded, 9 failed, 9 errored, 0 timeout
status codes: 102460 2xx, 0 3xx, 0 4xx, 9 5xx
";
        let outcome = parse_h2load(text).unwrap();
        assert_eq!(outcome.errors, 9);
        assert_eq!(outcome.load.requests, 102_460);
        assert_eq!(outcome.load.rate, 51_234.5);
    }
}
