//! Long steps are seen on a terminal, and in a pipe they are quiet.

use std::process::{Command, Stdio};

use cofferdam_abi::testing::guest;

use super::build::{CDYLIB, FILTER, package};
use crate::support::{Dir, guest as file, proxy, require};

/// What a command shows on a terminal: one that `script`, of util-linux, makes for it. Its
/// status is the command's.
fn on_a_terminal(arguments: &[&str]) -> Option<(Option<i32>, String)> {
    let script = require::tool("script")?;
    let prepared = proxy::command();
    let mut words = vec![prepared.get_program().to_str().unwrap()];
    words.extend(arguments);
    // It is a shell that runs it.
    assert!(words.iter().all(|word| !word.contains([' ', '\'', '$'])));
    let mut command = Command::new(script);
    for (name, value) in prepared.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let done = command
        .args([
            "--quiet",
            "--return",
            "--command",
            &words.join(" "),
            "/dev/null",
        ])
        .env("TERM", "xterm")
        .env("CARGO_TARGET_DIR", target())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&done.stdout).into_owned();
    Some((done.status.code(), shown))
}

/// What a command writes into pipes: to standard output, and to standard error.
fn in_a_pipe(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = proxy::command();
    let done = command
        .args(arguments)
        .env("CARGO_TARGET_DIR", target())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.code(), text(done.stdout), text(done.stderr))
}

fn target() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("progress")
}

#[test]
fn a_build_shows_the_compiler_at_work_on_a_terminal_alone() {
    let dir = Dir::new();
    // Names that were never built before: nothing is up to date.
    let names = ["terminal", "pipe"].map(|kind| format!("{kind}-{}", std::process::id()));
    for name in &names {
        package(&dir, name, CDYLIB, FILTER);
    }
    let [terminal, pipe] = names.each_ref().map(|name| dir.join(name));
    let (status, out, err) = in_a_pipe(&["build", pipe.to_str().unwrap()]);
    assert_eq!((status, &*err), (Some(0), ""));
    assert!(out.starts_with(&format!("{}.wasm  ", names[1])), "{out}");
    assert!(!out.contains("Compiling") && !out.contains('\x1b'), "{out}");
    let Some((status, shown)) = on_a_terminal(&["build", terminal.to_str().unwrap()]) else {
        return;
    };
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("Compiling"), "{shown}");
    assert!(shown.contains(&format!("{}.wasm  ", names[0])), "{shown}");
}

#[test]
fn a_measurement_says_what_it_is_at_on_a_terminal_alone() {
    let dir = Dir::new();
    let module = guest::module("on request_headers", Default::default());
    let module = file::write(&dir, "guest", &module);
    let arguments = ["bench", module.to_str().unwrap(), "--exchanges", "2"];
    let (status, out, err) = in_a_pipe(&arguments);
    assert_eq!((status, &*err), (Some(0), ""), "{out}");
    let Some((status, shown)) = on_a_terminal(&arguments) else {
        return;
    };
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("2 exchanges on wasmi"), "{shown}");
    assert!(shown.contains("proxy_on_request_headers"), "{shown}");
}
