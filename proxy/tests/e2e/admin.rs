//! What an operator can ask for and do, by the real binary over a real socket.

use std::net::SocketAddr;
use std::time::Instant;

use crate::support::message::Message;
use crate::support::pki::Pki;
use crate::support::{Client, Dir, LONGEST, Proxy, Setup, Upstream, client, guest};

/// A listener that answers, and the operator's page; `more` is added to `admin`.
fn yaml(admin: &str, more: &str) -> String {
    format!(
        "listeners:\n\
         - name: web\n\
         \x20 address: 127.0.0.1:0\n\
         \x20 routes: [{{ respond: {{ body: ok }} }}]\n\
         workers: 1\n\
         admin: {{ address: '{admin}' }}\n{more}"
    )
}

fn start() -> (Proxy, SocketAddr) {
    with(Setup::new(), &yaml("127.0.0.1:0", ""))
}

fn with(setup: Setup, yaml: &str) -> (Proxy, SocketAddr) {
    let proxy = setup.start(yaml);
    let line = proxy.log.wait_for("listening: admin ");
    let address = line.rsplit(' ').next().unwrap().parse().unwrap();
    (proxy, address)
}

/// A request with these fields beside a `host` that is allowed.
fn ask(admin: SocketAddr, method: &str, path: &str, fields: &str) -> Message {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {admin}\r\n{fields}\r\n");
    Client::connect(admin).request(&request)
}

fn get(admin: SocketAddr, path: &str) -> Message {
    ask(admin, "GET", path, "")
}

fn post(admin: SocketAddr, path: &str) -> Message {
    ask(admin, "POST", path, "content-length: 0\r\n")
}

fn json(answer: &Message) -> serde_json::Value {
    assert_eq!(answer.field("content-type"), Some("application/json"));
    serde_json::from_str(&answer.text()).unwrap_or_else(|_| panic!("{}", answer.text()))
}

/// Every path that the index has, with its method.
fn index(admin: SocketAddr) -> Vec<(String, String)> {
    let text = get(admin, "/").text();
    let lines = text.lines().filter(|line| line.starts_with(['G', 'P']));
    let pair = |line: &str| {
        let (method, rest) = line.split_once(' ').unwrap();
        let path = rest.trim().split('?').next().unwrap();
        (method.to_owned(), path.to_owned())
    };
    lines.map(pair).collect()
}

#[test]
fn every_page_of_the_index_is_there_and_takes_its_method_only() {
    let (_proxy, admin) = start();
    let pages = index(admin);
    let paths: Vec<&str> = pages.iter().map(|(_, path)| &path[..]).collect();
    for path in [
        "/",
        "/ready",
        "/live",
        "/metrics",
        "/config",
        "/clusters",
        "/listeners",
        "/filters",
        "/certs",
        "/log",
        "/reload",
        "/drain",
        "/quit",
    ] {
        assert!(paths.contains(&path), "{path} in {paths:?}");
    }
    for (method, path) in &pages {
        let others: &[&str] = match &method[..] {
            "GET" => {
                let answer = get(admin, path);
                assert_eq!(answer.status(), 200, "{path}");
                assert_eq!(answer.field("cache-control"), Some("no-store"), "{path}");
                assert!(!answer.body.is_empty(), "{path}");
                let head = ask(admin, "HEAD", path, "");
                assert_eq!((head.status(), head.body.len()), (200, 0), "{path}");
                &["POST", "PUT", "DELETE", "OPTIONS", "PATCH"]
            }
            _ => &["GET", "HEAD", "PUT", "DELETE", "OPTIONS"],
        };
        let allowed = if method == "GET" { "GET, HEAD" } else { "POST" };
        for other in others {
            let answer = ask(admin, other, path, "content-length: 0\r\n");
            assert_eq!(answer.status(), 405, "{other} {path}");
            assert_eq!(answer.field("allow"), Some(allowed), "{other} {path}");
        }
    }
    for path in [
        "/nothing",
        "/metrics/",
        "//",
        "/READY",
        "/ready/x",
        "/%72eady",
    ] {
        for answer in [get(admin, path), post(admin, path)] {
            assert_eq!(answer.status(), 404, "{path}");
            assert!(answer.text().contains("/metrics"), "it says what there is");
        }
    }
}

#[test]
fn what_is_written_is_shown_without_its_secrets() {
    let setup = Setup::new();
    setup.dir.write("token", "hush-hush\n");
    let more = "clusters: [{ name: up, endpoints: ['127.0.0.1:9'] }]\n\
                node: { id: here, metadata: { db: 'redis://me:opensesame@db/0', api_key: sesame1, deep: [{ password: [sesame2] }] } }\n";
    let yaml = yaml("127.0.0.1:0", more).replace("' }", "', token_file: token }");
    let (proxy, admin) = with(setup, &yaml);
    let answer = get(admin, "/config");
    let shown = json(&answer);
    assert_eq!(shown["listeners"][0]["name"], "web");
    assert_eq!(shown["admin"]["token_file"], "token");
    let metadata = &shown["node"]["metadata"];
    assert_eq!(metadata["db"], "redis://me:***@db/0");
    assert_eq!(metadata["api_key"], "***");
    assert_eq!(metadata["deep"][0]["password"][0], "***");
    let as_yaml = get(admin, "/config?format=yaml");
    assert_eq!(as_yaml.field("content-type"), Some("application/yaml"));
    assert!(
        as_yaml.text().contains("\"name\": \"web\""),
        "{}",
        as_yaml.text()
    );
    for text in [answer.text(), as_yaml.text(), proxy.log.text()] {
        for secret in ["sesame", "hush"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    assert_eq!(json(&get(admin, "/config?format=json")), shown);
    assert_eq!(get(admin, "/config?format=xml").status(), 400);
}

#[test]
fn clusters_and_listeners_are_shown_as_they_are() {
    let more = "clusters:\n\
                - { name: up, endpoints: ['127.0.0.1:9', { address: '127.0.0.1:10', weight: 3 }], protocol: http2 }\n";
    let (proxy, admin) = with(Setup::new(), &yaml("127.0.0.1:0", more));
    let clusters = json(&get(admin, "/clusters"));
    assert_eq!(clusters[0]["name"], "up");
    assert_eq!(clusters[0]["protocol"], "http2");
    let endpoints = clusters[0]["endpoints"].as_array().unwrap();
    let endpoint = |address: &str| {
        let found = endpoints.iter().find(|one| one["address"] == address);
        found.unwrap_or_else(|| panic!("{endpoints:?}")).clone()
    };
    assert_eq!(endpoint("127.0.0.1:10")["weight"], 3);
    assert_eq!(endpoint("127.0.0.1:9")["healthy"], true);
    let listeners = json(&get(admin, "/listeners"));
    assert_eq!(listeners[0]["name"], "web");
    assert_eq!(listeners[0]["address"], proxy.web().to_string());
    assert_eq!(listeners[0]["kind"], "http");
    assert_eq!(json(&get(admin, "/filters")), serde_json::json!([]));
}

#[test]
fn certificates_are_shown_and_keys_are_not() {
    let setup = Setup::new();
    Pki::new(&["cert.test"]).write(&setup.dir, "cert");
    let yaml = yaml("127.0.0.1:0", "").replace(
        "  routes",
        "  tls: { certificate: cert.pem, key: cert.key }\n  routes",
    );
    let (_proxy, admin) = with(setup, &yaml);
    let answer = get(admin, "/certs");
    let certs = json(&answer);
    assert_eq!(certs[0]["owner"], "listener web");
    assert_eq!(certs[0]["used_as"], "certificate");
    assert_eq!(certs[0]["dns_names"][0], "cert.test");
    assert_eq!(certs[0]["expired"], false);
    assert!(certs[0]["expiration_time"].as_str().unwrap().ends_with('Z'));
    assert!(!answer.text().contains("PRIVATE"));
    let pages = [get(admin, "/config"), get(admin, "/listeners")];
    assert!(pages.iter().all(|page| !page.text().contains("BEGIN")));
}

#[test]
fn the_log_is_set_while_it_runs() {
    let (proxy, admin) = with(
        Setup::new().with(&["--log", "info"]),
        &yaml("127.0.0.1:0", ""),
    );
    for (path, part) in [
        ("/log", "/log?level="),
        ("/log?level=", "is no level"),
        ("/log?level=loud", "is no level"),
        ("/log?level=info,x=loud", "is no level"),
        ("/log?level=%ff", "is no level"),
    ] {
        let answer = post(admin, path);
        assert_eq!(answer.status(), 400, "{path}");
        assert!(answer.text().contains(part), "{}", answer.text());
    }
    let answer = post(admin, "/log?level=warn%2Ccofferdam%3Ddebug");
    assert_eq!(
        (answer.status(), &answer.text()[..]),
        (200, "warn,cofferdam=debug\n")
    );
    proxy
        .log
        .wait_for("log levels are now warn,cofferdam=debug");
    // What the codec says of a client is told from debug on.
    let mut client = proxy.client();
    client.send("nonsense\r\n\r\n");
    client.rest();
    proxy.log.wait_for("connection ended");
    assert_eq!(post(admin, "/log?level=off").status(), 200);
}

#[test]
fn a_reload_is_waited_for_and_says_what_has_changed() {
    let (proxy, admin) = start();
    let more = "clusters: [{ name: up, endpoints: ['127.0.0.1:9'] }]\n";
    let next = yaml("127.0.0.1:0", more)
        .replace("body: ok", "body: new")
        .replace(
            "workers: 1",
            "- name: other\n\x20 address: 127.0.0.1:0\n\x20 routes: [{ cluster: up }]\nworkers: 1",
        );
    proxy.dir.write("config.yaml", next);
    let answer = post(admin, "/reload");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    // It runs by now, on every worker.
    assert_eq!(proxy.get("/").text(), "new");
    let said = json(&answer);
    assert_eq!(said["generation"], 2);
    assert_eq!(said["changed"], true);
    assert_eq!(said["clusters"], serde_json::json!(["up"]));
    let opened = said["listeners_opened"].as_array().unwrap();
    assert_eq!(opened.len(), 1, "{said}");
    assert!(opened[0].as_str().unwrap().starts_with("other 127.0.0.1:"));
    assert_eq!(said["listeners_closed"], serde_json::json!([]));
    // Once more, and there is nothing to change.
    let said = json(&post(admin, "/reload?wait=yes"));
    assert_eq!(
        (&said["generation"], &said["changed"]),
        (&2.into(), &false.into())
    );
}

#[test]
fn a_reload_names_whatever_is_another() {
    let setup = Setup::new();
    let put = |dir: &Dir, more: &str| drop(guest::write(dir, "f", &guest::with("", more)));
    put(&setup.dir, "");
    let before = "\
listeners:
- { name: web, address: 127.0.0.1:0, routes: [{ respond: { body: ok } }] }
- { name: gone, address: 127.0.0.1:0, routes: [{ cluster: old }] }
clusters:
- { name: old, endpoints: ['127.0.0.1:9'] }
- { name: up, endpoints: ['127.0.0.1:9'] }
filters:
- { name: first, module: { file: f.wasm } }
- { name: last, module: { file: f.wasm } }
workers: 1
admin: { address: '127.0.0.1:0' }
";
    let (proxy, admin) = with(setup, before);
    let reload = |yaml: &str| {
        proxy.dir.write("config.yaml", yaml);
        let said = json(&post(admin, "/reload"));
        assert_eq!(said["changed"], true, "{said}");
        said
    };
    let names = |said: &serde_json::Value, key: &str| -> Vec<String> {
        let names = said[key]
            .as_array()
            .unwrap_or_else(|| panic!("{key}: {said}"));
        names
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    // What was said in each list, where anything was.
    let all = |said: &serde_json::Value| {
        let keys = [
            "listeners_added",
            "listeners_changed",
            "listeners_removed",
            "clusters",
            "clusters_added",
            "clusters_removed",
            "filters_added",
            "filters_removed",
            "modules",
            "settings",
        ];
        let lists = keys.map(|key| (key, names(said, key).join(" ")));
        let said = lists.iter().filter(|(_, names)| !names.is_empty());
        said.map(|(key, names)| format!("{key}: {names}"))
            .collect::<Vec<_>>()
    };
    // A route.
    let after = before.replace("body: ok", "body: new");
    assert_eq!(all(&reload(&after)), ["listeners_changed: web"]);
    proxy.log.wait_for("listeners_changed=\"web\"");
    // Something that is not there any more, of each kind.
    let after = after
        .replace(
            "- { name: gone, address: 127.0.0.1:0, routes: [{ cluster: old }] }\n",
            "",
        )
        .replace("- { name: old, endpoints: ['127.0.0.1:9'] }\n", "")
        .replace("- { name: last, module: { file: f.wasm } }\n", "");
    let said = reload(&after);
    assert_eq!(
        all(&said),
        [
            "listeners_removed: gone",
            "clusters_removed: old",
            "filters_removed: last"
        ]
    );
    assert_eq!(names(&said, "listeners_closed").len(), 1, "{said}");
    assert_eq!(names(&said, "filters_ended"), ["last"]);
    // What is new, and what is another under the same name.
    let after = after
        .replace(
            "- { name: up, endpoints: ['127.0.0.1:9'] }",
            "- { name: up, endpoints: ['127.0.0.1:10'] }\n- { name: more, endpoints: [] }",
        )
        .replace(
            "listeners:\n",
            "listeners:\n- { name: more, address: 127.0.0.1:0, routes: [{ cluster: up }] }\n",
        )
        .replace(
            "filters:\n",
            "filters:\n- { name: more, module: { file: f.wasm } }\n",
        );
    assert_eq!(
        all(&reload(&after)),
        [
            "listeners_added: more",
            "clusters: up more",
            "clusters_added: more",
            "filters_added: more"
        ]
    );
    // Everything else by the name of its key; what is read at the start only changes nothing.
    let after = after.replace("workers: 1", "workers: 2")
        + "drain_time: 7s\naccess_log: {}\ndns: { timeout: 3s }\nnode: { id: me }\n";
    let said = reload(&after);
    assert_eq!(all(&said), ["settings: access_log dns drain_time node"]);
    assert_eq!(names(&said, "warnings").len(), 1, "{said}");
    // The order alone.
    let order = after
        .replace("- { name: more, endpoints: [] }\n", "")
        .replace(
            "clusters:\n",
            "clusters:\n- { name: more, endpoints: [] }\n",
        );
    assert_eq!(all(&reload(&order)), ["settings: clusters"]);
    // Another module in the same file is a change, too.
    let generation = |said: &serde_json::Value| said["generation"].as_u64().unwrap();
    let before = generation(&json(&get(admin, "/reloads")));
    assert_eq!(before, 6);
    put(&proxy.dir, "(func (export \"another\"))");
    let said = reload(&order);
    assert_eq!(all(&said), ["modules: more first"]);
    assert_eq!(generation(&said), before + 1);
    assert_eq!(generation(&json(&get(admin, "/reloads"))), before + 1);
    let metrics = get(admin, "/metrics").text();
    assert!(
        metrics.contains("\ncofferdam_config_generation 7\n"),
        "{metrics}"
    );
}

#[test]
fn a_reload_that_is_refused_says_where_and_why_and_what_to_do() {
    let (proxy, admin) = start();
    let wrong = yaml("127.0.0.1:0", "").replace("body: ok", "body: ok, colour: red");
    let line = 1 + wrong
        .lines()
        .position(|line| line.contains("colour"))
        .unwrap();
    proxy.dir.write("config.yaml", &wrong);
    let answer = post(admin, "/reload");
    assert_eq!(answer.status(), 422);
    let text = answer.text();
    assert!(text.contains(&format!("config.yaml:{line}:")), "{text}");
    assert!(text.contains("colour"), "{text}");
    assert!(text.ends_with("\nnothing is changed\n"), "{text}");
    assert_eq!(proxy.get("/").text(), "ok", "the old one goes on");
    assert_eq!(json(&get(admin, "/reloads"))["refused"], 1);
}

#[test]
fn a_reload_need_not_be_waited_for() {
    let (proxy, admin) = start();
    proxy.dir.write(
        "config.yaml",
        yaml("127.0.0.1:0", "").replace("body: ok", "body: new"),
    );
    assert_eq!(post(admin, "/reload?wait=maybe").status(), 400);
    assert_eq!(proxy.get("/").text(), "ok");
    assert_eq!(post(admin, "/reload?wait=no").status(), 202);
    proxy
        .log
        .wait_for("reload: the configuration has come to run");
    assert_eq!(proxy.get("/").text(), "new");
}

#[test]
fn draining_and_reloading_are_what_the_signals_do() {
    let (mut proxy, admin) = start();
    assert_eq!(post(admin, "/reload").status(), 200);
    proxy.log.wait_for("reload");
    assert_eq!(proxy.get("/").status(), 200);
    assert_eq!(get(admin, "/ready").status(), 200);
    let answer = post(admin, "/drain");
    assert_eq!((answer.status(), &answer.text()[..]), (202, "draining\n"));
    proxy.log.wait_for("draining");
    assert_eq!(proxy.exit().code(), Some(0));
}

#[test]
fn quitting_waits_for_nobody() {
    let (mut proxy, admin) = start();
    // It would keep a proxy that drains.
    let mut waiting = proxy.client();
    waiting.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nab");
    let answer = post(admin, "/quit");
    assert_eq!((answer.status(), &answer.text()[..]), (200, "ending\n"));
    assert_eq!(proxy.exit().code(), Some(0));
}

#[test]
fn what_changes_something_takes_the_token_where_there_is_one() {
    let setup = Setup::new();
    setup.dir.write("token", "right\n");
    let yaml = yaml("127.0.0.1:0", "").replace("' }", "', token_file: token }");
    let (mut proxy, admin) = with(setup, &yaml);
    let changes = index(admin)
        .into_iter()
        .filter(|(method, _)| method == "POST");
    let invalid = "Bearer error=\"invalid_token\"";
    for (_, path) in changes {
        let query = if path == "/log" { "?level=warn" } else { "" };
        let path = format!("{path}{query}");
        for (fields, told) in [
            ("", "Bearer"),
            ("authorization: Basic right\r\n", "Bearer"),
            ("authorization: Bearer\r\n", "Bearer"),
            ("authorization: Bearer wrong\r\n", invalid),
            ("authorization: Bearer right2\r\n", invalid),
        ] {
            let fields = format!("{fields}content-length: 0\r\n");
            let answer = ask(admin, "POST", &path, &fields);
            assert_eq!(answer.status(), 401, "{path} {fields}");
            assert_eq!(answer.field("www-authenticate"), Some(told), "{fields}");
            assert!(!answer.text().contains("right"));
        }
    }
    assert!(proxy.is_running());
    for (method, path) in index(admin) {
        if method == "GET" {
            assert_eq!(get(admin, &path).status(), 200, "{path}");
        }
    }
    let token = "authorization: Bearer right\r\n";
    let log = ask(admin, "POST", "/log?level=warn", token);
    assert_eq!(log.status(), 200);
    assert_eq!(ask(admin, "POST", "/drain", token).status(), 202);
    assert_eq!(proxy.exit().code(), Some(0));
}

#[test]
fn a_page_in_a_browser_is_not_the_operator() {
    let (mut proxy, admin) = start();
    let send = |method: &str, path: &str, host: &str, more: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{more}\r\n");
        Client::connect(admin).request(&request).status()
    };
    let own = admin.to_string();
    // A name that was made to point here.
    assert_eq!(send("GET", "/config", "rebound.example:9901", ""), 403);
    assert_eq!(send("POST", "/quit", "rebound.example:9901", ""), 403);
    // A form on any page.
    assert_eq!(
        send("POST", "/quit", &own, "origin: https://page.example\r\n"),
        403
    );
    assert_eq!(send("POST", "/drain", &own, "origin: null\r\n"), 403);
    assert_eq!(send("GET", "/config", "localhost:1", ""), 200);
    assert_eq!(
        send("GET", "/ready", "any.example", ""),
        200,
        "whoever probes it"
    );
    assert!(proxy.is_running());
}

#[test]
fn what_it_reads_is_bounded() {
    let (mut proxy, admin) = start();
    let long = format!("x-long: {}\r\n", "x".repeat(20_000));
    assert_eq!(ask(admin, "GET", "/ready", &long).status(), 431);
    let many = "x-many: 1\r\n".repeat(100);
    assert_eq!(ask(admin, "GET", "/ready", &many).status(), 431);
    let mut client = Client::connect(admin);
    client.send("nonsense\r\n\r\n");
    assert_eq!(client.response().status(), 400);
    // A body that nobody wants does not keep it.
    let mut client = Client::connect(admin);
    client.send(format!(
        "POST /log HTTP/1.1\r\nhost: {admin}\r\ncontent-length: 1000000000\r\n\r\nx"
    ));
    assert_eq!(client.response().status(), 400);
    // As many as are served at a time say nothing, and one more waits for one of them.
    let mut idle: Vec<_> = (0..64).map(|_| Client::connect(admin)).collect();
    for client in &mut idle {
        assert_eq!(client.get("/live").status(), 200, "they are all served");
    }
    let mut late = Client::connect(admin);
    late.send("GET /live HTTP/1.1\r\nhost: test\r\n\r\n");
    idle.pop();
    assert_eq!(late.response().status(), 200);
    assert_eq!(
        client::get(proxy.web(), "/").status(),
        200,
        "traffic goes on"
    );
    assert!(proxy.is_running());
}

#[test]
fn a_live_proxy_says_so_while_it_drains() {
    let (open, gate) = std::sync::mpsc::channel();
    let gate = std::sync::Mutex::new(gate);
    let upstream = Upstream::new(move |conn| {
        if conn.request().is_some() && gate.lock().unwrap().recv().is_ok() {
            conn.respond("late");
        }
    });
    let more = format!(
        "clusters: [{{ name: up, endpoints: ['{}'] }}]\n",
        upstream.address
    );
    let yaml = yaml("127.0.0.1:0", &more).replace("respond: { body: ok }", "cluster: up");
    let (mut proxy, admin) = with(Setup::new(), &yaml);
    let mut held = proxy.client();
    held.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    upstream.wait_for_requests(1);
    assert_eq!(post(admin, "/drain").status(), 202);
    proxy.log.wait_for("draining");
    assert_eq!(get(admin, "/live").status(), 200);
    // The log says it a little before it is so.
    let until = Instant::now() + LONGEST;
    while get(admin, "/ready").status() != 503 {
        assert!(Instant::now() < until, "it is still ready");
    }
    open.send(()).unwrap();
    assert_eq!(held.response().status(), 200);
    assert_eq!(proxy.exit().code(), Some(0));
}

#[test]
fn others_than_the_machine_itself_need_a_token() {
    let setup = Setup::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9901"] {
        let (code, lines) = crate::support::proxy::refused(&setup.dir, "run", &yaml(address, ""));
        assert_eq!(code, Some(64));
        assert!(
            lines[0].contains("admin.address: whoever reaches"),
            "{lines:?}"
        );
        assert!(lines[0].contains("token_file"), "{lines:?}");
    }
}
