//! A process that may have too few threads, or too little of what one needs: it serves whole,
//! or it says why not and ends.

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::support::proxy::{Proxy, Setup};
use crate::support::{Upstream, proxy};

#[test]
fn a_worker_that_cannot_be_started_ends_the_start() {
    let upstream = Upstream::named("ok");
    let yaml = proxy::plain(upstream.address).replace("workers: 1", "workers: 256");
    // In KiB: little beside what the allocator reserves, and a stack is 12 MiB.
    let mut proxy = Setup::new().under("ulimit -v 1800000").spawn(&yaml);
    assert_eq!(proxy.exit().code(), Some(69));
    let said = proxy.log.wait_for("cannot be started");
    assert!(said.contains("of 256 cannot be started"), "{said}");
    assert!(said.contains("set fewer `workers`"), "{said}");
    assert!(!proxy.log.text().contains("listening"));
}

#[test]
fn a_worker_without_descriptors_for_its_loop_ends_the_start() {
    let upstream = Upstream::named("ok");
    // On Unix sockets, of which workers share one.
    let yaml = proxy::plain(upstream.address)
        .replace("workers: 1", "workers: 64")
        .replace("127.0.0.1:0", "'unix:web.sock'");
    let mut proxy = Setup::new().under("ulimit -n 128").spawn(&yaml);
    assert_eq!(proxy.exit().code(), Some(69));
    let said = proxy.log.wait_for("of 64 cannot be started");
    assert!(said.contains("open files"), "{said}");
}

#[test]
fn a_process_that_gets_no_more_threads_ends_like_any_other() {
    let upstream = Upstream::named("ok");
    for signal in [Signal::TERM, Signal::INT] {
        let mut proxy = Proxy::in_front_of(upstream.address);
        let mut client = proxy.client();
        assert_eq!(client.get("/").status(), 200);
        let pid = Pid::from_raw(i32::try_from(proxy.id()).unwrap());
        // Something for the allocator, and less than a stack.
        let all = Some((proxy.status("VmSize") << 10) + (1 << 20));
        let limit = Rlimit {
            current: all,
            maximum: all,
        };
        prlimit(pid, Resource::As, limit).unwrap();
        proxy.signal(signal);
        assert_eq!(proxy.exit().code(), Some(0));
        assert!(!proxy.log.text().contains("panicked"));
        client.assert_ended();
    }
}
