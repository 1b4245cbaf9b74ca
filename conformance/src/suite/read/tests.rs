//! Files of cases: what is read of them, where mistakes are told, and that all which are there can
//! be read.

use std::path::Path;

use super::*;
use crate::suite::Profile;

const GOOD: &str = r#"
id: A-1
name: n
section: "1.1"
guest: |
  on request_headers
   (!text {"hi"})
steps:
  - request: { path: /x, headers: ["x-a: 1", ":y: 2"] }
    upstream: { delay: 20ms, body: [a, { hex: "00 ff" }, { repeat: xy, times: 2 }] }
    expect: { status: [413, 500] }
expect:
  logs: [hi]
"#;

fn read(text: &str) -> std::result::Result<Case, String> {
    one(Path::new("cases/A/A-1-name.yaml"), text)
}

fn mistake(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    read(&GOOD.replace(from, to)).expect_err("a mistake")
}

#[test]
fn a_case_has_what_its_file_says() {
    let case = read(GOOD).expect("reads");
    assert_eq!(case.filters()[0].name, "a");
    assert_eq!(case.filters()[0].root_id.as_deref(), Some(""));
    assert_eq!(case.profiles, Profile::all());
    let step = &case.steps[0];
    let headers = &step.request.as_ref().expect("request").headers;
    assert_eq!((&*headers[1].name, &*headers[1].value), (":y", "2"));
    let answer = step.upstream.as_ref().expect("upstream");
    assert_eq!(&*answer.body.bytes(), b"a\0\xffxyxy");
    assert_eq!(answer.body.announced(), None);
    assert_eq!(answer.delay.expect("delay").0.as_millis(), 20);
}

#[test]
fn mistakes_name_their_file_and_line() {
    for (from, to, said) in [
        ("steps:", "stepz:", "A-1-name.yaml:8:1"),
        ("status:", "state:", "A-1-name.yaml:11"),
        ("20ms", "20 minutes", "like 120ms or 2s"),
        ("\"x-a: 1\"", "xa", "like `name: value`"),
        ("logs:", "log:", "A-1-name.yaml:13:3"),
    ] {
        let mistake = mistake(from, to);
        assert!(mistake.contains(said), "{mistake}");
        assert!(mistake.starts_with("cases/A/A-1-name.yaml:"), "{mistake}");
    }
}

#[test]
fn what_no_field_says_is_looked_at_too() {
    for (from, to, said) in [
        ("id: A-1", "id: A1", "not like `A-1`"),
        ("id: A-1", "id: A-2", "A/A-2-SLUG.yaml"),
        ("id: A-1", "id: B-1", "B/B-1-SLUG.yaml"),
        (
            "on request_headers",
            "on request_header",
            "no callback request_header",
        ),
        ("!text", "!tekst", "unknown func"),
        (
            "  - request:",
            "  - shutdown: true\n    request:",
            "give one of",
        ),
        ("path: /x", "trailers: [\"a: b\"], body: whole", "in chunks"),
        (
            "  - request:",
            "  - reload: { filter: b, guest: \"on log\" }\n  - request:",
            "no filter \"b\"",
        ),
        (
            "  - request:",
            "  - reload: { guest: \"on lug\" }\n  - request:",
            "no callback lug",
        ),
        ("section:", "profiles: []\nsection:", "never run"),
    ] {
        let mistake = mistake(from, to);
        assert!(mistake.contains(said), "{from}: {mistake}");
    }
}

#[test]
fn ids_are_in_the_order_people_count() {
    let mut ids = ["D-100", "D-85b", "A-2", "D-85", "A-10", "D-85.x"];
    ids.sort_by_key(|id| order(id));
    assert_eq!(ids, ["A-2", "A-10", "D-85", "D-85.x", "D-85b", "D-100"]);
}

#[test]
fn every_case_there_is_can_be_read() {
    let cases = all(&folder()).unwrap_or_else(|error| panic!("{error}"));
    assert!(!cases.is_empty());
}
