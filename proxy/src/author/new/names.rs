//! Names that a crate of a filter cannot have: those of crates it is made of, and words of the
//! language. Cargo takes some of them, and the first build fails somewhere else.

use crate::author::build::Failure;

/// Crates that a new filter, the guest library or its macros name.
const CRATES: [&str; 18] = [
    "alloc",
    "bytes",
    "cofferdam",
    "cofferdam-abi",
    "cofferdam-sdk",
    "cofferdam-sdk-macros",
    "core",
    "futures-util",
    "hashbrown",
    "log",
    "proc-macro2",
    "proxy-wasm",
    "quote",
    "serde",
    "serde-json",
    "std",
    "syn",
    "test",
];

/// Of the 2024 edition, as far as they look like names of filters.
const WORDS: [&str; 50] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while",
];

/// # Errors
/// The name is taken.
pub(super) fn check(name: &str) -> Result<(), Failure> {
    // To the compiler both are the same.
    let dashed = name.replace('_', "-");
    let taken = if CRATES.contains(&&*dashed) || dashed.starts_with("serde-") {
        "the name of a crate that filters are made of"
    } else if WORDS.contains(&name) {
        "a word of Rust"
    } else {
        return Ok(());
    };
    let what = format!("{name} is {taken}; take another name, such as {name}-filter");
    Err(Failure::Unusable(what))
}

#[cfg(test)]
mod tests {
    use super::check;

    /// The names under `[dependencies]` and the like.
    fn dependencies(manifest: &str) -> Vec<String> {
        let mut inside = false;
        let mut out = Vec::new();
        for line in manifest.lines() {
            if line.starts_with('[') {
                inside = line.contains("dependencies]");
            } else if let (true, Some((name, _))) = (inside, line.split_once(" = ")) {
                out.push(name.trim_start_matches("# ").to_owned());
            }
        }
        out
    }

    #[test]
    fn no_crate_that_filters_are_made_of_is_a_name_for_one() {
        let manifests = [
            include_str!("templates/rust/Cargo.toml.in"),
            include_str!("templates/proxy-wasm/Cargo.toml.in"),
            include_str!("../../../../sdk/Cargo.toml"),
            include_str!("../../../../sdk/macros/Cargo.toml"),
        ];
        for manifest in manifests {
            let names = dependencies(manifest);
            assert!(!names.is_empty());
            for name in names {
                assert!(check(&name).is_err(), "{name}");
            }
        }
        for name in ["cofferdam_sdk", "cofferdam-abi", "serde_derive", "fn"] {
            assert!(check(name).is_err(), "{name}");
        }
        for name in ["headers", "my-serde", "logger", "self-check"] {
            assert!(check(name).is_ok(), "{name}");
        }
    }
}
