//! `cofferdam test` with our own form of file.

use super::{Done, cases};

/// Asks `authz`, denies what that denies, counts, says so, and marks what passes.
const GUEST: &str = r#"
raw
    (global $denied (mut i32) (i32.const 0))
on configure
    (drop (!define_metric #0 {"denied"} #32))
    (global.set $denied (i32.load #32))
    (drop (!get_buffer_bytes #7 #0 #100 @out))
    (if (i32.eq (i32.load #20) #3) (then (!text {"three bytes are not for me"}) (return #0)))
    (return #1)
on request_headers
    (global.set $g (local.get $a))
    (drop (!get_property {"source\00address"} @out)) (!show)
    (drop (!set_property {"mine"} {"v"}))
    (drop (!http_call {"authz"} {pairs ":method" "GET" ":path" "/check?x=1" ":authority" "authz"} #0 #0 #0 #0 #1000 #40))
    (return #1)
on http_call_response
    (drop (!set_effective_context (global.get $g)))
    (drop (!get_header_map_value #6 {":status"} @out))
    (if (i32.eq (i32.load8_u (i32.load #16)) #53) (then
        (!text {"authz is away"})
        (drop (!send_local_response #503 #0 #0 {"away"} #0 #0 #-1))
        (return)))
    (if (i32.ne (i32.load8_u (i32.load #16)) #50) (then
        (drop (!increment_metric (global.get $denied) (i64.const 1)))
        (drop (!send_local_response #403 {"no entry"} {"no"} {pairs "x-why" "authz"} #-1))
        (return)))
    (drop (!add_header_map_value #0 {"x-user"} {"ann"}))
    (drop (!continue_stream #0))
on response_headers
    (drop (!add_header_map_value #2 {"x-seen"} {"1"}))
"#;

const GOOD: &str = r#"
clusters:
  authz:
  - { path: /check, status: 200 }
cases:
- name: what authz lets in passes
  properties: { source.address: "192.0.2.7:1234" }
  request:
    method: POST
    path: /a
    headers: { accept: [a/b, c/d], X-Upper: 1 }
    body: [one, two]
    trailers: { x-t: t }
  upstream: { status: 201, headers: { a: b }, body: made, trailers: { x-r: r } }
  expect:
    reached: true
    request:
      method: POST
      path: /a
      host: test
      headers: { x-user: ann, accept: [a/b, c/d], x-upper: "1", x-none: ~, content-length: ~ }
      body: onetwo
      trailers: { x-t: t }
      complete: true
    response:
      status: 201
      headers: { x-seen: "1", a: { present: true }, content-length: "4" }
      body: { matches: "ma.e" }
      trailers: { x-r: r }
    callouts:
    - { cluster: authz, method: GET, path: { contains: /check }, host: authz, body: "" }
    log:
    - 192.0.2.7:1234
    - { contains: away, absent: true }
    metrics: { denied: 0 }
    properties: { mine: v, other: ~ }
- name: what authz denies does not
  clusters: { authz: [ { status: 403 } ] }
  steps:
  - expect:
      reached: false
      response: { status: 403, headers: { x-why: authz }, body: "no" }
      metrics: { denied: 1 }
  - wait: 10m
  - expect: { reached: false, metrics: { denied: 2 } }
- name: nothing passes while authz takes too long
  clusters: { authz: [ { delay: 2s } ] }
  expect:
    response: { status: 503, body: away }
    log: [ { level: info, is: authz is away } ]
- name: nor while it cannot be reached
  clusters: { authz: [ { fails: connect } ] }
  expect: { response: { status: 503 } }
- name: an upstream that cannot be reached
  upstream: { fails: connect }
  expect: { reached: false, response: { status: 503, headers: { x-seen: "1" } } }
- name: an answer that breaks off
  upstream: { fails: reset }
  expect: { response: { status: 503 } }
- name: a bad configuration is refused
  configuration: bad
  refused: { contains: three bytes }
"#;

fn both(done: &Done, passed: usize, failed: usize, status: i32) {
    let last = done.out.lines().last().unwrap_or_default();
    assert_eq!(
        (done.status, last),
        (Some(status), &*format!("{passed} passed, {failed} failed")),
        "{}{}",
        done.out,
        done.err
    );
}

/// How many engines each case runs on.
const ENGINES: usize = if cfg!(feature = "compiler") { 2 } else { 1 };

#[test]
fn cases_are_run_on_every_engine_and_everything_in_them_is_looked_at() {
    let done = cases(GUEST, "good.yaml", GOOD, &[]);
    both(&done, 7 * ENGINES, 0, 0);
    assert!(
        done.out
            .contains("  ok   wasmi    what authz lets in passes (good.yaml:6)\n"),
        "{}",
        done.out
    );
}

#[test]
fn one_case_on_one_engine_can_be_picked() {
    let done = cases(
        GUEST,
        "good.yaml",
        GOOD,
        &["--case", "denies", "--engine", "wasmi"],
    );
    both(&done, 1, 0, 0);
}

/// A wish of each kind, and what is said when it is not fulfilled.
#[test]
fn every_wish_can_fail_and_says_where_it_is_written() {
    let wishes = [
        (
            "reached: false",
            "cases[0].expect.reached: expected false, got true",
        ),
        (
            "request: { method: PUT }",
            "cases[0].expect.request.method: expected \"PUT\", got \"GET\"",
        ),
        (
            "request: { headers: { x-user: bob } }",
            "cases[0].expect.request.headers.x-user: expected \"bob\", got \"ann\"",
        ),
        (
            "request: { headers: { x-user: ~ } }",
            "cases[0].expect.request.headers.x-user: expected nothing, got \"ann\"",
        ),
        (
            "request: { headers: { x-none: { present: true } } }",
            "cases[0].expect.request.headers.x-none: expected any value, got nothing",
        ),
        (
            "request: { body: x }",
            "cases[0].expect.request.body: expected \"x\", got \"\"",
        ),
        (
            "request: { trailers: { a: b } }",
            "cases[0].expect.request.trailers.a: expected \"b\", got nothing",
        ),
        (
            "response: { status: 201 }",
            "cases[0].expect.response.status: expected 201, got 200",
        ),
        (
            "response: { headers: { x-seen: [\"1\", \"1\"] } }",
            "cases[0].expect.response.headers.x-seen: expected [\"1\", \"1\"], got \"1\"",
        ),
        (
            "response: { body: { contains: no } }",
            "cases[0].expect.response.body: expected something with \"no\" in it, got \"ok\"",
        ),
        (
            "response: { body: { matches: o } }",
            "cases[0].expect.response.body: expected something like /^(?s:o)$/, got \"ok\"",
        ),
        (
            "response: { body: { json: { a: 1 } } }",
            "cases[0].expect.response.body: expected the JSON {\"a\":1}, got \"ok\"",
        ),
        (
            "response: { complete: false }",
            "cases[0].expect.response.complete: expected false, got true",
        ),
        (
            "callouts: []",
            "cases[0].expect.callouts: expected 0 callouts, got 1: /check?x=1 to \"authz\"",
        ),
        (
            "callouts: [ { cluster: other } ]",
            "cases[0].expect.callouts[0].cluster: expected \"other\", got \"authz\"",
        ),
        (
            "callouts: [ { path: / } ]",
            "cases[0].expect.callouts[0].path: expected \"/\", got \"/check?x=1\"",
        ),
        (
            "log: [ nobody says this ]",
            "cases[0].expect.log[0]: there is no such record",
        ),
        (
            "log: [ { contains: \"\", absent: true } ]",
            "cases[0].expect.log[0]: there is such a record: \"\"",
        ),
        (
            "metrics: { denied: 1 }",
            "cases[0].expect.metrics.denied: expected 1, got 0",
        ),
        (
            "metrics: { other: 1 }",
            "cases[0].expect.metrics.other: the filter has no such metric",
        ),
        (
            "properties: { mine: w }",
            "cases[0].expect.properties.mine: expected \"w\", got \"v\"",
        ),
    ];
    for (wish, said) in wishes {
        let text = format!(
            "clusters: {{ authz: [ {{ status: 200 }} ] }}\ncases:\n- name: a\n  properties: {{ source.address: '' }}\n  expect:\n    {wish}\n"
        );
        let done = cases(GUEST, "bad.yaml", &text, &["--engine", "wasmi"]);
        both(&done, 0, 1, 1);
        assert!(
            done.out.contains(&format!("bad.yaml:6: {said}\n")),
            "{wish}\n{}",
            done.out
        );
    }
}

#[test]
fn a_filter_that_crashes_fails_its_case_with_what_it_said() {
    let source = "on request_headers\n (!text {\"soon\"}) unreachable";
    let done = cases(
        source,
        "c.yaml",
        "cases:\n- name: a\n",
        &["--engine", "wasmi"],
    );
    both(&done, 0, 1, 1);
    for part in [
        "c.yaml:2: cases[0]: the filter failed: ",
        "       | info: soon\n",
        "       | host: ",
    ] {
        assert!(done.out.contains(part), "{part}\n{}", done.out);
    }
}

#[test]
fn a_case_that_never_ends_says_so() {
    let source = "on request_headers\n (return #1)";
    let done = cases(
        source,
        "c.yaml",
        "cases:\n- name: a\n",
        &["--engine", "wasmi"],
    );
    both(&done, 0, 1, 1);
    let said = "c.yaml:2: cases[0]: the client never got a whole answer";
    assert!(done.out.contains(said), "{}", done.out);
}

#[test]
fn mistakes_in_files_are_told_all_at_once_and_nothing_runs() {
    let text = "cases:\n- nam: a\n  request: { path: 3 }\n  expect:\n    response: { body: { contains: a, json: 1 } }\n    metrics: { a: b }\n- name: b\n  steps: [ { wait: 1s, expect: {} } ]\n  refused: { matches: '(' }\n";
    let done = cases(GUEST, "bad.yaml", text, &[]);
    assert_eq!((done.status, &*done.out), (Some(64), ""));
    let wanted = [
        "bad.yaml:2:3: cases[0].nam: unknown key \"nam\"; did you mean `name`?",
        "bad.yaml:3:20: cases[0].request.path: expected text, found a number; put it in quotes: \"3\"",
        "bad.yaml:5:23: cases[0].expect.response.body: this says not one thing of the value; write one of contains, matches, json and present",
        "bad.yaml:6:19: cases[0].expect.metrics.a: expected a whole number, found \"b\"; write the metric's value",
        "bad.yaml:8:20: cases[1].steps[0].wait: `wait` stands beside `expect`; make two steps of it",
    ];
    let lines: Vec<&str> = done.err.lines().collect();
    for line in wanted {
        assert!(lines.contains(&line), "{line}\n{}", done.err);
    }
    assert!(
        done.err
            .contains("bad.yaml:9:23: cases[1].refused.matches: "),
        "{}",
        done.err
    );
    assert_eq!(lines.len(), 6, "{}", done.err);
}

#[test]
fn what_is_not_there_or_no_filter_is_said() {
    let done = cases(
        GUEST,
        "a.yaml",
        "filter: no.wasm\ncases: [ { name: a } ]\n",
        &[],
    );
    assert_eq!(done.status, Some(64), "{}", done.err);
    assert!(
        done.err.starts_with("no.wasm: ") && done.err.contains("--filter"),
        "{}",
        done.err
    );
    let done = cases(
        GUEST,
        "a.yaml",
        "filter: a.yaml\ncases: [ { name: a } ]\n",
        &[],
    );
    assert_eq!(done.status, Some(64), "{}", done.err);
    let done = cases(GUEST, "a.yaml", GOOD, &["--engine", "v8"]);
    assert_eq!(done.status, Some(64), "{}", done.err);
    assert!(done.err.contains("[possible values: wasmi"), "{}", done.err);
}

/// Timers, ends of streams and of roots have no exchange whose answer would tell.
#[test]
fn a_filter_that_crashes_between_exchanges_or_at_an_end_fails_its_case() {
    let tick = "on configure
 (drop (!set_tick_period_milliseconds #1000)) (return #1)
on tick
 unreachable";
    let waits = "cases:\n- name: a\n  steps:\n  - expect: {}\n  - wait: 10s\n";
    let plain = "cases:\n- name: a\n";
    // At its end a stream's context, then the plugin's, is deleted.
    for (source, text, said) in [
        (
            tick,
            waits,
            "c.yaml:5: cases[0].steps[1].wait: the filter crashed: guest aborted in proxy_on_tick",
        ),
        (
            "on delete\n unreachable",
            plain,
            "c.yaml:2: cases[0]: the filter crashed: guest aborted in proxy_on_delete",
        ),
        ("on log\n unreachable", plain, "in proxy_on_log"),
        (
            "on delete\n unreachable",
            "cases:\n- name: a\n  steps: [ { wait: 1s } ]\n",
            "c.yaml:2: cases[0]: the filter crashed: guest aborted in proxy_on_delete",
        ),
    ] {
        for engine in [&["--engine", "wasmi"][..], &[]] {
            let done = cases(source, "c.yaml", text, engine);
            let engines = if engine.is_empty() { ENGINES } else { 1 };
            both(&done, 0, engines, 1);
            assert!(done.out.contains(said), "{said}\n{}", done.out);
        }
    }
}

#[test]
fn nothing_to_run_is_no_success() {
    let source = "on request_headers";
    let two = "cases:\n- name: first one\n- name: another\n";
    let done = cases(source, "c.yaml", two, &["--case", "zzz"]);
    assert_eq!((done.status, &*done.out), (Some(64), ""), "{}", done.err);
    assert_eq!(
        done.err,
        "--case zzz: no case has that in its name; there are\n  first one\n  another\n"
    );
    for text in ["", "env { log_level: INFO }\n"] {
        let done = cases(source, "c.textpb", text, &[]);
        assert_eq!((done.status, &*done.out), (Some(64), ""), "{}", done.err);
        assert_eq!(done.err, "c.textpb: there are no cases in it\n");
    }
    let done = cases(source, "c.yaml", "", &[]);
    assert_eq!(done.status, Some(64));
    assert!(
        done.err.ends_with("write at least `cases:`\n"),
        "{}",
        done.err
    );
}

#[test]
fn what_a_guest_says_cannot_write_on_the_terminal_and_is_said_once() {
    let source = "on request_headers
 (!text {\"\\1b[2J\\e2\\80\\aeturned\\0a  ok   forged\"})
 (!text {\"same\"}) (!text {\"same\"}) (!text {\"same\"})";
    let text = "cases:\n- name: a\n  expect: { log: [ missing ] }\n";
    let done = cases(source, "c.yaml", text, &["--engine", "wasmi"]);
    both(&done, 0, 1, 1);
    let control = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!done.out.contains(control), "{:?}", done.out);
    for line in [
        "       | info: \\x1b[2J\\xe2\\x80\\xaeturned\\n  ok   forged",
        "       | info: same (3 times)",
    ] {
        assert!(
            done.out.lines().any(|one| one == line),
            "{line}\n{}",
            done.out
        );
    }
}
