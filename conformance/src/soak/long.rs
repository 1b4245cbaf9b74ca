//! One run of everything at once: nginx behind the proxy, h2load and others in front of it, a
//! chain of filters, a hundred reloads and, half way through, another process that takes over.
//!
//! h2load stays on its connections, which an upgrade ends: it is started again behind it, while
//! clients that open others run all the time.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::frame::{Client, Counts, ENOUGH, joined, load, tell};
use super::upgrade::{Away, Line, streams};
use crate::peer::nginx;
use crate::scratch::{self, Scratch};
use crate::{Error, Result, proc, process};

/// In both halves together.
const RELOADS: u64 = 100;
/// Looks at the memory in each half.
const LOOKS: u64 = 5;
/// Memory of a process at the end of its half, as a multiple of what it was after a fifth.
const MOST: f64 = 1.1;

/// Those that run through, and those that run in each half.
const THROUGH: [Client; 2] = [
    ("wrk, connections that are kept", "wrk", &["-t1", "-c16"]),
    (
        "wrk, a connection for each request",
        "wrk",
        &["-t1", "-c4", "-H", "connection: close"],
    ),
];
const HALVES: [Client; 2] = [
    ("h2load, HTTP/2", "h2load", &["-t1", "-c4", "-m8"]),
    ("h2load, HTTP/1.1", "h2load", &["-t1", "-c8", "--h1"]),
];

/// What stays the same.
struct World {
    scratch: Scratch,
    web: SocketAddr,
    upstreams: [SocketAddr; 2],
    filters: [PathBuf; 3],
}

/// Runs for so many seconds with the proxy at `program`, and prints what was measured. Returns
/// whether all went well.
///
/// # Errors
/// Something that is needed is not there.
pub fn run(program: &Path, seconds: u64) -> Result<bool> {
    let filters = ["add_header", "greet", "headers"].map(super::guest);
    let [one, two, three] = filters;
    let behind = [Scratch::new("soak-one")?, Scratch::new("soak-two")?];
    let ports = scratch::free_ports::<3>()?.map(scratch::loopback);
    let [web, upstreams @ ..] = ports;
    let _nginx = [
        nginx::start_upstream(upstreams[0], &behind[0])?,
        nginx::start_upstream(upstreams[1], &behind[1])?,
    ];
    let world = World {
        scratch: Scratch::new("soak-long")?,
        web,
        upstreams,
        filters: [one?, two?, three?],
    };
    let file = world.write(0)?;
    let line = Line::start(program, &file, &world.scratch, web)?;
    let half = Duration::from_secs(seconds) / 2;
    let (over, url) = (AtomicBool::new(false), format!("http://{web}/"));
    let (done, kept) = thread::scope(|scope| -> Result<_> {
        let streams = scope.spawn(|| streams(web, nginx::BODY, &over, Away::Fails));
        let through: Vec<_> = (THROUGH.iter())
            .map(|client| scope.spawn(|| load(client, &url, seconds, &world.scratch)))
            .collect();
        let mut done = Vec::new();
        let first = world.half(1, half, &line, &mut done);
        let upgraded = first.and_then(|kept| line.upgrade().map(|()| kept));
        let second = upgraded.and_then(|kept| {
            println!("  another process has taken over");
            Ok(kept & world.half(2, half, &line, &mut done)?)
        });
        let named = through.into_iter().zip(THROUGH);
        for (load, (what, ..)) in named {
            done.push((what, joined(load)?));
        }
        over.store(true, Ordering::Relaxed);
        let streamed = joined(streams)?;
        done.push(("HTTP/2, a connection after another", streamed.tell()));
        Ok((done, second?))
    })?;
    let (whole, failures) = tell(&done);
    let reloads = line.first.reloads()?;
    let rate = whole as f64 / seconds as f64;
    let left = line.left()?;
    println!(
        "  {rate:.0} requests/s (at least {ENOUGH}) during {reloads} reloads and an upgrade; {failures} failed; \
         {left} processes beside the last are left"
    );
    let all = line.first.errors()? == 0 && reloads >= RELOADS && left == 0;
    Ok(all && kept && failures == 0 && rate >= ENOUGH)
}

// === impl World ===

impl World {
    /// The configuration of that number, in place of the one before.
    fn write(&self, round: u64) -> Result<PathBuf> {
        let [add, greet, headers] = self.filters.each_ref().map(|file| file.display());
        let turn = self.upstreams[usize::from(!round.is_multiple_of(2))];
        let mut text = format!(
            "workers: 2\n\
             upgrade: {{ socket: '{}' }}\n\
             filters:\n\
             - {{ name: add, module: {{ file: '{add}' }}, configuration: {{ response: {{ x-long: run }} }} }}\n\
             - {{ name: greet, module: {{ file: '{greet}' }}, configuration: {{ greeting: round {round} }} }}\n\
             - {{ name: headers, module: {{ file: '{headers}' }} }}\n\
             clusters:\n\
             - {{ name: same, endpoints: ['{}', '{}'] }}\n\
             - {{ name: turn, endpoints: ['{turn}'] }}\n\
             listeners:\n\
             - name: web\n  address: '{}'\n  filters: [add, greet, headers]\n  routes:\n",
            self.scratch.path().join("upgrade.sock").display(),
            self.upstreams[0],
            self.upstreams[1],
            self.web,
        );
        for number in 0..round % 5 {
            let _ = writeln!(
                text,
                "  - {{ match: {{ path: /{number} }}, cluster: same }}"
            );
        }
        text.push_str("  - { match: { prefix: / }, cluster: turn }\n");
        let file = self.scratch.path().join("proxy.yaml");
        let aside = self.scratch.write("proxy.new", &text)?;
        std::fs::rename(aside, &file).map_err(|error| Error::failed(file.display(), error))?;
        Ok(file)
    }

    /// Half of the reloads, under load; whether the memory of the process that serves has
    /// stayed what it was.
    fn half(
        &self,
        number: u64,
        length: Duration,
        line: &Line,
        done: &mut Vec<(&'static str, Counts)>,
    ) -> Result<bool> {
        let serving = line.serving()?.last().copied();
        let pid = serving.ok_or_else(|| Error::Failed("no process serves".to_owned()))?;
        // What is left of it is for the upgrade.
        let busy = length.mul_f64(0.9).as_secs().max(1);
        let each = Duration::from_secs(busy) / u32::try_from(RELOADS / 2).unwrap_or(1);
        let mut looks = Vec::new();
        let url = format!("http://{}/", self.web);
        thread::scope(|scope| -> Result<()> {
            let loads: Vec<_> = (HALVES.iter())
                .map(|client| scope.spawn(|| load(client, &url, busy, &self.scratch)))
                .collect();
            let began = Instant::now();
            for turn in 1..=RELOADS / 2 {
                self.write((number - 1) * RELOADS / 2 + turn)?;
                process::signal("HUP", &[pid]);
                let due = each * u32::try_from(turn).unwrap_or(1);
                thread::sleep(due.saturating_sub(began.elapsed()));
                if turn.is_multiple_of(RELOADS / 2 / LOOKS) {
                    looks.push(proc::rss_kib(pid)?);
                }
            }
            for (load, (what, ..)) in loads.into_iter().zip(HALVES) {
                done.push((what, joined(load)?));
            }
            Ok(())
        })?;
        line.wait_for_reloads(number * RELOADS / 2)?;
        let grown = match (looks.first(), looks.last()) {
            (Some(first), Some(last)) => *last as f64 / *first as f64,
            _ => f64::INFINITY,
        };
        println!(
            "  process {number}: {looks:?} KiB, one look each ten reloads: {grown:.3} × (at most {MOST})"
        );
        Ok(grown <= MOST)
    }
}
