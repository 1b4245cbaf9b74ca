//! A configuration that changes ten times a second under load: whether a single request fails
//! for it, and whether anything of former configurations stays.
//!
//! Failed is a request without a response, reset after it was sent, or answered otherwise than
//! with 200. Connections that are kept and new ones, HTTP/1.1 and HTTP/2, and bodies that are
//! on their way for longer than a configuration lasts, all at once.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::frame::{Client, Counts, ENOUGH, LIMIT, Subject, joined, load, tell};
use super::world::Upstream;
use crate::scratch::{self, Scratch};
use crate::{Error, Result, proc};

const EACH: Duration = Duration::from_millis(100);
/// Memory at the end, as a multiple of what it was when a quarter had passed.
const MOST: f64 = 1.1;

/// What clients do at once, and how what they print is read.
pub(super) const CLIENTS: [Client; 4] = [
    ("connections that are kept", "wrk", &["-t1", "-c16"]),
    (
        "a connection for each request",
        "wrk",
        &["-t1", "-c4", "-H", "connection: close"],
    ),
    ("HTTP/2", "h2load", &["-t1", "-c4", "-m8"]),
    ("bodies", "wrk", &["-t1", "-c4", "-s", "bodies.lua"]),
];

/// Runs for so many seconds with the proxy at `program`, and prints what was measured. Returns
/// whether all went well.
///
/// # Errors
/// Something that is needed is not there.
pub fn run(program: &Path, seconds: u64) -> Result<bool> {
    let module = super::guest("headers")?;
    let module = module.as_path();
    let scratch = Scratch::new("soak-reload")?;
    let upstreams = [Upstream::start()?, Upstream::start()?];
    let [web, more] = scratch::free_ports::<2>()?.map(scratch::loopback);
    let file = scratch.path().join("proxy.yaml");
    let write = |round: u64| {
        let text = configuration(round, [&upstreams[0], &upstreams[1]], web, more, module);
        let aside = scratch.write("proxy.new", &text)?;
        std::fs::rename(aside, &file).map_err(|error| Error::failed(file.display(), error))
    };
    write(0)?;
    write_bodies(&scratch)?;
    let mut proxy = Subject::start(program, &file, scratch.path().join("proxy.log"), web)?;

    let (over, url) = (AtomicBool::new(false), format!("http://{web}/"));
    let (mut first, mut rounds) = (None, 0);
    let done = thread::scope(|scope| {
        let slow: Vec<_> = (0..4).map(|_| scope.spawn(|| upload(web, &over))).collect();
        let loads: Vec<_> = CLIENTS
            .iter()
            .map(|client| scope.spawn(|| load(client, &url, seconds, &scratch)))
            .collect();
        let began = Instant::now();
        let mut failed = None;
        while loads.iter().any(|load| !load.is_finished()) && failed.is_none() {
            rounds += 1;
            failed = write(rounds).err();
            proxy.server.hang_up();
            if first.is_none() && began.elapsed() > Duration::from_secs(seconds) / 4 {
                first = proc::rss_kib(proxy.server.pid()).ok();
            }
            thread::sleep(EACH);
        }
        over.store(true, Ordering::Relaxed);
        let mut done = Vec::new();
        for (load, (what, ..)) in loads.into_iter().zip(CLIENTS) {
            done.push((what, joined(load)?));
        }
        for upload in slow {
            done.push(("bodies that take half a second", joined(upload)?));
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(done),
        }
    })?;

    let reloads = proxy.reloads()?;
    let last = proc::rss_kib(proxy.server.pid())?;
    let (whole, failures) = tell(&done);
    let rate = whole as f64 / seconds as f64;
    let grown = first.map_or(f64::INFINITY, |first| last as f64 / first as f64);
    println!(
        "  {rate:.0} requests/s (at least {ENOUGH}) during {reloads} reloads of {rounds}; {failures} failed; \
         {grown:.3} × the memory (at most {MOST}), {last} KiB"
    );
    let errors = proxy.errors()?;
    proxy.server.terminate(LIMIT)?;
    Ok(failures == 0 && errors == 0 && rate >= ENOUGH && grown <= MOST && reloads > 0)
}

/// What the clients that send bodies are told.
pub(super) fn write_bodies(scratch: &Scratch) -> Result<()> {
    let script = "wrk.method = 'POST'\nwrk.body = string.rep('a\\n', 16384)\n";
    scratch.write("bodies.lua", script).map(drop)
}

/// What changes from one to the next: the number of routes, which upstream answers, the
/// settings of one filter and not of the other, a listener that comes and goes.
pub(super) fn configuration(
    round: u64,
    [one, two]: [&Upstream; 2],
    web: SocketAddr,
    more: SocketAddr,
    module: &Path,
) -> String {
    let turn = if round.is_multiple_of(2) { one } else { two }.address();
    let mut text = format!(
        "workers: 2\n\
         filters:\n\
         - {{ name: kept, module: {{ file: '{module}' }}, vm_id: kept, limits: {{ callback: 5s }} }}\n\
         - {{ name: changed, module: {{ file: '{module}' }}, vm_id: changed, limits: {{ callback: {}ms }} }}\n\
         clusters:\n\
         - {{ name: same, endpoints: ['{}'] }}\n\
         - {{ name: turn, endpoints: ['{turn}'] }}\n\
         listeners:\n\
         - name: web\n  address: '{web}'\n  filters: [kept, changed]\n  routes:\n",
        5_000 + round % 50,
        one.address(),
        module = module.display(),
    );
    for number in 0..round % 5 {
        let _ = writeln!(
            text,
            "  - {{ match: {{ path: /{number} }}, cluster: same }}"
        );
    }
    text.push_str("  - { match: { prefix: / }, cluster: turn }\n");
    if round.is_multiple_of(3) {
        let _ = writeln!(
            text,
            "- {{ name: more, address: '{more}', routes: [{{ match: {{ prefix: / }}, cluster: same }}] }}"
        );
    }
    text
}

/// Bodies that come in four parts.
pub(super) fn upload(web: SocketAddr, over: &AtomicBool) -> Result<Counts> {
    let (mut answered, mut failed) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        match upload_once(web) {
            Ok(true) => answered += 1,
            Ok(false) | Err(_) => failed += 1,
        }
    }
    Ok((answered, failed))
}

fn upload_once(web: SocketAddr) -> std::io::Result<bool> {
    let stream = TcpStream::connect(web)?;
    stream.set_read_timeout(Some(LIMIT))?;
    send_slowly(stream)
}

/// A body in four parts; whether the answer is what it must be.
pub(super) fn send_slowly(mut stream: TcpStream) -> std::io::Result<bool> {
    stream.write_all(b"POST / HTTP/1.1\r\nhost: soak.test\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n")?;
    for _ in 0..4 {
        thread::sleep(EACH + EACH / 4);
        stream.write_all(b"4\r\nfour\r\n")?;
    }
    stream.write_all(b"0\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"ok\n"))
}
