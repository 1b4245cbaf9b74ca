//! Code that the proxy has made for itself, and the places it cannot be kept in.

use std::process::Command;

use rustix::process::Signal;

use super::{BUSY, busy_bomb, is_native, kept, serves, setup, text, warnings, yaml};
use crate::process::{child_of, within};
use crate::support::{Proxy, Setup, guest};

#[test]
fn what_is_made_is_kept_for_the_next_start() {
    let setup = setup().with(&["--log", "info"]);
    let proxy = setup.start(&yaml("file: hello.wasm", "engine: aot", ""));
    assert!(is_native(&proxy));
    // Whoever looks at a start that takes long is told why.
    let said = "compiled before they serve, as `engine: aot` asks";
    assert_eq!(proxy.log.text().matches(said).count(), 1);
    serves(&proxy);
    assert_eq!(kept(&proxy.dir).len(), 1);
    assert_eq!(warnings(&proxy), [""; 0]);
}

/// Native all the same, with one warning that has these words in it.
fn cannot_keep(proxy: &Proxy, words: &str) {
    assert!(is_native(proxy), "{}", proxy.log.text());
    serves(proxy);
    let said = warnings(proxy);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains(words), "{said:?}");
}

#[test]
fn where_it_cannot_be_kept_it_is_used_all_the_same() {
    let setup = setup();
    setup.dir.write("file", "no folder");
    let rest = "artifacts: { directory: file/inside }";
    let proxy = setup.start(&yaml("file: hello.wasm", "engine: aot", rest));
    cannot_keep(&proxy, "file/inside is a link or no folder");
}

#[test]
fn on_a_full_disk_it_is_used_all_the_same() {
    let setup = setup();
    let disk = setup.dir.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4k,mode=700", "none", text(&disk)])
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        // Containers rarely may. The next test shows the same of a write that fails.
        cofferdam_abi::testing::require::left_out("this user may not mount a small disk");
        return;
    }
    let rest = "artifacts: { directory: disk/cache }";
    let proxy = std::panic::catch_unwind(|| {
        let proxy = setup.start(&yaml("file: hello.wasm", "engine: aot", rest));
        cannot_keep(&proxy, ".cwasm: No space left on device");
        assert_eq!(std::fs::read_dir(disk.join("cache")).unwrap().count(), 0);
        proxy
    });
    let unmounted = Command::new("umount").arg(&disk).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    drop(proxy.unwrap());
}

#[test]
fn where_files_may_not_grow_it_is_used_all_the_same() {
    let setup = setup().under("trap '' XFSZ; ulimit -f 16");
    let proxy = setup.start(&yaml("file: hello.wasm", "engine: aot", ""));
    cannot_keep(&proxy, ".cwasm: File too large");
    assert_eq!(kept(&proxy.dir).len(), 0);
}

#[test]
fn a_compile_bomb_stays_interpreted_and_is_tried_again_after_a_reload_only() {
    let setup = Setup::new();
    busy_bomb(&setup.dir);
    let (filter, rest) = (
        "engine: aot, limits: { callback: 10s }",
        "compiler: { memory: 4MiB }",
    );
    let mut proxy = setup.start(&yaml("file: bomb.wasm", filter, rest));
    let said = |proxy: &Proxy| {
        let lines = warnings(proxy).into_iter();
        lines
            .filter(|line| line.contains("filter guest stays on the interpreter: "))
            .collect::<Vec<_>>()
    };
    assert_eq!(said(&proxy).len(), 1);
    assert!(said(&proxy)[0].contains("the 4MiB of `compiler.memory`"));
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status(), 200);
    }
    assert!(!is_native(&proxy));
    assert_eq!(said(&proxy).len(), 1, "not tried again");
    proxy.signal(Signal::HUP);
    within("another try", || {
        assert_eq!(proxy.get("/").status(), 200);
        (said(&proxy).len() == 2).then_some(())
    });
    assert_eq!(child_of(proxy.id()), None);
    assert!(proxy.drain().success());
}

#[test]
fn all_filters_that_are_native_now_are_named_in_one_line() {
    let setup = setup();
    guest::write(&setup.dir, "busy", &guest::with("", BUSY));
    let filters = (0..12).map(|index| {
        format!("{{ name: f{index}, module: {{ file: busy.wasm }}, limits: {{ callback: 10s }} }}")
    });
    let filters = filters.collect::<Vec<_>>().join(", ");
    let yaml = yaml("file: busy.wasm", "limits: { callback: 10s }", "").replace(
        "filters: [{ name: guest",
        &format!("filters: [{filters}, {{ name: guest"),
    );
    let proxy = setup.start(&yaml);
    let promoted = || {
        proxy
            .log
            .all()
            .into_iter()
            .find(|line| line.contains("there is native"))
    };
    let line = within("native code", || {
        assert_eq!(proxy.get("/").status(), 200);
        promoted()
    });
    let names = "filter=\"guest, f0, f1, f2, f3, f4, f5, f6, f7, f8 and 3 more\"";
    assert!(line.contains(names), "{line}");
}
