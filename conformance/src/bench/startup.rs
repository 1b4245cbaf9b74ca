//! What starting costs: processor time, and time until the first request is answered.
//!
//! The chain is of 1, 10 or 50 different modules, and the first request passes all of them.
//! Ours has seen the modules before (*cache warm*: native code from the first request) or has
//! not (*cache empty*). Envoy keeps nothing between runs, so both are held against the same.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::report::{Column, Named, Report};
use super::world::World;
use super::{Plan, probe};
use crate::client::Client;
use crate::peer::{Running, Setup};
use crate::{Error, Result, proc};

const COUNTS: [usize; 3] = [1, 10, 50];
/// Starts of each program; each takes Envoy several seconds with many modules.
const ROUNDS: usize = 5;
/// The longest a program may take to answer.
const LIMIT: Duration = Duration::from_secs(90);
/// How long after the first answer is counted too: what has been put off until then.
const SETTLE: Duration = Duration::from_millis(500);

pub(super) fn run(world: &World, plan: &Plan, report: &mut Report) -> Result<()> {
    let largest = COUNTS.into_iter().max().unwrap_or(0);
    let modules = world.variants("bench_transform", largest)?;
    world.compile(&modules)?;
    let rounds = ROUNDS.min(plan.slices);
    for count in COUNTS {
        for round in 0..rounds {
            one_round(world, &modules[..count], round, report)?;
        }
        eprintln!("start with {count} modules: {rounds} rounds");
    }
    Ok(())
}

fn one_round(world: &World, modules: &[PathBuf], round: usize, to: &mut Report) -> Result<()> {
    let count = modules.len();
    let warm = format!("start with {count} modules, cache warm");
    let empty = format!("start with {count} modules, cache empty");
    if world.has(Column::Hot) {
        let setup = automatic(world.chain(Column::Hot, modules));
        let figures = measure(world, Column::Hot, &setup)?;
        add(to, count, "warm", &warm, Column::Hot, figures);
        let mut setup = setup;
        setup.artifacts = Some(world.scratch.dir(&format!("empty-{count}-{round}"))?);
        let figures = measure(world, Column::Hot, &setup)?;
        add(to, count, "empty", &empty, Column::Hot, figures);
    }
    let figures = measure(world, Column::Cold, &world.chain(Column::Cold, modules))?;
    add(to, count, "empty", &empty, Column::Cold, figures);
    let figures = measure(world, Column::Envoy, &world.chain(Column::Envoy, modules))?;
    add(to, count, "warm", &warm, Column::Envoy, figures);
    add(to, count, "empty", &empty, Column::Envoy, figures);
    Ok(())
}

/// As an operator leaves it: native code where there is some, else not yet.
fn automatic(mut setup: Setup) -> Setup {
    for filter in &mut setup.filters {
        filter.engine = Some("auto");
    }
    setup
}

#[derive(Clone, Copy)]
struct Figures {
    cpu_ms: f64,
    answer_ms: f64,
    rss_mib: f64,
}

fn add(to: &mut Report, count: usize, cache: &str, case: &str, column: Column, figures: Figures) {
    let parts = [
        ("cpu", "CPU ms", figures.cpu_ms),
        ("answer", "ms to the first answer", figures.answer_ms),
        ("rss", "RSS MiB", figures.rss_mib),
    ];
    for (part, unit, sample) in parts {
        let id = &format!("start{count}.{cache}.{part}");
        to.add(Named { id, case, unit }, column, sample);
    }
}

fn measure(world: &World, column: Column, setup: &Setup) -> Result<Figures> {
    let begin = Instant::now();
    let mut running = world.spawn(column, setup)?;
    first_answer(&mut running, begin)?;
    let answer_ms = begin.elapsed().as_secs_f64() * 1e3;
    std::thread::sleep(SETTLE);
    Ok(Figures {
        cpu_ms: proc::cpu(running.pid())?.whole() as f64 / 1e6,
        answer_ms,
        rss_mib: proc::rss_kib(running.pid())? as f64 / 1024.0,
    })
}

/// Asks until somebody answers, a thousand times a second.
fn first_answer(running: &mut Running, begin: Instant) -> Result<()> {
    let request = probe::request("GET", "/", "");
    loop {
        let sent = Client::open(running.http1).and_then(|mut client| {
            client.set_limit(LIMIT)?;
            client.exchange(&request)
        });
        match sent {
            Ok(answer) if answer.status == 200 => return Ok(()),
            _ if begin.elapsed() > LIMIT => {
                let name = running.name;
                return Err(Error::Failed(format!("{name} never answered: {sent:?}")));
            }
            _ => running.check()?,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
