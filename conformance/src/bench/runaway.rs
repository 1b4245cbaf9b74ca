//! A guest that never returns: what it may use until it is ended (in CPU time, as its limit
//! is), and how long other streams of the same worker wait meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::report::{Column, Named, Report};
use super::trap::PANIC;
use super::world::World;
use super::{Plan, probe};
use crate::client::Client;
use crate::{Error, Result, proc};

/// Loops of one process: a filter that has trapped five times in 10 s is held back.
const LOOPS: usize = 2;
/// Processes of each column.
const ROUNDS: usize = 4;
/// When a program that does not end the guest is given up.
const GIVEN_UP: Duration = Duration::from_secs(2);

pub(super) fn run(world: &World, plan: &Plan, report: &mut Report) -> Result<()> {
    for round in 0..ROUNDS.min(plan.slices) {
        for column in [Column::Hot, Column::Cold, Column::Envoy] {
            // Envoy's worker is gone for ever, and once is enough to show it.
            let is_due = column != Column::Envoy || round == 0;
            if world.has(column) && is_due {
                measure(world, column, report)?;
            }
        }
    }
    Ok(())
}

fn measure(world: &World, column: Column, report: &mut Report) -> Result<()> {
    let mut running = world.start(column, &world.setup(column, Some(PANIC))?)?;
    let bad = probe::request("GET", "/", "x-panic: request_headers:loop\r\n");
    let loops = if column == Column::Envoy { 1 } else { LOOPS };
    for _ in 0..loops {
        let over = AtomicBool::new(false);
        let mut others = Client::connect(running.http1)?;
        others.send(&probe::request("GET", "/", ""))?;
        let mut looping = Client::connect(running.http1)?;
        let before = proc::cpu(running.pid())?;
        let (ended, waited) = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| longest_wait(&mut others, &over));
            let begin = Instant::now();
            let answer = looping
                .set_limit(GIVEN_UP)
                .and_then(|()| looping.exchange(&bad));
            let ended = begin.elapsed();
            over.store(true, Ordering::Relaxed);
            let right = match answer {
                Ok(answer) => answer.status == 503,
                Err(_) => ended >= GIVEN_UP,
            };
            (right, waiting.join())
        });
        let used = proc::cpu(running.pid())?.since(&before);
        let (true, Ok(waited)) = (ended, waited) else {
            let name = running.name;
            return Err(Error::Failed(format!(
                "{name}: a loop did not end in a 503"
            )));
        };
        let case = "a guest that loops";
        let mut add = |id, unit, sample| report.add(Named { id, case, unit }, column, sample);
        let used = Duration::from_nanos(used).as_secs_f64() * 1e3;
        add(
            "runaway.ended",
            "CPU ms until it is ended (2000: never)",
            used,
        );
        let waited = waited.as_secs_f64() * 1e3;
        add("runaway.others", "ms others wait (2000: for ever)", waited);
    }
    if column == Column::Envoy {
        // It does not hear SIGTERM.
        running.kill();
    }
    Ok(())
}

/// The slowest of many requests, one after the other, until it is `over`.
fn longest_wait(client: &mut Client, over: &AtomicBool) -> Duration {
    let request = probe::request("GET", "/", "");
    let mut longest = Duration::ZERO;
    if client.set_limit(GIVEN_UP).is_err() {
        return longest;
    }
    while !over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let answer = client.exchange(&request);
        longest = longest.max(begin.elapsed().min(GIVEN_UP));
        if answer.is_err() {
            break;
        }
    }
    longest
}
