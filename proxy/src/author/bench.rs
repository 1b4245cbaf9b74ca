//! `cofferdam bench`: what each callback of a filter takes, on each engine.
//!
//! The filter runs in the host alone, without sockets and without other work, through a GET and
//! a POST by turns. Times are medians on the clock of a machine that does other things too;
//! the interpreter's fuel is the same each time.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use cofferdam_abi::harness::{
    Border, Call, Engine, Message, Metered, Piece, Reply, Request, Script, Spec, Taken, TestHost,
    Upstream, World,
};
use cofferdam_abi::{Headers, LogLevel, Module};

use super::build::{Failure, note};
use super::test::{Filter, Surroundings, module, peers, said, surroundings};

/// What was typed.
#[derive(Debug, Args)]
pub struct Options {
    /// The filter
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Its configuration; otherwise `configuration` of tests.yaml beside it
    #[arg(long, value_name = "FILE")]
    configuration: Option<PathBuf>,
    /// How many exchanges
    #[arg(long, value_name = "NUMBER", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    exchanges: u32,
}

/// Exchanges before anything is counted: caches fill, guests allocate what they keep.
const WARM_UP: u32 = 50;

/// As many as tell how much goes over the border, which is the same each time.
const ENOUGH: u32 = 200;

/// Measures, and makes a table of it.
///
/// # Errors
/// Why the filter cannot be measured.
pub fn run(options: &Options) -> Result<String, Failure> {
    let unusable = Failure::Unusable;
    let module = module::read(
        &options.file,
        "build the filter first, with `cofferdam build`",
    )
    .map_err(unusable)?;
    let around = beside(options)?;
    let filter = Filter {
        configuration: around.configuration.into(),
        name: "bench".to_owned(),
        hold_headers: around.hold_headers,
        log_level: Some(LogLevel::Critical),
        ..Filter::default()
    };
    let names: Vec<&str> = around.clusters.iter().map(|one| &*one.name).collect();
    let measure = |spec: Spec, exchanges: u32| -> Result<Taken, Failure> {
        let host = TestHost::new(&names, None);
        host.set_level(LogLevel::Critical);
        let mut world = World::new(host.clone(), peers(around.clusters.clone()));
        let (code, taken) = Metered::new(spec.code);
        let code = Box::new(code);
        let so_far = || std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
        world.load(Spec { code, ..spec }).map_err(|error| {
            Failure::Unusable(format!(
                "the filter does not start: {error}{}",
                remarks(&host)
            ))
        })?;
        let start = so_far();
        exchange(&mut world, &host, WARM_UP)?;
        so_far();
        exchange(&mut world, &host, exchanges)?;
        let mut all = so_far();
        // What happens once is shown, too.
        for (name, calls) in start {
            all.entry(name).or_insert(calls);
        }
        Ok(all)
    };
    let mut measured = Vec::new();
    for engine in Engine::ALL {
        note(&format!(
            "{} exchanges on {}",
            options.exchanges,
            engine.name()
        ));
        let spec = module::spec(&filter, &module, *engine).map_err(unusable)?;
        measured.push((*engine, measure(spec, options.exchanges)?));
    }
    // In a run of its own: what counts takes time.
    let spec = module::spec(&filter, &module, Engine::Interpreter).map_err(unusable)?;
    let code = Engine::counting(&module, &spec.settings)
        .map_err(|error| Failure::Unusable(error.to_string()))?;
    let counted = measure(Spec { code, ..spec }, options.exchanges.min(ENOUGH))?;
    Ok(table(options, &module, &measured, &counted))
}

fn beside(options: &Options) -> Result<Surroundings, Failure> {
    let cases = options.file.with_file_name("tests.yaml");
    let mut around = match std::fs::read(&cases) {
        Ok(bytes) => surroundings(&cases.display().to_string(), &bytes).map_err(|problems| {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Failure::Unusable(lines.join("\n"))
        })?,
        Err(_) => Surroundings::default(),
    };
    if let Some(file) = &options.configuration {
        around.configuration = std::fs::read_to_string(file)
            .map_err(|error| Failure::Unusable(format!("{}: {error}", file.display())))?;
    }
    Ok(around)
}

fn exchange(world: &mut World, host: &TestHost, count: u32) -> Result<(), Failure> {
    for number in 0..count {
        let seen = world
            .exchange(vec![request(number % 2 == 1)])
            .pop()
            .flatten();
        let failed = seen.is_none_or(|seen| seen.failure.is_some());
        if failed {
            let what = format!("the filter failed in exchange {number}{}", remarks(host));
            return Err(Failure::Unusable(what));
        }
        host.take_records();
    }
    Ok(())
}

fn remarks(host: &TestHost) -> String {
    let remarks = said::collapsed(host.take_remarks());
    remarks
        .iter()
        .fold(String::new(), |text, remark| text + "\n" + remark)
}

fn pairs(list: &[(&'static str, &'static str)]) -> Headers {
    let own = |(name, value): &(&'static str, &'static str)| {
        (
            Bytes::from_static(name.as_bytes()),
            Bytes::from_static(value.as_bytes()),
        )
    };
    Headers::from_entries(list.iter().map(own).collect())
}

/// What a browser sends, roughly; a POST with 16 KiB in four pieces.
fn request(post: bool) -> Request {
    let method = if post { "POST" } else { "GET" };
    let headers = pairs(&[
        (":authority", "bench.example"),
        (":path", "/some/path?with=a&query=b"),
        (":method", method),
        (":scheme", "http"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        (
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        ),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br"),
        ("authorization", "Bearer bench"),
        ("cookie", "session=0123456789abcdef; theme=dark"),
        ("x-request-id", "9b1195b1-6ab0-418d-9ccd-da1d82b092fe"),
    ]);
    let mut client = vec![(Duration::ZERO, Piece::Head(Headers::default(), !post))];
    if post {
        let piece = Bytes::from_static(&[b'x'; 4096]);
        let data = |last| (Duration::ZERO, Piece::Data(piece.clone(), last));
        client.extend([data(false), data(false), data(false), data(true)]);
    }
    Request {
        headers,
        protocol: "HTTP/1.1",
        client,
        patience: Duration::from_secs(3600),
        upstream: Box::new(Answer),
        properties: Vec::new(),
    }
}

/// 4 KiB of text in two pieces.
#[derive(Debug)]
struct Answer;

impl Upstream for Answer {
    fn head(&mut self, _request: &Message) -> Reply {
        Reply::Wait
    }

    fn answer(&mut self, _request: &Message) -> Script {
        let headers = pairs(&[
            (":status", "200"),
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", "4096"),
            ("cache-control", "max-age=60"),
            ("server", "bench"),
        ]);
        let piece = Bytes::from_static(&[b'y'; 2048]);
        vec![
            (Duration::ZERO, Piece::Head(headers, false)),
            (Duration::ZERO, Piece::Data(piece.clone(), false)),
            (Duration::ZERO, Piece::Data(piece, true)),
        ]
    }
}

fn table(
    options: &Options,
    module: &Module,
    measured: &[(Engine, Taken)],
    counted: &Taken,
) -> String {
    let mut out = String::new();
    let (file, exchanges) = (options.file.display(), options.exchanges);
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{file}  {} bytes; {exchanges} exchanges, GET and POST by turns",
        module.bytes.len()
    );
    let _ = write!(out, "{:<32} {:>7}", "callback", "calls");
    for (engine, _) in measured {
        let _ = write!(out, " {:>10}", format!("{} µs", engine.name()));
    }
    let titles = ["fuel", "growth", "allocs", "to guest", "from guest"];
    for title in titles {
        let _ = write!(out, " {title:>10}");
    }
    out.push('\n');
    let Some((_, first)) = measured.first() else {
        return out;
    };
    for (name, calls) in first {
        let _ = write!(out, "{name:<32} {:>7}", calls.len());
        for (_, taken) in measured {
            let time = taken.get(name).map(|calls| median(calls, |call| call.time));
            let shown = time.map_or_else(|| "-".to_owned(), micros);
            let _ = write!(out, " {shown:>10}");
        }
        let growth: usize = calls.iter().map(|call| call.growth).sum();
        let fuel = median(calls, |call| call.fuel);
        let _ = write!(out, " {fuel:>10} {growth:>10}");
        let counted = counted.get(name).map_or(&[][..], Vec::as_slice);
        let border: [fn(&Border) -> u64; 3] = [
            |border| border.allocations,
            |border| border.to_guest,
            |border| border.from_guest,
        ];
        for of in border {
            let _ = write!(out, " {:>10}", mean(counted, of));
        }
        out.push('\n');
    }
    out.push_str(EXPLAINED);
    out
}

const EXPLAINED: &str = "\
µs and fuel are medians of one call, hostcalls included; fuel is the interpreter's, about an instruction each
growth is of the guest's memory, in bytes, all calls together
of one call in the mean: allocs are calls of the guest's allocator by the host, to guest and from guest the bytes that its hostcalls carry
";

/// With a digit behind the point where it is no whole number.
fn mean(calls: &[Call], of: fn(&Border) -> u64) -> String {
    let sum: u64 = calls.iter().map(|call| of(&call.border)).sum();
    let count = calls.len().max(1) as u64;
    if sum.is_multiple_of(count) {
        return (sum / count).to_string();
    }
    format!("{:.1}", sum as f64 / count as f64)
}

fn median<T: Ord + Copy + Default>(calls: &[Call], of: impl Fn(&Call) -> T) -> T {
    let mut values: Vec<T> = calls.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn micros(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e6)
}
