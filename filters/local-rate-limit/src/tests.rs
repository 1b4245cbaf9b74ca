//! The filter in the host's own state machine.

use std::time::Duration;

use cofferdam_sdk::testing::Tester;

use super::local_rate_limit;

fn tester(config: &str) -> Tester {
    let mut tester = Tester::of::<local_rate_limit>(config);
    // They would take tokens too.
    tester.without_hostile_headers();
    tester
}

#[test]
fn past_the_limit_requests_are_refused_until_time_has_passed() {
    let mut tester = tester(r#"{"rules": [{"limit": 2, "per": "minute"}]}"#);
    for left in ["1", "0"] {
        let answer = tester.get("/").send();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.header("ratelimit-limit"), Some("2"));
        assert_eq!(answer.header("ratelimit-remaining"), Some(left));
    }
    let answer = tester.get("/").send();
    assert_eq!(answer.status(), 429);
    assert!(answer.upstream().is_none());
    for (name, value) in [
        ("content-type", "application/problem+json"),
        ("retry-after", "30"),
        ("ratelimit-limit", "2"),
        ("ratelimit-remaining", "0"),
        ("ratelimit-reset", "60"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(
        answer.text(),
        r#"{"type":"about:blank","title":"Too Many Requests","status":429,"code":"rate_limited","detail":"too many requests"}"#
    );
    tester.advance(Duration::from_secs(30));
    assert_eq!(tester.get("/").send().status(), 200);
    assert_eq!(tester.get("/").send().status(), 429);
    assert_eq!(tester.metric("local_rate_limit.rule=0.result=allowed"), 3);
    assert_eq!(tester.metric("local_rate_limit.rule=0.result=limited"), 2);
    tester.no_leaks();
}

#[test]
fn each_value_of_a_key_has_a_bucket() {
    let config = r#"{"rules": [{"limit": 1, "per": "hour",
        "key": ["header.x-key", "cookie.id", "ip", "consumer", "route"]}]}"#;
    let mut tester = tester(config);
    let mut ask = |header: &str, cookie: &str, ip: &str, consumer: &str, route: &str| {
        tester.property(&["source", "address"], ip);
        tester.property(&["consumer"], consumer);
        tester.property(&["xds", "route_name"], route);
        let ask = tester.get("/").header("x-key", header);
        ask.header("cookie", format!("id={cookie}")).send().status()
    };
    assert_eq!(ask("a", "1", "192.0.2.1:1", "ann", "r"), 200);
    // Another port is the same client.
    assert_eq!(ask("a", "1", "192.0.2.1:2", "ann", "r"), 429);
    assert_eq!(ask("b", "1", "192.0.2.1:1", "ann", "r"), 200);
    assert_eq!(ask("a", "2", "192.0.2.1:1", "ann", "r"), 200);
    assert_eq!(ask("a", "1", "192.0.2.2:1", "ann", "r"), 200);
    assert_eq!(ask("a", "1", "192.0.2.1:1", "bob", "r"), 200);
    assert_eq!(ask("a", "1", "192.0.2.1:1", "ann", "s"), 200);
}

#[test]
fn who_has_no_key_shares_a_bucket_with_all_who_have_none() {
    let mut tester = tester(r#"{"rules": [{"limit": 1, "per": "hour", "key": ["header.x-key"]}]}"#);
    assert_eq!(tester.get("/").send().status(), 200);
    assert_eq!(tester.get("/").send().status(), 429);
    assert_eq!(tester.get("/").header("x-key", "").send().status(), 200);
}

#[test]
fn rules_are_for_some_requests_and_the_tightest_is_told() {
    let config = r#"{"status": 503, "message": "say \"please\"", "rules": [
        {"name": "all", "limit": 10, "per": "hour"},
        {"name": "writes", "match": {"methods": ["POST"]}, "limit": 1, "per": "day", "burst": 2}
    ]}"#;
    let mut tester = tester(config);
    assert_eq!(
        tester.get("/").send().header("ratelimit-remaining"),
        Some("9")
    );
    let answer = tester.post("/", "x").send();
    assert_eq!(answer.header("ratelimit-remaining"), Some("1"));
    assert_eq!(answer.header("ratelimit-limit"), Some("1"));
    assert_eq!(tester.post("/", "x").send().status(), 200);
    let answer = tester.post("/", "x").send();
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains(r#""detail":"say \"please\"""#));
    assert_eq!(
        tester.get("/").send().header("ratelimit-remaining"),
        Some("5")
    );
    assert_eq!(
        tester.metric("local_rate_limit.rule=writes.result=limited"),
        1
    );
}

#[test]
fn a_dry_run_refuses_nobody_and_says_whom_it_would() {
    let mut tester = tester(r#"{"dry_run": true, "rules": [{"limit": 1, "per": "hour"}]}"#);
    for _ in 0..3 {
        let answer = tester.get("/").send();
        assert_eq!(
            (answer.status(), answer.header("ratelimit-limit")),
            (200, None)
        );
    }
    assert_eq!(
        tester.metric("local_rate_limit.rule=0.result=limited_dry"),
        2
    );
    assert!(tester.logs().join("\n").contains("rule 0 would refuse"));
}

#[test]
fn headers_can_be_left_out() {
    let mut tester = tester(r#"{"headers": false, "rules": [{"limit": 1, "per": "hour"}]}"#);
    assert_eq!(tester.get("/").send().header("ratelimit-limit"), None);
    let answer = tester.get("/").send();
    assert_eq!(answer.header("ratelimit-limit"), None);
    assert_eq!(answer.header("retry-after"), Some("3600"));
}

#[test]
fn so_many_buckets_are_kept_and_no_more() {
    let config = r#"{"rules": [
        {"limit": 1, "per": "hour", "key": ["header.x-key"], "max_keys": 3}]}"#;
    let mut tester = tester(config);
    let mut allowed = 0;
    for key in 0..50 {
        let answer = tester.get("/").header("x-key", key.to_string()).send();
        allowed += i32::from(answer.status() == 200);
    }
    assert_eq!(allowed, 3);
}

#[test]
fn a_bad_configuration_names_the_field() {
    for (config, wanted) in [
        ("{}", "missing field `rules`"),
        (
            r#"{"rules": [{"limit": 0, "per": "hour"}]}"#,
            "rules[0].limit: must be at least 1",
        ),
        (
            r#"{"rules": [{"limit": 1, "per": "week"}]}"#,
            "rules[0].per: unknown variant `week`",
        ),
        (
            r#"{"rules": [{"limit": 1, "per": "day", "key": ["ip", "header"]}]}"#,
            "rules[0].key[1]: no such variable: `header`",
        ),
        (
            r#"{"status": 200, "rules": []}"#,
            "status: must be 400 to 599",
        ),
    ] {
        let said = Tester::refusal::<local_rate_limit>(config);
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn the_example_of_the_readme_is_taken() {
    let mut blocks = include_str!("../README.md").split("```json\n").skip(1);
    let example = blocks.next().and_then(|rest| rest.split("```").next());
    let _ = Tester::of::<local_rate_limit>(example.expect("an example"));
}
