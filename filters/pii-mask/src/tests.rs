//! The filter in the host's own state machine.

use std::rc::Rc;

use cofferdam_sdk::Reply;
use cofferdam_sdk::testing::{Tester, splits};

use super::pii_mask;
use crate::mask::Masker;
use crate::rule::{Rule, Shared};

const ALL: &str = r#""patterns": ["card", "email", "phone", "iban", "ssn", "ipv4"]"#;

fn rule(settings: &str) -> Rc<Rule> {
    let parsed = cofferdam_sdk::config::parse(format!("{{{settings}}}").as_bytes());
    let Shared(rule) = parsed.unwrap();
    rule
}

fn whole(rule: &Rc<Rule>, text: &[u8]) -> String {
    let masked = Masker::new(rule.clone()).push(text, true);
    String::from_utf8(masked).unwrap()
}

#[test]
fn what_is_personal_is_masked_and_what_looks_so_is_not() {
    let rule = rule(ALL);
    for (text, masked) in [
        ("pay 4111 1111-11111111, now", "pay **** ****-********, now"),
        ("on 11 4111111111111111 12", "on 11 **************** 12"),
        ("order 4111111111111112", "order 4111111111111112"),
        (
            r#"{"m":"ann.b+c@mail.example.com"}"#,
            r#"{"m":"***.*+*@****.*******.***"}"#,
        ),
        ("@home a@b", "@home a@b"),
        ("call +49 (30) 123 45-67!", "call +** (**) *** **-**!"),
        (
            "GB82 WEST 1234 5698 7654 32 AND",
            "**** **** **** **** **** ** AND",
        ),
        ("123-45-6789, 1123-45-6789", "***-**-****, 1123-45-6789"),
        ("192.0.2.1 192.0.2.256", "***.*.*.* 192.0.2.256"),
        ("\n4111111111111111\n\n", "\n****************\n\n"),
    ] {
        assert_eq!(whole(&rule, text.as_bytes()), masked);
    }
}

#[test]
fn some_of_it_may_stay_or_its_name_stand_there() {
    let stars = rule(r#""patterns": ["card"], "keep_last": 4"#);
    assert_eq!(whole(&stars, b"4111-1111-1111-1111"), "****-****-****-1111");
    let labels = rule(
        r#""patterns": ["card"], "replace": "label",
           "custom": [{"name": "staff", "regex": "EMP-[0-9]{4}"}]"#,
    );
    assert_eq!(
        whole(&labels, b"EMP-0007: 4111111111111111"),
        "[staff]: [card]"
    );
}

#[test]
fn however_it_is_cut_the_outcome_is_the_same() {
    let rule = rule(ALL);
    let filler = "0123 4567 89ab, ".repeat(40);
    for text in [
        "4111 1111 1111 1111 4222222222222 a@b.cd\n+4930123456 x".to_owned(),
        format!("{filler}4111111111111111{filler}ann@example.com {filler}"),
        format!("{}@example.com and 4111111111111111", "a.".repeat(300)),
        "9".repeat(1000),
    ] {
        let expected = whole(&rule, text.as_bytes());
        for pieces in splits(text.as_bytes()) {
            let mut masker = Masker::new(rule.clone());
            let mut out = Vec::new();
            for piece in pieces {
                out.extend(masker.push(&piece, false));
            }
            out.extend(masker.push(b"", true));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}

#[test]
fn lines_that_are_whole_wait_for_nothing() {
    let mut masker = Masker::new(rule(ALL));
    assert_eq!(masker.push(b"data: a@b.cd\n\n", false), b"data: *@*.**\n\n");
    assert_eq!(masker.push(b"data: a@b", false), b"");
    assert_eq!(masker.push(b".cd\n", false), b"data: *@*.**\n");
}

fn tester(config: &str) -> Tester {
    let mut tester = Tester::of::<pii_mask>(config);
    tester.without_hostile_headers();
    tester.upstream(|seen| {
        let reply = Reply::new(200).header("content-type", "application/json");
        let reply = match seen.header("x-gzip") {
            Some(_) => reply.header("content-encoding", "gzip"),
            None => reply.header("content-length", "27"),
        };
        reply.body(r#"{"card":"4111111111111111"}"#)
    });
    tester.pieces(10);
    tester
}

#[test]
fn both_bodies_are_masked_across_their_pieces() {
    let config = format!(r#"{{"rules": [{{{ALL}, "replace": "label"}}]}}"#);
    let mut tester = tester(&config);
    for chunks in splits(b"me=a@b.cd&x") {
        let ask = tester.request("POST", "/").chunks(chunks);
        let ask = ask.header("content-type", "application/x-www-form-urlencoded");
        let ask = ask
            .header("content-length", "11")
            .header("range", "bytes=0-5");
        let answer = ask.header("accept-encoding", "gzip").send();
        let seen = answer.upstream().unwrap();
        assert_eq!(seen.body(), b"me=[email]&x");
        for gone in ["content-length", "range", "accept-encoding"] {
            assert_eq!(seen.header(gone), None);
        }
        assert_eq!(answer.text(), r#"{"card":"[card]"}"#);
        assert_eq!(answer.header("content-length"), None);
    }
    tester.no_leaks();
}

#[test]
fn where_trailers_follow_nothing_is_passed_on_short() {
    let mut tester = tester(&format!(r#"{{"rules": [{{{ALL}}}]}}"#));
    let mut ask = |chunks: [&str; 2]| {
        let ask = tester
            .request("POST", "/")
            .header("content-type", "text/plain");
        let answer = ask.chunks(chunks).trailer("x-sum", "1").send();
        (answer, tester.logs().join("\n"))
    };
    let (answer, _) = ask(["to a@", "b.cd\n"]);
    let seen = answer.upstream().unwrap();
    assert_eq!(
        (seen.body(), seen.trailer("x-sum")),
        (&b"to *@*.**\n"[..], Some("1"))
    );
    // The host takes no bytes any more when trailers come: what nobody has announced has no way.
    let (answer, said) = ask(["to a@", "b.cd"]);
    assert!(
        answer.is_cut() && said.contains("the stream is cut"),
        "{said}"
    );
}

#[test]
fn where_trailers_are_announced_everything_is_passed_on() {
    let mut tester = tester(&format!(r#"{{"rules": [{{{ALL}}}]}}"#));
    for chunks in splits(b"x\nto a@b.cd") {
        let ask = tester.request("POST", "/").chunks(chunks);
        let ask = ask
            .header("content-type", "text/plain")
            .header("trailer", "x-sum");
        let answer = ask.trailer("x-sum", "1").send();
        let seen = answer.upstream().unwrap();
        assert_eq!(
            (seen.body(), seen.trailer("x-sum")),
            (&b"x\nto *@*.**"[..], Some("1"))
        );
    }
    // Not without a bound.
    let ask = tester.request("POST", "/").header("trailer", "x-sum");
    let ask = ask.header("content-type", "text/plain");
    let answer = ask.chunks([vec![b'9'; 70_000], b" a@b.cd\n".to_vec()]);
    let answer = answer.trailer("x-sum", "1").send();
    let seen = answer.upstream().unwrap();
    assert_eq!(seen.body().len(), 70_008);
    assert!(seen.body().ends_with(b" *@*.**\n"));
    tester.no_leaks();
}

#[test]
fn other_kinds_of_bodies_and_other_requests_pass() {
    let config = r#"{"rules": [
        {"match": {"paths": ["/none/*"]}, "patterns": ["card"]},
        {"match": {"paths": ["/in"]}, "patterns": ["email"], "response": false}]}"#;
    let mut tester = tester(config);
    let mut ask = |path: &str, kind: &str| {
        let ask = tester.post(path, "a@b.cd").header("content-type", kind);
        let answer = ask.send();
        let seen = answer.upstream().unwrap().clone();
        (
            String::from_utf8(seen.body().to_vec()).unwrap(),
            answer.text().contains("4111"),
        )
    };
    assert_eq!(ask("/in", "text/plain"), ("*@*.**".to_owned(), true));
    assert_eq!(ask("/in", "image/png"), ("a@b.cd".to_owned(), true));
    assert_eq!(ask("/other", "text/plain"), ("a@b.cd".to_owned(), true));
}

#[test]
fn what_cannot_be_read_is_refused_unless_it_may_pass() {
    let mut strict = tester(&format!(r#"{{"rules": [{{{ALL}}}]}}"#));
    let ask = strict.post("/", "x").header("content-type", "text/plain");
    let answer = ask.header("content-encoding", "br").send();
    assert_eq!((answer.status(), answer.upstream()), (415, None));
    assert!(answer.text().contains(r#""code":"encoded_body""#));
    let answer = strict.get("/").header("x-gzip", "1").send();
    assert_eq!(answer.status(), 502);
    assert!(!answer.text().contains("4111"));
    assert_eq!(strict.metric("pii_mask.rule=0.result=encoded"), 2);

    let mut open = tester(&format!(r#"{{"rules": [{{{ALL}, "encoded": "pass"}}]}}"#));
    let answer = open.get("/").header("x-gzip", "1").send();
    assert_eq!(answer.status(), 200);
}

#[test]
fn a_dry_run_counts_and_changes_nothing() {
    let mut tester = tester(&format!(r#"{{"dry_run": true, "rules": [{{{ALL}}}]}}"#));
    let answer = tester.get("/").header("accept-encoding", "gzip").send();
    assert_eq!(
        answer.upstream().unwrap().header("accept-encoding"),
        Some("gzip")
    );
    assert_eq!(answer.text(), r#"{"card":"4111111111111111"}"#);
    assert_eq!(answer.header("content-length"), Some("27"));
    assert_eq!(tester.metric("pii_mask.rule=0.result=card_dry"), 1);
}

#[test]
fn a_bad_configuration_names_the_field() {
    for (config, wanted) in [
        ("{}", "missing field `rules`"),
        (r#"{"rules": [{}]}"#, "rules[0]: nothing to look for"),
        (
            r#"{"rules": [{"patterns": ["dna"]}]}"#,
            "rules[0].patterns[0]: unknown variant `dna`",
        ),
        (
            r#"{"rules": [{"custom": [{"name": "a", "regex": "a+"}]}]}"#,
            "rules[0].custom[0].regex: it may match more than 383 bytes",
        ),
        (
            r#"{"rules": [{"patterns": [], "encoded": 1}]}"#,
            "rules[0].encoded: invalid type",
        ),
    ] {
        let said = Tester::refusal::<pii_mask>(config);
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn the_example_of_the_readme_is_taken() {
    let mut blocks = include_str!("../README.md").split("```json\n").skip(1);
    let example = blocks.next().and_then(|rest| rest.split("```").next());
    let _ = Tester::of::<pii_mask>(example.expect("an example"));
}
