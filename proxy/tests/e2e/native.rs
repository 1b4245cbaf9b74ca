//! Native code in a process that is short of something.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::proxy::{Proxy, Setup};
use crate::support::{Dir, Upstream, guest, proxy};

/// A native filter that crashes when it is asked to; `more` is top-level configuration.
fn start(upstream: &Upstream, more: &str) -> Proxy {
    start_by(Setup::new(), upstream, "", more)
}

/// `filter` is more of the filter's.
fn start_by(setup: Setup, upstream: &Upstream, filter: &str, more: &str) -> Proxy {
    let crashing = r#"(import "env" "proxy_get_header_map_value"
        (func $get (param i32 i32 i32 i32 i32) (result i32)))"#;
    let callbacks = r#"(data (i32.const 16) "x-crash")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (if (i32.eqz (call $get (i32.const 0) (i32.const 16) (i32.const 7) (i32.const 32) (i32.const 36)))
                (then unreachable))
            (i32.const 0))"#;
    guest::write(&setup.dir, "f", &guest::with(crashing, callbacks));
    let yaml = proxy::filtered(upstream.address, "f.wasm").replace(
        "module: { file: 'f.wasm' }",
        &format!("{filter}engine: aot, module: {{ file: 'f.wasm' }}"),
    );
    let proxy = setup.start(&format!("{yaml}{more}"));
    assert_eq!(proxy.get("/").status(), 200);
    proxy
}

/// Lets the process have `most` bytes of addresses from now on.
fn limit_addresses(proxy: &Proxy, most: u64) {
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    let pid = Pid::from_raw(i32::try_from(proxy.id()).unwrap());
    prlimit(pid, Resource::As, limit).unwrap();
}

const CRASH: &str = "GET / HTTP/1.1\r\nhost: a\r\nx-crash: 1\r\n\r\n";

fn crash(proxy: &Proxy) {
    assert_eq!(proxy.client().request(CRASH).status(), 503);
    proxy.log.wait_for("filter crashed");
}

#[test]
fn memory_compact_starts_vms_where_addresses_are_few() {
    let upstream = Upstream::named("ok");
    let proxy = start(&upstream, "memory: compact\n");
    assert!(
        proxy.status("VmSize") < 3 << 20,
        "not even one memory of 4 GiB"
    );
    limit_addresses(&proxy, 3 << 30);
    crash(&proxy);
    assert_eq!(proxy.get("/").status(), 200, "there was room for a new VM");
}

#[test]
fn without_it_a_filter_whose_next_vm_has_no_room_is_interpreted() {
    for isolation in ["worker", "request"] {
        let upstream = Upstream::named("ok");
        let isolation = format!("isolation: {isolation}, ");
        let proxy = start_by(Setup::new(), &upstream, &isolation, "");
        limit_addresses(&proxy, 3 << 30);
        // The one VM is lost to this; or there is none for it.
        assert_eq!(proxy.client().request(CRASH).status(), 503);
        let said = proxy.log.wait_for("interpreted from now on");
        assert!(says_what_to_do(&said), "{said}");
        let serves = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            proxy.get("/").status() == 200
        });
        assert!(serves, "{}", proxy.log.text());
        assert_eq!(proxy.client().request(CRASH).status(), 503);
        let crashed = proxy.log.wait_for("engine=\"interpreter\"");
        assert!(crashed.contains("filter crashed"), "{crashed}");
    }
}

/// Whether a line says what there is too little of, and what can be done about it.
fn says_what_to_do(line: &str) -> bool {
    let words = [
        "no room in the address space",
        "`memory: compact`",
        "RLIMIT_AS",
    ];
    words.iter().all(|words| line.contains(words))
}

#[test]
fn a_proxy_that_begins_with_few_addresses_interprets_and_says_what_would_help() {
    let upstream = Upstream::named("ok");
    // In KiB. The compiler, in a process of its own, needs less.
    let few = || Setup::new().under("ulimit -v 3145728");
    let kept = Dir::new();
    let artifacts = kept.join("native").display().to_string();
    let artifacts = format!("artifacts: {{ directory: '{artifacts}' }}\n");
    // Once its code was made for it, and once it is there at the start.
    for why in ["stays on the interpreter", "the module is interpreted"] {
        let proxy = start_by(few(), &upstream, "", &artifacts);
        let said = proxy.log.wait_for(why);
        assert!(says_what_to_do(&said), "{said}");
        crash(&proxy);
        assert_eq!(proxy.get("/").status(), 200);
    }
    let proxy = start_by(few(), &upstream, "", "memory: compact\n");
    crash(&proxy);
    assert_eq!(proxy.get("/").status(), 200);
    let crashed = proxy.log.wait_for("filter crashed");
    assert!(crashed.contains("engine=\"aot\""), "{crashed}");
    assert!(
        !proxy.log.text().contains("interpret"),
        "{}",
        proxy.log.text()
    );
}

#[test]
fn what_the_allocator_reserves_is_left_to_vms_where_addresses_are_few() {
    let upstream = Upstream::named("ok");
    let few = Setup::new().under("ulimit -v 1048576");
    let proxy = start_by(few, &upstream, "", "memory: compact\n");
    crash(&proxy);
    assert_eq!(proxy.get("/").status(), 200);
    let crashed = proxy.log.wait_for("filter crashed");
    assert!(crashed.contains("engine=\"aot\""), "{crashed}");
}
