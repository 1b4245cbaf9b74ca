//! A thousand clients that are connected and say nothing: what they cost, who is served
//! meanwhile, and that all of them can go on. `cofferdam-soak idle` measures ten thousand.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{Client, Proxy, Upstream, require};

const MANY: usize = 1_000;
/// KiB that one may take. It is 14 at most where it is measured exactly; these are few enough
/// for a page here and there to count, and the build is not optimised.
const MOST: u64 = 32;

#[test]
fn a_thousand_idle_connections_take_little_and_can_go_on() {
    // They are this process's too, and the proxy has its bounds of it.
    let bound = getrlimit(Resource::Nofile);
    let wanted = MANY as u64 + 512;
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= wanted);
    if !enough(bound.current) {
        if !enough(bound.maximum) {
            let _: Option<()> = require::skipped("it needs 1,500 file descriptors");
            return;
        }
        let raised = Rlimit {
            current: bound.maximum,
            ..bound
        };
        setrlimit(Resource::Nofile, raised).unwrap();
    }
    let upstream = Upstream::named("ok");
    let proxy = Proxy::in_front_of(upstream.address);
    let mut other = proxy.client();
    for _ in 0..100 {
        assert_eq!(other.get("/").text(), "ok");
    }
    let before = proxy.status("VmRSS");
    let mut idle: Vec<Client> = (0..MANY).map(|_| proxy.client()).collect();
    for client in &mut idle {
        assert_eq!(client.get("/").text(), "ok");
    }
    for _ in 0..100 {
        assert_eq!(other.get("/").text(), "ok");
    }
    let taken = proxy.status("VmRSS").saturating_sub(before);
    assert!(
        taken <= MOST * MANY as u64,
        "{taken} KiB for {MANY} connections, at most {MOST} each"
    );
    for client in &mut idle {
        assert_eq!(client.get("/again").text(), "ok");
    }
    assert_eq!(upstream.connections(), 1);
}
