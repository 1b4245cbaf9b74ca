//! The end of the proxy while it has something compiled.

use rustix::process::Signal;

use super::{busy_bomb, yaml};
use crate::compile::bomb;
use crate::process::{child_of, is_gone, within};
use crate::support::{Proxy, Setup};

/// SIGTERM ends it at once, and the compiler with it.
fn ends(mut proxy: Proxy) {
    let id = proxy.id();
    let child = within("the compiler", || child_of(id));
    assert!(proxy.drain().success());
    within("the compiler's end", || is_gone(child).then_some(()));
    let said = proxy.log.all();
    let said = said
        .iter()
        .find(|line| line.contains("stays on the interpreter"));
    assert_eq!(said, None, "nobody asks why");
}

#[test]
fn sigterm_while_a_module_is_compiled_that_traffic_has_earned_it() {
    let setup = Setup::new();
    busy_bomb(&setup.dir);
    let proxy = setup.start(&yaml("file: bomb.wasm", "limits: { callback: 10s }", ""));
    let (id, web) = (proxy.id(), proxy.web());
    within("the compiler", || {
        assert_eq!(crate::support::client::get(web, "/").status(), 200);
        child_of(id)
    });
    ends(proxy);
}

#[test]
fn sigterm_while_the_start_waits_for_a_compiler() {
    let setup = Setup::new();
    bomb(&setup.dir, "");
    let proxy = setup.spawn(&yaml("file: bomb.wasm", "engine: aot", ""));
    ends(proxy);
}

#[test]
fn killed_while_the_start_waits_it_leaves_no_compiler_behind() {
    let setup = Setup::new();
    bomb(&setup.dir, "");
    let mut proxy = setup.spawn(&yaml("file: bomb.wasm", "engine: aot", ""));
    let id = proxy.id();
    let child = within("the compiler", || child_of(id));
    proxy.signal(Signal::KILL);
    proxy.exit();
    within("the compiler's end", || is_gone(child).then_some(()));
}
