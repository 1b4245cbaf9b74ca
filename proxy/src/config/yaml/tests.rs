//! The tree: positions, limits, duplicates, and what is not YAML.

use super::*;

/// What is wrong with `text` as YAML.
fn problems(text: &str) -> Vec<String> {
    let problems = Problems::new("f");
    let _ = parse(text, "listeners:", &problems);
    problems
        .into_sorted()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// The value of `text` as a guest would get it.
fn json(text: &str) -> Result<String, String> {
    let problems = Problems::new("f");
    let tree = parse(text, "listeners:", &problems);
    let json = tree.and_then(|tree| Node::root(&tree, &problems).configuration());
    let wrong: Vec<_> = problems
        .into_sorted()
        .iter()
        .map(ToString::to_string)
        .collect();
    match json {
        Some(json) if wrong.is_empty() => Ok(json),
        _ => Err(wrong.join("\n")),
    }
}

#[test]
fn values_become_json_unchanged() {
    let cases = [
        ("{ any: yaml }", r#"{"any":"yaml"}"#),
        (
            "b: 1\na: [x, 'y', \"z\\n\"]",
            r#"{"b":1,"a":["x","y","z\n"]}"#,
        ),
        (
            "[1, -1, 0x10, 0o17, +7, 1.0, 1e3, 9223372036854775808]",
            "[1,-1,16,15,7,1.0,1000.0,9223372036854775808]",
        ),
        (
            "[true, False, ~, null, yes, on, 127.0.0.1, 1_000, 12e, -x, .]",
            r#"[true,false,null,null,"yes","on","127.0.0.1","1_000","12e","-x","."]"#,
        ),
        (
            "[\"1\", '1', !!str 1, ! 1, !!int 1, !!float 1]",
            r#"["1","1","1","1",1,1.0]"#,
        ),
        (
            "{ 1: a, true: b, ~: c, '': d }",
            r#"{"1":"a","true":"b","~":"c","":"d"}"#,
        ),
        (
            "a: |\n  one\n  two\nb: >\n  one\n  two\n",
            r#"{"a":"one\ntwo\n","b":"one two\n"}"#,
        ),
        ("a: &x [1]\nb: *x", r#"{"a":[1],"b":[1]}"#),
        (
            "a: &x { p: 1, q: 2 }\nb: { q: 3, <<: *x }",
            r#"{"a":{"p":1,"q":2},"b":{"q":3,"p":1}}"#,
        ),
        (
            "a: { <<: [{ p: 1 }, { p: 2, q: 3 }] }",
            r#"{"a":{"p":1,"q":3}}"#,
        ),
        ("a: { '<<': 1 }", r#"{"a":{"<<":1}}"#),
        ("&k x: 1\ny: *k", r#"{"x":1,"y":"x"}"#),
        ("\u{feff}just text", "just text"),
        ("--- \n{}\n...\n", "{}"),
        ("a: 1\r\nb: 2\r\n", r#"{"a":1,"b":2}"#),
    ];
    for (text, expected) in cases {
        assert_eq!(json(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_json_cannot_say_is_a_mistake() {
    let expected = "f:1:2: $[0]: JSON has no number \".nan\"; put it in quotes\n\
                    f:1:8: $[1]: JSON has no number \"-.inf\"; put it in quotes\n\
                    f:1:15: $[2]: JSON has no number \"18446744073709551616\"; put it in quotes";
    assert_eq!(
        json("[.nan, -.inf, 18446744073709551616]"),
        Err(expected.to_owned())
    );
}

#[test]
fn duplicate_keys_are_each_told() {
    let expected = [
        "f:2:1: a: the key \"a\" is written twice; remove one of the two",
        "f:3:11: b.c: the key \"c\" is written twice; remove one of the two",
        "f:4:11: d[1][\"x y\"]: the key \"x y\" is written twice; remove one of the two",
    ];
    assert_eq!(
        problems("a: 1\na: 2\nb: {c: 1, c: 2}\nd: [1, {x y: 1,\n x y: 2}]").len(),
        3
    );
    assert_eq!(
        problems("a: 1\na: 2\nb: {c: 1, c: 2}\nd: [1, {  \"x y\": 1, \"x y\": 2}]")[..2],
        expected[..2]
    );
}

#[test]
fn what_is_not_a_tree_is_told_with_its_place() {
    let cases = [
        (
            "",
            "f:1:1: $: the file is empty; write at least `listeners:`",
        ),
        (
            "# nothing\n",
            "f:1:1: $: the file is empty; write at least `listeners:`",
        ),
        (
            "---\n",
            "f:1:1: $: the file is empty; write at least `listeners:`",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "f:2:1: $: a second document begins here; \
          a configuration is one document; remove the `---` and what follows it",
        ),
        (
            "a: &x [1, *x]",
            "f:1:11: a[1]: this alias stands inside the value it refers to; write the value out",
        ),
        (
            "? [a]\n: b",
            "f:1:3: $: a key must be text, found a list or a table; write `key: value`",
        ),
        (
            "a: !mine 1",
            "f:1:4: a: the tag `!mine` has no meaning here; remove the tag",
        ),
        (
            "a: !mine [1]",
            "f:1:4: a: the tag `!mine` has no meaning here; remove the tag",
        ),
        (
            "a: !!int x",
            "f:1:4: a: this value is not what its tag `tag:yaml.org,2002:!int` says; remove the tag",
        ),
        (
            "a: { <<: 1 }",
            "f:1:6: a[\"<<\"]: expected a table to merge, found a number; \
          write `<<: *anchor` or `<<: [*one, *other]`, each a table",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(text), [expected], "{text:?}");
    }
    for text in [
        "a: [1",
        "a: 'x",
        "a: b: c",
        "a:\n\tx: 1",
        "a: *nothing",
        "%YAML 9\n",
        "@",
        "a: {b",
    ] {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{text:?}: {found:?}");
        assert!(
            found[0].contains(": $: this is not valid YAML: "),
            "{text:?}: {found:?}"
        );
    }
}

#[test]
fn deep_nesting_is_refused_before_it_hurts() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", "")] {
        let good = format!("{}1{}", open.repeat(63), close.repeat(63));
        assert_eq!(problems(&good), [""; 0], "{open}");
        for times in [65, 100_000] {
            let found = problems(&open.repeat(times));
            assert_eq!(found.len(), 1, "{open}");
            assert!(
                found[0].contains("more than 64 levels of nesting"),
                "{found:?}"
            );
        }
    }
    // Depth that comes together through aliases only.
    let mut text = "a0: &a0 [[[[[[[[[[1]]]]]]]]]]\n".to_owned();
    for level in 1..8 {
        text += &format!("a{level}: &a{level} [[[[[[[[[[*a{}]]]]]]]]]]\n", level - 1);
    }
    assert!(problems(&text)[0].contains("more than 64 levels of nesting"));
}

#[test]
fn aliases_cannot_multiply_without_end() {
    let mut list = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    let mut merge = "m0: &m0 { k0: 1 }\n".to_owned();
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        list += &format!("a{level}: &a{level} [{aliases}]\n");
        let aliases = vec![format!("*m{}", level - 1); 10].join(", ");
        merge += &format!("m{level}: &m{level} {{ k{level}: 1, <<: [{aliases}] }}\n");
    }
    let found = problems(&list);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("more than 1000000 values"), "{found:?}");
    // Merging brings every key once, so this stays small.
    assert_eq!(problems(&merge), [""; 0]);
}

#[test]
fn a_slip_of_the_finger_is_recognised() {
    let known = ["listeners", "filters", "clusters", "drain_time", "tls"];
    for (word, expected) in [
        ("listener", Some("listeners")),
        ("fitlers", Some("filters")),
        ("drain-time", Some("drain_time")),
        ("drainTime", Some("drain_time")),
        ("TLS", Some("tls")),
        ("tsl", Some("tls")),
        ("x", None),
        ("", None),
        ("something else", None),
    ] {
        assert_eq!(did_you_mean(word, known), expected, "{word}");
    }
}

#[test]
fn messages_stay_on_one_line() {
    let problems = Problems::new("f");
    problems.add(Position::START, "$", "one\n  two\u{7}three", "do\r\nthis\n");
    let found = problems.into_sorted();
    assert_eq!(found[0].to_string(), "f:1:1: $: one two three; do this");
    assert_eq!(quote("a\nb"), r#""a\nb""#);
    assert_eq!(quote(&"x".repeat(100)).chars().count(), 83);
}
