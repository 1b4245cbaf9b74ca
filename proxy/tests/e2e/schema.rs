//! A configuration that does not fit the schema in its module is refused before the guest runs.

use cofferdam_abi::testing::guest;

use crate::support::{Dir, proxy};

const SCHEMA: &str = r#"{
    "type": "object",
    "properties": {
        "rules": { "type": "array", "items": {
            "type": "object",
            "properties": { "limit": { "type": "integer", "minimum": 1 }, "mode": { "enum": ["open", "closed"] } },
            "required": ["limit"],
            "additionalProperties": false
        } }
    },
    "required": ["rules"],
    "additionalProperties": false
}"#;

/// A guest that would take anything, and says that it was asked.
const GUEST: &str = "on configure\n (!text {\"the guest was asked\"})";

/// A module with one more custom section, which is all that follows its last one.
fn module(schema: &[u8]) -> Vec<u8> {
    let mut wasm = wat::parse_str(guest::module(GUEST, Default::default())).unwrap();
    let name = "filter.schema";
    let mut section = vec![u8::try_from(name.len()).unwrap()];
    section.extend(name.as_bytes());
    section.extend(schema);
    let mut length = section.len();
    wasm.push(0);
    while length >= 128 {
        wasm.push(u8::try_from(length % 128 + 128).unwrap());
        length /= 128;
    }
    wasm.push(u8::try_from(length).unwrap());
    wasm.extend(section);
    wasm
}

fn yaml(configuration: &str) -> String {
    format!(
        "\
listeners:
- name: web
  address: 127.0.0.1:0
  filters: [guard]
  routes:
  - respond: {{ status: 204 }}
    filters:
    - {{ name: guard, configuration: {{ rules: [{{ limit: 1 }}] }} }}
filters:
- name: guard
  module: {{ file: guard.wasm }}
  configuration: {configuration}
workers: 1
"
    )
}

#[test]
fn every_mistake_is_told_by_check_and_by_run_and_the_guest_is_not_asked() {
    let dir = Dir::new();
    dir.write("guard.wasm", module(SCHEMA.as_bytes()));
    let file = dir.join("config.yaml").display().to_string();
    let wasm = dir.join("guard.wasm").display().to_string();
    let yaml = yaml("{ rules: [{ limit: 0, mode: opn }, { limt: 3 }], more: 1 }");
    for command in ["check", "run"] {
        let (status, told) = proxy::refused(&dir, command, &yaml);
        assert_eq!(status, Some(64), "{told:?}");
        let expected = [
            "rules[0].limit: filter guard: WASM: expected at least 1, found 0; write at least 1",
            "rules[0].mode: filter guard: WASM: expected \"open\" or \"closed\", found \"opn\"; did you mean \"open\"?",
            "rules[1].limt: filter guard: WASM: unknown key \"limt\"; did you mean `limit`?",
            "rules[1]: filter guard: WASM: `limit` is missing; write `limit`: a whole number",
            "more: filter guard: WASM: unknown key \"more\"; write `rules`",
        ];
        for wanted in expected {
            let wanted = wanted.replace("WASM", &wasm);
            let line = format!("{file}:12:18: filters[0].configuration.{wanted}");
            assert!(told.contains(&line), "{line}\n{told:#?}");
        }
        assert!(!told.iter().any(|line| line.contains("asked")), "{told:?}");
    }
}

#[test]
fn the_configuration_of_a_route_is_checked_where_it_is_written() {
    let dir = Dir::new();
    dir.write("guard.wasm", module(SCHEMA.as_bytes()));
    let yaml = yaml("{ rules: [] }").replace("limit: 1", "limit: one");
    let (status, told) = proxy::refused(&dir, "check", &yaml);
    assert_eq!(status, Some(64), "{told:?}");
    let path = ":8:37: listeners[0].routes[0].filters[0].configuration.rules[0].limit: ";
    let what = "expected a whole number, found text";
    assert!(
        told.iter()
            .any(|line| line.contains(path) && line.contains(what)),
        "{told:?}"
    );
}

#[test]
fn cases_are_of_configurations_that_a_proxy_would_start() {
    let dir = Dir::new();
    let file = dir.write("guard.wasm", module(SCHEMA.as_bytes()));
    let run = |cases: &str| {
        let cases = dir.write("tests.yaml", cases);
        let output = proxy::run(&[
            "test",
            cases.to_str().unwrap(),
            "--filter",
            file.to_str().unwrap(),
        ]);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let refused = "\
cases:
- name: refused
  configuration: { rules: [{ limit: 0 }], more: 1 }
  refused: { contains: 'configuration.rules[0].limit: expected at least 1, found 0' }
- name: and all of it is said
  configuration: { rules: [{ limit: 0 }], more: 1 }
  refused: { contains: unknown key \"more\" }
";
    let (status, said) = run(refused);
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = run("cases:\n- name: no\n  configuration: { rules: 1 }\n");
    assert_ne!(status, Some(0), "{said}");
    let wanted = "the filter does not start: configuration.rules: expected a list";
    assert!(said.contains(wanted), "{said}");
    assert!(!said.contains("asked"), "{said}");
}

fn check(dir: &Dir, yaml: &str) -> (Option<i32>, String) {
    let file = dir.write("config.yaml", yaml);
    let output = proxy::run(&["check", "--config", file.to_str().unwrap()]);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn what_fits_runs_and_so_does_what_cannot_be_checked() {
    let dir = Dir::new();
    dir.write("guard.wasm", module(SCHEMA.as_bytes()));
    let (status, said) = check(&dir, &yaml("{ rules: [{ limit: 3, mode: open }] }"));
    assert_eq!(status, Some(0), "{said}");
    assert!(!said.contains("schema"), "{said}");
    let loop_of_itself = br##"{"$ref":"#"}"##;
    for (schema, why) in [
        (&b"no schema"[..], "not JSON"),
        (&vec![b' '; 300_000], "bytes"),
        (loop_of_itself, "deeper"),
        (br#"{"$ref":"http://127.0.0.1:9/schema.json"}"#, ""),
    ] {
        dir.write("guard.wasm", module(schema));
        let (status, said) = check(&dir, &yaml("{ any: thing }"));
        assert_eq!(status, Some(0), "{said}");
        let warned = said.contains("the schema in the module is not used");
        assert!(
            warned != why.is_empty() && said.contains(why),
            "{why}\n{said}"
        );
    }
}
