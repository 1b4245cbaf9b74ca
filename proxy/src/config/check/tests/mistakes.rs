//! Every kind of mistake, with the exact lines it gives.

use super::{Folder, refuse, with, with_route};
use crate::config::check::load;

/// Cases in a form that reads like a session: what is written, and what is said to it.
const CASES: &str = include_str!("mistakes.txt");

#[test]
fn every_mistake_is_told_in_one_line() {
    let mut tried = 0;
    for case in CASES.split("\n\n").filter(|case| case.starts_with('@')) {
        let (written, expected) = case.split_once("\n> ").expect("lines that are told");
        let (how, yaml) = written.split_once(' ').expect("a form and some YAML");
        // `\n` is a line break; `\\n` is what YAML then reads as one.
        let yaml = yaml.replace("\\n", "\n").replace("\\\n", "\\n");
        let text = match how {
            "@route" => with_route(&yaml),
            "@rest" => with(&yaml),
            "@file" => yaml.clone(),
            other => panic!("no such form: {other}"),
        };
        assert_told(
            &refuse(&text),
            &expected.trim_end().replace("\n> ", "\n"),
            written,
        );
        tried += 1;
    }
    assert!(tried > 100, "{tried}");
}

/// Compares line by line; `<why>` stands for what another library says.
fn assert_told(told: &str, expected: &str, written: &str) {
    let same = |(told, expected): (&str, &str)| match expected.split_once("<why>") {
        Some((before, after)) => told.starts_with(before) && told.ends_with(after),
        None => told == expected,
    };
    let lines = told.lines().count() == expected.lines().count();
    let all = lines && told.lines().zip(expected.lines()).all(same);
    assert!(
        all,
        "{written}\n--- told:\n{told}\n--- expected:\n{expected}"
    );
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once_in_file_order() {
    let text = r#"listeners:
  - name: web
    adress: 127.0.0.1:8080
    tls: { certificate: server.pem, key: other.key }
    filters: [add-heder, { name: greet, configuration: { limit: .inf } }]
    idle_timeout: 30
    routes:
      - match: { prefix: api, method: get }
        cluster: backnd
      - match: { prefix: / }
        respond: { status: 99, body: "no route\n" }
        cluster: backend
filters:
  - name: add-header
    module: { file: filters/missing.wasm }
    limits: { memory: 64MB, callback: 100 }
    on_failure: retry
    on_failure: open
  - name: greet
    module: { file: filters/a.wasm, sha256: 00 }
clusters:
  - name: backend
    endpoints: ["127.0.0.1:9000", 127.0.0.1]
    tls: { server_name: "" }
workers: 1000
"#;
    let expected = r#"test.yaml:3:5: listeners[0].adress: unknown key "adress"; did you mean `address`?
test.yaml:4:10: listeners[0].tls: "server.pem" and "other.key": <why>
test.yaml:5:15: listeners[0].filters[0]: there is no filter "add-heder"; did you mean "add-header"?
test.yaml:5:65: listeners[0].filters[1].configuration.limit: JSON has no number ".inf"; put it in quotes
test.yaml:6:19: listeners[0].idle_timeout: the duration 30 has no unit; write a whole number with ms, s, m, h or d, such as 30s
test.yaml:8:26: listeners[0].routes[0].match.prefix: "api" does not begin with `/`; write a path such as /api, percent-encoded
test.yaml:8:39: listeners[0].routes[0].match.method: "get" is not in capitals; write GET
test.yaml:9:18: listeners[0].routes[0].cluster: there is no cluster "backnd"; did you mean "backend"?
test.yaml:11:18: listeners[0].routes[1].respond: `respond` cannot stand beside `cluster`; keep one of the two
test.yaml:11:28: listeners[0].routes[1].respond.status: 99 is out of range; write a number from 200 to 599
test.yaml:15:21: filters[0].module.file: "filters/missing.wasm" cannot be read: there is no such file; check the name and permissions of filters/missing.wasm
test.yaml:16:39: filters[0].limits.callback: the duration 100 has no unit; write a whole number with ms, s, m, h or d, such as 30s
test.yaml:17:17: filters[0].on_failure: "retry" is not known here; write one of closed, open, reload
test.yaml:18:5: filters[0].on_failure: the key "on_failure" is written twice; remove one of the two
test.yaml:20:45: filters[1].module.sha256: "00" is not a SHA-256; write the 64 hexadecimal digits that sha256sum prints
test.yaml:23:35: clusters[0].endpoints[1]: "127.0.0.1" has no port; write host:port, such as 127.0.0.1:9000, [::1]:9000 or backend:9000
test.yaml:24:25: clusters[0].tls.server_name: the server name is empty; write the name the upstream's certificate carries; verification cannot be switched off
test.yaml:25:10: workers: 1000 is out of range; write a number from 1 to 256"#;
    assert_told(&refuse(text), expected, text);
}

#[test]
fn a_number_that_json_has_not_is_told_once() {
    let text = "listeners: [{ name: a, address: '127.0.0.1:1', routes: [{ match: { prefix: / }, respond: {} }] }]\nworkers: .inf\n";
    let expected = "test.yaml:2:10: workers: expected a whole number, found .inf; write a number from 1 to 256";
    assert_told(&refuse(text), expected, text);
}

#[test]
fn a_file_that_cannot_be_read_is_told_the_same_way() {
    let folder = Folder::new();
    let told = |name: &str| {
        let diagnostics = load(&folder.0.join(name)).expect_err("refused");
        let lines: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
        lines
            .join("\n")
            .replace(&format!("{}/", folder.0.display()), "")
    };
    let help = "check its name and permissions";
    assert_eq!(
        told("none.yaml"),
        format!("none.yaml:1:1: $: the file cannot be read: there is no such file; {help}")
    );
    assert_eq!(
        told("filters"),
        format!("filters:1:1: $: the file cannot be read: it is a folder; {help}")
    );
    folder.put("latin.yaml", b"a: 1\nb: \xe9\n");
    assert_eq!(
        told("latin.yaml"),
        "latin.yaml:2:4: $: the file is not UTF-8 from here on; save it as UTF-8"
    );
    folder.put("large.yaml", &vec![b'#'; (8 << 20) + 1]);
    assert_eq!(
        told("large.yaml"),
        "large.yaml:1:1: $: the file is larger than 8MiB; split the configuration"
    );
    folder.put("exact.yaml", &vec![b'#'; 8 << 20]);
    assert_eq!(
        told("exact.yaml"),
        "exact.yaml:1:1: $: the file is empty; write at least `listeners:`"
    );
}

#[test]
fn a_file_is_read_with_its_names_beside_it() {
    let folder = Folder::new();
    folder.put(
        "good.yaml",
        with("filters: [{ name: f, module: { file: filters/a.wasm } }]").as_bytes(),
    );
    let config = load(&folder.0.join("good.yaml")).expect("accepted");
    assert_eq!(config.plugins[0].wasm.len(), 8);
    let place = format!("{}:2:11", folder.0.join("good.yaml").display());
    assert_eq!(config.plugins[0].position, place);
}

#[test]
fn a_mistake_in_an_anchor_is_told_once() {
    let expected = "test.yaml:1:82: listeners[0].routes[0].respond.status: 1 is out of range; \
                    write a number from 200 to 599";
    let text = "listeners: [{ name: a, address: '127.0.0.1:81', routes: &r [{ respond: { status: 1 } }] }, \
                { name: b, address: '127.0.0.1:82', routes: *r }]";
    assert_eq!(refuse(text), expected);
}
