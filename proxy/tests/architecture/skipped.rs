//! Tests that cannot run here are told of by one function, which `.ci/test.sh` listens to.

use std::process::Command;

use cofferdam_abi::testing::require::{self, ALL, FILE};

use crate::tree::{Folder, files, read};

/// Which of the two is wanted of [`one_that_lacks_something`].
const ASKED: &str = "COFFERDAM_ASKED";

#[test]
fn what_is_left_out_is_a_line_in_a_file_and_a_failure_where_all_is_required() {
    let folder = Folder::new();
    let file = folder.0.join("skipped");
    let passes = |asked: &str, all: &str| {
        let mut test = Command::new(std::env::current_exe().expect("a test has a file"));
        test.args([
            "--exact",
            "skipped::one_that_lacks_something",
            "--nocapture",
        ])
        .envs([(ASKED, asked), (ALL, all)])
        .env(FILE, &file);
        let output = test.output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("a trumpet"), "{said}");
        output.status.success()
    };
    assert!(passes("skipped", "0"));
    assert!(!passes("skipped", "1"));
    assert!(passes("left out", "1"));
    let name = "skipped::one_that_lacks_something: there is not a trumpet";
    let lines = [
        format!("SKIPPED: {name}"),
        format!("SKIPPED: {name}"),
        format!("LEFT OUT: {name}"),
    ];
    let written = std::fs::read_to_string(&file).expect("written");
    assert_eq!(written.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn one_that_lacks_something() {
    let why = "there is not a trumpet";
    match std::env::var(ASKED).as_deref() {
        Ok("skipped") => require::skipped(why),
        Ok(_) => require::left_out(why),
        Err(_) => {}
    }
}

/// What a test writes to standard error is not seen where it passes.
#[test]
fn tests_of_the_host_tell_by_that_function_alone() {
    for folder in ["abi", "proxy", "conformance"] {
        for path in files(folder, ".rs") {
            let told = read(&path).contains(concat!("print", "ln!(\"SKIPPED"));
            assert!(
                !told,
                "{path}: call `cofferdam_abi::testing::require::skipped`"
            );
        }
    }
}
