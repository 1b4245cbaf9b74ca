//! Native code in a process that is short of something.

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::proxy::{Proxy, Setup};
use crate::support::{Upstream, guest, proxy};

/// A native filter that crashes when it is asked to; `more` is top-level configuration.
fn start(upstream: &Upstream, more: &str) -> Proxy {
    let setup = Setup::new();
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
        "engine: aot, module: { file: 'f.wasm' }",
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

fn crash(proxy: &Proxy) {
    let crashed = proxy
        .client()
        .request("GET / HTTP/1.1\r\nhost: a\r\nx-crash: 1\r\n\r\n");
    assert_eq!(crashed.status(), 503);
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
fn without_it_a_vm_for_which_there_is_no_room_costs_its_requests_only() {
    let upstream = Upstream::named("ok");
    let proxy = start(&upstream, "");
    assert!(proxy.status("VmSize") > 4 << 20, "it runs natively");
    limit_addresses(&proxy, 3 << 30);
    crash(&proxy);
    assert_eq!(proxy.get("/").status(), 503);
    proxy.log.wait_for("could not be started");
}
