//! What a test lacks on the machine that it runs on.
//!
//! A test that cannot run passes, and what passes is silent: so it is told on standard error, and
//! in the file that [`FILE`] names, from which `.ci/test.sh` prints and counts it in the end.

use std::fs::OpenOptions;
use std::io::Write as _;

/// The variable of the environment that names a file. Each test that is left out adds a line.
pub const FILE: &str = "COFFERDAM_SKIPPED";

/// The variable that makes a failure of it, where it is `1`.
pub const ALL: &str = "COFFERDAM_REQUIRE_ALL";

/// The test that calls this is left out, or a part of it.
///
/// # Panics
/// Where everything is required.
pub fn skipped(why: &str) {
    let test = tell("SKIPPED", why);
    let all = std::env::var_os(ALL).is_some_and(|value| value == "1");
    assert!(!all, "{test} could not run, and {ALL}=1: {why}");
}

/// The same, for lack of something that a machine may lack even where everything is required;
/// CONTRIBUTING.md lists what that is.
pub fn left_out(why: &str) {
    tell("LEFT OUT", why);
}

fn tell(what: &str, why: &str) -> String {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test").to_owned();
    let line = format!("{what}: {test}: {why}\n");
    // Not by `eprintln`, which a passing test keeps to itself.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(file) = std::env::var_os(FILE) {
        let file = OpenOptions::new().create(true).append(true).open(file);
        // In one piece: others write there at the same time.
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the file for what is left out");
    }
    test
}
