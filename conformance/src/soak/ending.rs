//! SIGTERM every two seconds under load, and then another process in the place of the one that
//! ends: whether a single request that was sent fails for it.
//!
//! Nobody listens in between. Who is not let in, and who sees that a kept connection has been
//! closed before the next request is sent on it, has sent nothing and comes again; that is
//! counted apart.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::frame::{ENOUGH, LIMIT, Subject, joined, panicked};
use super::reload;
use super::upgrade::{Away, TOLD, streams};
use super::world::Upstream;
use crate::scratch::{self, Scratch};
use crate::{Error, Result};

/// How long each process serves.
const EACH: Duration = Duration::from_secs(2);
/// Between two attempts of somebody who is not let in.
const PAUSE: Duration = Duration::from_millis(1);

/// What came of a client's requests.
#[derive(Debug, Default)]
struct Counts {
    answered: u64,
    failed: u64,
    /// How, the first few.
    how: Vec<String>,
    /// Not let in.
    away: u64,
}

/// What becomes of a client's connection.
enum Next {
    Kept(TcpStream),
    /// The answer said so, or it was closed before anything was sent.
    Over,
}

/// Runs for so many seconds with the proxy at `program`, and prints what was measured. Returns
/// whether all went well.
///
/// # Errors
/// Something that is needed is not there.
pub fn run(program: &Path, seconds: u64) -> Result<bool> {
    let module = super::guest("headers")?;
    let scratch = Scratch::new("soak-ending")?;
    let upstreams = [Upstream::start()?, Upstream::start()?];
    let [web, more] = scratch::free_ports::<2>()?.map(scratch::loopback);
    let ends = [&upstreams[0], &upstreams[1]];
    let text = reload::configuration(1, ends, web, more, &module);
    let file = scratch.write("proxy.yaml", &text)?;
    let serve = |turn: u64| {
        let log = scratch.path().join(format!("{turn}.log"));
        let mut proxy = Subject::start(program, &file, log, web)?;
        thread::sleep(EACH);
        proxy.server.terminate(LIMIT)
    };

    let over = AtomicBool::new(false);
    let began = Instant::now();
    let (done, ended) = thread::scope(|scope| {
        let kept: Vec<_> = (0..16).map(|_| scope.spawn(|| keep(web, &over))).collect();
        let new: Vec<_> = (0..4).map(|_| scope.spawn(|| renew(web, &over))).collect();
        let slow: Vec<_> = (0..4).map(|_| scope.spawn(|| upload(web, &over))).collect();
        let http2 = scope.spawn(|| streams(web, "ok\n", &over, Away::ComesAgain));
        let mut ended: Result<u64> = Ok(0);
        while began.elapsed() < Duration::from_secs(seconds)
            && let Ok(turn) = ended
        {
            ended = serve(turn).map(|()| turn + 1);
        }
        over.store(true, Ordering::Relaxed);
        let mut done = Vec::new();
        for (what, clients) in [
            ("connections that are kept", kept),
            ("a connection for each request", new),
            ("bodies that take half a second", slow),
        ] {
            let mut all = Counts::default();
            for client in clients {
                let counts = client.join().map_err(|_| panicked())?;
                all.answered += counts.answered;
                all.failed += counts.failed;
                all.how.extend(counts.how);
                all.away += counts.away;
            }
            done.push((what, all));
        }
        let streamed = joined(http2)?;
        let counts = Counts {
            answered: streamed.answered,
            failed: streamed.failed,
            how: streamed.how,
            away: streamed.moved,
        };
        done.push(("HTTP/2", counts));
        Ok::<_, Error>((done, ended?))
    })?;

    let (mut whole, mut failures) = (0, 0);
    for (what, counts) in &done {
        let (answered, failed, away) = (counts.answered, counts.failed, counts.away);
        println!("  {what}: {answered} requests, {failed} failed; {away} times nobody was there");
        whole += answered;
        failures += failed;
        for how in counts.how.iter().take(TOLD) {
            println!("    {how}");
        }
    }
    let rate = whole as f64 / began.elapsed().as_secs_f64();
    println!(
        "  {rate:.0} requests/s (at least {ENOUGH}) while {ended} processes ended; {failures} failed"
    );
    Ok(failures == 0 && rate >= ENOUGH && ended > 0)
}

// === impl Counts ===

impl Counts {
    fn fail(&mut self, how: &dyn std::fmt::Display) {
        self.failed += 1;
        if self.how.len() < TOLD {
            self.how.push(how.to_string());
        }
    }
}

/// One request after the other on one connection.
fn keep(web: SocketAddr, over: &AtomicBool) -> Counts {
    let mut counts = Counts::default();
    let mut held = None;
    while !over.load(Ordering::Relaxed) {
        let Some(stream) = held.take().or_else(|| connect(web, &mut counts)) else {
            continue;
        };
        match ask(stream, b"GET / HTTP/1.1\r\nhost: soak.test\r\n\r\n") {
            Ok((true, next)) => {
                counts.answered += 1;
                if let Next::Kept(stream) = next {
                    held = Some(stream);
                }
            }
            // Seen to be closed, and nothing sent.
            Ok((false, _)) => counts.away += 1,
            Err(error) => counts.fail(&error),
        }
    }
    counts
}

/// Each on a connection of its own.
fn renew(web: SocketAddr, over: &AtomicBool) -> Counts {
    let mut counts = Counts::default();
    while !over.load(Ordering::Relaxed) {
        let Some(stream) = connect(web, &mut counts) else {
            continue;
        };
        let request = b"GET / HTTP/1.1\r\nhost: soak.test\r\nconnection: close\r\n\r\n";
        match ask(stream, request) {
            Ok((true, _)) => counts.answered += 1,
            Ok((false, _)) => counts.fail(&"closed before anything was sent"),
            Err(error) => counts.fail(&error),
        }
    }
    counts
}

/// Bodies that come in four parts.
fn upload(web: SocketAddr, over: &AtomicBool) -> Counts {
    let mut counts = Counts::default();
    while !over.load(Ordering::Relaxed) {
        let Some(stream) = connect(web, &mut counts) else {
            continue;
        };
        match reload::send_slowly(stream) {
            Ok(true) => counts.answered += 1,
            Ok(false) => counts.fail(&"another answer"),
            Err(error) => counts.fail(&error),
        }
    }
    counts
}

fn connect(web: SocketAddr, counts: &mut Counts) -> Option<TcpStream> {
    let connected = TcpStream::connect(web).and_then(|stream| {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(stream)
    });
    match connected {
        Ok(stream) => Some(stream),
        Err(_) => {
            counts.away += 1;
            thread::sleep(PAUSE);
            None
        }
    }
}

/// Sends a request and reads its answer; `false` where the connection had been closed before.
fn ask(mut stream: TcpStream, request: &[u8]) -> std::io::Result<(bool, Next)> {
    if is_closed(&stream)? {
        return Ok((false, Next::Over));
    }
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut piece = [0; 2048];
    loop {
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&piece[..read]);
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        // Filters may add to what the upstream has said.
        let length = head.split("\r\n").find_map(|line| {
            let value = line.strip_prefix("content-length: ")?;
            value.parse::<usize>().ok()
        });
        if !head.starts_with("http/1.1 200 ") {
            return Err(ErrorKind::InvalidData.into());
        }
        let length = length.ok_or(ErrorKind::InvalidData)?;
        if answer.len() < end + 4 + length {
            continue;
        }
        let next = match head.contains("connection: close") {
            true => Next::Over,
            false => Next::Kept(stream),
        };
        return Ok((true, next));
    }
}

/// Whether the other side has closed it, as far as one can see without reading.
fn is_closed(stream: &TcpStream) -> std::io::Result<bool> {
    stream.set_nonblocking(true)?;
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    Ok(!matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock))
}
