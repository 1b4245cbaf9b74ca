//! The walls between crates, over what cargo resolved for this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::tree::{files, read, root};

/// Packages by name, each with the names of those it needs to be built (not of those only
/// its tests need).
type Graph = BTreeMap<String, BTreeSet<String>>;

const OURS: [&str; 3] = ["cofferdam", "cofferdam-abi", "cofferdam-conformance"];

#[test]
fn abi_is_sans_io() {
    for name in reachable(graph(), "cofferdam-abi") {
        let ours = OURS.contains(&&name[..]) && name != "cofferdam-abi";
        let io = ["tokio", "hyper", "http", "socket2", "mio", "rustls"].contains(&&name[..]);
        assert!(
            !ours && !io && !name.starts_with("pingora"),
            "cofferdam-abi must not depend on {name}"
        );
    }
}

#[test]
fn the_proxy_knows_engines_only_through_abi() {
    for engine in ["wasmi", "wasmtime"] {
        assert!(
            !graph()["cofferdam"].contains(engine),
            "cofferdam must not depend on {engine} itself"
        );
    }
    assert!(graph()["cofferdam"].contains("cofferdam-abi"));
}

#[test]
fn the_suite_shares_no_code_with_the_proxy() {
    assert!(!reachable(graph(), "cofferdam-conformance").contains("cofferdam"));
}

#[test]
fn there_is_one_tls_library() {
    for name in [
        "openssl",
        "openssl-sys",
        "native-tls",
        "boring",
        "aws-lc-rs",
        "aws-lc-sys",
    ] {
        assert!(
            !graph().contains_key(name),
            "{name} is in the build: rustls with ring is the one TLS library"
        );
    }
}

#[test]
fn everything_comes_from_the_registry() {
    for path in files("", "Cargo.lock") {
        let foreign: Vec<String> = read(&path)
            .lines()
            .filter_map(|line| line.strip_prefix("source = "))
            .filter(|source| *source != "\"registry+https://github.com/rust-lang/crates.io-index\"")
            .map(str::to_owned)
            .collect();
        assert!(foreign.is_empty(), "{path}: {foreign:?}");
    }
}

/// On its line or right above it, so that it cannot be taken for another's. Guests' manifests
/// are examples, and short.
#[test]
fn every_dependency_has_its_reason() {
    let manifests = [
        "Cargo.toml",
        "abi/Cargo.toml",
        "proxy/Cargo.toml",
        "conformance/Cargo.toml",
        "conformance/fuzz/Cargo.toml",
        "sdk/Cargo.toml",
        "sdk/macros/Cargo.toml",
    ];
    let (mut seen, mut without) = (0, Vec::new());
    for path in manifests {
        let text = read(path);
        let (mut listed, mut before) = (false, "");
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                listed = line.ends_with("dependencies]");
            } else if listed && line.contains('=') && !line.starts_with('#') {
                seen += 1;
                if !before.starts_with('#') && !line.contains(" # ") {
                    without.push(format!("{path}: {line}"));
                }
            }
            before = line;
        }
    }
    assert!(seen > 60, "{seen} dependencies");
    assert!(without.is_empty(), "{}", without.join("\n"));
}

/// `cargo deny check bans` says the same; this needs no program that may be missing.
#[test]
fn the_bans_of_deny_toml_hold() {
    let bans = bans(&read("deny.toml"));
    assert!(
        bans.iter().any(|(name, _)| name == "wasmi"),
        "deny.toml is not read as it is written: {bans:?}"
    );
    for (banned, wrappers) in bans {
        for (name, needs) in graph() {
            if needs.contains(&banned) {
                assert!(
                    wrappers.contains(name),
                    "{name} depends on {banned}; deny.toml allows {wrappers:?}"
                );
            }
        }
        for wrapper in wrappers {
            let known = OURS.contains(&&wrapper[..]) || graph().contains_key(&wrapper);
            assert!(
                known,
                "deny.toml: wrapper {wrapper} of {banned} does not exist"
            );
        }
    }
}

/// Rows such as `{ crate = "a", wrappers = ["b", "c"] },`.
fn bans(text: &str) -> Vec<(String, BTreeSet<String>)> {
    let rows = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("{ crate = \""));
    rows.map(|row| {
        let (name, rest) = row.split_once('"').expect("a name");
        let wrappers = rest
            .split('"')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        (name.to_owned(), wrappers)
    })
    .collect()
}

fn reachable(graph: &Graph, from: &str) -> BTreeSet<String> {
    let (mut found, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(name) = next.pop() {
        let needs = graph
            .get(&name)
            .unwrap_or_else(|| panic!("{name} is in the graph"));
        next.extend(needs.iter().filter(|need| !found.contains(*need)).cloned());
        found.insert(name);
    }
    found
}

fn graph() -> &'static Graph {
    static GRAPH: OnceLock<Graph> = OnceLock::new();
    GRAPH.get_or_init(|| {
        // What other machines need may not have been downloaded.
        let host = run(
            std::env::var("RUSTC").as_deref().unwrap_or("rustc"),
            &["-vV"],
        );
        let host = host
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .expect("rustc says its host");
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let words = [
            "metadata",
            "--offline",
            "--locked",
            "--format-version",
            "1",
            "--filter-platform",
            host,
        ];
        let metadata: Value = serde_json::from_str(&run(&cargo, &words)).expect("JSON");
        let name_of: BTreeMap<&str, &str> = list(&metadata["packages"])
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let mut graph = Graph::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let needs = list(&node["deps"])
                .filter(|dep| list(&dep["dep_kinds"]).any(|kind| kind["kind"] != "dev"))
                .map(|dep| name_of[text(&dep["pkg"])].to_owned());
            // Two versions of a package count as one.
            graph
                .entry(name_of[text(&node["id"])].to_owned())
                .or_default()
                .extend(needs);
        }
        graph
    })
}

fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program)
        .args(words)
        .current_dir(root())
        .output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("a list").iter()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
