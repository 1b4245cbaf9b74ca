//! The book in `docs` is whole: every chapter is compiled by `src/book.rs`, listed in the index,
//! and none of its Rust is left out of the tests.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::Path;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// Texts by file name.
fn chapters() -> BTreeMap<String, String> {
    let files = std::fs::read_dir(folder()).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let named = files.map(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(&file).unwrap())
    });
    named.collect()
}

/// What stands behind the three signs that open each block of code.
fn languages(text: &str) -> Vec<&str> {
    let fences = text.lines().filter_map(|line| line.strip_prefix("```"));
    fences.step_by(2).collect()
}

#[test]
fn every_chapter_is_compiled_and_in_the_index() {
    let chapters = chapters();
    assert!(chapters.len() > 8, "{:?}", chapters.keys());
    let compiled = include_str!("../src/book.rs");
    let index = &chapters["README.md"];
    for name in chapters.keys() {
        assert!(name.ends_with(".md"), "{name} is no chapter");
        assert!(
            compiled.contains(&format!("\"{name}\";")),
            "src/book.rs does not compile docs/{name}"
        );
        assert!(
            name == "README.md" || index.contains(&format!("]({name})")),
            "docs/README.md does not list {name}"
        );
    }
}

#[test]
fn no_rust_is_left_out_of_the_tests() {
    for (name, text) in chapters() {
        let mut compiled = 0;
        for language in languages(&text) {
            match language {
                "rust" | "compile_fail" | "standalone_crate" => compiled += 1,
                // Of the other crate there is nothing to run off wasm.
                "no_run,standalone_crate" => {
                    assert!(text.contains("use proxy_wasm::"), "{name}: {language}");
                }
                "sh" | "toml" | "yaml" | "text" => {}
                other => panic!("docs/{name}: a block of {other:?}"),
            }
        }
        let is_prose = ["README.md", "11-deploying.md"].contains(&&name[..]);
        assert_eq!(compiled == 0, is_prose, "docs/{name}");
    }
}

#[test]
fn links_lead_somewhere() {
    for (name, text) in chapters() {
        for target in text.split("](").skip(1) {
            let target = target.split(')').next().unwrap();
            assert!(
                folder().join(target).exists(),
                "docs/{name}: {target} is not there"
            );
        }
    }
}
