//! Module after module under load, each never seen before: whether a single request fails while
//! its filter moves from the interpreter to native code.
//!
//! Failed is what the soak of reloads calls so. The next modules come once those before run
//! natively, so that what is counted are promotions, each in the midst of the traffic.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::frame::{Client, LIMIT, Subject, joined, load, tell};
use super::world::Upstream;
use crate::scratch::{self, Scratch};
use crate::{Error, Result};

/// Requests in a second, at least.
const ENOUGH: f64 = 5_000.0;
/// Promotions, at least.
const PROMOTIONS: u64 = 20;
/// A chain of these, each of a module of its own.
const FILTERS: [&str; 3] = ["one", "two", "three"];
/// What clients do at once. They ask for so much a second and no more: the compiler runs at a low
/// priority, and a load without a bound leaves it little.
const CLIENTS: [Client; 3] = [
    ("HTTP/1.1", "h2load", &["-t1", "-c8", "--h1", "--rps=400"]),
    ("HTTP/2", "h2load", &["-t1", "-c4", "-m8", "--rps=500"]),
    (
        "bodies",
        "h2load",
        &["-t1", "-c4", "--h1", "--rps=200", "-d", "body"],
    ),
];
/// What the proxy says of each.
const PROMOTED: &str = "there is native code now";

/// Runs for so many seconds with the proxy at `program`, and prints what was measured. Returns
/// whether all went well.
///
/// # Errors
/// Something that is needed is not there.
pub fn run(program: &Path, seconds: u64) -> Result<bool> {
    let guest = super::guest("add_header")?;
    let guest = fs::read(&guest).map_err(|error| Error::failed(guest.display(), error))?;
    let scratch = Scratch::new("soak-promote")?;
    let upstream = Upstream::start()?;
    let [web] = scratch::free_ports::<1>()?.map(scratch::loopback);
    let write = |round: u64| -> Result<()> {
        for name in FILTERS {
            let aside = scratch.path().join("filter.new");
            let failed = |error| Error::failed(aside.display(), error);
            fs::write(&aside, version(&guest, name, round)).map_err(failed)?;
            fs::rename(&aside, scratch.path().join(format!("{name}.wasm"))).map_err(failed)?;
        }
        Ok(())
    };
    write(0)?;
    scratch.write("body", &"a\n".repeat(16_384))?;
    let rows = FILTERS.map(|name| {
        format!(
            "- {{ name: {name}, module: {{ file: {name}.wasm }}, configuration: {{ response: {{ x-{name}: '1' }} }} }}\n"
        )
    });
    let file = scratch.write(
        "proxy.yaml",
        &format!(
            "workers: 2\n\
             artifacts: {{ directory: native }}\n\
             filters:\n{}\
             clusters: [{{ name: up, endpoints: ['{}'] }}]\n\
             listeners:\n\
             - {{ name: web, address: '{web}', filters: [{}], routes: [{{ match: {{ prefix: / }}, cluster: up }}] }}\n",
            rows.concat(),
            upstream.address(),
            FILTERS.join(", "),
        ),
    )?;
    let mut proxy = Subject::start(program, &file, scratch.path().join("proxy.log"), web)?;

    let (over, url) = (AtomicBool::new(false), format!("http://{web}/"));
    let (done, promotions) = thread::scope(|scope| -> Result<_> {
        let loads: Vec<_> = (CLIENTS.iter())
            .map(|client| scope.spawn(|| load(client, &url, seconds, &scratch)))
            .collect();
        let promoting = scope.spawn(|| -> Result<u64> {
            let mut promotions = 0;
            loop {
                let began = Instant::now();
                while proxy.times(PROMOTED)? < promotions + FILTERS.len() as u64 {
                    if over.load(Ordering::Relaxed) || began.elapsed() > LIMIT {
                        return Ok(promotions);
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                promotions += FILTERS.len() as u64;
                write(promotions)?;
                proxy.server.hang_up();
            }
        });
        let mut done = Vec::new();
        for (load, (what, ..)) in loads.into_iter().zip(CLIENTS) {
            done.push((what, joined(load)));
        }
        over.store(true, Ordering::Relaxed);
        let promotions = joined(promoting)?;
        let done = done.into_iter().map(|(what, counts)| Ok((what, counts?)));
        Ok((done.collect::<Result<Vec<_>>>()?, promotions))
    })?;

    let (whole, failures) = tell(&done);
    let rate = whole as f64 / seconds as f64;
    println!(
        "  {rate:.0} requests/s (at least {ENOUGH}) during {promotions} promotions (at least {PROMOTIONS}); {failures} failed"
    );
    let errors = proxy.errors()?;
    proxy.server.terminate(LIMIT)?;
    Ok(failures == 0 && errors == 0 && rate >= ENOUGH && promotions >= PROMOTIONS)
}

/// The same module, and yet another: with a section that says which.
fn version(guest: &[u8], name: &str, round: u64) -> Vec<u8> {
    let word = format!("{name:>5}{round:>10}");
    // A custom section: its length, its name's, the name, the content.
    let section = [&[0, 17, 1, b'v'][..], word.as_bytes()].concat();
    [guest, &section].concat()
}
