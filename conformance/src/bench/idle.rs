//! What a proxy costs when nothing happens: memory of an idle connection, and wake-ups. A
//! sidecar is idle most of its life, a thousand times over.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use super::cases::HELD;
use super::report::{Column, Named, Report};
use super::world::{Guest, World};
use super::{Plan, probe};
use crate::client::Client;
use crate::peer::{Proxy, Running, Setup};
use crate::scratch::Scratch;
use crate::{Error, Result, proc, process, tool};

/// HTTP/2 connections whose memory is read.
const HTTP2: usize = 1000;
/// Connections opened, used and closed first, so that pools and caches are not counted.
const WARM_UP: usize = 50;
/// How long nothing is done while wake-ups are counted.
const WATCH: Duration = Duration::from_secs(5);
/// Time for a proxy to finish with what came before.
const SETTLE: Duration = Duration::from_secs(1);
/// Open files needed by this process and, by inheritance, each proxy.
const OPEN_FILES: u64 = 12_000;
const ROUNDS: usize = 3;

pub(super) fn run(world: &World, plan: &Plan, report: &mut Report) -> Result<()> {
    raise_open_files()?;
    for _ in 0..ROUNDS.min(plan.slices) {
        for column in [Column::Hot, Column::Envoy] {
            measure(world, column, report)?;
        }
    }
    Ok(())
}

/// What each of so many idle connections takes, in KiB: over HTTP/1.1, and over HTTP/2.
///
/// # Errors
/// The proxy does not start, or closes one of them.
pub(crate) fn held(
    proxy: &Proxy,
    upstream: SocketAddr,
    count: usize,
    setup: &Setup,
    scratch: &Scratch,
) -> Result<[f64; 2]> {
    raise_open_files()?;
    // A process each: what one kind has left behind would be room for the other.
    let http1 = memory(&proxy.start(setup, upstream, scratch)?, count, open)?;
    let http2 = memory(&proxy.start(setup, upstream, scratch)?, count, open_http2)?;
    Ok([http1, http2])
}

fn measure(world: &World, column: Column, report: &mut Report) -> Result<()> {
    let unit = "KiB/connection";
    let mut add = |id, case, unit, sample| report.add(Named { id, case, unit }, column, sample);
    // A process each: what one kind has left behind would be room for the other.
    let plain = world.start(column, &Setup::default())?;
    let each = memory(&plain, HELD, open)?;
    add("idle.http1", "an idle HTTP/1.1 connection", unit, each);
    drop(plain);
    let plain = world.start(column, &Setup::default())?;
    let each = memory(&plain, HTTP2, open_http2)?;
    add("idle.http2", "an idle HTTP/2 connection", unit, each);
    drop(plain);
    // Filters may need timers, and nothing else here does.
    let guest = Guest {
        name: "bench_transform",
        configuration: "",
        count: 1,
    };
    let of = if world.has(column) {
        column
    } else {
        Column::Cold
    };
    let sidecar = world.start(of, &world.setup(of, Some(guest))?)?;
    let held = open(sidecar.http1, WARM_UP)?;
    std::thread::sleep(SETTLE);
    let start = proc::switches(sidecar.pid())?;
    std::thread::sleep(WATCH);
    let switches = proc::switches(sidecar.pid())?.since(&start);
    drop(held);
    let rate = switches as f64 / WATCH.as_secs_f64();
    add(
        "idle.wakeups",
        "idle, one filter, 50 connections",
        "wake-ups/s",
        rate,
    );
    Ok(())
}

/// What each of many connections takes, in KiB.
fn memory(
    proxy: &Running,
    count: usize,
    open: fn(SocketAddr, usize) -> Result<Vec<TcpStream>>,
) -> Result<f64> {
    drop(open(proxy.http1, WARM_UP)?);
    std::thread::sleep(SETTLE);
    let before = proc::rss_kib(proxy.pid())?;
    let held = open(proxy.http1, count)?;
    std::thread::sleep(SETTLE);
    let after = proc::rss_kib(proxy.pid())?;
    let lost = held.iter().filter(|held| !is_open(held)).count();
    if lost > 0 {
        return Err(Error::Failed(format!(
            "{} closed {lost} of {count} idle connections while they were counted",
            proxy.name
        )));
    }
    Ok(after.saturating_sub(before) as f64 / count as f64)
}

/// Opens connections one after the other, one answered request on each.
pub(super) fn open(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let request = probe::request("GET", "/", "");
    let one = |_| {
        let mut client = Client::connect(address)?;
        client.send(&request)?;
        idle(client.into_stream())
    };
    (0..count).map(one).collect()
}

/// The same over HTTP/2.
fn open_http2(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let one = |_| {
        let mut stream =
            TcpStream::connect(address).map_err(|error| Error::failed("a connection", error))?;
        use_http2(&mut stream).map_err(|error| Error::failed("an HTTP/2 request", error))?;
        idle(stream)
    };
    (0..count).map(one).collect()
}

fn idle(stream: TcpStream) -> Result<TcpStream> {
    let set = stream.set_nonblocking(true);
    set.map_err(|error| Error::failed("a connection", error))?;
    Ok(stream)
}

/// One request by hand, because nothing of the client's must outlive it.
fn use_http2(stream: &mut TcpStream) -> std::io::Result<()> {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const END_STREAM: u8 = 1;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
    stream.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])?;
    // :method GET, :scheme http, :path / from HPACK's static table, :authority as a literal.
    let block = b"\x82\x86\x84\x01\x04idle";
    // END_STREAM and END_HEADERS, on stream 1.
    stream.write_all(&[0, 0, block.len() as u8, HEADERS, 5, 0, 0, 0, 1])?;
    stream.write_all(block)?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload)?;
        match kind {
            // Theirs, not the acknowledgement of ours.
            SETTINGS if flags == 0 => stream.write_all(&[0, 0, 0, SETTINGS, 1, 0, 0, 0, 0])?,
            // Status 200 is one byte of the static table, and comes first.
            HEADERS if payload.first() != Some(&0x88) => {
                return Err(ErrorKind::InvalidData.into());
            }
            DATA | HEADERS if flags & END_STREAM != 0 => return Ok(()),
            3 | 7 => return Err(ErrorKind::ConnectionReset.into()),
            _ => {}
        }
    }
}

fn is_open(connection: &TcpStream) -> bool {
    let read = connection.peek(&mut [0]);
    // What HTTP/2 sends by itself is no end.
    !matches!(read, Ok(0)) && !matches!(read, Err(error) if error.kind() != ErrorKind::WouldBlock)
}

/// Raises this process's own limit; the proxies inherit it.
pub(super) fn raise_open_files() -> Result<()> {
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
        "{HELD} connections need {OPEN_FILES} open files; type `ulimit -n {OPEN_FILES}` \
         in this shell and run it again"
    )))
}
