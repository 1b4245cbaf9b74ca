//! The command line.

use crate::support::{Dir, Proxy, Setup, Upstream, guest, proxy};

/// Exit status, standard output, standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = proxy::run(arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn the_version_is_the_packages() {
    let (status, out, _) = run(&["--version"]);
    assert_eq!(
        (status, out),
        (
            Some(0),
            format!("cofferdam {}\n", env!("CARGO_PKG_VERSION"))
        )
    );
}

#[test]
fn help_names_every_command_and_every_exit_status() {
    let (status, out, _) = run(&["--help"]);
    assert_eq!(status, Some(0));
    for part in [
        "run",
        "check",
        "inspect",
        "compile",
        "new",
        "build",
        "test",
        "dev",
        "bench",
        "demo",
        "reference",
        "completions",
        "Exit status: 0",
        "1 a case",
        "`run` was told twice to end",
        "64",
        "69",
    ] {
        assert!(out.contains(part), "{part} is missing:\n{out}");
    }
    for command in [
        "run",
        "check",
        "inspect",
        "compile",
        "new",
        "build",
        "test",
        "dev",
        "bench",
        "demo",
        "reference",
        "completions",
    ] {
        let (status, out, _) = run(&[command, "--help"]);
        assert!(
            status == Some(0) && out.contains("Usage: cofferdam "),
            "{command}: {out}"
        );
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (status, out, _) = run(&["completions", shell]);
        assert!(
            status == Some(0) && out.contains("cofferdam") && out.contains("inspect"),
            "{shell}"
        );
    }
}

#[test]
fn the_reference_names_every_table() {
    let (status, out, _) = run(&["reference"]);
    assert_eq!(status, Some(0));
    for part in [
        "listeners[]",
        "listeners[].routes[]",
        "filters[]",
        "clusters[]",
        "access_log",
    ] {
        assert!(out.contains(part), "{part}");
    }
}

#[test]
fn a_mistake_on_the_command_line_is_status_64() {
    for arguments in [
        &["nosuch"][..],
        &["run"],
        &[],
        &["run", "--config"],
        &["--log", "what=ever=else", "reference"],
    ] {
        let (status, out, err) = run(arguments);
        assert_eq!((status, &out[..]), (Some(64), ""), "{arguments:?}: {err}");
        assert!(!err.is_empty());
    }
}

#[test]
fn inspect_shows_what_a_module_is() {
    let dir = Dir::new();
    let file = guest::write(&dir, "guest", &guest::transparent());
    let file = file.to_str().unwrap();
    let (status, out, _) = run(&["inspect", file]);
    assert_eq!(status, Some(0));
    for part in [
        "ABI version      0.2.1",
        "proxy_on_request_headers",
        "proxy_on_memory_allocate",
        "stream contexts  yes",
        "code",
    ] {
        assert!(out.contains(part), "{part} is missing:\n{out}");
    }
    let (status, out, _) = run(&["inspect", file, "--json"]);
    assert_eq!(status, Some(0));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["abi_version"], "0.2.1");
    assert_eq!(report["problems"], serde_json::json!([]));
    assert_eq!(report["makes_stream_contexts"], true);
    assert_eq!(report["memory"]["initial_pages"], 2);
}

#[test]
fn inspect_shows_what_keeps_a_module_from_running() {
    let dir = Dir::new();
    let file = guest::write(
        &dir,
        "guest",
        &guest::with(r#"(import "env" "no_such_call" (func))"#, ""),
    );
    let file = file.to_str().unwrap();
    let (status, out, _) = run(&["inspect", file]);
    assert_eq!(status, Some(64), "a script is told too");
    assert!(out.contains("no_such_call"), "{out}");
    let (status, out, _) = run(&["inspect", file, "--json"]);
    assert_eq!(status, Some(64));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(
        report["problems"].to_string().contains("no_such_call"),
        "{report}"
    );
}

#[test]
fn inspect_of_something_else_says_so() {
    let dir = Dir::new();
    let text = dir.write("text.wasm", "this is no module");
    // The last has no end.
    for file in [text.to_str().unwrap(), "/nowhere/x.wasm", "/dev/zero"] {
        for json in [&[][..], &["--json"]] {
            let (status, out, err) = run(&[&["inspect", file], json].concat());
            assert_eq!((status, &out[..]), (Some(64), ""), "{err}");
            assert!(err.starts_with(&format!("{file}: ")), "{err}");
            let advice =
                !file.starts_with('/') || err.contains("; check its name") || file.contains("text");
            assert!(advice, "{err}");
        }
    }
}

#[test]
fn the_log_can_be_json_and_its_level_chosen() {
    let setup = Setup::new().with(&["--log-format", "json"]);
    let proxy = setup.start(&proxy::plain(Upstream::nobody()));
    let line: serde_json::Value = serde_json::from_str(&proxy.log.wait_for("listening")).unwrap();
    assert_eq!(line["level"], "INFO");
    drop(proxy);
    let proxy = Setup::new()
        .with(&["--log", "debug"])
        .start(&proxy::plain(Upstream::nobody()));
    assert_eq!(proxy.get("/").status(), 503);
    proxy.log.wait_for("DEBUG");
}

#[test]
fn the_log_has_no_colours_where_nobody_sees_them() {
    let proxy = Proxy::in_front_of(Upstream::nobody());
    assert!(!proxy.log.wait_for("listening").contains('\x1b'));
}

#[test]
fn the_demo_shows_what_reached_its_upstream() {
    let address = Upstream::free();
    let setup = Setup::new()
        .command("demo")
        .after(&["--upstream", &address.to_string()]);
    let proxy = setup.start(&proxy::plain(address));
    let answer = proxy.get("/hello");
    assert_eq!(answer.status(), 200);
    assert!(
        answer.text().contains("GET /hello")
            && answer.text().contains("x-forwarded-for: 127.0.0.1"),
        "{}",
        answer.text()
    );
}
