//! A process that is told to end before it serves. As the first process of a container it would
//! never hear of it, unless it watches from its first moment on: the kernel gives it no default.

use std::time::Instant;

use rustix::process::Signal;

use crate::support::{LONGEST, Setup, Upstream, guest, proxy};

/// A filter whose start takes an hour.
const SPINNING: &str = r#"(func (export "_initialize") (loop $l (br $l)))"#;

/// Whether the process has such a thread.
fn has_thread(pid: u32, name: &str) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    let mut tasks = tasks.into_iter().flatten().flatten();
    tasks.any(|task| {
        let comm = std::fs::read_to_string(task.path().join("comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    })
}

#[test]
fn a_start_that_is_told_to_end_ends_with_status_0_and_says_so() {
    let upstream = Upstream::named("ok");
    for signal in [Signal::TERM, Signal::INT] {
        let setup = Setup::new();
        guest::write(&setup.dir, "spins", &guest::with("", SPINNING));
        let yaml = proxy::filtered(upstream.address, "spins.wasm").replace(
            "name: guest,",
            "name: guest, engine: interpreter, limits: { callback: 1h },",
        );
        let mut proxy = setup.spawn(&yaml);
        let until = Instant::now() + LONGEST;
        while !has_thread(proxy.id(), "start") {
            assert!(Instant::now() < until, "it does not start");
            std::thread::yield_now();
        }
        proxy.signal(signal);
        assert_eq!(proxy.exit().code(), Some(0));
        proxy.log.wait_for("told to end while starting");
    }
}
