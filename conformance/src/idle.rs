//! What a proxy costs when nothing happens: memory of an idle keep-alive connection and
//! wake-ups of the process. A sidecar is idle most of its life, a thousand times over.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::peer::{self, Running};
use crate::raw::exchange;
use crate::scratch::Scratch;
use crate::{Error, Result, plain, proc, process, tool};

/// The most an idle connection may hold, in KiB.
pub const KIB_LIMIT: f64 = 14.0;
/// Context switches per second above which something wakes up periodically.
pub const SWITCHES_LIMIT: f64 = 0.5;
/// Idle connections held.
pub const CONNECTIONS: usize = 1000;

/// Connections opened, used and closed first, so that pools and caches are not counted.
const WARM_UP: usize = 50;
/// How long nothing is done while wake-ups are counted.
const WATCH: Duration = Duration::from_secs(5);
/// Time for the proxy to finish with what came before.
const SETTLE: Duration = Duration::from_secs(1);
/// Open files needed by this process and, by inheritance, each proxy.
const OPEN_FILES: u64 = 4096;

/// What one proxy cost.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// The proxy.
    pub proxy: &'static str,
    /// Growth of resident memory for each connection.
    pub kib_per_connection: f64,
    /// Context switches per second of all threads.
    pub switches_per_second: f64,
}

impl Idle {
    /// Whether both figures are within their limits.
    pub fn passes(&self) -> bool {
        self.kib_per_connection <= KIB_LIMIT && self.switches_per_second <= SWITCHES_LIMIT
    }
}

/// Measures Cofferdam, or without it the peers.
///
/// # Errors
/// A peer cannot be had, or lets go of a connection meanwhile.
pub fn run(cofferdam: Option<PathBuf>) -> Result<Vec<Idle>> {
    raise_open_files()?;
    let scratch = Scratch::new("bench-idle")?;
    let upstream = peer::upstream(&scratch)?;
    let proxies = match cofferdam {
        Some(path) => vec![peer::Proxy::Cofferdam(path).start(upstream.http1, &scratch)?],
        None => plain::start(None, &upstream, &scratch)?,
    };
    proxies.iter().map(measure).collect()
}

fn measure(proxy: &Running) -> Result<Idle> {
    proxy.probe()?;
    drop(open(proxy.http1, WARM_UP)?);
    std::thread::sleep(SETTLE);
    let before = proc::rss_kib(proxy.pid())?;
    let held = open(proxy.http1, CONNECTIONS)?;
    std::thread::sleep(SETTLE);
    let after = proc::rss_kib(proxy.pid())?;
    let start = proc::switches(proxy.pid())?;
    std::thread::sleep(WATCH);
    let switches = proc::switches(proxy.pid())?.since(&start);
    let lost = held
        .iter()
        .filter(|connection| !is_open(connection))
        .count();
    if lost > 0 {
        return Err(Error::Failed(format!(
            "{} closed {lost} of {CONNECTIONS} idle connections while they were counted",
            proxy.name
        )));
    }
    Ok(Idle {
        proxy: proxy.name,
        kib_per_connection: after.saturating_sub(before) as f64 / CONNECTIONS as f64,
        switches_per_second: switches as f64 / WATCH.as_secs_f64(),
    })
}

/// Opens connections one after the other, one answered request on each.
fn open(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let mut held = Vec::with_capacity(count);
    for number in 0..count {
        let connection = use_once(address)
            .map_err(|error| Error::failed(format!("idle connection {number}"), error))?;
        held.push(connection);
    }
    Ok(held)
}

fn use_once(address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    connection.write_all(b"GET / HTTP/1.1\r\nhost: idle\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut chunk = [0; 2048];
    while exchange::Answers::parse(&answer).complete == 0 {
        let read = connection.read(&mut chunk)?;
        if read == 0 {
            return Err(std::io::Error::from(ErrorKind::UnexpectedEof));
        }
        answer.extend_from_slice(&chunk[..read]);
    }
    connection.set_nonblocking(true)?;
    Ok(connection)
}

fn is_open(connection: &TcpStream) -> bool {
    let read = connection.peek(&mut [0]);
    matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Raises this process's own limit; the proxies inherit it.
fn raise_open_files() -> Result<()> {
    let enough = |limit: Option<u64>| limit.is_some_and(|limit| limit >= OPEN_FILES);
    if enough(proc::open_file_limit()) {
        return Ok(());
    }
    // The soft limit alone where the hard one allows it; root may raise both.
    for value in [
        format!("{OPEN_FILES}:"),
        format!("{OPEN_FILES}:{OPEN_FILES}"),
    ] {
        let Some(prlimit) = tool::on_path("prlimit") else {
            break;
        };
        let mut command = Command::new(prlimit);
        command.args(["--pid", &std::process::id().to_string()]);
        command.arg(format!("--nofile={value}"));
        if process::run(command, Duration::from_secs(10))?.success {
            break;
        }
    }
    if enough(proc::open_file_limit()) {
        return Ok(());
    }
    Err(Error::Unavailable(format!(
        "{CONNECTIONS} connections need {OPEN_FILES} open files; type `ulimit -n {OPEN_FILES}` \
         in this shell and run it again"
    )))
}
