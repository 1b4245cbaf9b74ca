//! Load on every case of a family, in turns.

use super::cases::Case;
use super::report::{Column, Named, Report};
use super::world::World;
use super::{Plan, idle, probe};
use crate::peer::Running;
use crate::{Result, load, proc};

/// Seconds of load before anything is counted: pools fill, caches warm, V8 optimises.
const WARM_UP: u32 = 1;

/// One program under one case.
struct Subject<'a> {
    case: &'a Case,
    column: Column,
    running: Running,
}

/// Measures a family.
///
/// # Errors
/// A program cannot be had, dies, or fails a request.
pub(super) fn run(world: &World, plan: &Plan, family: &[Case], to: &mut Report) -> Result<()> {
    let mut subjects = Vec::new();
    for case in family {
        for &column in case.columns {
            if case.guest.is_none() || world.has(column) {
                subjects.push(start(world, case, column)?);
            }
        }
    }
    for subject in &subjects {
        load::run(
            subject.case.shape,
            subject.case.headers,
            &subject.running,
            WARM_UP,
            &world.scratch,
        )?;
    }
    let names: Vec<&str> = family.iter().map(|case| &*case.id).collect();
    for round in 0..plan.slices {
        for turn in 0..subjects.len() {
            // Nobody is always first after the others' pause.
            let index = (round + turn) % subjects.len();
            if let Some(subject) = subjects.get_mut(index) {
                slice(subject, plan.seconds, world, to)?;
            }
        }
        eprintln!(
            "{}: round {} of {}",
            names.join(" "),
            round + 1,
            plan.slices
        );
    }
    Ok(())
}

fn start<'a>(world: &World, case: &'a Case, column: Column) -> Result<Subject<'a>> {
    if case.held > 0 {
        idle::raise_open_files()?;
    }
    let mut setup = world.setup(column, case.guest)?;
    setup.routes = case.routes;
    let running = world.start(column, &setup)?;
    probe::check(&running, case)?;
    Ok(Subject {
        case,
        column,
        running,
    })
}

fn slice(subject: &mut Subject<'_>, seconds: u32, world: &World, to: &mut Report) -> Result<()> {
    let (case, running) = (subject.case, &mut subject.running);
    // For this slice alone: two programs' are more than a process may have open.
    let held = idle::open(running.http1, case.held)?;
    let before = proc::cpu(running.pid())?;
    let load = load::run(case.shape, case.headers, running, seconds, &world.scratch)?;
    let spent = proc::cpu(running.pid())?.since(&before);
    running.check()?;
    drop(held);
    let rss = proc::rss_kib(running.pid())? as f64 / 1024.0;
    let mut add = |part: &str, unit, sample| {
        let named = Named {
            id: &format!("{}.{part}", case.id),
            case: &case.title,
            unit,
        };
        to.add(named, subject.column, sample);
    };
    add(
        "cpu",
        "CPU µs/request",
        spent as f64 / 1e3 / load.requests as f64,
    );
    if let Some((p50, p99)) = load.latency {
        add("p50", "p50 µs", p50);
        add("p99", "p99 µs", p99);
    }
    add("rate", "requests/s", load.rate);
    add("rss", "RSS MiB", rss);
    Ok(())
}
