//! The configuration's reader: types that serde derives, mistakes by their path, and truncated or
//! changed text.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
struct Rule {
    path: String,
    #[serde(default)]
    limit: u32,
    mode: Option<Mode>,
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Open,
    Reply(u16),
    Named { name: String },
}

fn rules(json: &str) -> Result<Vec<Rule>, String> {
    parse(json.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn what_serde_derives_is_read() {
    let read = rules(
        "[ {\"path\":\"\\u00e9\\ud83d\\ude00\\n\", \"mode\":\"open\"},
           {\"path\":\"b\",\"limit\":9,\"mode\":{\"reply\":403}},
           {\"path\":\"c\",\"mode\":{\"named\":{\"name\":\"x\"}}}, {\"path\":\"d\",\"mode\":null} ]",
    );
    let rule = |path: &str, limit, mode| Rule {
        path: path.to_owned(),
        limit,
        mode,
    };
    let name = "x".to_owned();
    assert_eq!(
        read.unwrap(),
        [
            rule("\u{e9}\u{1f600}\n", 0, Some(Mode::Open)),
            rule("b", 9, Some(Mode::Reply(403))),
            rule("c", 0, Some(Mode::Named { name })),
            rule("d", 0, Option::None),
        ]
    );
    let map: BTreeMap<String, f64> = parse(b"{\"a\": -1.5e3, \"b\": 2}").unwrap();
    assert_eq!(
        map,
        BTreeMap::from([("a".to_owned(), -1500.0), ("b".to_owned(), 2.0)])
    );
    assert_eq!(parse(b"[true, 7]"), Ok((true, 7_i8)));
}

#[test]
fn nothing_is_an_empty_map() {
    let map: BTreeMap<String, String> = parse(b" \n").unwrap();
    assert!(map.is_empty());
    assert_eq!(parse(b"null"), Ok(Option::<Vec<u8>>::None));
    let map: BTreeMap<String, String> = parse(b" null\n").unwrap();
    assert!(map.is_empty());
    assert_eq!(parse::<None>(b"null"), Ok(None));
}

#[test]
fn a_mistake_is_named_with_its_path() {
    for (json, wrong) in [
        (
            r#"[{"path": 1}]"#,
            "[0].path: invalid type: a number, expected a string",
        ),
        (
            r#"[{"path": "a", "limit": -1}]"#,
            "[0].limit: invalid value: -1, expected u32",
        ),
        (
            r#"[{"path": "a", "limits": 1}]"#,
            "[0]: unknown field `limits`, expected one of `path`, `limit`, `mode`",
        ),
        (r#"[{}]"#, "[0]: missing field `path`"),
        (
            r#"[{"path": "a", "mode": "shut"}]"#,
            "[0].mode: unknown variant `shut`, expected one of `open`, `reply`, `named`",
        ),
        (
            r#"[{"path": "a", "mode": {"named": {"name": []}}}]"#,
            "[0].mode.named.name: invalid type: a list, expected a string",
        ),
        ("[", "[0]: it ends too early"),
        ("[] x", "something follows the value"),
        ("{}", "invalid type: a map, expected a sequence"),
        (
            "[{\"path\": \"\u{1}\"}]",
            "[0].path: a control character in a string",
        ),
        (
            r#"[{"path": "\ud800"}]"#,
            "[0].path: half a character in a string",
        ),
        (
            r#"[{"path": "a" "limit": 1}]"#,
            "[0]: '\"' where ',' should be",
        ),
    ] {
        let said = rules(json).unwrap_err();
        let said = said
            .rsplit_once(" (line")
            .map_or(&said[..], |(said, _)| said);
        assert_eq!(said, wrong, "{json}");
    }
    let said = rules("[\n  {\"path\": \"a\",\n   \"limit\": []}]").unwrap_err();
    assert!(said.ends_with("(line 3, column 13)"), "{said}");
}

#[test]
fn every_truncation_and_every_changed_byte_is_survived() {
    let json = br#"[{"path":"\u00e9","limit":9,"mode":{"named":{"name":"x"}}}]"#;
    for end in 0..json.len() {
        let _ = parse::<Vec<Rule>>(&json[..end]);
        for byte in [0, b'"', b'\\', b'{', b']', b',', b'-', 0xff] {
            let mut changed = json.to_vec();
            changed[end] = byte;
            let _ = parse::<Vec<Rule>>(&changed);
        }
    }
}

#[test]
fn what_is_nested_without_end_is_refused() {
    let deep = "[".repeat(10_000);
    let said = parse::<serde::de::IgnoredAny>(deep.as_bytes()).unwrap_err();
    assert_eq!(said.problem(), "nested too deep");
}
