//! CEL expressions over the attributes.

use std::time::Duration;

use cofferdam_abi::testing::map;
use cofferdam_abi::{Attributes, Exchange, Value};

use super::{Answer, calls, calls_in, literal, patient};
use crate::world::{Drive as _, Engine, Look as _};

struct Facts;

impl Attributes for Facts {
    fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
        Some(match path {
            [b"response", b"code"] => Value::Int(200),
            [b"connection", b"id"] => Value::Uint(7),
            [b"connection", b"mtls"] => Value::Bool(true),
            [b"request", b"time"] => Value::Timestamp(Duration::from_secs(1_700_000_000)),
            [b"request", b"duration"] => Value::Duration(Duration::from_millis(5)),
            [b"source", b"address"] => Value::text("127.0.0.1:1"),
            [b"raw", b"bytes"] => Value::text(b"\xff\xfe"),
            [b"list"] => Value::List(vec![Value::text("a"), Value::Int(2)]),
            _ => return None,
        })
    }
}

/// Creates the expression and evaluates it, in one request.
fn evaluate(engine: Engine, expression: &str) -> Answer {
    let guest = patient(
        engine,
        64 << 20,
        &[
            ("expr_create", expression.into()),
            ("expr_evaluate", vec![0; 4]),
        ],
    );
    let headers = map(&[
        (":authority", "test"),
        (":path", "/p/q?a=1"),
        (":method", "GET"),
        (":scheme", "http"),
        ("x-a", "1"),
        ("x-a", "2"),
    ]);
    let exchange = Exchange::new(headers, Box::new(Facts));
    let mut results = calls_in(&guest, exchange.share(), 2);
    assert_eq!(results[0], ("0".to_owned(), vec![0; 4]), "{expression}");
    results.remove(1)
}

fn value(engine: Engine, expression: &str) -> Vec<u8> {
    let (status, value) = evaluate(engine, expression);
    assert_eq!(status, "0", "{expression}");
    value
}

each_engine! {
    fn what_an_expression_looks_at_is_paid_for(engine) {
        let source = |bound: u32| format!(
            "on request_headers
             (local $n i32)
             (loop $fill
              (i32.store #64 (i32.add #0x61616161 (i32.or (i32.and (local.get $n) #15)
               (i32.or (i32.shl (i32.and (i32.shr_u (local.get $n) #4) #15) #8)
                (i32.shl (i32.shr_u (local.get $n) #8) #16)))))
              (drop (!add_header_map_value #0 #64 #4 #0 #0))
              (br_if $fill (i32.lt_u (local.tee $n (i32.add (local.get $n) #1)) #600)))
             (drop (!call_foreign_function {{\"expr_create\"}} {{\"request.headers\"}} @out))
             (local.set $n #{bound})
             (loop $again
              (drop (!call_foreign_function {{\"expr_evaluate\"}} #0 #4 #0 #0))
              (br_if $again (local.tee $n (i32.sub (local.get $n) #1))))"
        );
        // 600 names that are compared with each other cost 1,440,000 of 2,000,000.
        for (times, ends) in [(1, false), (2, true)] {
            let guest = engine.guest(&source(times));
            let mut chain = guest.chain();
            chain.headers(cofferdam_abi::Way::Request, true);
            assert_eq!(chain.failure().is_some(), ends, "{times}");
        }
    }

    fn a_message_of_countless_fields_is_not_read(engine) {
        for name in ["verify_signature", "sign", "declare_property", "set_envoy_filter_state"] {
            let results = calls(engine, &[(name, super::field(1, "").repeat(1_000))]);
            assert_eq!(results[0].0, "2", "{name}");
        }
    }

    fn results_have_the_encodings_of_properties(engine) {
        for (expression, bytes) in [
            ("'a' + 'b'", &b"ab"[..]),
            ("b'\\xff'", b"\xff"),
            ("1 + 1", b"\x02\0\0\0\0\0\0\0"),
            ("2u", b"\x02\0\0\0\0\0\0\0"),
            ("0.5", b"\0\0\0\0\0\0\xe0\x3f"),
            ("1 == 1", b"\x01"),
            ("1 > 2", b"\0"),
            ("duration('1s')", b"\0\xca\x9a\x3b\0\0\0\0"),
            ("timestamp('1970-01-01T00:00:01Z')", b"\0\xca\x9a\x3b\0\0\0\0"),
            ("['a', true]", b"\x02\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0a\0\0\x01\0\0"),
            ("{'k': 'v'}", b"\x01\0\0\0\x01\0\0\0\x01\0\0\0k\0v\0"),
            ("[]", b"\0\0\0\0"),
        ] {
            assert_eq!(value(engine, expression), bytes, "{expression}");
        }
        assert_eq!(evaluate(engine, "null"), ("3".to_owned(), vec![]));
    }

    fn attributes_are_those_of_get_property(engine) {
        for expression in [
            "request.path == '/p/q?a=1' && request.url_path == '/p/q' && request.query == 'a=1'",
            "request.headers['x-a'] == '1,2' && request.headers['X-A'] == '1,2'",
            "request.headers.size() == 5 && 'x-a' in request.headers && !('x-b' in request.headers)",
            "has(request.headers.host) && !has(request.headers.nope) && has(request.path) && !has(request.referer)",
            "request['method'] == 'GET' && request.method.startsWith('G')",
            "response.code == 200 && connection.id == 7u && connection.mtls",
            "request.time > timestamp('2020-01-01T00:00:00Z') && request.duration < duration('1s')",
            "source.address.matches('^127[.]0') && !source.address.matches('^10[.]')",
            "request.headers.exists(name, name == 'x-a') && !request.headers.all(name, name == 'x-a')",
            "raw.bytes == b'\\xff\\xfe' && list[0] == 'a' && list[1] == 2",
            "plugin_name == '' && plugin_root_id == ''",
            "[1, 2, 3].filter(n, n > 1).map(n, n * 2) == [4, 6]",
            "size(request.path) == 8 && request.path.contains('q?') && request.path.endsWith('1')",
        ] {
            assert_eq!(value(engine, expression), [1], "{expression}");
        }
    }

    fn values_of_filters_are_attributes_too(engine) {
        let create = literal(b"my_value == 'v'");
        let guest = engine.guest(&format!("on configure
            (drop (!call_foreign_function {{\"expr_create\"}} {{\"{create}\"}} @out))
            (!say (i32.load (i32.load #16)))
            on request_headers
            (!say (!call_foreign_function {{\"expr_evaluate\"}} {{\"\\00\\00\\00\\00\"}} @out))
            (drop (!set_property {{\"my_value\"}} {{\"v\"}}))
            (!say (!call_foreign_function {{\"expr_evaluate\"}} {{\"\\00\\00\\00\\00\"}} @out))
            (!say (i32.load8_u (i32.load #16)))
            on tick
            (!say (!call_foreign_function {{\"expr_evaluate\"}} {{\"\\00\\00\\00\\00\"}} @out))"));
        assert_eq!(guest.logs(), ["0"]);
        // A root's expression is all its streams'.
        assert_eq!(guest.get(), ["10", "0", "1"]);
        assert_eq!(guest.tick(), ["10"], "a root has no such value");
    }

    fn what_does_not_parse_answers_2(engine) {
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        let (long, wide) = ("1 + ".repeat(600) + "1", "1+".repeat(300) + "1");
        let nested = (0..9).fold("1".to_owned(), |inner, n| format!("[1].map(x{n}, {inner})"));
        for text in ["", "1 +", "request.", ")", "'a", "\u{1}", &deep, &long, &wide, &nested, &"a?b:".repeat(500), &"!".repeat(2_000)] {
            let result = calls(engine, &[("expr_create", text.into())]);
            assert_eq!(result, [("2".to_owned(), vec![])], "{text}");
        }
        assert_eq!(calls(engine, &[("expr_create", vec![0xff])]), [("2".to_owned(), vec![])]);
    }

    fn what_goes_wrong_in_evaluating_answers_10(engine) {
        for expression in ["nope", "request.nope", "request.headers['nope']", "1 / 0", "1 + 'a'", "nope()", "'a'.matches('(')", "[1][2]"] {
            assert_eq!(evaluate(engine, expression), ("10".to_owned(), vec![]), "{expression}");
        }
        assert_eq!(evaluate(engine, "request"), ("3".to_owned(), vec![]));
    }

    fn an_evaluation_that_could_cost_too_much_is_not_begun(engine) {
        let double = "['abcdefgh'].map(a, a + a + a + a + a + a + a + a)";
        let chain = (0..7).fold(double.to_owned(), |all, _| format!("{all}.map(a, a + a + a + a + a + a + a + a)"));
        let list = (0..50).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let product = format!("[{list}].map(a, [{list}].map(b, [{list}].map(c, [{list}].map(d, a + b + c + d))))");
        for expression in [chain, product] {
            assert_eq!(evaluate(engine, &expression), ("10".to_owned(), vec![]), "{expression}");
        }
    }

    fn tokens_are_known_until_they_are_deleted(engine) {
        let token = |number: u8| vec![number, 0, 0, 0];
        let results = calls(engine, &[
            ("expr_create", "'first'".into()),
            ("expr_create", "'second'".into()),
            ("expr_evaluate", token(1)),
            ("expr_evaluate", token(2)),
            ("expr_delete", token(1)),
            ("expr_evaluate", token(1)),
            ("expr_delete", token(1)),
            ("expr_evaluate", token(0)),
            ("expr_evaluate", vec![0; 3]),
            ("expr_evaluate", vec![0; 5]),
            ("expr_delete", vec![]),
        ]);
        let statuses: Vec<&str> = results.iter().map(|(status, _)| status.as_str()).collect();
        assert_eq!(statuses, ["0", "0", "0", "1", "0", "1", "0", "0", "2", "2", "2"]);
        assert_eq!((&results[1].1[..], &results[2].1[..]), (&token(1)[..], &b"second"[..]));
    }

    fn a_root_may_have_so_many_expressions_and_no_more(engine) {
        let guest = engine.guest("on tick
            (block $full (loop $next
                (br_if $full (local.tee $a (!call_foreign_function {\"expr_create\"} {\"1\"} #0 #0)))
                (global.set $g (i32.add (global.get $g) #1))
                (br_if $next (i32.rem_u (global.get $g) #50))))
            (!say (local.get $a)) (!say (global.get $g))");
        let rounds: Vec<_> = (0..21).map(|_| guest.tick()).collect();
        assert_eq!(rounds[0], ["0", "50"]);
        assert_eq!(rounds[20], ["10", "1000"]);
    }
}
