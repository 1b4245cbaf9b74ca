//! The tests that new filters come with, on every target there is: `cargo test` in the folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::new::{made, target};
use crate::support::{Dir, proxy, require};

const LIVE: [&str; 3] = ["proxy", "aot", "envoy"];

/// The real Envoy, as `ENVOY` names it or where the conformance suite keeps it.
fn envoy() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os("ENVOY") {
        return Some(program.into());
    }
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers");
    let folders = |folder: &Path| folder.read_dir().into_iter().flatten().flatten();
    let programs = folders(&peers).flat_map(|peer| folders(&peer.path().join("lib")));
    let mut programs = programs.map(|python| python.path().join("site-packages/envoy/_bin/envoy"));
    let program = programs.find(|program| program.is_file());
    let program = program.and_then(|program| program.canonicalize().ok());
    if program.is_none() {
        // What needs Envoy is a command of its own; the other targets are tried all the same.
        cofferdam_abi::testing::require::left_out(
            "on envoy: there is none; `make conformance-envoy` gets it",
        );
    }
    program
}

/// What `cargo test` says, and whether it is content.
fn tests(folder: &Path, on: &str, module: Option<&Path>) -> (bool, String) {
    let program = proxy::command();
    let mut command = Command::new("cargo");
    command.args(["test", "--quiet"]).current_dir(folder);
    command.env("CARGO_TARGET_DIR", target());
    command.env("COFFERDAM_TEST_TARGET", on);
    command.env("COFFERDAM", program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env_remove("FILTER_WASM");
    if let Some(module) = module {
        command.env("FILTER_WASM", module);
    }
    if let Some(envoy) = (on == "envoy").then(envoy).flatten() {
        command.env("ENVOY", envoy);
    }
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// Those that can be run here.
fn targets() -> impl Iterator<Item = &'static str> {
    let live = LIVE.into_iter().filter(|on| match *on {
        "aot" => cfg!(feature = "compiler"),
        "envoy" => envoy().is_some(),
        _ => true,
    });
    ["native", "interpreter"].into_iter().chain(live)
}

fn pass_everywhere(folder: &Path, count: usize) {
    for on in targets() {
        let (passed, said) = tests(folder, on, None);
        assert!(passed, "{on}:\n{said}");
        let all = format!("test result: ok. {count} passed; 0 failed; 0 ignored;");
        assert!(said.contains(&all), "{on}:\n{said}");
    }
}

#[test]
fn those_of_headers_pass_everywhere_and_fail_for_another_module() {
    let dir = Dir::new();
    let Some(folder) = made(&dir, "rust", "headers") else {
        return;
    };
    pass_everywhere(&folder, 2);
    let Some(other) = require::guest("sdk_callbacks.wasm") else {
        return;
    };
    for on in targets().filter(|on| *on != "native") {
        let (passed, said) = tests(&folder, on, Some(&other));
        assert!(
            !passed && said.contains("both_ways_are_greeted"),
            "{on}:\n{said}"
        );
    }
    // What a process cannot have is not taken for tested; nor is a module of another source.
    let source = std::fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    let end = source.rfind('}').unwrap();
    let late = "
    #[test]
    fn an_hour_passes() {
        let mut tester = Tester::of::<hello>(\"\");
        tester.advance(std::time::Duration::from_secs(3600));
    }
}
";
    std::fs::write(folder.join("src/lib.rs"), [&source[..end], late].concat()).unwrap();
    let own = folder.join("my-headers.wasm");
    let (passed, said) = tests(&folder, "interpreter", Some(&own));
    assert!(passed, "{said}");
    let (passed, said) = tests(&folder, "proxy", Some(&own));
    let why = "not run against proxy: needs virtual time";
    assert!(!passed && said.contains(why), "{said}");
    let (passed, said) = tests(&folder, "interpreter", None);
    assert!(
        !passed && said.contains("lib.rs: type `cofferdam build`"),
        "{said}"
    );
}

#[test]
fn those_of_body_pass_everywhere() {
    let dir = Dir::new();
    if let Some(folder) = made(&dir, "rust", "body") {
        pass_everywhere(&folder, 2);
    }
}

#[test]
fn those_of_auth_pass_everywhere() {
    let dir = Dir::new();
    if let Some(folder) = made(&dir, "rust", "auth") {
        pass_everywhere(&folder, 2);
    }
}

#[test]
fn those_of_tcp_pass_everywhere() {
    let dir = Dir::new();
    if let Some(folder) = made(&dir, "rust", "tcp") {
        pass_everywhere(&folder, 2);
    }
}
