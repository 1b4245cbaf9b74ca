//! Mistakes of a configuration as whoever made them sees them.

use crate::support::pki::Pki;
use crate::support::{Dir, Proxy, Setup, Upstream, guest, proxy, require};

/// What `run` says, which must be what `check` says.
fn told(dir: &Dir, yaml: &str) -> Vec<String> {
    let (status, told) = proxy::refused(dir, "run", yaml);
    assert_eq!(status, Some(64), "{told:?}");
    assert_eq!(proxy::refused(dir, "check", yaml), (status, told.clone()));
    told
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let dir = Dir::new();
    dir.write("broken.wasm", "this is no module");
    Pki::new(&["a.test"]).write(&dir, "one");
    Pki::new(&["b.test"]).write(&dir, "two");
    let told = told(
        &dir,
        "\
listeners:
  - name: web
    adress: 127.0.0.1:0
    idle_timeout: 30
    filters: [addd]
    tls: { certificate: one.pem, key: two.key }
    routes:
      - match: { prefix: api }
        cluster: backnd
      - respond: { status: 42 }
filters:
  - name: add
    module: { file: missing.wasm }
  - name: broken
    module: { file: broken.wasm }
clusters:
  - name: backend
    endpoints: [nowhere]
workers: many
",
    );
    let file = dir.join("config.yaml").display().to_string();
    let expected = [
        (
            "3:5: listeners[0].adress: unknown key",
            "did you mean `address`?",
        ),
        ("4:19: listeners[0].idle_timeout: ", "30s"),
        (
            "5:15: listeners[0].filters[0]: there is no filter \"addd\"",
            "did you mean \"add\"?",
        ),
        ("6:", "key"),
        ("8:26: listeners[0].routes[0].match.prefix: ", "/api"),
        (
            "9:18: listeners[0].routes[0].cluster: there is no cluster \"backnd\"",
            "did you mean \"backend\"?",
        ),
        ("10:28: listeners[0].routes[1].respond.status: ", "200"),
        ("13:21: filters[0].module.file: ", "missing.wasm"),
        (
            "15:13: filters[1].module: filter broken: ",
            "not WebAssembly",
        ),
        ("18:17: clusters[0].endpoints[0]: ", "host:port"),
        ("19:10: workers: ", "number"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (line, (start, part)) in told.iter().zip(expected) {
        assert!(
            line.starts_with(&format!("{file}:{start}")),
            "{line}\ndoes not begin with {start}"
        );
        assert!(line.contains(part), "{line}\nhas no {part}");
        assert!(line.contains("; "), "{line}\ndoes not say what to do");
    }
}

#[test]
fn a_limit_too_small_for_a_filter_to_start_is_named_with_what_it_is() {
    let dir = Dir::new();
    let table = guest::with("(table 3000 funcref)", "");
    let spins = guest::with("", r#"(func (export "_initialize") (loop $l (br $l)))"#);
    guest::write(&dir, "table", &table);
    guest::write(&dir, "spins", &spins);
    guest::write(&dir, "plain", &guest::with("", ""));
    for (module, limit, what) in [
        (
            "plain",
            "memory: 64KiB",
            "memory limit exceeded in its start section: it wants 131072 bytes",
        ),
        (
            "table",
            "table: 1000",
            "table limit exceeded in its start section: it wants 3000 elements",
        ),
        ("spins", "fuel: 5000", "fuel quota used up in _initialize"),
        (
            "spins",
            "callback: 5ms",
            "time limit exceeded in _initialize",
        ),
    ] {
        let (name, value) = limit.split_once(": ").unwrap();
        let yaml = proxy::filtered(Upstream::nobody(), &format!("{module}.wasm")).replace(
            "name: guest,",
            &format!("name: guest, limits: {{ {limit} }},"),
        );
        let told = told(&dir, &yaml);
        assert_eq!(told.len(), 1, "{told:?}");
        let path = format!("filters[0].limits.{name}: filter guest: ");
        let help = format!("raise `limits.{name}`, which is {value}");
        for part in [&path[..], what, &help] {
            assert!(told[0].contains(part), "{told:?} has no {part}");
        }
    }
}

#[test]
fn a_certificate_that_does_not_match_its_key_is_refused() {
    let dir = Dir::new();
    Pki::new(&["a.test"]).write(&dir, "one");
    Pki::new(&["b.test"]).write(&dir, "two");
    let told = told(
        &dir,
        "listeners:\n- name: web\n  address: 127.0.0.1:0\n  tls: { certificate: one.pem, key: two.key }\n  \
         routes: [{ respond: { body: hi } }]\n",
    );
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains(":4:") && told[0].contains("listeners[0].tls"),
        "{told:?}"
    );
}

#[test]
fn every_filter_that_cannot_start_is_told_whatever_the_others_are() {
    let dir = Dir::new();
    dir.write("text.wasm", "this is no module");
    dir.write("empty.wasm", wat::parse_str("(module)").unwrap());
    guest::write(&dir, "good", &guest::transparent());
    guest::write(
        &dir,
        "unknown",
        &guest::with(r#"(import "env" "no_such_call" (func))"#, ""),
    );
    let refusing = guest::transparent().replace(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))"#,
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 0))"#,
    );
    guest::write(&dir, "refusing", &refusing);
    guest::write(
        &dir,
        "trapping",
        &refusing.replace(
            "(result i32) (i32.const 0))\n  (func (export \"proxy_on_context_create\")",
            "(result i32) unreachable)\n  (func (export \"proxy_on_context_create\")",
        ),
    );
    let names = ["text", "empty", "unknown", "refusing", "trapping", "good"];
    let filters: String = names
        .iter()
        .map(|name| format!("  - {{ name: {name}, module: {{ file: {name}.wasm }} }}\n"))
        .collect();
    let told = told(
        &dir,
        &format!(
            "listeners:\n- {{ name: web, address: 127.0.0.1:0, routes: [{{ respond: {{ body: hi }} }}] }}\nfilters:\n{filters}"
        ),
    );
    let expected = [
        ("4:27: filters[0].module: filter text: ", "not WebAssembly"),
        ("5:28: filters[1].module: filter empty: ", ""),
        ("6:30: filters[2].module: filter unknown: ", "no_such_call"),
        (
            "7:5: filters[3].configuration: filter refusing: ",
            "it logged nothing",
        ),
        (
            "8:31: filters[4].module: filter trapping: ",
            "proxy_on_configure",
        ),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    let file = dir.join("config.yaml").display().to_string();
    for (line, (start, part)) in told.iter().zip(expected) {
        assert!(
            line.starts_with(&format!("{file}:{start}")) && line.contains(part),
            "{line}\nis not {start} {part}"
        );
    }
}

#[test]
fn a_filter_that_refuses_its_configuration_is_told_with_what_it_logged() {
    let Some(module) = require::guest("config.wasm") else {
        return;
    };
    let (dir, module) = (Dir::new(), module.display());
    let told = told(
        &dir,
        &format!(
            "listeners:\n- name: web\n  address: 127.0.0.1:0\n  filters: [a]\n  routes:\n\
             \x20 - filters:\n    - name: a\n      configuration: refuse\n    respond: {{ body: hi }}\n\
             filters:\n- name: a\n  module: {{ file: '{module}' }}\n- name: b\n  module: {{ file: '{module}' }}\n  configuration: refuse\n\
             - name: c\n  module: {{ file: '{module}' }}\n  vm_configuration: refuse\n"
        ),
    );
    assert_eq!(told.len(), 3, "{told:#?}");
    for (line, (start, said)) in told.iter().zip([
        (
            ":8:22: listeners[0].routes[0].filters[0].configuration: filter a: ",
            "config: the configuration says refuse",
        ),
        (
            ":15:18: filters[1].configuration: filter b: ",
            "config: the configuration says refuse",
        ),
        (
            ":18:21: filters[2].vm_configuration: filter c: ",
            "config: the VM configuration says refuse",
        ),
    ]) {
        assert!(
            line.contains(start) && line.contains(said),
            "{line}\nis not {start} {said}"
        );
    }
}

#[test]
fn every_file_of_tls_that_is_there_is_looked_at_whatever_is_missing() {
    let dir = Dir::new();
    Pki::new(&["a.test"]).write(&dir, "one");
    Pki::new(&["a.test", "b.test"]).write(&dir, "two");
    dir.write("bad.pem", "this is no PEM");
    let told = told(
        &dir,
        "\
listeners:
  - name: web
    address: 127.0.0.1:0
    tls:
      certificate: missing.pem
      key: bad.pem
      certificates:
        - { certificate: one.pem, key: one.key }
        - { certificate: two.pem, key: two.key }
        - { certificate: two.pem, key: one.key }
      client_ca: gone.pem
      client_crl: bad.pem
    routes: [{ cluster: up }]
clusters:
  - name: up
    endpoints: ['127.0.0.1:9']
    tls: { server_name: 'a b', ca: bad.pem, certificate: two.pem, key: missing.key }
",
    );
    let wanted = [
        "5:20: listeners[0].tls.certificate: \"missing.pem\" cannot be read: ",
        "6:12: listeners[0].tls.key: \"bad.pem\": no private key in it",
        "9:26: listeners[0].tls.certificates[1].certificate: \"two.pem\": the name a.test is claimed",
        "10:11: listeners[0].tls.certificates[2]: ",
        "11:18: listeners[0].tls.client_ca: \"gone.pem\" cannot be read: ",
        "12:19: listeners[0].tls.client_crl: \"bad.pem\": no list of revoked certificates in it",
        "17:25: clusters[0].tls.server_name: ",
        "17:36: clusters[0].tls.ca: \"bad.pem\": no certificate in it",
        "17:72: clusters[0].tls.key: \"missing.key\" cannot be read: ",
    ];
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    for (line, wanted) in told.iter().zip(wanted) {
        assert!(
            line.contains(&format!("config.yaml:{wanted}")),
            "{wanted}: {told:#?}"
        );
    }
}

#[test]
fn a_taken_port_names_the_listener_and_starts_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = Dir::new();
    let yaml = format!(
        "listeners:\n- {{ name: free, address: 127.0.0.1:0, routes: [{{ respond: {{ body: hi }} }}] }}\n\
         - {{ name: taken, address: '{address}', routes: [{{ respond: {{ body: hi }} }}] }}\n"
    );
    let (status, told) = proxy::refused(&dir, "run", &yaml);
    assert_eq!((status, told.len()), (Some(69), 1), "{told:?}");
    assert!(
        told[0]
            .contains("/config.yaml:3:27: listeners[1].address: listener taken cannot listen on"),
        "{told:?}"
    );
    assert!(
        told[0].contains(&address.to_string()) && told[0].contains("; "),
        "{told:?}"
    );
    assert_eq!(told[0].matches("config.yaml").count(), 1, "{told:?}");
    assert_eq!(
        proxy::refused(&dir, "check", &yaml).0,
        Some(0),
        "checking opens no ports"
    );
}

#[test]
fn a_port_that_another_listener_has_is_told_by_its_name() {
    let port = Upstream::free().port();
    let yaml = format!(
        "listeners:\n- {{ name: one, address: '127.0.0.1:{port}', routes: [{{ respond: {{ body: hi }} }}] }}\n\
         - {{ name: all, address: '0.0.0.0:{port}', routes: [{{ respond: {{ body: hi }} }}] }}\n"
    );
    let (status, told) = proxy::refused(&Dir::new(), "run", &yaml);
    assert_eq!((status, told.len()), (Some(69), 1), "{told:?}");
    let said = format!(
        "config.yaml:3:25: listeners[1].address: listener all cannot listen on 0.0.0.0:{port}: \
         listener one has 127.0.0.1:{port}; give one of the two another address"
    );
    assert!(told[0].ends_with(&said), "{told:?}");
}

#[test]
fn a_port_that_another_proxy_has_is_taken() {
    let first = Proxy::in_front_of(Upstream::nobody());
    let yaml = proxy::plain(Upstream::nobody()).replace("127.0.0.1:0", &first.web().to_string());
    let (status, told) = proxy::refused(&Dir::new(), "run", &yaml);
    assert_eq!(status, Some(69), "{told:?}");
    assert!(
        told.iter()
            .any(|line| line.contains("listener web cannot listen on")),
        "{told:?}"
    );
}

#[test]
fn an_access_log_that_cannot_be_written_keeps_the_proxy_from_starting() {
    let dir = Dir::new();
    let yaml = proxy::plain(Upstream::nobody());
    let at = yaml.find("access_log").unwrap();
    // A device on which every write fails would be found at the first line only; a file
    // whose folder is a file cannot even be opened.
    let file = dir.write("file", "");
    let yaml = format!(
        "{}access_log: {{ file: '{}/log' }}\n",
        &yaml[..at],
        file.display()
    );
    let told = told(&dir, &yaml);
    assert!(
        told.len() == 1 && told[0].contains("access_log.file"),
        "{told:?}"
    );
}

#[test]
fn a_good_file_is_called_good() {
    let setup = Setup::new();
    guest::write(&setup.dir, "guest", &guest::transparent());
    let file = setup.dir.write(
        "good.yaml",
        proxy::filtered(Upstream::nobody(), "guest.wasm"),
    );
    let output = proxy::run(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("{}: the configuration is good\n", file.display())
    );
}

#[test]
fn a_file_that_is_not_there_or_not_yaml_is_told_in_one_line() {
    let output = proxy::run(&["check", "--config", "/nowhere/x.yaml"]);
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.starts_with("/nowhere/x.yaml:1:1: $: ") && text.lines().count() == 1,
        "{text}"
    );
    for yaml in ["", "listeners: [", "a: b: c", "\u{7}", "- x"] {
        assert!(!told(&Dir::new(), yaml).is_empty(), "{yaml:?}");
    }
}
