//! `raw-http`: malformed requests over raw sockets, Cofferdam beside the real Envoy.
//! The exit status says whether Cofferdam let one through that it must not.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cofferdam_conformance::args::{Args, Opt};
use cofferdam_conformance::peer::{Proxy, Setup, envoy};
use cofferdam_conformance::raw::case::{self, Case};
use cofferdam_conformance::raw::report::{self, Column};
use cofferdam_conformance::raw::upstream::Upstream;
use cofferdam_conformance::scratch::{self, Scratch};
use cofferdam_conformance::{Error, Result, error};

const ABOUT: &str = "\
raw-http: malformed and ambiguous HTTP/1 requests, and what reaches the upstream.
Exits 1 when Cofferdam (or --target) lets a smuggled request through.";

const OPTIONS: &[Opt] = &[
    Opt {
        name: "--cofferdam",
        value: Some("PATH"),
        help: "start this program and test it",
    },
    Opt {
        name: "--envoy",
        value: None,
        help: "start the real Envoy and test it",
    },
    Opt {
        name: "--target",
        value: Some("ADDR"),
        help: "test a proxy that runs, in front of --upstream",
    },
    Opt {
        name: "--upstream",
        value: Some("ADDR"),
        help: "where the recording upstream listens, for --target",
    },
    Opt {
        name: "--http2",
        value: None,
        help: "frames of HTTP/2 instead of HTTP/1",
    },
    Opt {
        name: "--case",
        value: Some("TEXT"),
        help: "only cases whose name contains this; prints bytes",
    },
    Opt {
        name: "--write",
        value: Some("FILE"),
        help: "write the table as a document",
    },
];

fn main() -> ExitCode {
    error::conclude("raw-http", run())
}

fn run() -> Result<u8> {
    let Some(args) = Args::from_env(ABOUT, OPTIONS)? else {
        return Ok(0);
    };
    let mut cases = case::all();
    if let Some(text) = args.text("--case") {
        cases.retain(|case| case.name.contains(text));
    }
    let scratch = Scratch::new("raw-http")?;
    if args.has("--http2") {
        return over_http2(&args, &scratch);
    }
    let mut columns = Vec::new();
    let mut holes = 0;
    if args.has("--envoy") {
        let name = format!("Envoy {}", envoy::VERSION);
        columns.push(started(&Proxy::Envoy, name, &cases, &scratch)?);
    }
    if let Some(path) = args.text("--cofferdam") {
        let proxy = Proxy::Cofferdam(PathBuf::from(path));
        let column = started(&proxy, "Cofferdam".to_owned(), &cases, &scratch)?;
        holes += column.holes();
        columns.push(column);
    }
    if let Some(target) = args.text("--target") {
        let upstream = Upstream::bind(address(args.required("--upstream")?)?)?;
        let column = Column::of(target.to_owned(), &cases, address(target)?, &upstream)?;
        holes += column.holes();
        columns.push(column);
    }
    if columns.is_empty() {
        return Err(Error::Usage(
            "give --envoy, --cofferdam PATH or --target ADDR".to_owned(),
        ));
    }
    print!("{}", report::table(&cases, &columns));
    if args.has("--case") {
        print_bytes(&cases, &columns);
    }
    if let Some(file) = args.text("--write") {
        scratch::write(Path::new(file), &report::document(&cases, &columns))?;
    }
    if holes > 0 {
        println!("{holes} cases let through what they must not");
    }
    Ok(u8::from(holes > 0))
}

fn over_http2(args: &Args, scratch: &Scratch) -> Result<u8> {
    use cofferdam_conformance::http2::{case, report};
    let mut cases = case::all();
    if let Some(text) = args.text("--case") {
        cases.retain(|case| case.id.contains(text));
    }
    let mut columns = Vec::new();
    let mut of = |proxy: &Proxy, name: String| {
        let upstream = Upstream::start()?;
        let mut running = proxy.start(&Setup::default(), upstream.address(), scratch)?;
        let patience = report::PATIENCE;
        let column = report::Column::of(name, &cases, running.http2, &upstream, patience)?;
        running.check()?;
        let counts = column.counts();
        columns.push(column);
        Ok::<_, Error>(counts)
    };
    if args.has("--envoy") {
        of(&Proxy::Envoy, format!("Envoy {}", envoy::VERSION))?;
    }
    let path = PathBuf::from(args.required("--cofferdam")?);
    let (bad, holes) = of(&Proxy::Cofferdam(path), "Cofferdam".to_owned())?;
    print!("{}", report::table(&cases, &columns));
    if args.has("--case") {
        for (index, case) in cases.iter().enumerate() {
            for column in &columns {
                let record = &column.outcomes[index].record;
                println!("{} {}:\n{}", case.id, column.name, raw_bytes(record));
            }
        }
    }
    if let Some(file) = args.text("--write") {
        scratch::write(Path::new(file), &report::document(&cases, &columns))?;
    }
    println!("{bad} answers otherwise than may be, {holes} let through what they must not");
    Ok(u8::from(holes > 0))
}

fn raw_bytes(record: &cofferdam_conformance::raw::upstream::Record) -> String {
    report::bytes(record)
}

fn started(proxy: &Proxy, name: String, cases: &[Case], scratch: &Scratch) -> Result<Column> {
    let upstream = Upstream::start()?;
    let mut running = proxy.start(&Setup::default(), upstream.address(), scratch)?;
    let column = Column::of(name, cases, running.http1, &upstream)?;
    running.check()?;
    Ok(column)
}

fn address(text: &str) -> Result<SocketAddr> {
    text.parse()
        .map_err(|_| Error::Usage(format!("{text} is not an address with a port")))
}

fn print_bytes(cases: &[Case], columns: &[Column]) {
    for (index, case) in cases.iter().enumerate() {
        println!("\n{}: {}", case.name, case.bytes.escape_ascii());
        for column in columns {
            let Some(outcome) = column.outcomes.get(index) else {
                continue;
            };
            println!("  {}: {}", column.name, outcome.answer.bytes.escape_ascii());
            print!("{}", report::bytes(&outcome.record));
        }
    }
}
