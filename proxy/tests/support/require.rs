//! What a test needs of the machine. A test that cannot run says so loudly, and with
//! `COFFERDAM_REQUIRE_ALL=1` fails.

use std::path::PathBuf;

/// A program in the path (or where system programs are).
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    found.or_else(|| skipped(&format!("{name} is not installed")))
}

/// A guest that `make guests` has built.
pub(crate) fn guest(name: &str) -> Option<PathBuf> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../target/guests")
        .join(name);
    match file.canonicalize() {
        Ok(file) => Some(file),
        Err(_) => skipped(&format!(
            "{} is not built; `make guests` builds it",
            file.display()
        )),
    }
}

/// Something else: `None`, after saying why.
pub(crate) fn skipped<T>(why: &str) -> Option<T> {
    cofferdam_abi::testing::require::skipped(why);
    None
}
