//! What fits, what does not and how that is told, and schemas that mean harm.

use serde_json::{Value, json};

use super::{LARGEST, MOST_TOLD, Schema};

fn read(schema: &Value) -> Schema {
    Schema::read(schema.to_string().as_bytes()).expect("a schema")
}

/// Each mistake as `path: what; help`.
fn told(schema: &Value, value: &Value) -> Vec<String> {
    let mistakes = read(schema).check(value.to_string().as_bytes());
    let line =
        |mistake: super::Mistake| format!("{}: {}; {}", mistake.path, mistake.what, mistake.help);
    mistakes
        .expect("a usable schema")
        .into_iter()
        .map(line)
        .collect()
}

fn fits(schema: &Value, value: &Value) -> bool {
    told(schema, value).is_empty()
}

/// As the guest library writes them.
fn rules() -> Value {
    json!({
        "type": "object",
        "properties": {
            "rules": { "type": "array", "items": {
                "type": "object",
                "properties": {
                    "limit": { "type": "integer", "minimum": 0, "maximum": 255 },
                    "mode": { "enum": ["open", "closed"] },
                    "key": { "oneOf": [
                        { "enum": ["ip"] },
                        { "type": "object", "properties": { "header": { "type": "string" } },
                          "required": ["header"], "additionalProperties": false },
                        { "type": "object", "properties": { "cookie": { "type": "string" } },
                          "required": ["cookie"], "additionalProperties": false },
                    ] },
                    "pair": { "type": "array", "prefixItems": [{ "type": "boolean" }, { "type": "number" }],
                              "minItems": 2, "maxItems": 2 },
                    "maybe": { "anyOf": [{ "type": "integer" }, { "type": "null" }] },
                },
                "required": ["limit"],
                "additionalProperties": false,
            } },
            "names": { "type": "object", "additionalProperties": { "type": "string" } },
        },
        "required": ["rules"],
        "additionalProperties": false,
    })
}

#[test]
fn what_fits_is_let_through() {
    let value = json!({
        "rules": [
            { "limit": 255, "mode": "open", "key": "ip", "pair": [true, 1.5], "maybe": null },
            { "limit": 0, "key": { "cookie": "a" }, "maybe": 3, "pair": [false, 1] },
        ],
        "names": { "any": "thing" },
    });
    assert_eq!(told(&rules(), &value), [""; 0]);
}

#[test]
fn every_mistake_is_told_with_its_path() {
    let value = json!({
        "rules": [
            { "limit": 256, "mode": "opne" },
            { "key": { "header": 3 }, "limt": 1 },
            { "limit": "7", "key": 8, "pair": [1], "maybe": "no" },
        ],
        "names": { "a": [] },
    });
    assert_eq!(
        told(&rules(), &value),
        [
            "rules[0].limit: expected at most 255, found 256; write at most 255",
            "rules[0].mode: expected \"open\" or \"closed\", found \"opne\"; did you mean \"open\"?",
            "rules[1].key.header: expected text, found a whole number; write text",
            "rules[1].limt: unknown key \"limt\"; did you mean `limit`?",
            "rules[1]: `limit` is missing; write `limit`: a whole number",
            "rules[2].limit: expected a whole number, found text; write a whole number",
            "rules[2].key: expected \"ip\", a table with `header` or a table with `cookie`, found a whole number; write \"ip\", a table with `header` or a table with `cookie`",
            "rules[2].pair: expected at least 2 items, found 1; write at least 2 items",
            "rules[2].pair[0]: expected true or false, found a whole number; write true or false",
            "rules[2].maybe: expected a whole number or null, found text; write a whole number or null",
        ]
    );
    let many = json!({ "rules": vec![json!({}); 50] });
    assert_eq!(told(&rules(), &many).len(), MOST_TOLD);
}

/// serde takes `{word: null}` for a variant without data, wherever it takes the word.
#[test]
fn a_word_may_be_written_as_a_table_with_null() {
    let mixed = json!({ "oneOf": [
        { "enum": ["refuse", "mark"] },
        { "type": "object", "properties": { "reply": { "type": "integer" } },
          "required": ["reply"], "additionalProperties": false },
    ] });
    for schema in [mixed, json!({ "enum": ["refuse", "mark"] })] {
        assert!(fits(&schema, &json!({ "refuse": null })), "{schema}");
        for wrong in [
            json!({ "refuse": 1 }),
            json!({ "other": null }),
            json!({ "refuse": null, "mark": null }),
            json!({}),
        ] {
            assert!(!fits(&schema, &wrong), "{schema} {wrong}");
        }
    }
}

#[test]
fn of_alternatives_the_one_of_the_type_is_told() {
    let schema = json!({ "properties": {
        "big": { "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "null" }] },
        "mode": { "oneOf": [
            { "enum": ["refuse", "mark"] },
            { "type": "object", "properties": { "reply": { "type": "integer" } },
              "required": ["reply"], "additionalProperties": false },
        ] },
        "maybe": { "anyOf": [{ "enum": ["open", "closed"] }, { "type": "null" }] },
        "inner": { "anyOf": [{ "type": "object", "required": ["a"] }, { "type": "null" }] },
    } });
    for (value, wanted) in [
        (
            json!({ "big": -1 }),
            "big: expected at least 0, found -1; write at least 0",
        ),
        (
            json!({ "mode": "nope" }),
            "mode: expected \"refuse\" or \"mark\" or a table with `reply`, found \"nope\"; write \"refuse\" or \"mark\" or a table with `reply`",
        ),
        (
            json!({ "mode": "refuze" }),
            "mode: expected \"refuse\" or \"mark\" or a table with `reply`, found \"refuze\"; did you mean \"refuse\"?",
        ),
        (
            json!({ "maybe": "opne" }),
            "maybe: expected \"open\" or \"closed\" or null, found \"opne\"; did you mean \"open\"?",
        ),
        (json!({ "inner": {} }), "inner: `a` is missing; write `a`"),
    ] {
        assert_eq!(told(&schema, &value), [wanted]);
    }
}

#[test]
fn what_is_missing_is_told_with_what_it_may_be() {
    let key = rules()["properties"]["rules"]["items"]["properties"]["key"].clone();
    let schema = json!({ "properties": { "key": key }, "required": ["key"] });
    assert_eq!(
        told(&schema, &json!({})),
        [": `key` is missing; write `key`: \"ip\", a table with `header` or a table with `cookie`"]
    );
}

#[test]
fn nothing_is_an_empty_table_and_other_than_json_is_said() {
    for nothing in ["", "  \n", "null", "{}"] {
        let mistakes = read(&rules()).check(nothing.as_bytes()).expect("a schema");
        assert_eq!(mistakes[0].what, "`rules` is missing", "{nothing:?}");
    }
    let mistakes = read(&rules()).check(b"rules: []").expect("a schema");
    assert!(
        mistakes[0].what.starts_with("this is not JSON: "),
        "{mistakes:?}"
    );
    let mistakes = read(&rules()).check(b"\xff").expect("a schema");
    assert_eq!(mistakes.len(), 1);
}

#[test]
fn each_keyword_lets_through_and_refuses() {
    let big = u64::MAX;
    let rows = [
        (json!({ "type": "integer" }), json!(3.0), json!(3.5)),
        (json!({ "type": ["string", "null"] }), json!(null), json!(1)),
        (json!({ "type": "boolean" }), json!(true), json!("true")),
        (
            json!({ "minimum": big - 1 }),
            json!(big - 1),
            json!(big - 2),
        ),
        (json!({ "maximum": -5 }), json!(-5), json!(-4)),
        (json!({ "exclusiveMinimum": 1 }), json!(1.5), json!(1)),
        (json!({ "exclusiveMaximum": 1 }), json!(0), json!(1.0)),
        (json!({ "minLength": 2 }), json!("éé"), json!("é")),
        (json!({ "maxLength": 1 }), json!("é"), json!("ab")),
        (json!({ "minItems": 1 }), json!([0]), json!([])),
        (json!({ "maxItems": 1 }), json!([0]), json!([0, 0])),
        (json!({ "minProperties": 1 }), json!({ "a": 0 }), json!({})),
        (
            json!({ "maxProperties": 1 }),
            json!({ "a": 0 }),
            json!({ "a": 0, "b": 0 }),
        ),
        (
            json!({ "const": { "a": [1] } }),
            json!({ "a": [1.0] }),
            json!({ "a": [2] }),
        ),
        (json!({ "enum": [null, "a"] }), json!(null), json!("b")),
        (
            json!({ "items": [{ "type": "null" }] }),
            json!([null, 1]),
            json!([1]),
        ),
        (json!({ "items": false }), json!([]), json!([1])),
        (
            json!({ "allOf": [{ "minimum": 1 }, { "maximum": 2 }] }),
            json!(2),
            json!(3),
        ),
        (
            json!({ "anyOf": [{ "type": "null" }, { "minimum": 2 }] }),
            json!(2),
            json!(1),
        ),
        (
            json!({ "$defs": { "a/b": { "type": "null" } }, "$ref": "#/$defs/a~1b" }),
            json!(null),
            json!(1),
        ),
        (
            json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "http://a/", "$defs": { "a": {} }, "$ref": "#/$defs/a", "type": "null" }),
            json!(null),
            json!(1),
        ),
        (
            json!({ "properties": { "next": { "$ref": "#" } }, "additionalProperties": false }),
            json!({ "next": { "next": {} } }),
            json!({ "next": { "next": { "a": 1 } } }),
        ),
    ];
    for (schema, good, bad) in rows {
        assert!(fits(&schema, &good), "{schema} {good}");
        assert!(!fits(&schema, &bad), "{schema} {bad}");
    }
}

#[test]
fn what_is_not_known_refuses_nothing() {
    let schemas = [
        json!(true),
        json!("text"),
        json!([]),
        json!({ "pattern": "(a+)+$", "format": "uri", "not": {}, "if": {}, "then": false }),
        json!({ "$ref": "https://example.com/schema.json" }),
        json!({ "$ref": "#/nowhere" }),
        json!({ "$ref": "#name" }),
        json!({ "type": "date" }),
        json!({ "type": 3, "enum": {}, "required": "a", "minimum": "b", "oneOf": {} }),
        json!({ "maximum": 1, "exclusiveMinimum": true, "patternProperties": {}, "additionalProperties": false }),
        // Which schema is meant, another name before it says.
        json!({ "$defs": { "a": { "$id": "http://a/", "$defs": { "b": false }, "$ref": "#/$defs/b" }, "b": false }, "$ref": "#/$defs/a" }),
        json!({ "$defs": { "a": { "$id": "http://a/", "$defs": { "b": false } } }, "$ref": "#/$defs/a/$defs/b" }),
        json!({ "$defs": { "a%25b": false }, "$ref": "#/$defs/a%25b" }),
        // Drafts differ in whether that counts.
        json!({ "$defs": { "a": {} }, "$ref": "#/$defs/a", "type": "string" }),
        json!({ "$schema": "http://json-schema.org/draft-07/schema#", "$defs": { "a": {} }, "$ref": "#/$defs/a", "maxProperties": 0 }),
        json!({ "$schema": "http://json-schema.org/draft-03/schema#", "type": ["string", { "type": "object" }] }),
        json!({ "$schema": "http://json-schema.org/draft-07/schema#", "properties": { "a": { "prefixItems": [false] } } }),
        // Two fit, as far as can be known.
        json!({ "oneOf": [{ "pattern": "a" }, { "pattern": "b" }] }),
    ];
    for schema in schemas {
        assert!(
            fits(&schema, &json!({ "a": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!" })),
            "{schema}"
        );
        assert!(fits(&schema, &json!({ "a": ["a"] })), "{schema}");
    }
}

#[test]
fn schemas_that_mean_harm_are_given_up() {
    let check = |schema: &Value, value: &Value| {
        let checked = read(schema).check(value.to_string().as_bytes());
        checked.expect_err("too much").0
    };
    assert!(check(&json!({ "$ref": "#" }), &json!(1)).contains("deeper"));
    // Two to the power of a hundred ways to be wrong.
    let mut defs = serde_json::Map::new();
    for level in 0..100 {
        let next = json!({ "$ref": format!("#/$defs/{}", level + 1) });
        defs.insert(level.to_string(), json!({ "anyOf": [next, next] }));
    }
    defs.insert("100".to_owned(), json!(false));
    let schema = json!({ "$defs": defs, "$ref": "#/$defs/0" });
    assert!(check(&schema, &json!(1)).contains("more work"));
    // Work that hides in one value.
    let long: Vec<usize> = (0..5_000).collect();
    let mut choices = vec![json!(long); 5];
    choices
        .iter_mut()
        .for_each(|choice| choice[4_999] = json!("different"));
    let schema = json!({ "allOf": vec![json!({ "$ref": "#/$defs/a" }); 100], "$defs": { "a": { "enum": choices } } });
    assert!(check(&schema, &json!(long)).contains("more work"));
}

#[test]
fn schemas_that_cannot_be_read_are_not_used() {
    let wrong = |bytes: &[u8]| Schema::read(bytes).expect_err("unusable").0;
    assert!(wrong(b"{").contains("not JSON"));
    assert!(wrong(&"[".repeat(10_000).into_bytes()).contains("not JSON"));
    assert!(wrong(&vec![b' '; LARGEST + 1]).contains("bytes"));
    assert!(wrong(b"\xff\xfe").contains("not JSON"));
}
