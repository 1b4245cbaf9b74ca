//! Code that is found when the proxy starts.

use super::{compile, hello, is_native, kept, serves, setup, warnings, yaml};
use crate::support::{guest, proxy};

#[test]
fn what_is_kept_is_run_from_the_first_request() {
    let setup = setup();
    let code = compile(&setup.dir);
    let written = std::fs::metadata(&code).unwrap().modified().unwrap();
    let proxy = setup.start(&yaml("file: hello.wasm", "engine: auto", ""));
    assert!(is_native(&proxy));
    serves(&proxy);
    assert_eq!(warnings(&proxy), [""; 0]);
    assert_eq!(
        std::fs::metadata(&code).unwrap().modified().unwrap(),
        written
    );
}

#[test]
fn what_the_guest_refuses_is_not_blamed_on_its_native_code() {
    let setup = setup();
    let configure = |answer| {
        format!(
            r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const {answer}))"#
        )
    };
    let refusing = hello().replace(&configure(1), &configure(0));
    assert_ne!(refusing, hello());
    guest::write(&setup.dir, "hello", &refusing);
    compile(&setup.dir);
    let rest = "artifacts: { directory: cache/cofferdam/artifacts }";
    let yaml = yaml("file: hello.wasm", "engine: auto", rest);
    for verb in ["check", "run"] {
        let (status, told) = proxy::refused(&setup.dir, verb, &yaml);
        assert_eq!(status, Some(64), "{told:?}");
        assert!(told[0].contains("filters[0].configuration: "), "{told:?}");
        assert!(!told.concat().contains("native"), "{told:?}");
    }
}

#[test]
fn what_nobody_has_compiled_is_interpreted_and_leaves_no_trace() {
    let setup = setup();
    let proxy = setup.start(&yaml("file: hello.wasm", "engine: auto", ""));
    serves(&proxy);
    assert!(!is_native(&proxy));
    assert!(!proxy.dir.join("cache").exists());
}

#[test]
fn what_is_kept_is_left_alone_where_no_memory_may_be_executed() {
    for engine in ["auto", "aot"] {
        let setup = setup();
        let code = compile(&setup.dir);
        let filter = format!("engine: {engine}");
        let proxy = setup.start(&yaml("file: hello.wasm", &filter, "no_exec_memory: true"));
        serves(&proxy);
        assert!(!is_native(&proxy), "{engine}");
        // Whoever has asked for native code is told that there is none.
        let said = warnings(&proxy);
        assert_eq!(said.len(), usize::from(engine == "aot"), "{said:?}");
        let named = |line: &String| line.contains("no_exec_memory") && line.contains("filter=");
        assert!(said.iter().all(named), "{said:?}");
        // Nor is the file itself a part of the process.
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", proxy.id())).unwrap();
        assert!(!maps.contains("artifacts/"), "{maps}");
        assert!(code.exists());
        drop(proxy);
    }
    // With the same file, where it may be.
    let setup = setup();
    compile(&setup.dir);
    let proxy = setup.start(&yaml(
        "file: hello.wasm",
        "engine: auto",
        "no_exec_memory: false",
    ));
    serves(&proxy);
    assert!(is_native(&proxy));
}

#[test]
fn what_is_spoilt_is_interpreted_and_said_once() {
    let setup = setup();
    let code = compile(&setup.dir);
    let mut bytes = std::fs::read(&code).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&code, bytes).unwrap();
    let proxy = setup.start(&yaml("file: hello.wasm", "engine: auto", ""));
    serves(&proxy);
    assert!(!is_native(&proxy) && !code.exists());
    let said = warnings(&proxy);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("its content is not what was written; it is removed"),
        "{said:?}"
    );
}

#[test]
fn what_is_spoilt_is_made_again_where_it_must_not_be_interpreted() {
    let setup = setup();
    let code = compile(&setup.dir);
    let good = std::fs::read(&code).unwrap();
    std::fs::write(&code, &good[..good.len() / 2]).unwrap();
    let proxy = setup.start(&yaml("file: hello.wasm", "engine: aot", ""));
    assert!(is_native(&proxy));
    serves(&proxy);
    assert_eq!(std::fs::read(&code).unwrap(), good);
}

/// Every stream has an instance of its own: made from the code as it is by then.
#[test]
fn what_is_swapped_or_rewritten_while_it_runs_changes_nothing() {
    let setup = setup();
    let code = compile(&setup.dir);
    let filter = "engine: auto, isolation: request";
    let proxy = setup.start(&yaml("file: hello.wasm", filter, ""));
    assert!(is_native(&proxy));
    serves(&proxy);
    let length = std::fs::metadata(&code).unwrap().len();
    // In place, in the same file that was read; then another; then none.
    std::fs::write(&code, vec![0xcc; usize::try_from(length).unwrap()]).unwrap();
    serves(&proxy);
    std::fs::write(&code, "").unwrap();
    serves(&proxy);
    std::fs::remove_file(&code).unwrap();
    std::fs::write(&code, vec![0xf4; 1 << 20]).unwrap();
    serves(&proxy);
    std::fs::remove_file(&code).unwrap();
    serves(&proxy);
    assert!(is_native(&proxy));
    assert_eq!(warnings(&proxy), [""; 0]);
}

#[test]
fn a_folder_that_is_refused_is_said_once_whatever_the_number_of_filters() {
    use std::os::unix::fs::PermissionsExt as _;
    let setup = setup();
    let code = compile(&setup.dir);
    let folder = code.parent().unwrap();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let more = yaml("file: hello.wasm", "engine: auto", "").replace(
        "filters: [{ name: guest",
        "filters: [{ name: other, module: { file: hello.wasm }, vm_id: other, limits: { stack: 256KiB } }, { name: guest",
    );
    let proxy = setup.start(&more);
    serves(&proxy);
    assert!(!is_native(&proxy) && code.exists());
    let said = warnings(&proxy);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("(mode 0777)"), "{said:?}");
}

#[test]
fn two_proxies_share_a_folder() {
    let (one, two) = (setup(), setup());
    let shared = one.dir.join("shared");
    let rest = format!("artifacts: {{ directory: '{}' }}", shared.display());
    let yaml = yaml("file: hello.wasm", "engine: aot", &rest);
    let proxies = std::thread::scope(|scope| {
        let (yaml, two) = (&yaml, scope.spawn(|| two.start(&yaml)));
        [one.start(yaml), two.join().unwrap()]
    });
    for proxy in &proxies {
        assert!(is_native(proxy));
        serves(proxy);
        assert_eq!(warnings(proxy), [""; 0]);
    }
    assert_eq!(std::fs::read_dir(shared).unwrap().count(), 1);
}

#[test]
fn check_makes_nothing() {
    let setup = setup();
    let file = setup
        .dir
        .write("config.yaml", yaml("file: hello.wasm", "engine: aot", ""));
    let mut command = proxy::command();
    command
        .env("XDG_CACHE_HOME", setup.dir.join("cache"))
        .args(["check", "--config", file.to_str().unwrap()]);
    assert!(proxy::finish(&mut command).status.success());
    assert_eq!(kept(&setup.dir).len(), 0);
}
