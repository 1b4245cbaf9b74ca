//! Every case of `HTTP2.md` and `HTTP1.md` with our own program, as it has been built beside
//! this test: nothing passes that must not, and HTTP/2 is answered as the sections ask, but
//! for the differences that are named.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use cofferdam_abi::testing::require;
use cofferdam_conformance::http2::{self, report};
use cofferdam_conformance::peer::{Proxy, Running, Setup};
use cofferdam_conformance::raw;
use cofferdam_conformance::raw::upstream::Upstream;
use cofferdam_conformance::scratch::{self, Scratch};

/// Longer than anything takes that comes at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// `target/PROFILE/cofferdam`, where tests are `target/PROFILE/deps/NAME`.
fn program() -> Option<PathBuf> {
    let test = std::env::current_exe().expect("a test has a file");
    let program = test.parent()?.parent()?.join("cofferdam");
    if program.is_file() {
        return Some(program);
    }
    let what = format!(
        "{} is not built; `cargo build -p cofferdam` builds it",
        program.display()
    );
    require::skipped(&what);
    None
}

fn started(scratch: &Scratch, upstream: &Upstream) -> Option<Running> {
    let proxy = Proxy::Cofferdam(program()?);
    let running = proxy.start(&Setup::default(), upstream.address(), scratch);
    Some(running.expect("the proxy starts"))
}

/// What is wrong with cases, each share of them with a proxy and an upstream of its own: most
/// of the time of a case is waiting for nothing more to come.
fn wrong<C: Sync>(cases: &[C], one: impl Fn(&C, &Running, &Upstream) -> Option<String> + Sync) {
    const SHARES: usize = 6;
    let one = &one;
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let share = |cases: &'_ [C]| {
            let scratch = Scratch::new("conformance").unwrap();
            let upstream = Upstream::start().unwrap();
            let Some(running) = started(&scratch, &upstream) else {
                return Vec::new();
            };
            let wrong = cases
                .iter()
                .filter_map(|case| one(case, &running, &upstream));
            wrong.collect()
        };
        let shares = cases.chunks(cases.len().div_ceil(SHARES));
        let threads: Vec<_> = shares
            .map(|cases| scope.spawn(move || share(cases)))
            .collect();
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        ended.flatten().collect()
    });
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn http_2_is_as_the_sections_ask() {
    let known: BTreeSet<&str> = report::DIFFERENCES.iter().map(|(id, _)| *id).collect();
    wrong(&http2::case::all(), |case, running, upstream| {
        // What does not come is not waited for as long.
        let different = known.contains(case.id);
        let patience = if different {
            report::PATIENCE
        } else {
            PATIENCE
        };
        let outcome = http2::run(case, running.http2, upstream, patience).unwrap();
        (outcome.smuggled || outcome.good == different).then(|| {
            let passed = raw::report::passed(&outcome.record, outcome.smuggled);
            format!("{}: {}; passed on: {passed}", case.id, outcome.answer)
        })
    });
}

#[test]
fn nothing_is_smuggled_through_http_1() {
    wrong(&raw::case::all(), |case, running, upstream| {
        let outcome = raw::run(case, running.http1, upstream).unwrap();
        let bytes = || format!("{}: {}", case.name, raw::report::bytes(&outcome.record));
        outcome.smuggled.then(bytes)
    });
}

#[test]
fn the_documents_have_every_case() {
    let folder = scratch::workspace().join("conformance");
    for (file, ids) in [
        (
            "HTTP1.md",
            raw::case::all()
                .iter()
                .map(|case| case.name)
                .collect::<Vec<_>>(),
        ),
        (
            "HTTP2.md",
            http2::case::all().iter().map(|case| case.id).collect(),
        ),
    ] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let rows = text
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
        // The heads of the columns are a row as well.
        assert_eq!(rows.skip(1).collect::<Vec<_>>(), ids, "{file}");
    }
}
