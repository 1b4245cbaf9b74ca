//! The filter in the host's own state machine.

use cofferdam_sdk::Reply;
use cofferdam_sdk::testing::Tester;

use super::header_transform;

fn tester(rules: &str) -> Tester {
    let config = format!(r#"{{"rules": [{rules}]}}"#);
    let mut tester = Tester::of::<header_transform>(&config);
    tester.upstream(|_| {
        let reply = Reply::new(200)
            .header("server", "old")
            .header("x-kept", "1");
        reply.header("x-debug-a", "1").header("X-Debug-B", "2")
    });
    tester
}

#[test]
fn every_change_is_made_in_its_order() {
    let mut tester = tester(
        r#"{"request": {
            "append": [{"name": "x-many", "value": "2"}],
            "add": [{"name": "x-many", "value": "never"}, {"name": "x-new", "value": "1"}],
            "set": [{"name": "X-Set", "value": "new"}],
            "map": [{"from": "x-renamed", "to": "x-copy"}],
            "rename": [{"from": "x-old", "to": "x-renamed"}, {"from": "x-none", "to": "x-set"}],
            "remove": ["x-gone"]
        }, "response": {"remove": ["server"], "remove_prefix": ["x-debug-"]}}"#,
    );
    let ask = tester.get("/").header("x-many", "1").header("x-gone", "1");
    let ask = ask
        .header("x-old", "a")
        .header("x-old", "b")
        .header("x-set", "old");
    let answer = ask.send();
    let seen = answer.upstream().unwrap();
    for (name, values) in [
        ("x-many", &["1", "2"][..]),
        ("x-new", &["1"]),
        ("x-set", &["new"]),
        ("x-old", &[]),
        ("x-renamed", &["a", "b"]),
        ("x-copy", &["a", "b"]),
        ("x-gone", &[]),
    ] {
        assert_eq!(seen.all(name), values, "{name}");
    }
    assert_eq!(answer.header("server"), None);
    assert_eq!(
        (answer.header("x-debug-a"), answer.header("x-debug-b")),
        (None, None)
    );
    assert_eq!(answer.header("x-kept"), Some("1"));
    assert_eq!(tester.metric("header_transform.rule=0.result=request"), 1);
    assert_eq!(tester.metric("header_transform.rule=0.result=response"), 1);
    tester.no_leaks();
}

#[test]
fn values_come_from_the_exchange() {
    let mut tester = tester(
        r#"{"request": {"set": [
            {"name": "x-all", "value": "{method} {host}{path}?{query.q} {cookie.c} {ip} {consumer|nobody}"},
            {"name": "x-empty", "value": "{header.x-none}"},
            {"name": "x-text", "value": "{{{header.x-a}}}"}
        ]}, "response": {"set": [{"name": "x-was", "value": "{status} {response.server} {header.x-a}"}]}}"#,
    );
    tester.property(&["source", "address"], "[2001:db8::1]:4711");
    let ask = tester
        .get("/a?q=x%20y")
        .header("cookie", "b=1; c=2")
        .header("x-a", "A");
    let answer = ask.header("x-empty", "as it was").send();
    let seen = answer.upstream().unwrap();
    assert_eq!(
        seen.header("x-all"),
        Some("GET test/a?x y 2 2001:db8::1 nobody")
    );
    assert_eq!(seen.header("x-empty"), Some("as it was"));
    assert_eq!(seen.header("x-text"), Some("{A}"));
    assert_eq!(answer.header("x-was"), Some("200 old A"));
}

#[test]
fn a_query_cannot_write_another_header() {
    let mut tester = tester(r#"{"request": {"set": [{"name": "x-q", "value": "{query.q}"}]}}"#);
    let answer = tester.get("/?q=a%0d%0ax-admin:%201%00").send();
    assert_eq!(
        answer.upstream().unwrap().header("x-q"),
        Some("ax-admin: 1")
    );
}

#[test]
fn rules_are_for_some_requests_and_conditions() {
    let mut tester = tester(
        r#"{"name": "api", "match": {"hosts": ["test"], "paths": ["/api/*"], "methods": ["GET"]},
            "request": {"set": [{"name": "x-api", "value": "1"}]}},
           {"request": {"when": [{"value": "{header.x-plan}", "equals": "gold"}],
                        "set": [{"name": "x-gold", "value": "1"}]},
            "response": {"when": [{"value": "{status}", "equals": "200", "not": true}],
                         "set": [{"name": "x-wrong", "value": "1"}]}}"#,
    );
    let ask = tester.get("/api/a").header("x-plan", "gold");
    let answer = ask.send();
    let seen = answer.upstream().unwrap();
    assert_eq!(
        (seen.header("x-api"), seen.header("x-gold")),
        (Some("1"), Some("1"))
    );
    assert_eq!(answer.header("x-wrong"), None);
    for (method, path) in [("GET", "/other"), ("PUT", "/api/a")] {
        let answer = tester.request(method, path).header("x-plan", "tin").send();
        let seen = answer.upstream().unwrap();
        assert_eq!((seen.header("x-api"), seen.header("x-gold")), (None, None));
    }
    assert_eq!(tester.metric("header_transform.rule=api.result=request"), 1);
    assert_eq!(tester.metric("header_transform.rule=1.result=request"), 1);
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_it_would() {
    let mut tester = Tester::of::<header_transform>(
        r#"{"dry_run": true, "rules": [{"request": {"set": [{"name": "x-a", "value": "secret"}]}}]}"#,
    );
    let answer = tester.get("/").send();
    assert_eq!(answer.upstream().unwrap().header("x-a"), None);
    let said = tester.logs().join("\n");
    assert!(
        said.contains("would set x-a") && !said.contains("secret"),
        "{said}"
    );
    assert_eq!(
        tester.metric("header_transform.rule=0.result=request_dry"),
        1
    );
}

#[test]
fn a_bad_configuration_names_the_field() {
    for (config, wanted) in [
        ("{}", "missing field `rules`"),
        (
            r#"{"rules": [{}, {"request": {"set": [{"name": "a b", "value": ""}]}}]}"#,
            "rules[1].request.set[0].name: `a b` is no name of a header",
        ),
        (
            r#"{"rules": [{"response": {"remove": ["Content-Length"]}}]}"#,
            "rules[0].response.remove[0]: `content-length` is for the proxy to set",
        ),
        (
            r#"{"rules": [{"request": {"add": [{"name": "a", "value": "{claims.sub}"}]}}]}"#,
            "rules[0].request.add[0].value: no such variable: `claims.sub`",
        ),
        (
            r#"{"rules": [{"match": {"paths": ["api"]}}]}"#,
            "rules[0].match.paths[0]: `api` is no path",
        ),
        (
            r#"{"rules": [{"requests": {}}]}"#,
            "rules[0]: unknown field `requests`",
        ),
    ] {
        let said = Tester::refusal::<header_transform>(config);
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn the_example_of_the_readme_is_taken() {
    let mut blocks = include_str!("../README.md").split("```json\n").skip(1);
    let example = blocks.next().and_then(|rest| rest.split("```").next());
    let _ = Tester::of::<header_transform>(example.expect("an example"));
}
