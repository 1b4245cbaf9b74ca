//! One process takes over from the other, once a second, under load: whether a single request
//! fails for it, and whether every process but the last ends by itself.
//!
//! What clients do is what they do in [`super::reload`]; HTTP/2 is spoken by a client that opens
//! another connection when the server sends GOAWAY, as h2load does not.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;

use super::frame::{Counts, ENOUGH, LIMIT, Subject, joined, load, tell};
use super::reload::{self, CLIENTS};
use super::world::Upstream;
use crate::process;
use crate::scratch::{self, Scratch};
use crate::{Error, Result};

/// Between two upgrades.
const EACH: Duration = Duration::from_secs(1);
/// Streams of HTTP/2 at once.
const STREAMS: usize = 8;
/// How many failures of a kind of client are told one by one.
pub(super) const TOLD: usize = 8;

/// Every process there is or was, and what they log.
pub(super) struct Line {
    /// They all log to where the first does.
    pub(super) first: Subject,
}

/// Runs for so many seconds with the proxy at `program`, and prints what was measured. Returns
/// whether all went well.
///
/// # Errors
/// Something that is needed is not there.
pub fn run(program: &Path, seconds: u64) -> Result<bool> {
    let module = super::guest("headers")?;
    let scratch = Scratch::new("soak-upgrade")?;
    let upstreams = [Upstream::start()?, Upstream::start()?];
    let [web, more] = scratch::free_ports::<2>()?.map(scratch::loopback);
    let ends = [&upstreams[0], &upstreams[1]];
    let text = reload::configuration(1, ends, web, more, &module);
    let place = scratch.path().join("upgrade.sock");
    let text = format!("{text}upgrade: {{ socket: '{}' }}\n", place.display());
    let file = scratch.write("proxy.yaml", &text)?;
    reload::write_bodies(&scratch)?;
    let line = Line::start(program, &file, &scratch, web)?;

    let (over, url) = (AtomicBool::new(false), format!("http://{web}/"));
    let (done, moved) = thread::scope(|scope| {
        let slow: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| reload::upload(web, &over)))
            .collect();
        let streams = scope.spawn(|| streams(web, "ok\n", &over, Away::Fails));
        let loads: Vec<_> = CLIENTS
            .iter()
            .filter(|(_, program, _)| *program != "h2load")
            .map(|client| {
                (
                    client.0,
                    scope.spawn(|| load(client, &url, seconds, &scratch)),
                )
            })
            .collect();
        let mut failed = None;
        while loads.iter().any(|(_, load)| !load.is_finished()) && failed.is_none() {
            thread::sleep(EACH);
            failed = line.upgrade().err();
        }
        over.store(true, Ordering::Relaxed);
        let mut done = Vec::new();
        for (what, load) in loads {
            done.push((what, joined(load)?));
        }
        for upload in slow {
            done.push(("bodies that take half a second", joined(upload)?));
        }
        let streamed = joined(streams)?;
        let moved = streamed.moved;
        done.push(("HTTP/2", streamed.tell()));
        match failed {
            Some(error) => Err(error),
            None => Ok((done, moved)),
        }
    })?;

    let (whole, failures) = tell(&done);
    let upgrades = line.serving()?.len() - 1;
    let left = line.left()?;
    let rate = whole as f64 / seconds as f64;
    println!(
        "  {rate:.0} requests/s (at least {ENOUGH}) during {upgrades} upgrades; {failures} failed; \
         {moved} streams of HTTP/2 moved to another connection unsent; {left} processes beside the last are left"
    );
    let errors = line.first.errors()?;
    Ok(failures == 0 && errors == 0 && rate >= ENOUGH && upgrades > 0 && left == 0)
}

// === impl Line ===

impl Line {
    /// The first of them, once it listens at `web`.
    pub(super) fn start(
        program: &Path,
        file: &Path,
        scratch: &Scratch,
        web: SocketAddr,
    ) -> Result<Self> {
        let log = scratch.path().join("proxy.log");
        let first = Subject::start(program, file, log, web)?;
        Ok(Self { first })
    }

    /// Those that have served, in order.
    pub(super) fn serving(&self) -> Result<Vec<u32>> {
        let text = self.first.text()?;
        let taken = text.lines().filter_map(|line| {
            let (_, rest) = line.split_once("upgrade: process ")?;
            rest.strip_suffix(" has taken over")?.parse().ok()
        });
        Ok(std::iter::once(self.first.server.pid())
            .chain(taken)
            .collect())
    }

    pub(super) fn wait_for_reloads(&self, count: u64) -> Result<()> {
        let until = Instant::now() + LIMIT;
        while self.first.reloads()? < count {
            if Instant::now() > until {
                return Err(Error::Failed(format!("there were no {count} reloads")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Has the one that serves replaced, and waits for that.
    pub(super) fn upgrade(&self) -> Result<()> {
        let before = self.serving()?;
        let Some(last) = before.last() else {
            return Ok(());
        };
        let taken = format!("this process has taken over from {last}");
        process::signal("USR2", &[*last]);
        let until = Instant::now() + LIMIT;
        while !self.first.text()?.contains(&taken) {
            if Instant::now() > until {
                return Err(Error::Failed(format!("nobody took over from {last}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Processes that should have ended and have not, after some time for that.
    pub(super) fn left(&self) -> Result<usize> {
        let mut before = self.serving()?;
        before.pop();
        let until = Instant::now() + LIMIT;
        loop {
            let runs = |pid: &&u32| is_there(**pid);
            let left = before.iter().filter(runs).count();
            if left == 0 || Instant::now() > until {
                return Ok(left);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // The kernel ends the first with us, the others are nobody's.
        let pids = self.serving().unwrap_or_default();
        let pids: Vec<u32> = pids
            .into_iter()
            .skip(1)
            .filter(|pid| is_there(*pid))
            .collect();
        process::signal("KILL", &pids);
    }
}

/// Whether it runs: one that nobody has waited for has no arguments any more.
fn is_there(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// What came of streams of HTTP/2.
#[derive(Debug, Default)]
pub(super) struct Streamed {
    pub(super) answered: u64,
    pub(super) failed: u64,
    /// How, the first few.
    pub(super) how: Vec<String>,
    /// Sent again on the next connection, because the server had said, before it saw them, that it
    /// takes no more.
    pub(super) moved: u64,
}

impl Streamed {
    fn fail(&mut self, how: &dyn std::fmt::Display) {
        self.failed += 1;
        if self.how.len() < TOLD {
            self.how.push(how.to_string());
        }
    }

    /// Prints how some have failed, if any; how many were answered, and were not.
    pub(super) fn tell(self) -> Counts {
        for how in self.how {
            println!("  HTTP/2: {how}");
        }
        (self.answered, self.failed)
    }
}

/// Whether it is a failure that nobody listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Away {
    Fails,
    /// The client comes again a moment later, and that is counted as what is moved is.
    ComesAgain,
}

/// Streams of HTTP/2 on one connection after the other.
pub(super) fn streams(
    web: SocketAddr,
    body: &'static str,
    over: &AtomicBool,
    away: Away,
) -> Result<Streamed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed("HTTP/2", error))?;
    let mut done = Streamed::default();
    runtime.block_on(async {
        while !over.load(Ordering::Relaxed) {
            let client = match connect(web).await {
                Ok(client) => client,
                Err(error) => {
                    match away {
                        Away::Fails => done.fail(&error),
                        Away::ComesAgain => done.moved += 1,
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                }
            };
            let mut goes_on = true;
            while goes_on && !over.load(Ordering::Relaxed) {
                let sent = (0..STREAMS).map(|_| tokio::spawn(fetch(client.clone(), body)));
                for stream in sent.collect::<Vec<_>>() {
                    match stream.await {
                        Ok(Ok(true)) => {
                            done.answered += 1;
                            continue;
                        }
                        Ok(Err(error)) if error.is_go_away() => done.moved += 1,
                        Ok(Ok(false)) => done.fail(&"another answer"),
                        Ok(Err(error)) => done.fail(&error),
                        Err(error) => done.fail(&error),
                    }
                    goes_on = false;
                }
            }
        }
    });
    Ok(done)
}

async fn connect(web: SocketAddr) -> std::result::Result<SendRequest<Bytes>, h2::Error> {
    let failed = |_| h2::Error::from(h2::Reason::CONNECT_ERROR);
    let stream = tokio::net::TcpStream::connect(web).await.map_err(failed)?;
    let (client, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Whether the answer is what it must be.
async fn fetch(client: SendRequest<Bytes>, text: &str) -> std::result::Result<bool, h2::Error> {
    let mut client = client.ready().await?;
    let request = Request::get("http://soak.test/");
    let request = request.body(()).map_err(|_| h2::Reason::INTERNAL_ERROR)?;
    let (answer, _) = client.send_request(request, true)?;
    let answer = answer.await?;
    let right = answer.status() == 200;
    let mut body = answer.into_body();
    let mut whole = Vec::new();
    while let Some(data) = body.data().await {
        whole.extend_from_slice(&data?);
    }
    // Filters may add to it.
    Ok(right && whole.starts_with(text.as_bytes()))
}
