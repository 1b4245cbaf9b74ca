//! Configurations that people will copy, each given to `cofferdam check`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tree::{Folder, files, read, root, skip};

#[test]
fn every_example_is_accepted() {
    let Some(workspace) = workspace() else { return };
    let examples = files("examples", ".yaml");
    let examples: Vec<_> = examples
        .iter()
        .filter(|path| path.matches('/').count() == 1)
        .collect();
    assert!(
        examples.len() >= 5,
        "the examples are somewhere else: {examples:?}"
    );
    for path in examples {
        let file = workspace.put(path, &read(path));
        check(&file, path);
    }
}

#[test]
fn every_snippet_of_the_documents_is_accepted() {
    let Some(workspace) = workspace() else { return };
    for document in [
        "README.md",
        "CONTRIBUTING.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "examples/README.md",
    ] {
        for (number, snippet) in snippets(&read(document)).into_iter().enumerate() {
            let file = workspace.put(&format!("snippet-{number}.yaml"), &snippet);
            check(&file, &format!("{document}, YAML block {}", number + 1));
        }
    }
    assert!(
        !snippets(&read("README.md")).is_empty(),
        "README.md shows no configuration"
    );
}

/// The guest library's book: its configurations, and its cases, on the filter they are for.
#[test]
fn the_book_shows_configurations_and_cases_that_work() {
    let Some(workspace) = workspace() else { return };
    let module = workspace.0.join("target/guests/sdk_headers.wasm");
    let (mut configurations, mut suites) = (0, 0);
    for chapter in files("sdk/docs", ".md") {
        for (number, yaml) in blocks(&read(&chapter)).into_iter().enumerate() {
            let what = format!("{chapter}, YAML block {}", number + 1);
            let file = workspace.put(&format!("book-{number}.yaml"), &yaml);
            if yaml.contains("listeners:") {
                check(&file, &what);
                configurations += 1;
            } else if yaml.contains("cases:") {
                let output = Command::new(env!("CARGO_BIN_EXE_cofferdam"))
                    .arg("test")
                    .arg(&file)
                    .arg("--filter")
                    .arg(&module)
                    .output()
                    .expect("cofferdam starts");
                assert!(
                    output.status.success(),
                    "{what}:\n{}{}",
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                );
                suites += 1;
            } else {
                // Envoy's: pieces of a configuration, which are at least YAML.
                for event in serde_yaml::Parser::new_from_str(&yaml) {
                    assert!(event.is_ok(), "{what}: {event:?}");
                }
            }
        }
    }
    assert!(
        configurations >= 3 && suites >= 1,
        "{configurations} configurations, {suites} files of cases"
    );
}

/// Whole configurations: YAML blocks with listeners.
fn snippets(document: &str) -> Vec<String> {
    let mut blocks = blocks(document);
    blocks.retain(|yaml| yaml.contains("listeners:"));
    blocks
}

fn blocks(document: &str) -> Vec<String> {
    let blocks = document.split("\n```yaml\n").skip(1);
    let blocks = blocks.filter_map(|block| {
        block
            .split_once("\n```")
            .map(|(yaml, _)| format!("{yaml}\n"))
    });
    blocks.collect()
}

/// A folder that looks like the workspace to a configuration: guests in their place, and
/// the certificates that the TLS example asks its reader to make.
fn workspace() -> Option<Folder> {
    let guests = root().join("target/guests");
    if !guests.join("add_header.wasm").exists() || !guests.join("greet.wasm").exists() {
        skip(
            "target/guests (example filters)",
            "`make guests-rust` builds it",
        );
        return None;
    }
    let folder = Folder::new();
    for guest in fs::read_dir(&guests).expect("the guests") {
        let guest = guest.expect("a guest");
        let copy: PathBuf = folder.0.join("target/guests").join(guest.file_name());
        fs::create_dir_all(copy.parent().expect("a parent")).expect("a folder");
        fs::copy(guest.path(), copy).expect("a copy");
    }
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    for folder_name in ["examples/", ""] {
        folder.put(&format!("{folder_name}server.pem"), &made.cert.pem());
        folder.put(
            &format!("{folder_name}server.key"),
            &made.signing_key.serialize_pem(),
        );
        folder.put(&format!("{folder_name}ca.pem"), &made.cert.pem());
    }
    Some(folder)
}

fn check(file: &Path, what: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_cofferdam"))
        .args(["--log", "error", "check", "--config"])
        .arg(file)
        .output()
        .expect("cofferdam starts");
    assert!(
        output.status.success(),
        "{what} is refused:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
