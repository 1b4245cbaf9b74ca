//! Configurations whose types are made of others, as they are read and as they are described.

use std::rc::Rc;
use std::sync::Arc;

use cofferdam_sdk::config::{Period, Schema, parse, schema};
use serde::Deserialize;

#[derive(Deserialize, Schema, Debug)]
#[serde(try_from = "u16")]
struct Port(#[allow(dead_code, reason = "it is read, and described")] u16);

impl TryFrom<u16> for Port {
    type Error = String;

    fn try_from(port: u16) -> Result<Self, String> {
        match port {
            0..1024 => Err(format!("port {port} is privileged")),
            port => Ok(Self(port)),
        }
    }
}

#[derive(Deserialize, Schema, Debug)]
#[serde(from = "Option<String>")]
struct Name(#[allow(dead_code, reason = "it is read, and described")] Option<String>);

impl From<Option<String>> for Name {
    fn from(name: Option<String>) -> Self {
        Self(name)
    }
}

#[derive(Deserialize, Schema, Debug)]
#[serde(transparent)]
#[allow(dead_code, reason = "it is read, and described")]
struct Around(Option<u8>);

#[derive(Deserialize, Schema, Debug)]
#[allow(dead_code, reason = "it is read, and described")]
struct Pair(u8, #[serde(default)] u8);

#[derive(Deserialize, Schema, Debug)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[allow(dead_code, reason = "it is read, and described")]
struct Lower {
    max_age: Pair,
    name: Name,
    around: Around,
}

#[test]
fn what_serde_takes_is_what_is_described() {
    let read: Lower = parse(br#"{"max_age":[1]}"#).unwrap();
    assert!(read.name.0.is_none() && read.around.0.is_none());
    let text = schema::text::<Lower>();
    for part in [
        r#""max_age":{"type":"array""#,
        r#""minItems":1,"maxItems":2"#,
        r#""required":["max_age"],"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[derive(Deserialize, Schema, Debug)]
#[allow(dead_code, reason = "it is read, and described")]
struct Various {
    port: Port,
    tries: std::num::NonZeroU8,
    every: Period,
    exact: std::time::Duration,
    names: std::collections::BTreeSet<String>,
    boxed: Box<Option<u16>>,
}

#[test]
fn what_is_made_of_another_type_has_its_schema_and_says_where_it_cannot_be_made() {
    assert_eq!(
        schema::text::<Port>(),
        r#"{"type":"integer","minimum":0,"maximum":65535}"#
    );
    let good = r#"{"port":8080,"tries":1,"every":"1m","exact":{"secs":1,"nanos":0},"names":["a"],"boxed":1}"#;
    let read: Various = parse(good.as_bytes()).unwrap();
    assert_eq!(read.every.as_secs(), 60);
    for (from, to, wrong) in [
        ("8080", "80", "port: port 80 is privileged"),
        ("\"tries\":1", "\"tries\":0", "tries: invalid value"),
        (
            "\"1m\"",
            "60",
            "every: invalid type: a number, expected a time",
        ),
    ] {
        let said = parse::<Various>(good.replace(from, to).as_bytes()).unwrap_err();
        assert!(said.to_string().starts_with(wrong), "{said}");
    }
    let text = schema::text::<Various>();
    for part in [
        r#""tries":{"type":"integer","minimum":1,"maximum":255}"#,
        r#""every":{"type":"string","pattern":"^[0-9]+(ms|s|m|h|d)$"}"#,
        r#""secs":{"type":"integer","minimum":0}"#,
        r#""names":{"type":"array","items":{"type":"string"}}"#,
        r#""required":["port","tries","every","exact","names"]"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(schema::text::<Rc<Arc<bool>>>(), r#"{"type":"boolean"}"#);
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
}
