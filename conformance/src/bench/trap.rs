//! After a trap: whether the very next request is served, and what the whole affair takes.
//!
//! A sample is the time from sending the request that crashes the guest until the next one,
//! sent at once on the same connection, is answered with 200, less two usual round trips. So it holds all
//! of it: the trap, its report, the new VM.

use std::time::{Duration, Instant};

use super::report::{Column, Named, Report};
use super::world::{Guest, World};
use super::{Plan, probe};
use crate::client::Client;
use crate::{Error, Result};

/// Traps of one process: a filter that has trapped five times in 10 s is held back.
const TRAPS: usize = 3;
/// Processes of each column.
const ROUNDS: usize = 7;
/// The longest wait for a filter that has recovered.
const LIMIT: Duration = Duration::from_secs(10);
/// Requests before the first trap.
const WARM_UP: usize = 50;

pub(super) const PANIC: Guest = Guest {
    name: "panic",
    configuration: "",
    count: 1,
};

pub(super) fn run(world: &World, plan: &Plan, report: &mut Report) -> Result<()> {
    for round in 0..ROUNDS.min(plan.slices) {
        for column in [Column::Hot, Column::Cold, Column::Envoy] {
            // Envoy needs seconds, and shows the same each time.
            let is_due = column != Column::Envoy || round < 2;
            if world.has(column) && is_due {
                measure(world, column, report)?;
            }
        }
    }
    Ok(())
}

fn measure(world: &World, column: Column, report: &mut Report) -> Result<()> {
    let running = world.start(column, &world.setup(column, Some(PANIC))?)?;
    let good = probe::request("GET", "/", "");
    let bad = probe::request("GET", "/", "x-panic: request_headers:trap\r\n");
    let mut client = Client::connect(running.http1)?;
    let traps = if column == Column::Envoy { 1 } else { TRAPS };
    for _ in 0..traps {
        let mut usual = Vec::with_capacity(WARM_UP);
        for _ in 0..WARM_UP {
            let begin = Instant::now();
            expect(200, client.send(&good)?.status)?;
            usual.push(begin.elapsed());
        }
        usual.sort_unstable();
        let usual = usual[WARM_UP / 2];
        let begin = Instant::now();
        expect(503, client.send(&bad)?.status)?;
        let mut first = true;
        while client.send(&good)?.status != 200 {
            first = false;
            if begin.elapsed() > LIMIT {
                return Err(Error::Failed("no filter after a trap".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let whole = begin.elapsed().saturating_sub(usual * 2);
        let case = "after a trap";
        let mut add = |id, unit, sample| report.add(Named { id, case, unit }, column, sample);
        add(
            "trap.served",
            "% of next requests served",
            if first { 100.0 } else { 0.0 },
        );
        add(
            "trap.whole",
            "ms until the next is served",
            whole.as_secs_f64() * 1e3,
        );
    }
    Ok(())
}

fn expect(status: u16, got: u16) -> Result<()> {
    if got == status {
        return Ok(());
    }
    Err(Error::Failed(format!("answered {got}, not {status}")))
}
