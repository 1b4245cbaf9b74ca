//! Running cases on a host, and what a cell of the table is made of.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

use super::case::{Case, Profile};
use super::compare;
use super::driver::Driver;
use super::table::{Cell, MOST_EXCEPTIONS, OURS, excuse};
use super::traces;
use crate::{Error, Result};

/// How one case went on one host.
#[derive(Debug)]
pub struct Verdict {
    /// What the table says.
    pub cell: Cell,
    /// Why it says so, when it is not `pass`.
    pub complaints: Vec<String>,
}

/// Runs a case in every profile it lists (once on a host that is not ours). An engine that
/// does otherwise than its twin fails the case, whatever is expected of it.
///
/// # Errors
/// The host cannot be had.
pub fn case(driver: &mut dyn Driver, case: &Case) -> Result<Verdict> {
    let column = driver.column();
    if let Some(reason) = excuse(&case.not_applicable, column) {
        return Ok(Verdict {
            cell: Cell::NotApplicable,
            complaints: vec![reason.clone()],
        });
    }
    let ours = driver.is_ours();
    let profiles = if ours {
        case.profiles.clone()
    } else {
        vec![Profile::Envoy]
    };
    let (mut complaints, mut unlike) = (Vec::new(), Vec::new());
    for profile in profiles {
        let wrong = match driver.run(case, profile) {
            Ok(outcome) => {
                if let Some(twin) = driver.twin(case, profile)? {
                    let difference = traces::difference(&twin, &outcome);
                    unlike.extend(
                        difference.map(|it| format!("{profile}: the engines differ: {it}")),
                    );
                }
                compare::mismatches(case, &outcome, ours)
            }
            Err(Error::Failed(why)) => vec![format!("the driver failed: {why}")],
            Err(error) => return Err(error),
        };
        complaints.extend(wrong.into_iter().map(|wrong| format!("{profile}: {wrong}")));
    }
    let expected = ours || case.profiles.contains(&Profile::Envoy);
    let cell = match (complaints.is_empty(), excuse(&case.differs, column)) {
        _ if !unlike.is_empty() => Cell::Fail,
        (true, None) => Cell::Pass,
        (true, Some(_)) if ours => {
            complaints.push("it is marked `differs` and does not differ".to_owned());
            Cell::Fail
        }
        (true, Some(_)) => Cell::Pass,
        (false, Some(_)) => Cell::Differs,
        (false, None) if expected => Cell::Fail,
        (false, None) => Cell::Differs,
    };
    complaints.extend(unlike);
    Ok(Verdict { cell, complaints })
}

/// Runs cases on `lanes` hosts of a kind side by side, for most of a case is waiting; the
/// verdicts are in the order of the cases.
///
/// # Errors
/// A host cannot be had.
pub fn side_by_side(
    cases: &[&Case],
    lanes: usize,
    host: impl Fn() -> Result<Box<dyn Driver>> + Sync,
) -> Result<Vec<Verdict>> {
    let next = AtomicUsize::new(0);
    let lane = || -> Result<Vec<(usize, Verdict)>> {
        let mut driver = host()?;
        let mut verdicts = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = cases.get(index) else {
                return Ok(verdicts);
            };
            verdicts.push((index, case(&mut *driver, one)?));
        }
    };
    let ended: Result<Vec<_>> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        let crashed = |_| Err(Error::Failed("a driver crashed".to_owned()));
        let join = |lane: ScopedJoinHandle<'_, _>| lane.join().unwrap_or_else(crashed);
        lanes.into_iter().map(join).collect()
    });
    let mut verdicts: Vec<_> = ended?.into_iter().flatten().collect();
    verdicts.sort_by_key(|(index, _)| *index);
    Ok(verdicts.into_iter().map(|(_, verdict)| verdict).collect())
}

/// What is wrong with the excuses of all cases together.
#[must_use]
pub fn excuses(cases: &[Case]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut exceptions = 0;
    for case in cases {
        for excuses in [&case.differs, &case.not_applicable] {
            let excused = OURS
                .iter()
                .filter(|column| excuse(excuses, column).is_some());
            exceptions += excused.count();
        }
        for (column, reason) in case.differs.iter().chain(&case.not_applicable) {
            if reason.trim().is_empty() {
                wrong.push(format!("{}: {column} is excused without a reason", case.id));
            }
        }
    }
    if exceptions > MOST_EXCEPTIONS {
        wrong.push(format!(
            "{exceptions} cells of ours are `differs` or `n/a`; {MOST_EXCEPTIONS} may be"
        ));
    }
    wrong
}
