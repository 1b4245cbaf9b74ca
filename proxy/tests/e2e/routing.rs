//! Which route a request takes, and what it does there.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::support::{Message, Proxy, Upstream};

/// A proxy with these routes and clusters.
fn routing(routes: &str, clusters: &[(&str, SocketAddr)]) -> Proxy {
    let clusters: String = clusters
        .iter()
        .map(|(name, address)| format!("- {{ name: {name}, endpoints: ['{address}'] }}\n"))
        .collect();
    let clusters = if clusters.is_empty() {
        String::new()
    } else {
        format!("clusters:\n{clusters}")
    };
    Proxy::start(&format!(
        "listeners:\n- name: web\n  address: 127.0.0.1:0\n  routes:\n{routes}{clusters}workers: 1\n\
         access_log: {{ format: '%RESPONSE_CODE% %RESPONSE_FLAGS% %REQ(:PATH)% %ROUTE_NAME% %UPSTREAM_CLUSTER%' }}\n"
    ))
}

/// Routes that answer with their own number: what is in the braces of `match`.
fn numbered(matches: &[&str]) -> Proxy {
    let routes: String = matches
        .iter()
        .enumerate()
        .map(|(n, conditions)| {
            format!("  - {{ match: {{ {conditions} }}, respond: {{ body: '{n}' }} }}\n")
        })
        .collect();
    routing(&routes, &[])
}

fn ask(proxy: &Proxy, method: &str, host: &str, path: &str, fields: &str) -> Message {
    proxy.client().request(&format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n"
    ))
}

/// The number of the route that answers, or its status.
fn taken(proxy: &Proxy, method: &str, host: &str, path: &str, fields: &str) -> String {
    let answer = ask(proxy, method, host, path, fields);
    if answer.status() == 200 {
        answer.text()
    } else {
        answer.status().to_string()
    }
}

#[test]
fn hosts_are_compared_exactly_or_by_suffix_without_case_and_port() {
    let proxy = numbered(&[
        "host: www.example.com",
        "host: '*.example.com'",
        "host: example.org",
    ]);
    for (host, route) in [
        ("www.example.com", "0"),
        ("WWW.Example.COM:8080", "0"),
        ("a.b.example.com", "1"),
        ("example.com", "404"),
        ("example.org", "2"),
        ("www.example.org", "404"),
    ] {
        assert_eq!(taken(&proxy, "GET", host, "/", ""), route, "{host}");
    }
    proxy.stdout.wait_for("404 NR / - -");
}

#[test]
fn paths_are_compared_whole_by_prefix_or_by_expression() {
    let proxy = numbered(&["path: /exact", "prefix: /api", "regex: '/v[0-9]+/.*'"]);
    for (path, route) in [
        ("/exact", "0"),
        ("/exact?query", "0"),
        ("/exact/", "404"),
        ("/api", "1"),
        ("/api/x", "1"),
        ("/apix", "404"),
        ("/v12/x", "2"),
        ("/v12", "404"),
        ("/x/v12/x", "404"),
    ] {
        assert_eq!(taken(&proxy, "GET", "test", path, ""), route, "{path}");
    }
}

#[test]
fn methods_and_headers_are_conditions() {
    let proxy = numbered(&[
        "method: [PUT, PATCH]",
        "headers: { x-kind: exact-value }",
        "headers: { x-kind: { prefix: pre } }",
        "headers: { x-kind: { regex: '[0-9]+' } }",
        "headers: { x-flag: { present: true } }",
        "headers: { x-kind: { present: false } }, method: DELETE",
    ]);
    for (method, fields, route) in [
        ("PUT", "content-length: 0\r\n", "0"),
        ("PATCH", "content-length: 0\r\n", "0"),
        ("GET", "x-kind: exact-value\r\n", "1"),
        ("GET", "x-kind: prefixed\r\n", "2"),
        ("GET", "x-kind: 42\r\n", "3"),
        ("GET", "x-kind: 42x\r\n", "404"),
        ("GET", "x-flag:\r\n", "4"),
        ("DELETE", "", "5"),
        ("DELETE", "x-kind: other\r\n", "404"),
        ("GET", "", "404"),
    ] {
        assert_eq!(
            taken(&proxy, method, "test", "/", fields),
            route,
            "{method} {fields:?}"
        );
    }
}

#[test]
fn the_first_route_that_matches_wins() {
    let proxy = numbered(&[
        "prefix: /a",
        "prefix: /a/b",
        "host: special.test",
        "prefix: /",
    ]);
    assert_eq!(taken(&proxy, "GET", "test", "/a/b", ""), "0");
    assert_eq!(taken(&proxy, "GET", "special.test", "/a/b", ""), "0");
    assert_eq!(taken(&proxy, "GET", "special.test", "/x", ""), "2");
    assert_eq!(taken(&proxy, "GET", "test", "/x", ""), "3");
    proxy.stdout.wait_for("200 - /x web/routes[3] -");
}

#[test]
fn a_direct_response_has_its_status_and_body() {
    let proxy = routing(
        "  - { respond: { status: 418, body: \"short and stout\\n\" } }\n",
        &[],
    );
    let answer = proxy.get("/");
    assert_eq!(
        (answer.status(), answer.text()),
        (418, "short and stout\n".to_owned())
    );
    assert_eq!(answer.field("content-length"), Some("16"));
    let head = proxy
        .client()
        .request("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(
        (head.status(), head.field("content-length")),
        (418, Some("16"))
    );
}

#[test]
fn a_redirect_keeps_what_it_does_not_name() {
    let proxy = routing(
        "  - { match: { path: /secure }, redirect: { scheme: https } }\n\
         \x20 - { match: { path: /moved }, redirect: { host: 'new.test:81', status: 308 } }\n\
         \x20 - { match: { path: /old }, redirect: { path: /new, status: 302 } }\n",
        &[],
    );
    for (path, status, location) in [
        ("/secure?a=b", 301, "https://test/secure?a=b"),
        ("/moved?a=b&c", 308, "http://new.test:81/moved?a=b&c"),
        ("/old?q", 302, "http://test/new?q"),
    ] {
        let answer = proxy.get(path);
        assert_eq!(
            (answer.status(), answer.field("location")),
            (status, Some(location)),
            "{path}"
        );
    }
}

#[test]
fn paths_hosts_and_headers_are_rewritten_for_the_upstream() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-drop: 1\r\nx-set: theirs\r\nx-add: theirs\r\n\r\n",
    );
    let proxy = routing(
        "  - match: { prefix: /api }\n\
         \x20   cluster: c\n\
         \x20   prefix_rewrite: /v2\n\
         \x20   host_rewrite: inner.test\n\
         \x20   request_headers: { remove: [x-drop], set: { x-set: ours }, add: { x-add: [one, two] } }\n\
         \x20   response_headers: { remove: [x-drop], set: { x-set: ours }, add: { x-add: ours } }\n",
        &[("c", upstream.address)],
    );
    let answer = ask(
        &proxy,
        "GET",
        "outer.test",
        "/api/users?id=1",
        "x-drop: 1\r\nx-set: 1\r\nx-add: zero\r\n",
    );
    assert_eq!(
        (answer.field("x-drop"), answer.field("x-set")),
        (None, Some("ours"))
    );
    assert_eq!(answer.all("x-add"), ["theirs", "ours"]);
    let request = upstream.only_request();
    assert_eq!(
        (&request.line[..], request.field("host")),
        ("GET /v2/users?id=1 HTTP/1.1", Some("inner.test"))
    );
    assert_eq!(
        (request.field("x-drop"), request.field("x-set")),
        (None, Some("ours"))
    );
    assert_eq!(request.all("x-add"), ["zero", "one", "two"]);
}

/// How often each answer came.
fn tally(proxy: &Proxy, count: usize) -> BTreeMap<String, usize> {
    let mut client = proxy.client();
    let mut tally = BTreeMap::new();
    for _ in 0..count {
        let answer = client.get("/");
        let name = if answer.status() == 200 {
            answer.text()
        } else {
            answer.status().to_string()
        };
        *tally.entry(name).or_default() += 1;
    }
    tally
}

#[test]
fn weighted_clusters_share_and_weight_0_gets_nothing() {
    let [a, b, c] = ["a", "b", "c"].map(Upstream::named);
    let proxy = routing(
        "  - weighted_clusters: [{ cluster: a, weight: 3 }, { cluster: b, weight: 1 }, { cluster: c, weight: 0 }]\n",
        &[("a", a.address), ("b", b.address), ("c", c.address)],
    );
    let tally = tally(&proxy, 400);
    // One of them missing by chance: (3/4)^400, less than 10^-49.
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(tally.values().sum::<usize>(), 400);
    assert_eq!(c.connections(), 0);
}

#[test]
fn endpoints_take_turns() {
    let [a, b, c] = ["a", "b", "c"].map(Upstream::named);
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c }}] }}]\n\
         clusters: [{{ name: c, endpoints: ['{}', '{}', {{ address: '{}', weight: 2 }}] }}]\nworkers: 1\n",
        a.address, b.address, c.address
    )
    .replace("[{ name: web, address: 127.0.0.1:0, routes", "\n- { name: web, address: 127.0.0.1:0, routes")
    .replace("}] }]\nclusters", "}] }\nclusters"));
    let tally = tally(&proxy, 40);
    assert_eq!(
        tally,
        BTreeMap::from([
            ("a".to_owned(), 10),
            ("b".to_owned(), 10),
            ("c".to_owned(), 20)
        ])
    );
}

#[test]
fn an_endpoint_that_is_down_fails_its_share_and_no_more() {
    let up = Upstream::named("up");
    let proxy = Proxy::start(&format!(
        "listeners:\n- {{ name: web, address: 127.0.0.1:0, routes: [{{ cluster: c }}] }}\n\
         clusters: [{{ name: c, endpoints: ['{}', '{}'] }}]\nworkers: 1\n",
        up.address,
        Upstream::nobody()
    ));
    assert_eq!(
        tally(&proxy, 20),
        BTreeMap::from([("503".to_owned(), 10), ("up".to_owned(), 10)])
    );
}

#[test]
fn a_cluster_without_endpoints_has_no_healthy_upstream() {
    let proxy = Proxy::start(
        "listeners:\n- { name: web, address: 127.0.0.1:0, routes: [{ cluster: c }] }\n\
         clusters: [{ name: c, endpoints: [] }]\nworkers: 1\naccess_log: stdout\n",
    );
    assert_eq!(proxy.get("/").status(), 503);
    proxy.stdout.wait_for(" UH ");
}
