//! What the soaks under load have in common: the proxy that is looked at, with its log; clients
//! that ask it for so many seconds; and how what became of their requests is told.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::load::{parse_h2load, parse_wrk};
use crate::process::{self, Server};
use crate::scratch::Scratch;
use crate::{Error, Result, tool};

/// The longest that anything is waited for.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// Answered requests in a second that make it a load.
pub(super) const ENOUGH: f64 = 2_000.0;
/// Errors of the proxy's that are shown.
const SHOWN: usize = 5;

/// Requests that were answered with 200, and others.
pub(super) type Counts = (u64, u64);

/// The name, the program and its arguments: `wrk` or `h2load`.
pub(super) type Client = (&'static str, &'static str, &'static [&'static str]);

/// A proxy at work, and what it says.
pub(super) struct Subject {
    pub(super) server: Server,
    log: PathBuf,
}

// === impl Subject ===

impl Subject {
    /// Starts `program` with the configuration in `file`, which listens at `web`; its filters have
    /// been started then.
    pub(super) fn start(
        program: &Path,
        file: &Path,
        log: PathBuf,
        web: SocketAddr,
    ) -> Result<Self> {
        let arguments = ["--log", "info", "run", "--config"].map(std::ffi::OsStr::new);
        let arguments = arguments.into_iter().chain([file.as_os_str()]);
        let mut server = Server::start("cofferdam", program, arguments, log.clone())?;
        server.wait_listening(web, LIMIT)?;
        let started = Self { server, log };
        // Who connects before is let in by the kernel, and waits.
        let until = Instant::now() + LIMIT;
        while started.times(" listening: ")? == 0 {
            if Instant::now() > until {
                return Err(Error::Failed("the proxy does not come to serve".to_owned()));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(started)
    }

    pub(super) fn text(&self) -> Result<String> {
        std::fs::read_to_string(&self.log).map_err(|error| Error::failed(self.log.display(), error))
    }

    /// How often it has said `words`.
    pub(super) fn times(&self, words: &str) -> Result<u64> {
        Ok(self.text()?.matches(words).count() as u64)
    }

    /// Configurations that have come to run since the first.
    pub(super) fn reloads(&self) -> Result<u64> {
        self.times("the configuration has come to run")
    }

    /// Prints the first lines of its log that are errors; how many there are.
    pub(super) fn errors(&self) -> Result<usize> {
        let text = self.text()?;
        let errors: Vec<&str> = text.lines().filter(|line| line.contains("ERROR")).collect();
        for error in errors.iter().take(SHOWN) {
            println!("  {error}");
        }
        Ok(errors.len())
    }
}

/// Prints what became of the requests of each client, and adds them up.
pub(super) fn tell(done: &[(&str, Counts)]) -> Counts {
    let (mut whole, mut failures) = (0, 0);
    for (what, (requests, failed)) in done {
        println!("  {what}: {requests} requests, {failed} failed");
        whole += requests;
        failures += failed;
    }
    (whole, failures)
}

/// What a client's thread came to.
pub(super) fn joined<T>(client: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    client.join().unwrap_or_else(|_| Err(panicked()))
}

pub(super) fn panicked() -> Error {
    Error::Failed("a client panicked".to_owned())
}

/// Lets one client ask for `url` for so many seconds, at work in the folder of `scratch`.
pub(super) fn load(
    (what, program, arguments): &Client,
    url: &str,
    seconds: u64,
    scratch: &Scratch,
) -> Result<Counts> {
    let package = if *program == "h2load" {
        "nghttp2-client"
    } else {
        program
    };
    let mut command = Command::new(tool::find(program, package)?);
    command.args(*arguments).current_dir(scratch.path());
    match *program {
        "h2load" => command.args(["-D", &seconds.to_string()]),
        _ => command.args(["--latency", "--timeout", "10s", &format!("-d{seconds}s")]),
    };
    command.arg(url);
    let done = process::run(command, Duration::from_secs(seconds) + LIMIT)?;
    let outcome = match *program {
        "h2load" => parse_h2load(&done.stdout),
        _ => parse_wrk(&done.stdout),
    };
    match outcome {
        Some(outcome) if done.success => Ok((outcome.load.requests, outcome.errors)),
        _ => {
            let said = format!("{}{}", done.stdout, done.stderr);
            Err(Error::failed(what, said))
        }
    }
}
