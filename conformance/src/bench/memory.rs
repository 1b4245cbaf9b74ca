//! What one more VM takes: memory of a chain of many filters, each with a `vm_id` of its own,
//! against that of a chain of one, after requests have passed both.

use super::report::{Column, Named, Report};
use super::world::{Guest, World};
use super::{Plan, probe};
use crate::client::Client;
use crate::{Result, proc};

/// VMs of the longer chain. Envoy compiles the module for each of them, and needs no more
/// for a good figure: its VMs are large.
const fn many(column: Column) -> usize {
    match column {
        Column::Envoy => 21,
        _ => 101,
    }
}

/// Starts of each program.
const ROUNDS: usize = 3;
/// Requests before memory is read: what is allocated at first use is there then.
const REQUESTS: usize = 50;

pub(super) fn run(world: &World, plan: &Plan, report: &mut Report) -> Result<()> {
    for _ in 0..ROUNDS.min(plan.slices) {
        for column in [Column::Hot, Column::Cold, Column::Envoy] {
            if world.has(column) {
                measure(world, column, report)?;
            }
        }
    }
    Ok(())
}

fn measure(world: &World, column: Column, report: &mut Report) -> Result<()> {
    let one = memory(world, column, 1)?;
    let all = memory(world, column, many(column))?;
    let further = (many(column) - 1) as f64;
    let each = |kind: fn(&proc::Memory) -> u64| (kind(&all) as f64 - kind(&one) as f64) / further;
    let case = "each further VM";
    let mut add = |id, unit, sample| report.add(Named { id, case, unit }, column, sample);
    add("vm.rss", "KiB RSS", each(|memory| memory.rss_kib));
    let gib = each(|memory| memory.address_space_kib) / (1 << 20) as f64;
    add("vm.space", "GiB of address space", gib);
    Ok(())
}

fn memory(world: &World, column: Column, count: usize) -> Result<proc::Memory> {
    let guest = Guest {
        name: "bench_transform",
        configuration: "",
        count,
    };
    let running = world.start(column, &world.setup(column, Some(guest))?)?;
    let mut client = Client::connect(running.http1)?;
    let request = probe::request("GET", "/", "");
    for _ in 0..REQUESTS {
        client.send(&request)?;
    }
    proc::memory(running.pid())
}
