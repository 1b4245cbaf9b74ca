//! `cofferdam test` with the cases of Google's Service Extensions plugin tester.

use super::cases;

/// Adds a header each way, doubles every piece of the body, denies `/no`.
const GUEST: &str = r#"
on context_create
    (!text {"create"})
on request_headers
    (!text {"request headers"})
    (drop (!get_header_map_value #0 {":path"} @out))
    (if (i32.eq (i32.load #20) #3) (then
        (drop (!send_local_response #403 {"no entry"} {"no"} {pairs "x-why" "path"} #-1))
        (return #1)))
    (drop (!add_header_map_value #0 {"message"} {"hello"}))
on request_body
    (drop (!set_buffer_bytes #0 (local.get $b) #0 {"+"}))
on response_headers
    (drop (!get_property {"a\00b"} @out)) (!show)
    (drop (!add_header_map_value #2 {"message"} {"bar"}))
on done
    (!text {"done"})
    (return #1)
"#;

const SUITE: &str = r#"
env { log_level: INFO time_secs: 123456789 }
# Headers as they are, and as HTTP/1.
test {
  name: "Headers"
  plugin_init { log { exact: "create" } }
  stream_init { log { exact: "create" } log { exact: "done" invert: true } }
  stream_destroy { log { regex: "do.." } }
  properties { path: "a.b" value: "of a property" }
  request_headers {
    input { header { key: "Message" value: "hey" } }
    result {
      has_header { key: "Message" value: "hey, hello" }
      headers { exact: "message: hey, hello" }
      headers { regex: ":scheme: .*" invert: true }
      no_header { key: "other" }
      log { exact: "request headers" }
    }
  }
  response_headers {
    input { content: "HTTP/1.1 200 OK\nMessage: foo\n" }
    result {
      has_header { key: ":status" value: "200" }
      has_header { key: "message" value: "foo, bar" }
      log { exact: "of a property" }
    }
  }
}
test {
  name: "Absolute"
  request_headers {
    input { content: "GET https://example.com:8080/my/path HTTP/1.1\nHost: other\n" }
    result {
      has_header { key: ":path" value: "/my/path" }
      has_header { key: ":authority" value: "example.com:8080" }
      no_header { key: "host" }
    }
  }
}
test {
  name: "Immediate"
  request_headers {
    input { header { key: ":path" value: "/no" } }
    result {
      immediate { http_status: 403 details: "no entry" }
      has_header { key: "x-why" value: "path" }
      body { exact: "no" }
    }
  }
}
test {
  name: "ResponseAlone"
  response_headers { result { has_header { key: "message" value: "bar" } } }
}
test {
  name: "Many"
  num_chunks: 3
  request_body { input { content: "1234567" } result { body { exact: "12+34+567+" } } }
}
test {
  name: "Long"
  chunk_size: 4
  request_body { input { content: "123" "4567" } result { body { exact: "1234+567+" } } }
}
test {
  name: "Several"
  request_body { input { content: "1" } result { body { exact: "1+" } } }
  request_body { input { content: "2" } result { body { regex: "2." } body { exact: "1" invert: true } } }
}
"#;

fn last(out: &str) -> &str {
    out.lines().last().unwrap_or_default()
}

#[test]
fn a_suite_runs_as_it_is() {
    let done = cases(GUEST, "tests.textpb", SUITE, &["--engine", "wasmi"]);
    assert_eq!(
        (done.status, last(&done.out)),
        (Some(0), "7 passed, 0 failed"),
        "{}{}",
        done.out,
        done.err
    );
}

#[test]
fn every_expectation_can_fail_and_says_its_line() {
    let results = [
        (
            "has_header { key: \"message\" value: \"x\" }",
            "has_header: expected \"x\", got \"hello\"",
        ),
        (
            "no_header { key: \"message\" }",
            "no_header: expected nothing, got \"hello\"",
        ),
        (
            "headers { exact: \"a: b\" }",
            "headers: expected \"a: b\", got \"message: hello\"",
        ),
        (
            "headers { regex: \"message: .*\" invert: true }",
            "headers: there is such a header: \"message: hello\"",
        ),
        (
            "log { exact: \"x\" }",
            "log: expected \"x\", got \"request headers\"",
        ),
        (
            "log { regex: \"req.*\" invert: true }",
            "log: there is such a record: \"request headers\"",
        ),
        ("body { exact: \"x\" }", "body: expected \"x\", got \"\""),
        (
            "immediate { http_status: 403 }",
            "result: expected an immediate reply, got none",
        ),
    ];
    for (result, said) in results {
        let suite =
            format!("test {{\n name: \"a\"\n request_headers {{ result {{\n {result} }} }} }}");
        let line = if result.starts_with("immediate") {
            3
        } else {
            4
        };
        let done = cases(GUEST, "a.textpb", &suite, &["--engine", "wasmi"]);
        assert_eq!(
            (done.status, last(&done.out)),
            (Some(1), "0 passed, 1 failed"),
            "{result}\n{}",
            done.out
        );
        assert!(
            done.out.contains(&format!("a.textpb:{line}: {said}\n")),
            "{result}\n{}",
            done.out
        );
    }
    let suite = "test { request_headers { input { header { key: \":path\" value: \"/no\" } } result {\nimmediate { http_status: 401 details: \"x\" } } } }\ntest { request_headers { input { header { key: \":path\" value: \"/no\" } } } }";
    let done = cases(GUEST, "a.textpb", suite, &["--engine", "wasmi"]);
    for said in [
        "a.textpb:1: result: http_status: expected 401, got 403\n",
        "a.textpb:1: result: details: expected \"x\", got \"no_entry\"\n",
        "a.textpb:3: request_headers: there was an immediate reply, and none was expected\n",
    ] {
        assert!(done.out.contains(said), "{said}\n{}", done.out);
    }
}

#[test]
fn mistakes_are_told_with_their_line() {
    let suite = "tests { }\ntest {\n nam: \"a\"\n benchmark: 3\n request_headers: 3\n request_body { input { file: \"no.data\" } result { body { regex: \"(\" } } }\n num_chunks: 0\n}";
    let done = cases(GUEST, "a.textpb", suite, &[]);
    assert_eq!((done.status, &*done.out), (Some(64), ""), "{}", done.err);
    for said in [
        "a.textpb:1:1: $: unknown field \"tests\"; did you mean `test`?",
        "a.textpb:2:1: $: a body cannot be parted like that",
        "a.textpb:3:1: $: unknown field \"nam\"; did you mean `name`?",
        "a.textpb:5:1: $: `request_headers` is a message; write `request_headers { … }`",
        "a.textpb:6:1: $: no.data: ",
    ] {
        assert!(done.err.contains(said), "{said}\n{}", done.err);
    }
    let done = cases(GUEST, "a.textpb", "test {", &[]);
    assert_eq!(
        &*done.err,
        "a.textpb:1:1: $: this message has no end; see the text form of protobuf\n"
    );
}
